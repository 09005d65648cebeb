"""The support size of a model, estimated from repeated samples.

The birthday paradox (Arora and Zhang, 2017, https://arxiv.org/abs/1706.08224): a model that draws
N images with equal probability repeats one among about sqrt(N) samples. With B pairs of samples,
C of them collisions, and p_i the probability of image i,

    E[C] = B q,    q = sum_i p_i^2,

so N2 = B / C estimates 1 / q, the number of equally probable images that would collide as often.
It is at most the support size. The threshold of a collision is calibrated on real images: half the
smallest distance among as many of them. Repeats that are missed, as under noise, make the estimate
too large, so zero collisions show nothing; unequal probabilities make it smaller than the support
size.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from ..rng import shuffled
from .intervals import NORMAL
from .neighbours import closest_pairs, collisions_of
from .number import Number

# Half-width of the jackknife's interval in deviations: with one image of high probability the
# deviation is underestimated just when collisions are; in simulations 1.96 covered 0.92, 2.3 0.95.
JACKKNIFE = 2.3
# The threshold separates repeats from different images if at twice the threshold at most this many
# times as many pairs collide as at half of it.
GAP = 1.1


def duplicate_threshold(real: Tensor, size: int, seed: int = 0) -> float:
    """Half the smallest distance between two real images, over disjoint batches of `size` images.

    Exact duplicates among the real images are left out: their distance is 0.

    Args:
        real: uint8 (n, C, H, W) or float (n, d), at least 2 images.
        size: Number of images in a batch; n if there are fewer.
    """
    if len(real) < 2 or size < 2:
        raise ValueError(f"real and size must be at least 2 images, got {len(real)} and {size}")
    smallest = []
    for batch in batches(real, size, seed):
        distinct = batch.flatten(1).unique(dim=0)
        if len(distinct) > 1:
            smallest.append(closest_pairs(distinct, 1)[0].item())
    if not smallest:
        raise ValueError("real must hold at least two different images, got copies of one")
    return min(smallest) / 2


def batches(x: Tensor, size: int, seed: int = 0) -> list[Tensor]:
    """Disjoint random batches of `size` images; one batch of all images if there are fewer."""
    size = min(size, len(x))
    order = shuffled(len(x), seed)
    return [x[part] for part in order[: len(x) // size * size].split(size)]


class Birthday:
    """Collisions within one or more batches of equal size, and the support sizes they give.

    Args:
        degrees: Number of samples of its batch that each sample collides with, int64 (batches, s).
        previous: Place of the last earlier sample of the batch that each sample collides with,
            or -1, int64 (batches, s).
    """

    def __init__(self, degrees: Tensor, previous: Tensor):
        if degrees.ndim != 2 or degrees.shape != previous.shape or degrees.shape[1] < 3:
            got = f"{tuple(degrees.shape)} and {tuple(previous.shape)}"
            raise ValueError(f"degrees and previous must be (batches, at least 3), got {got}")
        self.degrees, self.previous = degrees.double(), previous
        self.size = degrees.shape[1]
        self.pairs = len(degrees) * self.size * (self.size - 1) / 2
        self.colliding = self.degrees.sum().item() / 2

    @classmethod
    def of(cls, samples: Tensor, threshold: float, size: int, seed: int = 0) -> "Birthday":
        """Counts the pairs nearer than the threshold, in disjoint random batches."""
        return cls.of_each(samples, (threshold,), size, seed)[0]

    @classmethod
    def of_each(
        cls, samples: Tensor, thresholds: Sequence[float], size: int, seed: int = 0
    ) -> list["Birthday"]:
        """`of` for each of several thresholds, in the time of one."""
        found = [collisions_of(batch, thresholds) for batch in batches(samples, size, seed)]
        return [
            cls(*(torch.stack(part) for part in zip(*of, strict=True)))
            for of in zip(*found, strict=True)
        ]

    def poisson(self) -> tuple[float, float]:
        """95 % interval of q for rare, independent collisions (Garwood, 1936), as they are under
        equal probabilities. With zero collisions it is one-sided, from 0 to 3 / B."""
        from scipy.stats import chi2

        if not self.colliding:
            return 0.0, -math.log(0.05) / self.pairs
        low = chi2.ppf(0.025, 2 * self.colliding) / 2
        return low / self.pairs, chi2.ppf(0.975, 2 * self.colliding + 2) / 2 / self.pairs

    def jackknife(self) -> tuple[float, float]:
        """95 % interval of q by leaving out one sample at a time: it includes the variance due to
        unequal probabilities, but is too short for one collision or none."""
        q = self.colliding / self.pairs
        if not q:
            return self.poisson()
        s, count = self.size, len(self.degrees)
        without = (self.colliding - self.degrees.flatten()) / (self.pairs - (s - 1))
        n = count * s
        error = JACKKNIFE * ((n - 1) / n * (without - without.mean()).square().sum()).sqrt().item()
        # On the plain and on the logarithmic scale: few collisions are skewed either way.
        return min(q - error, q * math.exp(-error / q)), max(q + error, q * math.exp(error / q))

    def support(self) -> Number:
        """N2 = B / C, with the union of both intervals, which holds for equal and for unequal
        probabilities. With zero collisions N2 is infinite and the lower end is B / 3."""
        ends = zip(self.poisson(), self.jackknife(), strict=True)
        low, high = (pick(end) for pick, end in zip((min, max), ends, strict=True))
        return self._of(self.colliding / self.pairs, low, high, self.note)

    @property
    def note(self) -> str:
        """The number of collisions, as a phrase."""
        return f"{self.colliding:,.0f} of {self.pairs:,.0f} pairs collide"

    def estimates(self) -> dict[str, Number]:
        """All estimates of the support size by name: N2 with the union of both intervals and with
        each of them; from the number of different samples; and from the batch size s at which
        half of the batches have a collision."""
        q = self.colliding / self.pairs
        return {
            "support": self.support(),
            "support_poisson": self._of(q, *self.poisson(), "if all images are as probable"),
            "support_jackknife": self._of(q, *self.jackknife(), "by leaving out each sample"),
            "support_distinct": self.support_of_distinct(),
            **self.support_by_halves(),
        }

    def curve(self) -> list[tuple[int, float]]:
        """The paper's procedure: the share of batches of s samples that have a collision, as pairs
        (s, share) for growing s, until all batches have one."""
        found: list[tuple[int, float]] = []
        size = 2.0
        while round(size) <= self.size and not (found and found[-1][1] == 1):
            s = round(size)
            whole = self.previous[:, : self.size // s * s]
            parts = whole.unflatten(1, (-1, s))  # (batches, parts, s)
            start = torch.arange(0, whole.shape[1], s)[:, None]
            found.append((s, (parts >= start).any(2).double().mean().item()))
            size *= math.sqrt(2)
        return found

    def support_by_halves(self) -> dict[str, Number]:
        """Support sizes from the batch size s at which half of the batches have a collision.

        support_s_squared: The rule of thumb, s^2.
        support_half_chance: The N for which that probability is one half, s^2 / (2 ln 2) =
            0.72 s^2.
        """
        curve = self.curve()
        s, note = float(curve[-1][0]), f"more than this: s = {curve[-1][0]:,} and fewer collide"
        for (before, low), (after, high) in zip([(1, 0.0), *curve], curve, strict=False):
            if high >= 0.5:
                s = before + (after - before) * (0.5 - low) / (high - low)
                note = f"half of the batches of {s:,.0f} collide"
                break
        return {
            "support_s_squared": Number(s**2, note=note),
            "support_half_chance": Number(s**2 / (2 * math.log(2)), note=note),
        }

    def support_of_distinct(self) -> Number:
        """The N for which s draws of N equally probable images give k different ones, with k the
        number that was counted:

        k = N (1 - (1 - 1/N)^s)
        """
        s, count = self.size, len(self.previous)
        different = (self.previous < 0).sum().item() / count

        def expected(n: float) -> float:
            return -n * math.expm1(s * math.log1p(-1 / n)) if n > 1 else 1.0

        def solve(k: float) -> float:
            if k >= s - 1e-9:
                return math.inf
            low, high = 1.0, 1e18
            while high / low > 1 + 1e-12:
                middle = math.sqrt(low * high)
                low, high = (middle, high) if expected(middle) < k else (low, middle)
            return high

        value = solve(different)
        if math.isinf(value):
            low = self.pairs / -math.log(0.05)
            return Number(value, low, value, "all samples differ")
        crowd = s / value  # samples for each image; the variance is that of occupied cells
        spread = value * math.exp(-crowd) * (1 - (1 + crowd) * math.exp(-crowd))
        half = NORMAL * math.sqrt(max(0.0, spread) / count)
        note = f"{different:,.0f} of {s:,} samples differ; if all images are as probable"
        low, high = max(1.0, different - half), min(s, different + half)
        return Number(value, solve(low), solve(high), note)

    def _of(self, q: float, low: float, high: float, note: str) -> Number:
        """1 / q, with the inverted interval."""
        infinite = math.inf
        return Number(1 / q if q else infinite, 1 / high, 1 / low if low > 0 else infinite, note)


def count_support(
    samples: Tensor, threshold: float, size: int, seed: int = 0
) -> tuple[Birthday, Number]:
    """The collisions of samples, and the support size with the ends of the interval that hold.

    The interval has both ends only if the threshold separates repeats from different images,
    that is, if hardly any distance lies between half and twice the threshold. The lower end counts
    all pairs below twice the threshold. Otherwise repeats may be missed, as under noise, and only
    the upper end holds. With zero collisions the value is infinite and has no interval, since
    repeats may be farther apart than the threshold.

    Args:
        samples: uint8 (n, C, H, W) or float (n, d).
        threshold: Distance below which two samples collide, see `duplicate_threshold`.
        size: Number of samples in a batch.
    """
    each = [threshold / 2, threshold, 2 * threshold]
    narrow, found, wide = Birthday.of_each(samples, each, size, seed)
    number = found.support()
    if not found.colliding:
        return found, Number(math.inf, note=number.note)
    if wide.colliding <= GAP * narrow.colliding + 1:
        low = min(number.low, wide.support().low)
        return found, Number(number.value, low, number.high, number.note)
    pairs = f"{wide.colliding - found.colliding:,.0f} more are hardly further apart"
    return found, Number(number.value, None, number.high, f"{number.note}; {pairs}")
