"""The feature spaces in which copies are searched; each keeps other kinds of copies near."""

from functools import cached_property

import torch
import torch.nn.functional as F
from torch import Tensor

from ..images import from_uint8
from ..metrics.alterations import blurred, kinds, plant
from ..metrics.copies import Nearest, nearest_aligned, pool
from ..metrics.intervals import wilson
from ..metrics.neighbours import nearest
from ..metrics.number import Number
from ..modes import evaluating
from ..rng import shuffled
from .evidence import Evidence
from .extractors import Extractor

CANDIDATES = 5  # real images that each sample is aligned with
LARGEST_SIDE = 32  # largest side of images when they are aligned


class Spaces:
    """The spaces in which copies are searched, with all that depends on real images alone.

    Args:
        evidence: Features of the extractor that the other evaluations use.
        copies: Features of an extractor in which altered copies stay near; None: only pixels and
            the features of `evidence` are used.
        seed: Seed of the order of real images, and of the planted copies.
    """

    def __init__(self, evidence: Evidence, copies: Evidence | None, seed: int):
        train, held_out = evidence.train.images, evidence.held_out.images
        self.pool, self.seed = pool(train, held_out, seed), seed
        trained = int(self.pool.trained.sum())
        if not 0 < trained < len(self.pool.place) or len(self.pool.place) < 3:
            raise ValueError(
                "real images must differ, some trained on and some held out, got "
                f"{trained} and {len(self.pool.place) - trained} different ones"
            )
        self.images = torch.cat([train, held_out])[self.pool.place]
        self.kinds = {"unchanged": "unchanged"}
        if copies is not None:
            self.kinds = kinds(min(train.shape[2:]))
        # By space: the extractor, and the features of real images.
        self.real: dict[str, tuple[Extractor, Tensor]] = {}
        self.copies = ""
        for name, part in (("features", evidence), ("", copies)):
            if part is None or train.ndim != 4:
                continue
            name = name or part.extractor.name
            if copies is not None and part.extractor is copies.extractor:
                name = self.copies = copies.extractor.name
            features = torch.cat([part.train.features, part.held_out.features])
            self.real[name] = part.extractor, features[self.pool.place]
        self.movable = _movable(self.images) if self.copies else None
        self._planted: dict[str, dict[str, Nearest]] = {}

    def look(
        self, images: Tensor, features: dict[str, Tensor], most: int | None = None
    ) -> dict[str, Nearest]:
        """The nearest real images of the given images in each space.

        Args:
            images: uint8 (n, C, H, W), or points.
            features: Features of the images, for each space in `real`.
            most: Largest number of images that are aligned, a random choice; None: all.
        """
        near = {"pixels": Nearest.of(*nearest(images, self.images, k=2))}
        for name, (_, real) in self.real.items():
            k = min(CANDIDATES, len(real)) if name == self.copies else 2
            distances, index = nearest(features[name], real, k=k)
            near[name] = Nearest.of(distances, index)
            if name == self.copies:
                few = torch.arange(len(images))
                if most is not None and most < len(few):
                    few = chosen(len(few), most, self.seed)
                moved = nearest_aligned(_movable(images[few]), self.movable, index[few])
                near["aligned"] = Nearest(moved.index, moved.gap, few)
        return near

    @cached_property
    def bounds(self) -> dict[str, float]:
        """Half the 0.1 % quantile of the gaps of real images, by space."""
        lot = shuffled(len(self.images), self.seed)
        few = lot[:2000]
        bounds = {}
        for name, real in [
            ("pixels", self.images),
            *((n, part[1]) for n, part in self.real.items()),
        ]:
            distances, index = nearest(real[few], real, k=min(3, len(real)))
            others = index != few[:, None]  # among duplicates an image may be its own second
            others[others.all(1), -1] = False
            distances = distances[others].view(len(few), -1)
            gap = Nearest.of(distances, index).gap.sort().values
            bounds[name] = gap[len(gap) // 1000].item() / 2
        return bounds

    def planted(self, count: int) -> dict[str, dict[str, Nearest]]:
        """The nearest real images of altered copies of training images, by kind and by space.

        Args:
            count: Number of copies of each kind.
        """
        if not self._planted:
            generator = torch.Generator().manual_seed(self.seed)
            trained = self.pool.trained.nonzero()[:, 0]
            sets = []
            for kind in self.kinds:
                chosen = torch.randperm(len(trained), generator=generator)[:count]
                images = self.images[trained[chosen]]
                sets.append(images if kind == "unchanged" else plant(images, kind, generator))
            images = torch.cat(sets)  # one search for all kinds
            features = {name: _extracted(part[0], images) for name, part in self.real.items()}
            near = self.look(images, features)
            for kind, of in zip(
                self.kinds, torch.arange(len(images)).split(len(sets[0])), strict=True
            ):
                self._planted[kind] = {
                    name: Nearest(part.index[of], part.gap[of]) for name, part in near.items()
                }
        return self._planted


def _extracted(extractor: Extractor, images: Tensor) -> Tensor:
    with evaluating(extractor):
        return torch.cat([extractor(block)[0].float() for block in images.split(100)])


def _movable(images: Tensor) -> Tensor:
    """Images for alignment: floats of at most 32 pixels a side, a little blurred."""
    x = from_uint8(images)
    sides = [-(-side // -(-side // LARGEST_SIDE)) for side in x.shape[-2:]]
    if tuple(sides) != tuple(x.shape[-2:]):
        x = F.adaptive_avg_pool2d(x, sides)
    return torch.cat([blurred(block, 1.0) for block in x.split(1000)])


def chosen(n: int, most: int, seed: int) -> Tensor:
    """A random choice of at most `most` of n indices."""
    return shuffled(n, seed)[:most]


def outright(look: dict[str, Nearest], spaces: Spaces) -> dict[str, Number]:
    """Shares of samples with a gap to a training image that almost no real image has, by space."""
    numbers = {}
    for name, bound in spaces.bounds.items():
        near = look[name]
        hit = (near.gap < bound) & spaces.pool.trained[near.index]
        share = hit.double().mean().item()
        note = (
            f"with one training image nearer than {bound:.2g} of the next real image's distance "
            f"({name}), {len(near.index[hit].unique()):,} different ones"
        )
        numbers[f"outright/{name}"] = Number(share, *wilson(share, len(hit)), note)
    return numbers


def identical(evidence: Evidence, duplicates: int) -> dict[str, Number]:
    """Shares of samples and of held-out images that are bitwise equal to a training image."""
    train, held_out, generated = (
        part.images for part in (evidence.train, evidence.held_out, evidence.generated)
    )
    same = pool(train, generated).duplicates
    numbers = {}
    for name, count, total, kind in (
        ("identical", same, len(generated), "samples"),
        ("duplicates", duplicates, len(held_out), "held-out images"),
    ):
        share = count / total
        note = f"{kind} that are equal to a training image, to the last bit"
        numbers[name] = Number(share, *wilson(share, total), note)
    return numbers
