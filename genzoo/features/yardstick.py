"""What samples are compared with besides training images: held-out and independent ones."""

from dataclasses import dataclass
from functools import cached_property

from torch import Tensor

from ..metrics.frechet import Compared, Moments, frechet_compared
from ..metrics.neighbours import nearest
from .evidence import Evidence, Features


@dataclass
class Yardstick:
    """What is the same for all samples of a run: n held-out and independent images, compared with
    the training images.

    Args:
        train: The training images.
        held_out: n held-out images, of all that there are.
        independent: Features of images of independent pixels, (m, d).
        neighbours: Training images that supports are taken from, at most n.
        whole: The held-out images of which these are n: kept, so that its id stays its own.
    """

    train: Features
    held_out: Features
    independent: Tensor
    neighbours: Tensor
    whole: Features

    @cached_property
    def floor(self) -> Compared:
        return frechet_compared(self.train.features, self.held_out.features)

    @cached_property
    def ceiling(self) -> Compared:
        return frechet_compared(self.train.features, self.independent)

    @cached_property
    def balls(self) -> Tensor:
        """Distances of the neighbours' own neighbours, (n, 5)."""
        return nearest(self.neighbours, self.neighbours, 5, exclude_self=True)[0]

    @cached_property
    def moments(self) -> tuple[Moments, ...]:
        parts = self.train.features, self.held_out.features, self.independent
        return tuple(map(Moments.of, parts))

    def fits(self, evidence: Evidence, n: int) -> bool:
        same = self.train is evidence.train and self.whole is evidence.held_out
        return same and len(self.held_out) == n
