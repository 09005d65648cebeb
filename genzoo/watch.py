"""Progress of long loops, independent of Lightning's Trainer.

A caller with a Trainer sets how progress is shown. Without one it is a bar on a terminal and in a
notebook, and lines elsewhere.
"""

import math
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from time import monotonic
from typing import Any, TypeVar

Item = TypeVar("Item")
Show = Callable[[Iterable[Any], str, int], Iterable[Any]]

SILENT = 2.0  # seconds after which a loop's progress is shown
EVERY = 30.0  # seconds between two lines of one loop

_show: ContextVar[Show | None] = ContextVar("show", default=None)


def watched(iterable: Iterable[Item], description: str, total: int) -> Iterable[Item]:
    """The items of the iterable; within `watching`, the progress of the loop is shown.

    Watched loops in the body of a watched loop are not shown.
    """
    show = _show.get()
    return iterable if show is None else _alone(show(iterable, description, total))


def _alone(items: Iterable[Item]) -> Iterator[Item]:
    for item in items:
        before = _show.set(None)
        try:
            yield item
        finally:
            _show.reset(before)


@contextmanager
def watching(show: Show) -> Iterator[None]:
    """`watched` loops within it go through `show(iterable, description, total)`."""
    before = _show.set(show)
    try:
        yield
    finally:
        _show.reset(before)


# The display without a Trainer


class Lines:
    """Prints the progress of loops in lines: after two seconds, then every half minute, and at the
    end with the duration.

        Samples: 1,200/10,000, about 2 min left
        Samples: 10,000/10,000 in 2 min 20 s

    Args:
        together: Whether the loops are steps of one piece of work, which has at most one line each
            half minute in all.
    """

    def __init__(self, together: bool = False):
        self.together, self.due = together, -math.inf

    def __call__(self, iterable: Iterable[Item], description: str, total: int) -> Iterator[Item]:
        start = monotonic()
        self.due = max(self.due, start + SILENT) if self.together else start + SILENT
        done, reported = 0, False
        for item in iterable:
            yield item
            done, now = done + 1, monotonic()
            if now >= self.due and done < total:
                left = duration((now - start) / done * (total - done))
                print(f"{description}: {done:,}/{total:,}, about {left} left", flush=True)
                self.due, reported = now + EVERY, True
        now = monotonic()
        if reported or now >= self.due:
            print(f"{description}: {done:,}/{total:,} in {duration(now - start)}", flush=True)
            self.due = now + EVERY


def shown(
    iterable: Iterable[Item], description: str, total: int, lines: Lines | None = None
) -> Iterator[Item]:
    """The items of the iterable, with progress after two seconds: a bar, or else lines."""
    if not shows_bars():
        yield from (lines or Lines())(iterable, description, total)
        return
    from tqdm.auto import tqdm

    yield from tqdm(iterable, description, total, leave=False, delay=SILENT)


def duration(seconds: float) -> str:
    """A duration as text.

    >>> duration(34), duration(140), duration(3900)
    ('34 s', '2 min 20 s', '1 h 5 min')
    """
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


def shows_bars() -> bool:
    """Whether a bar can be shown: on a terminal, and in a notebook."""
    return sys.stderr.isatty() or "ipykernel" in sys.modules
