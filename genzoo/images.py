"""The one image convention, and the one place where it is left.

Models take and give float images in [-1, 1], shape (B, C, H, W). Memory, files, loggers and
feature extractors hold uint8 in 0..255; densities speak of levels in 0..L-1.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from .checks import refuse_unless


def to_uint8(x: Tensor) -> Tensor:
    """Floats in [-1, 1] to the nearest of 0..255; what lies outside is clamped."""
    return x.float().clamp(-1, 1).add(1).mul(127.5).round().to(torch.uint8)


def as_uint8(x: Tensor, who: str = "images") -> Tensor:
    """What comes in at a door that takes images: bytes as they are, floats in [-1, 1] as bytes.

    Raises:
        ValueError: for floats that look as if in [0, 1], or lie beyond [-1, 1]: taken for either
            they would give a number that means nothing.
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
    """Refuses floats whose minimum is 0 or more: those of [-1, 1] have some below."""
    if low >= 0:
        raise ValueError(
            f"{who} must be images in [-1, 1] or uint8, got floats with a minimum of "
            f"{low:g}, which look as if in [0, 1]: scale them by 2 x - 1"
        )


def from_uint8(x: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """0..255 to floats in [-1, 1]; `to_uint8` gives back the same bytes."""
    return x.to(dtype).div(127.5).sub(1)


def to_levels(x: Tensor, levels: int) -> Tensor:
    """Floats in [-1, 1] to the nearest of 0..levels-1, int64."""
    return x.clamp(-1, 1).add(1).mul((levels - 1) / 2).round().long()


def from_levels(level: Tensor, levels: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """0..levels-1 to floats in [-1, 1]."""
    return level.to(dtype).mul(2 / (levels - 1)).sub(1)


def check_images(x: Tensor, shape: tuple[int, ...], who: str) -> None:
    """Refuses what is not a batch of float images of this (C, H, W) in [-1, 1].

    Raises:
        ValueError: says what `who` gave, where a metric would otherwise be silently wrong.
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
    """A sentence about uint8 samples without any dark pixel that, taken for images in [0, 1],
    would be much more like the real ones; "" where all is well.

    That is, half as far or less by the distribution of their values, and with half of its spread
    or more: samples of a network that has learned nothing are grey, and would then be as dark as
    most real ones. Missed: those of a network in [0, 1] that has learned nothing itself, or where
    one value of them all lies below grey.
    """
    if samples.dtype != torch.uint8 or samples.ndim != 4 or len(samples) < 2:
        return ""
    if samples.min() < 128 or real.min() >= 128:
        return ""
    given, wanted = (
        _shares(samples),
        _shares(real[:: max(1, len(real) // 1000)]),
    )
    scaled = torch.zeros_like(given)
    scaled[1::2] = given[128:]  # where 2 x - 1 takes each level
    apart = [(levels.cumsum(0) - wanted.cumsum(0)).abs().sum() for levels in (given, scaled)]
    if apart[1] > apart[0] / 2 or _deviation(scaled) < _deviation(wanted) / 2:
        return ""
    return (
        f"must give images in [-1, 1], got no value below 0 in all {len(samples):,}, which look as "
        "if in [0, 1]: scale them by 2 x - 1"
    )


def _shares(images: Tensor) -> Tensor:
    """The share of each of 0..255 in bytes, float64 (256,)."""
    counts = sum(torch.bincount(part.flatten(), minlength=256) for part in images.split(256))
    return counts.double() / counts.sum()


def _deviation(levels: Tensor) -> Tensor:
    at = torch.arange(256, dtype=levels.dtype)
    mean = (levels * at).sum()
    return (levels * (at - mean).square()).sum().sqrt()


def refuse_shape(shape: Sequence[int]) -> None:
    """Refuses what no evaluation can compare or draw: volumes, sequences, images of two channels.

    Raises:
        ValueError: says what must hold, before anything is trained or drawn.
    """
    if len(shape) != 1 and not (len(shape) == 3 and shape[0] in (1, 3)):
        raise ValueError(
            "the data must be images (C, H, W), grey or RGB, or points (D,), to be evaluated, got "
            f"{tuple(shape)}: leave the evaluations out (--evaluate false) to train on it"
        )
