"""The files of a training: checkpoints, logs, and run directories."""
