"""The image convention, and the conversions from and to it.

Inputs and outputs of models are float images in [-1, 1], shape (B, C, H, W). Memory, files, loggers
and feature extractors use uint8 in 0..255; densities are of levels in 0..L-1.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from .checks import refuse_unless


def to_uint8(x: Tensor) -> Tensor:
    """Floats in [-1, 1] to the nearest of 0..255; values outside are clamped.

    >>> to_uint8(torch.tensor([-1.0, 0.0, 1.0]))
    tensor([  0, 128, 255], dtype=torch.uint8)
    """
    return x.float().clamp(-1, 1).add(1).mul(127.5).round().to(torch.uint8)


def as_uint8(x: Tensor, who: str = "images") -> Tensor:
    """Images of a caller as uint8: uint8 stays unchanged, floats in [-1, 1] are converted.

    Args:
        who: Name of the images in an error.

    Raises:
        ValueError: for floats that seem to be in [0, 1], or lie outside [-1, 1]: converting them
            would give wrong statistics.
    """
    if x.dtype == torch.uint8 or not x.numel():
        return x
    if not x.is_floating_point():
        raise ValueError(f"{who} must be images in [-1, 1] or uint8, got {x.dtype}")
    low, high = x.min().item(), x.max().item()
    if not (math.isfinite(low) and math.isfinite(high)):
        raise ValueError(f"{who} must be images in [-1, 1] or uint8, got NaN or infinity")
    if low < -1.001 or high > 1.001:
        raise ValueError(
            f"{who} must be images in [-1, 1] or uint8, got floats from {low:g} to {high:g}"
        )
    refuse_from_zero(low, who)
    return to_uint8(x)


def refuse_from_zero(low: float, who: str) -> None:
    """Refuses floats whose minimum `low` is 0 or more: images in [-1, 1] have lower values."""
    if low >= 0:
        raise ValueError(
            f"{who} must be images in [-1, 1] or uint8, got floats with a minimum of "
            f"{low:g}, which look as if in [0, 1]: scale them by 2 x - 1"
        )


def from_uint8(x: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """0..255 to floats in [-1, 1]; `to_uint8` is its exact inverse.

    >>> from_uint8(torch.tensor([0, 255], dtype=torch.uint8))
    tensor([-1.,  1.])
    """
    return x.to(dtype).div(127.5).sub(1)


def to_levels(x: Tensor, levels: int) -> Tensor:
    """Floats in [-1, 1] to the nearest of 0..levels-1, int64.

    >>> to_levels(torch.tensor([-1.0, -0.4, 1.0]), levels=4)
    tensor([0, 1, 3])
    """
    return x.clamp(-1, 1).add(1).mul((levels - 1) / 2).round().long()


def from_levels(level: Tensor, levels: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """0..levels-1 to floats in [-1, 1]."""
    return level.to(dtype).mul(2 / (levels - 1)).sub(1)


def check_images(x: Tensor, shape: tuple[int, ...], who: str) -> None:
    """Refuses x unless it is a batch of float images of this shape (C, H, W) in [-1, 1].

    Raises:
        ValueError: names `who`, the source of the images; otherwise metrics would silently be
            wrong.
    """
    if x.ndim != 4 or tuple(x.shape[1:]) != tuple(shape):
        raise ValueError(
            f"{who} must give images (n, {', '.join(map(str, shape))}), got {tuple(x.shape)}"
        )
    if not x.is_floating_point():
        raise ValueError(f"{who} must give float images in [-1, 1], got {x.dtype}")
    refuse_unless(
        torch.isfinite(x).all(),
        lambda: ValueError(f"{who} must give finite images, got NaN or infinity"),
    )
    low, high = x.min(), x.max()
    refuse_unless((low >= -1.001) & (high <= 1.001), lambda: _beyond(low.item(), high.item(), who))


def _beyond(low: float, high: float, who: str) -> ValueError:
    hint = ""
    if low >= 0 and high <= 255:
        hint = ", which look as if in 0..255: scale them by x / 127.5 - 1"
    return ValueError(f"{who} must give images in [-1, 1], got [{low:.3g}, {high:.3g}]{hint}")


def looks_unscaled(samples: Tensor, real: Tensor) -> str:
    """A sentence about uint8 samples without any dark pixel whose values, read as images in [0, 1],
    would be much closer to the real images' values; "" for all other samples.

    Much closer means at most half the distance between the distributions of values, and at least
    half of the real deviation: the samples of an untrained network are grey, and read as images in
    [0, 1] they would be as dark as most real images. Samples in [0, 1] are missed if the network is
    untrained, or if a single value lies below grey.
    """
    if samples.dtype != torch.uint8 or samples.ndim != 4 or len(samples) < 2:
        return ""
    if samples.min() < 128 or real.min() >= 128:
        return ""
    generated, reference = (
        _shares(samples),
        _shares(real[:: max(1, len(real) // 1000)]),
    )
    scaled = torch.zeros_like(generated)
    scaled[1::2] = generated[128:]  # each level moves to its level under 2 x - 1
    apart = [(part.cumsum(0) - reference.cumsum(0)).abs().sum() for part in (generated, scaled)]
    if apart[1] > apart[0] / 2 or _deviation(scaled) < _deviation(reference) / 2:
        return ""
    return (
        f"must give images in [-1, 1], got no value below 0 in all {len(samples):,}, which look as "
        "if in [0, 1]: scale them by 2 x - 1"
    )


def _shares(images: Tensor) -> Tensor:
    """The shares of the levels 0..255 in uint8 images, float64 (256,)."""
    counts = sum(torch.bincount(part.flatten(), minlength=256) for part in images.split(256))
    return counts.double() / counts.sum()


def _deviation(levels: Tensor) -> Tensor:
    at = torch.arange(256, dtype=levels.dtype)
    mean = (levels * at).sum()
    return (levels * (at - mean).square()).sum().sqrt()


def refuse_shape(shape: Sequence[int]) -> None:
    """Refuses data that no evaluation supports: volumes, sequences, images of two channels.

    Raises:
        ValueError: names the supported shapes, before anything is trained or generated.
    """
    if len(shape) != 1 and not (len(shape) == 3 and shape[0] in (1, 3)):
        raise ValueError(
            "the data must be images (C, H, W), grey or RGB, or points (D,), to be evaluated, got "
            f"{tuple(shape)}: leave the evaluations out (--evaluate false) to train on it"
        )
