"""Images in the forms that other programs give, as tensors (n, C, H, W)."""

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...images import check_images, to_uint8

GREY = ("1", "L", "LA", "La", "I;16", "I;16B", "I;16L", "I;16N")  # Pillow's modes
# Attributes or keys of other programs' outputs that hold images.
CARRIERS = ("images", "reconstruction", "recon_x", "samples", "sample")


def as_images(given: Any, shape: tuple[int, ...] | None = None, who: str = "images") -> Tensor:
    """Images as a tensor uint8 or float (n, C, H, W), with their original values.

    >>> as_images(torch.zeros(2, 8, 8, 3)).shape  # channels last
    torch.Size([2, 3, 8, 8])

    It takes tensors and arrays (n, C, H, W), (n, H, W, C) and (n, H, W); Pillow's images, and lists
    of them or of single images; any of these as the first of a tuple; and objects and dictionaries
    that have them as `images`, `reconstruction`, `samples` or `sample`. Points (n, D) do not
    change.

    Args:
        given: The images.
        shape: (C, H, W) of the images if it is known, by which axes are recognised.
        who: Name of the source in errors.

    Raises:
        TypeError: the input has none of these forms.
        ValueError: images have several sizes, or values that are neither bytes nor floats.
    """
    if isinstance(given, (Tensor, np.ndarray)):
        return _channels_first(_numbers(given, who), shape)
    if hasattr(given, "getbands"):  # Pillow's, which need not be installed
        return as_images([given], shape, who)
    if isinstance(given, (list, tuple)) and len(given):
        first = given[0]
        if hasattr(first, "getbands"):
            return _of_pillow(given, who)
        arrays = [x for x in given if isinstance(x, (Tensor, np.ndarray))]
        alike = len(arrays) == len(given) and len({tuple(x.shape) for x in arrays}) == 1
        if isinstance(given, tuple) and (len(given) == 1 or not alike or first.ndim != 3):
            return as_images(first, shape, who)  # the others are labels or codes
        if len(arrays) == len(given) and {x.ndim for x in arrays} <= {2, 3, 4}:
            tensors = [_numbers(x, who) for x in arrays]
            batches = first.ndim == 4
            if len({(x.shape[batches:], x.dtype) for x in tensors}) > 1:
                got = " and ".join(sorted({str(tuple(x.shape)) for x in tensors}))
                raise ValueError(f"{who} must give images of one size and kind, got {got}")
            return _channels_first((torch.cat if batches else torch.stack)(tensors), shape)
        if len(given) == 1:
            return as_images(first, shape, who)
    for name in CARRIERS:
        found = given.get(name) if isinstance(given, Mapping) else getattr(given, name, None)
        if found is not None and not callable(found):
            return as_images(found, shape, who)
    raise TypeError(
        f"{who} must give images: a tensor, an array, a list of Pillow's images or an object that "
        f"has them as `images`, got a {type(given).__name__}"
    )


def as_bytes(given: Any, shape: tuple[int, ...] | None, who: str) -> Tensor:
    """The same as uint8 (n, C, H, W), of bytes or of floats in [-1, 1].

    Raises:
        ValueError: floats are not in [-1, 1], or look as if in [0, 1].
    """
    x = as_images(given, shape, who)
    if x.dtype == torch.uint8:
        refuse_bits(x, who)
        return x
    check_images(x, tuple(x.shape[1:]), who)
    if len(x) and x.min() >= 0:
        raise ValueError(
            f"{who} must be images in [-1, 1] or uint8, got floats with a minimum of "
            f"{x.min().item():g}, which look as if in [0, 1]: scale them by 2 x - 1"
        )
    return to_uint8(x).cpu()


def refuse_bits(images: Tensor, who: Any) -> None:
    """Raises: ValueError: all bytes are 0 or 1, which would be black."""
    if len(images) > 1 and images.max() == 1:
        raise ValueError(
            f"{who} must have bytes in 0..255, got no more than 0 and 1, all but black: multiply "
            "them by 255"
        )


def _numbers(x: Any, who: str) -> Tensor:
    x = torch.as_tensor(np.ascontiguousarray(x) if isinstance(x, np.ndarray) else x).detach()
    if x.dtype == torch.bool:
        return x.byte() * 255
    if x.dtype != torch.uint8 and not x.is_floating_point():
        if len(x) and not 0 <= x.min() <= x.max() <= 255:
            got = f"{x.dtype} in {x.min().item()}..{x.max().item()}"
            raise ValueError(f"{who} must give bytes in 0..255 or floats, got {got}")
        return x.byte()
    return x


def _channels_first(x: Tensor, shape: tuple[int, ...] | None) -> Tensor:
    """(n, C, H, W) of that, of (n, H, W, C), of (n, H, W), or of flat ones where it is known."""
    if x.ndim == 3:
        return x[:, None]
    if x.ndim == 2 and shape is not None and len(shape) == 3 and x.shape[1] == math.prod(shape):
        return x.unflatten(1, shape)
    if x.ndim != 4:
        return x
    first, last = tuple(x.shape[1:]), (x.shape[3], *x.shape[1:3])
    if shape is not None and len(shape) == 3 and tuple(shape) in (first, last):
        return x if tuple(shape) == first else x.movedim(-1, 1).contiguous()
    if x.shape[1] not in (1, 3) and x.shape[-1] in (1, 3):
        return x.movedim(-1, 1).contiguous()
    return x


def _of_pillow(images: Iterable[Any], who: str) -> Tensor:
    from ...datamodules.folder import as_array

    arrays = [as_array(image, 1 if image.mode in GREY else 3) for image in images]
    if len(sizes := {array.shape[:2] for array in arrays}) > 1:
        got = " and ".join(f"{h}x{w}" for h, w in sorted(sizes))
        raise ValueError(f"{who} must give images of one size, got {got}")
    return stacked(arrays)


def stacked(arrays: list[np.ndarray]) -> Tensor:
    """Bytes (H, W) and (H, W, 3) to (N, C, H, W); all in colour if one is."""
    if any(array.ndim == 3 for array in arrays):  # programs save grey ones of them as grey
        arrays = [np.repeat(a[..., None], 3, 2) if a.ndim == 2 else a for a in arrays]
    images = torch.from_numpy(np.stack(arrays))
    return images[:, None] if images.ndim == 3 else images.movedim(-1, 1)
