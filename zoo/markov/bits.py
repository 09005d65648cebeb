"""Binary images as vectors of bits, which is what the units of these models are."""

import torch
from torch import Tensor

from ...checks import refuse_unless
from ...images import check_images


def to_bits(x: Tensor, image_shape: tuple[int, ...], who: str) -> Tensor:
    """Images (B, C, H, W) in {-1, 1} to (B, D) in {0, 1}.

    Raises:
        ValueError: some value is grey, of which a binary unit has no likelihood.
    """
    check_images(x, image_shape, "the data")
    refuse_unless(
        (x.abs() == 1).all(),
        lambda: ValueError(
            f"{who} must get binary images (its units are on or off): "
            "set --data.binarise threshold, or static"
        ),
    )
    return (x.flatten(1) + 1) / 2


def from_bits(bits: Tensor, image_shape: tuple[int, ...]) -> Tensor:
    """(B, D) in [0, 1] to images (B, C, H, W) in [-1, 1]."""
    return (bits * 2 - 1).unflatten(1, image_shape)


def known_bits(
    x: Tensor, mask: Tensor, image_shape: tuple[int, ...], who: str
) -> tuple[Tensor, Tensor]:
    """What is known of images where the mask (B, 1, H, W) is 1: bits (B, D), and which, (B, D)."""
    if mask.shape != (len(x), 1, *image_shape[1:]):
        got = tuple(mask.shape)
        raise ValueError(f"mask must be ({len(x)}, 1, H, W) as the images, got {got}")
    known = (mask == 1).expand(x.shape)
    return to_bits(torch.where(known, x, -1.0), image_shape, who), known.flatten(1)
