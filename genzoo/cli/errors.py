"""What a command says when it fails, and what is not worth saying."""

import logging
import re
import sys
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from lightning.pytorch.utilities.exceptions import MisconfigurationException

from ..checks import in_words
from ..runs import checkpoints

# Lightning shows these on every run, and a user can do nothing about them.
NOISE = (
    "Using ModelCheckpoint with manual optimization",
    "The dirpath has changed from",
    "Checkpoint directory .* exists and is not empty",
    "The '.*_dataloader' does not have many workers",
    "Consider setting `persistent_workers=True`",
    "The number of training batches",
    "`isinstance\\(treespec, LeafSpec\\)` is deprecated",
    "You are using the dev run",
)
NO_MEMORY = re.compile("can't allocate memory|out of memory|calculation overflowed|Overflow when")
TIPS = (
    "💡",
    "TPU available",
    "HPU available",
    "Seed set to",
    "`Trainer.fit` stopped",
    "Restoring states from",
)


def words_of(error: Exception) -> str | None:
    """The line that stands for an error's traceback; None for a bug."""
    if isinstance(error, RuntimeError) and (misfit := checkpoints.misfit(error)):
        return f"the checkpoint does not fit the model: {misfit}"
    text = in_words(error)
    if isinstance(error, (MemoryError, RuntimeError, OverflowError, TypeError)):
        if isinstance(error, (MemoryError, torch.OutOfMemoryError)) or NO_MEMORY.search(text):
            why = re.split(" Error code| Exception raised", text)[0]
            return f"there is not enough memory; a smaller model or batch_size helps: {why}"
    return text if is_message(error) else None


def is_message(error: Exception) -> bool:
    """Whether an error was written to be read, by us or by Lightning; others are bugs."""
    if isinstance(error, (MisconfigurationException, OSError)):
        return True
    ours = ("genzoo", "genzoo.zoo", "genzoo.datamodules", "genzoo.callbacks", "lightning")
    if isinstance(error, (RuntimeError, ImportError)):
        return raised_in(error, "lightning")
    return isinstance(error, (ValueError, TypeError)) and raised_in(error, *ours, "torch.optim")


def raised_in(error: BaseException, *packages: str) -> bool:
    """Whether a `raise` in one of these packages made the error."""
    place = traceback.extract_tb(error.__traceback__)[-1]
    folders = (Path(sys.modules[package].__file__).parent for package in packages)
    raised = (place.line or "").startswith("raise")  # and not by what was called there
    return raised and any(Path(place.filename).is_relative_to(folder) for folder in folders)


@contextmanager
def quiet() -> Iterator[None]:
    """Without what Lightning says on every run."""
    talkers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
    handlers = [handler for talker in talkers for handler in talker.handlers]

    def worth_it(record: logging.LogRecord) -> bool:
        return not record.getMessage().startswith(TIPS)

    with warnings.catch_warnings():
        for message in NOISE:
            warnings.filterwarnings("ignore", message=f"\\s*{message}")
        for handler in handlers:
            handler.addFilter(worth_it)
        try:
            yield
        finally:
            for handler in handlers:
                handler.removeFilter(worth_it)
