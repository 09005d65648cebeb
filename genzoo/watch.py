"""Long loops that can be watched: they know no Trainer, and who has one says how they are shown.

Without one a bar shows them on a terminal and in a notebook, and lines elsewhere.
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

SILENT = 2.0  # seconds that a part may take without a word
EVERY = 30.0  # seconds between two lines of one part

_show: ContextVar[Show | None] = ContextVar("show", default=None)


def watched(iterable: Iterable[Item], description: str, total: int) -> Iterable[Item]:
    """The same items; where somebody watches, how many of `total` are done is shown.

    Watched loops within the body of a watched loop are part of it, and not shown by themselves.
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
    """Within it `watched` loops go through `show(iterable, description, total)`."""
    before = _show.set(show)
    try:
        yield
    finally:
        _show.reset(before)


# How they are shown without a Trainer


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
    """Goes through the iterable and shows what takes over two seconds, without a Trainer."""
    if not is_seen():
        yield from (lines or Lines())(iterable, description, total)
        return
    from tqdm.auto import tqdm

    yield from tqdm(iterable, description, total, leave=False, delay=SILENT)


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


def is_seen() -> bool:
    """Whether what is written over appears as a bar: on a terminal, and in a notebook."""
    return sys.stderr.isatty() or "ipykernel" in sys.modules
