"""What a training leaves: checkpoints, loggers, folders."""
