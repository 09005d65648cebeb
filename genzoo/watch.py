"""Long loops that can be watched: they know no Trainer, and who has one says how they are shown."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeVar

Item = TypeVar("Item")
Show = Callable[[Iterable[Any], str, int], Iterable[Any]]

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
