"""Checkpoints: reading, and a ModelCheckpoint whose steps have plain names."""

from pathlib import Path
from typing import IO, Any

import lightning as L
import torch
from lightning.fabric.utilities.cloud_io import _is_local_file_protocol, get_filesystem
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import Tensor


def is_local(path: str | Path) -> bool:
    """Whether a path is a file of this machine, and not an address."""
    return _is_local_file_protocol(path)


def opened(path: str | Path) -> IO[bytes]:
    """A file, or what lies behind an address that fsspec knows, as s3://, for reading."""
    return get_filesystem(path).open(path, "rb")


def load(source: str | Path | IO[bytes], map_location: Any) -> Any:
    """What a file holds, open or not, by `weights_only=True`."""
    with opened(source) if isinstance(source, str | Path) else source as file:
        return torch.load(file, map_location, weights_only=True)


class OpenCheckpoint(ModelCheckpoint):
    """A ModelCheckpoint of which a subclass may change what is saved, when, and its name."""

    def candidates(self, trainer: L.Trainer, found: dict[str, Tensor]) -> dict[str, Tensor]:
        """What a checkpoint may be chosen and named by, from what Lightning has found."""
        return found

    def file_name(self, pattern: str | None, values: dict[str, Tensor]) -> str | None:
        """The pattern of a file's name, from the one that was asked for; may add values."""
        return pattern

    def name_of(self, pattern: str, values: dict[str, Tensor]) -> str:
        """The name without a suffix that a pattern gives for these values."""
        inserted = self.auto_insert_metric_name
        return self._format_checkpoint_name(pattern, values, auto_insert_metric_name=inserted)

    def before_best(self, trainer: L.Trainer, candidates: dict[str, Tensor]) -> None:
        """Called before the checkpoints that were the best so far are deleted."""

    def saved(self) -> None:
        """Called after each file."""

    def save_now(self, trainer: L.Trainer, again: bool = False) -> None:
        """Saves what Lightning would at the end of an epoch, but for a step that is saved already.

        Args:
            again: Of such a step the last checkpoint all the same, but in no dry run.
        """
        candidates = self._monitor_candidates(trainer)
        if not self._should_skip_saving_checkpoint(trainer):
            self._save_topk_checkpoint(trainer, candidates)
            self._save_last_checkpoint(trainer, candidates)
        elif again and not trainer.fast_dev_run:
            self._save_last_checkpoint(trainer, candidates)

    def _monitor_candidates(self, trainer: L.Trainer) -> dict[str, Tensor]:
        return self.candidates(trainer, super()._monitor_candidates(trainer))

    def _format_checkpoint_name(self, filename, metrics, *args: Any, **kwargs: Any) -> str:
        pattern = self.file_name(filename, metrics)
        return super()._format_checkpoint_name(pattern, metrics, *args, **kwargs)

    def _save_topk_checkpoint(self, trainer: L.Trainer, monitor_candidates) -> None:
        self.before_best(trainer, monitor_candidates)
        super()._save_topk_checkpoint(trainer, monitor_candidates)

    def _save_checkpoint(self, trainer: L.Trainer, filepath: str) -> None:
        super()._save_checkpoint(trainer, filepath)
        self.saved()
