"""The likelihood of images under independent pixels: a baseline for the likelihoods of models.

    log p(x) = sum_i log p_i(x_i),    p_i(l) = (n_i(l) + a q(l)) / (N + a)

with n_i(l) the number of the N training images that have level l at pixel i, and q the histogram of
all pixels of a channel, with 1/2 added to each count. The weight a maximises the leave-one-out
likelihood of the training images: it is large for few training images, which cannot give a
histogram for each pixel, and small for many.
"""

import math

import torch
from torch import Tensor

from ..images import from_uint8, to_levels

PLACES = 2**22  # largest number of entries of a table of levels in memory
WEIGHTS = tuple(2.0**k for k in range(-2, 15))  # candidates for a, in images


def independent_nats(train: Tensor, images: Tensor, levels: int) -> Tensor:
    """-log p(x) of each image, float64 (m,) nats.

    Args:
        train: Levels of training images, integers (N, C, H, W) in 0..levels-1, at least two.
        images: Levels of the images x, integers (m, C, H, W) in 0..levels-1.
        levels: Number of levels of a pixel.

    Raises:
        ValueError: if there are fewer than two training images, a level is out of range, or the
            shapes differ.
    """
    if len(train) < 2 or train.shape[1:] != images.shape[1:]:
        raise ValueError(
            f"train must be at least 2 images like the others, {tuple(images.shape[1:])}, "
            f"got {tuple(train.shape)}"
        )
    for name, given in (("train", train), ("images", images)):
        low, high = (given.min().item(), given.max().item()) if len(given) else (0, 0)
        if not 0 <= low <= high < levels:
            raise ValueError(f"{name} must have levels in 0..{levels - 1}, got {low}..{high}")
    n, colours = train.shape[:2]
    known = []  # for each channel and block of pixels: the channel, q, and the block
    places = max(1, PLACES // levels)
    for colour in range(colours):
        pixels = train[:, colour].flatten(1)
        total = torch.zeros(levels, dtype=torch.float64)
        for part in _parts(pixels.shape[1], places):
            total += pixels[:, part].flatten().long().bincount(minlength=levels)
        total += 0.5
        known += [(colour, total / total.sum(), part) for part in _parts(pixels.shape[1], places)]
    weights = torch.tensor(WEIGHTS, dtype=torch.float64)
    gained = torch.zeros_like(weights)
    for colour, q, part in known:
        counts = _counts(train[:, colour].flatten(1)[:, part], levels)
        present = counts > 0
        often, others = counts[present], q.expand_as(counts)[present]
        for k, weight in enumerate(WEIGHTS):
            left_out = (often - 1 + weight * others) / (n - 1 + weight)
            gained[k] += (often * left_out.log()).sum()
    weight = weights[gained.argmax()].item()
    nats = torch.zeros(len(images), dtype=torch.float64)
    for colour, q, part in known:
        counts = _counts(train[:, colour].flatten(1)[:, part], levels)
        table = ((counts + weight * q) / (n + weight)).log()
        level = images[:, colour].flatten(1)[:, part].long()
        nats -= table.gather(1, level.T).sum(0)
    return nats


def _parts(total: int, size: int) -> list[slice]:
    return [slice(start, start + size) for start in range(0, total, size)]


def _counts(pixels: Tensor, levels: int) -> Tensor:
    """Counts of each level at each pixel, float64 (places, levels), from pixels (N, places)."""
    places = pixels.shape[1]
    index = pixels.long() + levels * torch.arange(places)
    return index.flatten().bincount(minlength=places * levels).view(places, levels).double()


def independent(train: Tensor, images: Tensor, levels: int) -> Tensor:
    """-log p(x) under independent pixels, float64 (N,) nats; of points (N, D), under independent
    normal coordinates with the training points' means and deviations.

    Args:
        train: Training images or points, of the same kind as `images`.
        images: uint8 (N, C, H, W), or points (N, D).
        levels: Number of levels of a pixel.
    """
    if images.ndim == 2:
        train, images = train.double(), images.double()
        spread = train.std(dim=0).clamp(min=1e-12)
        z = (images - train.mean(dim=0)) / spread
        return (z.square() / 2 + spread.log() + math.log(2 * math.pi) / 2).sum(1)
    train, images = (_at_levels(x, levels) for x in (train, images))
    return independent_nats(train, images, levels)


def _at_levels(images: Tensor, levels: int) -> Tensor:
    """uint8 images to uint8 levels."""
    if levels == 256:
        return images
    table = to_levels(from_uint8(torch.arange(256)), levels).to(torch.uint8)
    return table[images.long()]
