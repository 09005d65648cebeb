"""What images cost one who knows how often each pixel has which level, and no more.

    log p(x) = sum_i log p_i(x_i),    p_i(l) = (n_i(l) + a q(l)) / (N + a)

with n_i(l) how many of N training images have level l at place i, and q the levels of all places
of a colour together, each counted half a time more than it occurs. The weight a is the one
under which each training image is the most probable given all others: so few images lean on q,
and many on what their own place has shown.
"""

import math

import torch
from torch import Tensor

from ..images import from_uint8, to_levels

PLACES = 2**22  # entries of a table of levels, at most, that is held at once
WEIGHTS = tuple(2.0**k for k in range(-2, 15))  # of q, in images


def independent_nats(train: Tensor, images: Tensor, levels: int) -> Tensor:
    """-log p(x) of each image, float64 (m,) nats.

    Args:
        train: Levels of training images, integers (N, C, H, W) in 0..levels-1, at least two.
        images: (m, C, H, W), the same kind.

    Raises:
        ValueError: for fewer than two training images, and for other levels or shapes.
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
    known = []  # for each colour: q, and its levels at a few places at a time
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
        asked = images[:, colour].flatten(1)[:, part].long()
        nats -= table.gather(1, asked.T).sum(0)
    return nats


def _parts(total: int, size: int) -> list[slice]:
    return [slice(start, start + size) for start in range(0, total, size)]


def _counts(pixels: Tensor, levels: int) -> Tensor:
    """How often each place has each level, float64 (places, levels), of (N, places)."""
    places = pixels.shape[1]
    index = pixels.long() + levels * torch.arange(places)
    return index.flatten().bincount(minlength=places * levels).view(places, levels).double()


def independent(train: Tensor, images: Tensor, levels: int) -> Tensor:
    """What images cost who knows only how each pixel is distributed, float64 (N,) nats; of points
    (N, D), who knows the mean and the deviation of each coordinate.

    Args:
        train: Where that is learned from, as `images`: uint8 (N, C, H, W), or points.
        levels: Of a pixel.
    """
    if images.ndim == 2:
        train, images = train.double(), images.double()
        spread = train.std(dim=0).clamp(min=1e-12)
        z = (images - train.mean(dim=0)) / spread
        return (z.square() / 2 + spread.log() + math.log(2 * math.pi) / 2).sum(1)
    pixels, asked = (_at_levels(x, levels) for x in (train, images))
    return independent_nats(pixels, asked, levels)


def _at_levels(images: Tensor, levels: int) -> Tensor:
    """uint8 images to uint8 levels."""
    if levels == 256:
        return images
    table = to_levels(from_uint8(torch.arange(256)), levels).to(torch.uint8)
    return table[images.long()]
