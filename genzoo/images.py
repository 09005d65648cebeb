"""The one image convention, and the one place where it is left.

Models take and give float images in [-1, 1], shape (B, C, H, W). Memory, files, loggers and
feature extractors hold uint8 in 0..255; densities speak of levels in 0..L-1.
"""

import torch
from torch import Tensor

from .checks import refuse_unless


def to_uint8(x: Tensor) -> Tensor:
    """Floats in [-1, 1] to the nearest of 0..255; what lies outside is clamped."""
    return x.float().clamp(-1, 1).add(1).mul(127.5).round().to(torch.uint8)


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
    refuse_unless(
        (low >= -1.001) & (high <= 1.001),
        lambda: ValueError(
            f"{who} must give images in [-1, 1], got [{low.item():.3g}, {high.item():.3g}]"
        ),
    )
