"""Parts of the Trainer that commands add: loggers, the record of a run's configuration, and file
names of checkpoints."""

from pathlib import Path
from typing import Any

import lightning as L
from lightning.pytorch.cli import SaveConfigCallback
from lightning.pytorch.loggers import CSVLogger

from ..runs.checkpoints import ORIGIN, Checkpoints, NamedCheckpoint
from ..runs.folders import RunLogger
from ..runs.suggestions import Misuse
from ..runs.wandb import SafeWandbLogger
from .parser import listed
from .remembered import Remembered, root_of, run_name


class Record(SaveConfigCallback):
    """Writes config.yaml into the run directory, and the model's and the data's configuration into
    each checkpoint.

    Args:
        origin: The configuration of model and data. Other arguments as `SaveConfigCallback`.
    """

    def __init__(self, *args: Any, origin: dict[str, Any], **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.origin = origin
        self.trained = False  # whether a batch was begun

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx) -> None:
        self.trained = True

    def save_config(self, trainer, pl_module, stage: str) -> None:
        for logger in trainer.loggers:
            if isinstance(logger, SafeWandbLogger):
                logger.log_hyperparams({**self.origin, "seed": self.config.seed_everything})

    def on_save_checkpoint(self, trainer, pl_module, checkpoint: dict[str, Any]) -> None:
        checkpoint[ORIGIN] = dict(self.origin)
        if isinstance(trainer.logger, RunLogger):
            checkpoint[ORIGIN]["logged_step"] = trainer.logger.last_step
            trainer.logger.save()  # a run resumed from here has all metrics logged before

    def on_exception(self, trainer, pl_module, exception: BaseException) -> None:
        if isinstance(exception, KeyboardInterrupt) and last_saved(trainer):
            print("genzoo: interrupted; the same command with --ckpt_path last goes on")


def loggers(chosen: Any, config: Any, remembered: Remembered) -> list:
    """The loggers, first that of the run directory, in which Lightning then writes all files.

    Args:
        chosen: The Trainer's `logger`, as an object.
        config: Configuration of the command, with its model, data and trainer.
        remembered: The checkpoint, in whose run directory a training may continue.
    """
    if chosen is False:
        raise Misuse(
            "--trainer.logger must not be false: metrics and checkpoints go to the run "
            "directory. --trainer.fast_dev_run true writes nothing"
        )
    others = [] if chosen is True else listed(chosen)
    first = [logger for logger in others if isinstance(logger, CSVLogger)]
    if not first:
        version = keep = None
        if remembered.goes_on:
            version = int(Path(remembered.path).parents[1].name.removeprefix("version_"))
            keep = remembered.made.get("logged_step")
        first = [RunLogger(root_of(config), run_name(config), version, keep)]
    for logger in others:
        if isinstance(logger, SafeWandbLogger):
            folder = Path(first[0].log_dir)
            logger.settle(folder, f"{folder.parent.name}-{folder.name}")
    return first + [logger for logger in others if logger not in first]


def last_saved(trainer: L.Trainer) -> str | None:
    """The run's last checkpoint, from genzoo's own callback and not from a user's."""
    own = [part for part in trainer.checkpoint_callbacks if isinstance(part, Checkpoints)]
    return next((part.last_model_path for part in own if part.last_model_path), None)


def safe_wandb(class_type: type, *args: Any, **kwargs: Any) -> Any:
    """A `SafeWandbLogger` in place of Lightning's `WandbLogger`."""
    return SafeWandbLogger(*args, **kwargs)


def named_checkpoint(class_type: type, *args: Any, **kwargs: Any) -> Any:
    """A `NamedCheckpoint` in place of Lightning's `ModelCheckpoint`."""
    return NamedCheckpoint(*args, **kwargs)
