"""Progress of long parts, beside Lightning's own bars."""

from collections.abc import Iterable, Iterator
from typing import TypeVar

import lightning as L
from lightning.pytorch.callbacks import RichProgressBar, TQDMProgressBar

Item = TypeVar("Item")


def track(
    trainer: L.Trainer, iterable: Iterable[Item], description: str, total: int
) -> Iterator[Item]:
    """Goes through the iterable and shows how far it is.

    A task in Lightning's `RichProgressBar` while that is live, a bar that vanishes beside
    `TQDMProgressBar`, and nothing where the trainer shows no bar or on other ranks than 0.
    """
    bar = trainer.progress_bar_callback if trainer.is_global_zero else None
    if (
        isinstance(bar, RichProgressBar)
        and bar.progress is not None
        and bar.progress.live.is_started
    ):
        task = bar.progress.add_task(description, total=total)
        try:
            for item in iterable:
                yield item
                bar.progress.update(task, advance=1)
        finally:
            bar.progress.remove_task(task)
    elif isinstance(bar, TQDMProgressBar) and bar.is_enabled:
        from tqdm.auto import tqdm

        yield from tqdm(iterable, description, total, leave=False)
    else:
        yield from iterable
