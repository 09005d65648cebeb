"""Pictures of the card: samples of low realism, real images far from all samples, and copies."""

import torch
from torch import Tensor

from ..metrics.copies import CopyTest, Pool
from ..metrics.intervals import NORMAL
from ..metrics.neighbours import nearest
from ..metrics.number import Number
from ..metrics.support import distance_to_nearest, rarity_from_balls, realism_from_balls
from ..report.figures import grid
from ..rng import shuffled
from .evidence import Evidence, Features
from .yardstick import Yardstick

SHOWN = 24  # pairs of images in a panel
MOST = 5000  # largest number of held-out images that are searched
BALL = 3  # rank of the neighbour that gives a ball's radius


def least_real(yardstick: "Yardstick", samples: Features) -> dict[str, Tensor]:
    """The samples with the lowest realism scores, each next to its nearest training image in the
    features. Empty for data other than grey or RGB images."""
    real = yardstick.neighbours
    if not _pictures(samples.images) or len(real) <= BALL:
        return {}
    scores = realism_from_balls(real, samples.features, yardstick.balls[:, BALL - 1])
    worst = scores.argsort()[:SHOWN]
    place = nearest(samples.features[worst], yardstick.train.features)[1][:, 0]
    captions = [f"score {score:.2f}" for score in scores[worst].tolist()]
    return {
        "least_real": _pairs(
            samples.images[worst], yardstick.train.images[place], captions, "nearest"
        )
    }


def not_reached(yardstick: "Yardstick", samples: Features) -> dict[str, Tensor]:
    """The held-out images farthest from all samples, each next to its nearest sample. Distances are
    in units of the distance to the fifth nearest held-out image."""
    held_out = yardstick.held_out
    if not _pictures(held_out.images) or len(held_out) <= 5:
        return {}
    features = held_out.features[:MOST]
    radii = distance_to_nearest(features, samples.features[:MOST])
    farthest = radii.argsort(descending=True)[:SHOWN]
    place = nearest(features[farthest], samples.features[:MOST])[1][:, 0]
    captions = [f"{radius:.1f} radii" for radius in radii[farthest].tolist()]
    return {
        "not_reached": _pairs(held_out.images[farthest], samples.images[place], captions, "sample")
    }


def rarity(yardstick: "Yardstick", samples: Tensor) -> dict[str, Number]:
    """The mean rarity scores of the samples and of the held-out images that lie in the support of
    training images."""
    real, held_out = yardstick.neighbours, yardstick.held_out.features
    if len(real) <= BALL:
        return {}
    numbers = {}
    for name, features in (("rarity", samples), ("rarity_held_out", held_out)):
        scores = rarity_from_balls(real, features[:MOST], yardstick.balls[:, BALL - 1])
        scores = scores[~scores.isnan()]
        if len(scores) > 1:
            half = NORMAL * (scores.var() / len(scores)).sqrt().item()
            mean = scores.mean().item()
            note = f"of {len(scores):,} that lie among training images"
            numbers[name] = Number(mean, mean - half, mean + half, note)
    return numbers


def _pictures(images: Tensor) -> bool:
    return images.ndim == 4 and images.shape[1] in (1, 3)


def _pairs(images: Tensor, beside: Tensor, captions: list[str], name: str) -> Tensor:
    captions = [text for caption in captions for text in (caption, name)]
    return grid(torch.stack([images, beside], 1).flatten(0, 1), columns=8, captions=captions)


def beside_nearest(images: Tensor, train: Tensor, k: int = 5) -> Tensor:
    """A grid with a row for each image: the image and its k nearest training images, with their
    distances.

    Returns:
        uint8 (height, width, 3).
    """
    k = min(k, len(train))
    distances, indices = nearest(images, train, k)
    rows = torch.cat([images[:, None], train[indices]], 1).flatten(0, 1)  # (n (1 + k), C, H, W)
    captions = [
        caption for row in distances.tolist() for caption in ("", *(f"{d:.2f}" for d in row))
    ]
    return grid(rows, columns=1 + k, captions=captions)


def _closest(test: CopyTest, among: Tensor) -> Tensor:
    """Indices of samples in ascending order of their gap to the real images `among`, bool (N,)."""
    found = torch.ones(len(test.spaces["pixels"].index)).double()
    for near in test.spaces.values():
        gap = torch.where(among[near.index], near.gap, 1.0)
        which = slice(None) if near.chosen is None else near.chosen
        found[which] = torch.minimum(found[which], gap)
    return found.argsort(stable=True)


def beside_sources(evidence: Evidence, real: Pool, test: CopyTest, seed: int) -> dict[str, Tensor]:
    """Samples with their nearest training images: the ten with the smallest gaps, and five at
    random; and random held-out images with their nearest training images. After a leak: samples
    with their nearest held-out images."""

    def beside(images: Tensor, others: Tensor, order: Tensor | None = None) -> Tensor:
        lot = shuffled(len(images), seed)
        chosen = lot[:10] if order is None else torch.cat([order[:10], lot[:5]])
        return beside_nearest(images[chosen], others)

    generated, train = evidence.generated.images, evidence.train.images
    held_out = evidence.held_out.images
    if "leak" in evidence.findings:
        order = _closest(test, ~real.trained)
        return {"nearest_held_out_images": beside(generated, held_out, order)}
    return {
        "nearest_training_images": beside(generated, train, _closest(test, real.trained)),
        "nearest_training_images_of_held_out": beside(held_out, train),
    }
