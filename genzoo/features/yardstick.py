"""The references of samples besides training images: held-out images and independent pixels."""

from dataclasses import dataclass
from functools import cached_property

from torch import Tensor

from ..metrics.frechet import Compared, Moments, frechet_compared
from ..metrics.neighbours import nearest
from .evidence import Evidence, Features


@dataclass
class Yardstick:
    """Statistics that are the same for all samples of a run: those of n held-out images and of
    images of independent pixels, compared with the training images.

    Args:
        train: The training images.
        held_out: n of the held-out images.
        independent: Features of images of independent pixels, (m, d).
        neighbours: Features of at most n training images, from which supports are computed.
        whole: All held-out images, which are compared by identity in `fits`.
    """

    train: Features
    held_out: Features
    independent: Tensor
    neighbours: Tensor
    whole: Features

    @cached_property
    def floor(self) -> Compared:
        """Frechet distance of the held-out images, about the lowest that samples can have."""
        return frechet_compared(self.train.features, self.held_out.features)

    @cached_property
    def ceiling(self) -> Compared:
        """Frechet distance of images of independent pixels, that of a trivial generator."""
        return frechet_compared(self.train.features, self.independent)

    @cached_property
    def balls(self) -> Tensor:
        """Distances of each image of `neighbours` to its five nearest others, (n, 5)."""
        return nearest(self.neighbours, self.neighbours, 5, exclude_self=True)[0]

    @cached_property
    def moments(self) -> tuple[Moments, ...]:
        """Moments of the training, held-out and independent images."""
        parts = self.train.features, self.held_out.features, self.independent
        return tuple(map(Moments.of, parts))

    def fits(self, evidence: Evidence, n: int) -> bool:
        """Whether the real images are those of `evidence`, n of them held out."""
        same = self.train is evidence.train and self.whole is evidence.held_out
        return same and len(self.held_out) == n
