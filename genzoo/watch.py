"""Long loops that can be watched: they know no Trainer, and who has one says how they are shown."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeVar

Item = TypeVar("Item")
Show = Callable[[Iterable[Any], str, int], Iterable[Any]]

_show: ContextVar[Show | None] = ContextVar("show", default=None)


def watched(iterable: Iterable[Item], description: str, total: int) -> Iterable[Item]:
    """The same items; where somebody watches, he sees how many of `total` are done."""
    show = _show.get()
    return iterable if show is None else show(iterable, description, total)


@contextmanager
def watching(show: Show) -> Iterator[None]:
    """Within it `watched` loops go through `show(iterable, description, total)`."""
    before = _show.set(show)
    try:
        yield
    finally:
        _show.reset(before)
