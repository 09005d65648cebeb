"""Progress of long parts, beside Lightning's own bars and in logs, which have none."""

import math
import sys
from collections.abc import Iterable, Iterator
from time import monotonic
from typing import TypeVar

import lightning as L
from lightning.pytorch.callbacks import ProgressBar, RichProgressBar, TQDMProgressBar

Item = TypeVar("Item")
SILENT = 2.0  # seconds that a part may take without a word
EVERY = 30.0  # seconds between two lines of one part


def track(
    trainer: L.Trainer,
    iterable: Iterable[Item],
    description: str,
    total: int,
    lines: "Lines | None" = None,
) -> Iterator[Item]:
    """Goes through the iterable and shows how far it is, and how long it still takes.

    What takes over two seconds is shown: by a task in Lightning's `RichProgressBar` while that is
    live; beside other bars by one that vanishes, on a terminal and in a notebook; and in lines
    where there is neither. Beside `TQDMProgressBar` always a bar that vanishes, from the beginning.
    Nothing where the trainer shows no bar, or on other ranks than 0.

    Args:
        lines: Of the work that this is a step of; None: it is a piece of work by itself.
    """
    lines = lines or Lines()
    bar = trainer.progress_bar_callback if trainer.is_global_zero else None
    live = (
        isinstance(bar, RichProgressBar)
        and bar.progress is not None
        and bar.progress.live.is_started
    )
    if bar is None or not getattr(bar, "is_enabled", getattr(bar, "_enabled", True)):
        yield from iterable
    elif live:
        seen = bar.progress.console.is_terminal or bar.progress.console.is_jupyter
        task = bar.progress.add_task(description, total=total, visible=False)
        late = monotonic() + SILENT
        try:
            for item in iterable if seen else lines(iterable, description, total):
                yield item
                bar.progress.update(task, advance=1, visible=monotonic() >= late)
        finally:
            bar.progress.remove_task(task)
    elif isinstance(bar, TQDMProgressBar):
        from tqdm.auto import tqdm

        yield from tqdm(iterable, description, total, leave=False)
    else:
        yield from shown(iterable, description, total, lines)


def shown(
    iterable: Iterable[Item], description: str, total: int, lines: "Lines | None" = None
) -> Iterator[Item]:
    """Goes through the iterable and shows what takes over two seconds, without a Trainer."""
    if not _is_seen():
        yield from (lines or Lines())(iterable, description, total)
        return
    from tqdm.auto import tqdm

    yield from tqdm(iterable, description, total, leave=False, delay=SILENT)


class Lines:
    """Shows one loop after the other by lines: each after two seconds and each half minute, and how
    long it took.

        Samples: 1,200/10,000, about 2 min left
        Samples: 10,000/10,000 in 2 min 20 s

    Args:
        together: The loops are steps of one piece of work, which has a line each half minute and no
            more, however many they are.
    """

    def __init__(self, together: bool = False):
        self.together, self.due = together, -math.inf

    def __call__(self, iterable: Iterable[Item], description: str, total: int) -> Iterator[Item]:
        start = monotonic()
        self.due = max(self.due, start + SILENT) if self.together else start + SILENT
        done, said = 0, False
        for item in iterable:
            yield item
            done, now = done + 1, monotonic()
            if now >= self.due and done < total:
                left = duration((now - start) / done * (total - done))
                print(f"{description}: {done:,}/{total:,}, about {left} left", flush=True)
                self.due, said = now + EVERY, True
        now = monotonic()
        if said or now >= self.due:
            print(f"{description}: {done:,}/{total:,} in {duration(now - start)}", flush=True)
            self.due = now + EVERY


def duration(seconds: float) -> str:
    """As people say it: 34 s, 2 min 20 s, 1 h 5 min."""
    seconds = round(seconds)
    if seconds < 60:
        return f"{seconds} s"
    minutes, seconds = divmod(seconds, 60)
    if minutes < 10 and seconds:
        return f"{minutes} min {seconds} s"
    minutes += seconds >= 30
    hours, minutes = divmod(minutes, 60)
    if not hours:
        return f"{minutes} min"
    return f"{hours} h {minutes} min" if minutes else f"{hours} h"


def _is_seen() -> bool:
    """Whether what is written over appears as a bar: on a terminal, and in a notebook."""
    return sys.stderr.isatty() or "ipykernel" in sys.modules


class Parts(ProgressBar):
    """Shows the long parts of an evaluation (`track`), and nothing of the batches around them."""

    def __init__(self) -> None:
        super().__init__()
        self._enabled = True

    def disable(self) -> None:  # Lightning, on ranks other than 0
        self._enabled = False

    def enable(self) -> None:
        self._enabled = True
