"""The messages of failed commands, and the messages of Lightning that are left out."""

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

# Lightning's warnings on every run, about which a user can do nothing.
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


def message_of(error: Exception) -> str | None:
    """The line that is printed in place of an error's traceback; None for a bug."""
    if isinstance(error, RuntimeError) and (misfit := checkpoints.misfit(error)):
        return f"the checkpoint does not fit the model: {misfit}"
    text = in_words(error)
    if isinstance(error, (MemoryError, RuntimeError, OverflowError, TypeError)):
        if isinstance(error, (MemoryError, torch.OutOfMemoryError)) or NO_MEMORY.search(text):
            why = re.split(" Error code| Exception raised", text)[0]
            return f"there is not enough memory; a smaller model or batch_size helps: {why}"
    return text if is_message(error) else None


def is_message(error: Exception) -> bool:
    """Whether an error's message is meant for users, ours or Lightning's; others are bugs."""
    if isinstance(error, (MisconfigurationException, OSError)):
        return True
    ours = ("genzoo", "genzoo.zoo", "genzoo.datamodules", "genzoo.callbacks", "lightning")
    if isinstance(error, (RuntimeError, ImportError)):
        return raised_in(error, "lightning")
    return isinstance(error, (ValueError, TypeError)) and raised_in(error, *ours, "torch.optim")


def raised_in(error: BaseException, *packages: str) -> bool:
    """Whether the error comes from a `raise` statement in one of these packages."""
    place = traceback.extract_tb(error.__traceback__)[-1]
    folders = (Path(sys.modules[package].__file__).parent for package in packages)
    raised = (place.line or "").startswith("raise")  # not from a function called at this line
    return raised and any(Path(place.filename).is_relative_to(folder) for folder in folders)


@contextmanager
def quiet() -> Iterator[None]:
    """Without Lightning's messages of every run."""
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
    handlers = [handler for logger in loggers for handler in logger.handlers]

    def useful(record: logging.LogRecord) -> bool:
        return not record.getMessage().startswith(TIPS)

    with warnings.catch_warnings():
        for message in NOISE:
            warnings.filterwarnings("ignore", message=f"\\s*{message}")
        for handler in handlers:
            handler.addFilter(useful)
        try:
            yield
        finally:
            for handler in handlers:
                handler.removeFilter(useful)
