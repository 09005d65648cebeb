"""Is it as diverse as the data? How many different images a model can make.

The birthday paradox (Arora and Zhang, 2017, https://arxiv.org/abs/1706.08224): a model that emits
N images with equal probability repeats one among about sqrt(N) samples. With B pairs of samples,
C of them collisions, and p_i the probability of image i,

    E[C] = B q,    q = sum_i p_i^2,

so N2 = B / C estimates 1 / q, the number of equally probable images that would collide as often:
the support, at most. What collides is calibrated on real images: pairs nearer than half the
smallest distance of as many held-out images. Unnoticed repetition makes the estimate larger;
unequal probabilities make it smaller than the support.

Classes are counted where the extractor is a classifier.
"""

import math
from typing import Any

import torch
from torch import Tensor

from .distances import closest_pairs, collisions, nearest
from .features import Evaluation, Evidence, Features
from .figures import grid
from .report import Number, Section

NORMAL = 1.96


# Birthdays


def duplicate_threshold(real: Tensor, size: int, seed: int = 0) -> float:
    """Half the smallest distance of a pair in batches of `size` real images, drawn without return.

    Exact duplicates, which some data has, do not count: below this they collide.

    Args:
        real: uint8 (n, C, H, W) or float (n, d), at least 2.
        size: Images of a batch; at most n of them.
    """
    if len(real) < 2 or size < 2:
        raise ValueError(
            f"real and size must be at least 2 images, got {len(real)} and {size}"
        )
    smallest = []
    for batch in batches(real, size, seed):
        distinct = batch.flatten(1).unique(dim=0)
        if len(distinct) > 1:
            smallest.append(closest_pairs(distinct, 1)[0].item())
    if not smallest:
        raise ValueError("real must hold at least two different images, got copies of one")
    return min(smallest) / 2


def batches(x: Tensor, size: int, seed: int = 0) -> list[Tensor]:
    """Disjoint random batches of equal size; one of all, where there are fewer."""
    size = min(size, len(x))
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(seed))
    return [x[part] for part in order[: len(x) // size * size].split(size)]


class Birthday:
    """What collided in one or more batches of equal size.

    Args:
        degrees: For each batch, with how many others each sample collides, int64 (s,); or all
            together (batches, s).
        distinct: For each batch, how many samples repeat none before them.
    """

    def __init__(self, degrees: Tensor, distinct: Tensor | list[int]):
        self.degrees = degrees.double().view(-1, degrees.shape[-1])
        self.distinct = torch.as_tensor(distinct, dtype=torch.float64).flatten()
        self.size = self.degrees.shape[1]
        if self.size < 3:
            raise ValueError(f"a batch must be at least 3 samples, got {self.size}")
        count = len(self.degrees)
        self.pairs = count * self.size * (self.size - 1) / 2
        self.colliding = self.degrees.sum().item() / 2

    @classmethod
    def of(cls, samples: Tensor, threshold: float, size: int, seed: int = 0) -> "Birthday":
        """Counts the pairs nearer than the threshold."""
        found = [collisions(batch, threshold) for batch in batches(samples, size, seed)]
        distinct = [int((~repeated).sum()) for _, repeated in found]
        return cls(torch.stack([degrees for degrees, _ in found]), distinct)

    def poisson(self) -> tuple[float, float]:
        """95 % interval of q where collisions are rare and independent (Garwood, 1936), which
        they are for equal probabilities. Without a collision one-sided, up to 3 / B."""
        from scipy.stats import chi2

        if not self.colliding:
            return 0.0, -math.log(0.05) / self.pairs
        low = chi2.ppf(0.025, 2 * self.colliding) / 2
        return low / self.pairs, chi2.ppf(0.975, 2 * self.colliding + 2) / 2 / self.pairs

    def jackknife(self) -> tuple[float, float]:
        """95 % interval of q by leaving out one sample at a time: it sees unequal probabilities,
        but not what one collision or none has left to chance."""
        q = self.colliding / self.pairs
        if not q:
            return self.poisson()
        s, count = self.size, len(self.degrees)
        without = (self.colliding - self.degrees.flatten()) / (self.pairs - (s - 1))
        n = count * s
        error = NORMAL * ((n - 1) / n * (without - without.mean()).square().sum()).sqrt().item()
        # On the plain and on the logarithmic scale: skewed either way where collisions are few.
        return min(q - error, q * math.exp(-error / q)), max(q + error, q * math.exp(error / q))

    def support(self) -> Number:
        """N2 = B / C, in an interval that holds whether or not probabilities are equal: from the
        lower of the ends of both intervals to the higher. Without a collision N2 is infinite
        and the lower end B / 3."""
        ends = zip(self.poisson(), self.jackknife(), strict=True)
        low, high = (pick(end) for pick, end in zip((min, max), ends, strict=True))
        return self._of(self.colliding / self.pairs, low, high, self.note)

    @property
    def note(self) -> str:
        return f"{self.colliding:,.0f} of {self.pairs:,.0f} pairs collide"

    def estimates(self) -> dict[str, Number]:
        """All that has been read from collisions, each under its own name.

        support, support_poisson, support_jackknife: N2 and its intervals.
        support_distinct: The most probable N for the number of different samples, if all images
            are equally probable.
        support_s_squared: The rule of the paper, s^2 for the s at which half of the batches
            collide, here sqrt(2 ln 2 N2), or all samples where they have no collision.
        support_half_chance: What that s means: N = s^2 / (2 ln 2) = 0.72 s^2.
        """
        q = self.colliding / self.pairs
        halfway = math.sqrt(2 * math.log(2) / q) if q else math.nan
        s = halfway if q else float(self.size)
        note = f"s = {s:,.0f}" if q else f"more than this: none in s = {s:,.0f}"
        return {
            "support": self.support(),
            "support_poisson": self._of(q, *self.poisson(), "if all images are as probable"),
            "support_jackknife": self._of(q, *self.jackknife(), "by leaving out each sample"),
            "support_distinct": self._of_distinct(),
            "support_s_squared": Number(s**2, note=note),
            "support_half_chance": Number(s**2 / (2 * math.log(2)), note=note),
        }

    def _of(self, q: float, low: float, high: float, note: str) -> Number:
        """The inverse of q and of its interval."""
        return Number(
            1 / q if q > 0 else math.inf, 1 / high, 1 / low if low > 0 else math.inf, note
        )
