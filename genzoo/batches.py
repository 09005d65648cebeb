"""Batches: images x (B, ...) and their conditions or labels y.

Loaders give batches of several forms: (x, y), (x,), x alone, or a dictionary. `unpack` reads them
all, for models and evaluations.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

IMAGES = ("image", "images", "img", "pixel_values", "x")  # names in a dictionary
LABELS = ("label", "labels", "y")


def unpack(batch: Any) -> tuple[Tensor, Any]:
    """The images x of a batch, and its y or None; entries after y are ignored.

    Raises:
        TypeError: for a batch of another form.

    >>> unpack({"image": torch.zeros(2, 1, 8, 8), "label": torch.tensor([3, 5])})[1]
    tensor([3, 5])
    """
    at = _place(batch)
    x = batch if at is None else batch[at]
    if not isinstance(x, Tensor):
        raise TypeError(_unread(f"{type(x).__name__} where images are due"))
    if isinstance(batch, Mapping):
        named = [name for name in LABELS if name in batch]
        return x, batch[named[0]] if named else None
    return x, batch[1] if at is not None and len(batch) > 1 else None


def with_images(batch: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """The batch with its images changed; a batch of an unknown form stays unchanged."""
    try:
        x, _ = unpack(batch)
    except TypeError:
        return batch
    changed, at = change(x), _place(batch)
    if at is None:
        return changed
    if isinstance(batch, Mapping):
        return {**batch, at: changed}
    make = getattr(type(batch), "_make", type(batch))  # named tuples take their fields one by one
    return make([changed, *batch[1:]])


def _place(batch: Any) -> str | int | None:
    """The key of the images in a batch: a name, 0, or None if the batch is the images."""
    if isinstance(batch, Tensor):
        return None
    if isinstance(batch, Mapping):
        named = [name for name in IMAGES if name in batch]
        if len(named) == 1:
            return named[0]
        raise TypeError(_unread(f"a dictionary with {', '.join(map(str, batch)) or 'nothing'}"))
    if isinstance(batch, (tuple, list)) and batch:
        return 0
    raise TypeError(_unread(type(batch).__name__))


def _unread(got: str) -> str:
    return (
        "batches must be (x, y) or (x,) with a tensor x (B, C, H, W), x alone, or a dictionary "
        f"with one of {', '.join(IMAGES)} and perhaps one of {', '.join(LABELS)}, got {got}"
    )


# Functions of y: a tensor, or a dictionary of tensors


def given(y: Any) -> tuple[Any, ...]:
    """y as a tuple of arguments: empty for None."""
    return () if y is None else (y,)


def size(y: Any) -> int:
    """The number of images that y belongs to."""
    return len(next(iter(y.values())) if isinstance(y, Mapping) else y)


def take(y: Any, index: Any) -> Any:
    """Rows of y, by a slice, or by a tensor of indices or a mask."""
    return {name: part[index] for name, part in y.items()} if isinstance(y, Mapping) else y[index]


def repeat(y: Any, times: int) -> Any:
    """Each row of y `times` times, with copies next to each other."""
    return take(y, torch.arange(size(y)).repeat_interleave(times))


def join(some: Sequence[Any]) -> Any:
    """Several y concatenated."""
    if isinstance(some[0], Mapping):
        return {name: torch.cat([y[name] for y in some]) for name in some[0]}
    return torch.cat([*some])


def to(y: Any, device: Any) -> Any:
    """y on a device, as tensors."""
    if isinstance(y, Mapping):
        return {name: torch.as_tensor(part, device=device) for name, part in y.items()}
    return torch.as_tensor(y, device=device)
