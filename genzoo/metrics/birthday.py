"""How many different images a model can make, from those that it makes twice.

The birthday paradox (Arora and Zhang, 2017, https://arxiv.org/abs/1706.08224): a model that emits
N images with equal probability repeats one among about sqrt(N) samples. With B pairs of samples,
C of them collisions, and p_i the probability of image i,

    E[C] = B q,    q = sum_i p_i^2,

so N2 = B / C estimates 1 / q, the number of equally probable images that would collide as often:
the support, at most. What collides is calibrated on real images: pairs nearer than half the
smallest distance of as many of them. Repetition that goes unnoticed, as under noise, makes the
estimate larger, so that no collision says nothing; unequal probabilities make it smaller than the
support.
"""

import math

import torch
from torch import Tensor

from ..rng import shuffled
from .intervals import NORMAL
from .neighbours import closest_pairs, collisions
from .number import Number

# Deviations for the jackknife: with one heavy image the deviation is underestimated just when
# collisions are, and 1.96 covered 0.92 in simulations where 2.3 covers 0.95.
JACKKNIFE = 2.3
# How many more pairs may collide at twice the threshold than at half of it, where the threshold
# separates repeats from different images.
GAP = 1.1


def duplicate_threshold(real: Tensor, size: int, seed: int = 0) -> float:
    """Half the smallest distance of a pair in batches of `size` real images, drawn without return.

    Exact duplicates, which some data has, do not count: below this they collide.

    Args:
        real: uint8 (n, C, H, W) or float (n, d), at least 2.
        size: Images of a batch; at most n of them.
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
    """Disjoint random batches of equal size; one of all, where there are fewer."""
    size = min(size, len(x))
    order = shuffled(len(x), seed)
    return [x[part] for part in order[: len(x) // size * size].split(size)]


class Birthday:
    """What collided in one or more batches of equal size.

    Args:
        degrees: With how many others of its batch each sample collides, int64 (batches, s).
        previous: The last one before it with which it does, or -1, int64 (batches, s).
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
        found = [collisions(batch, threshold) for batch in batches(samples, size, seed)]
        return cls(*(torch.stack(part) for part in zip(*found, strict=True)))

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
        error = JACKKNIFE * ((n - 1) / n * (without - without.mean()).square().sum()).sqrt().item()
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
        """All that is read from collisions, each under its own name: N2 with the interval that
        spans both and with each of them; the N of the number of different samples; and what the
        s tells at which half of the batches have a collision."""
        q = self.colliding / self.pairs
        return {
            "support": self.support(),
            "support_poisson": self._of(q, *self.poisson(), "if all images are as probable"),
            "support_jackknife": self._of(q, *self.jackknife(), "by leaving out each sample"),
            "support_distinct": self.support_of_distinct(),
            **self.support_by_halves(),
        }

    def curve(self) -> list[tuple[int, float]]:
        """The paper's procedure: for growing s, the share of batches of s samples that have a
        collision; pairs (s, share), until all have one."""
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
        """From the s at which half of the batches have a collision.

        support_s_squared: The rule of thumb, s^2.
        support_half_chance: The N for which the chance is one half, s^2 / (2 ln 2) = 0.72 s^2.
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
        """The N for which s equally probable draws give as many different images as there were:

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
        """The inverse of q and of its interval."""
        infinite = math.inf
        return Number(1 / q if q else infinite, 1 / high, 1 / low if low > 0 else infinite, note)


def count_support(
    samples: Tensor, threshold: float, size: int, seed: int = 0
) -> tuple[Birthday, Number]:
    """What collides, and the support that it tells of, as far as it does.

    An interval has both ends only where the threshold separates repeats from different images:
    where hardly any distance lies between half and twice the threshold. The lower end counts all
    below twice the threshold. Otherwise repeats may be missed, as under noise, and only the
    upper end holds. Without a collision the value is infinite, and there is no interval:
    images may repeat themselves further apart.

    Args:
        samples: uint8 (n, C, H, W) or float (n, d).
        threshold: See `duplicate_threshold`.
        size: Samples of a batch.
    """
    found = Birthday.of(samples, threshold, size, seed)
    number = found.support()
    if not found.colliding:
        return found, Number(math.inf, note=number.note)
    narrow, wide = (Birthday.of(samples, f * threshold, size, seed) for f in (0.5, 2))
    if wide.colliding <= GAP * narrow.colliding + 1:
        low = min(number.low, wide.support().low)
        return found, Number(number.value, low, number.high, number.note)
    pairs = f"{wide.colliding - found.colliding:,.0f} more are hardly further apart"
    return found, Number(number.value, None, number.high, f"{number.note}; {pairs}")
