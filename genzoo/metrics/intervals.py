"""95 % intervals of shares and of means."""

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

NORMAL = 1.959964  # 95 % of a normal distribution lie within this many deviations of the mean


def wilson(share: float, n: int) -> tuple[float, float]:
    """95 % interval of a share of n independent trials (Wilson, 1927), within 0 and 1.

    >>> low, high = wilson(0.0, 10)  # no success in 10 trials
    >>> f"{low:.3f} to {high:.3f}"
    '0.000 to 0.278'
    """
    z2 = NORMAL**2
    centre = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = NORMAL / (1 + z2 / n) * math.sqrt(share * (1 - share) / n + z2 / (4 * n**2))
    # For shares of 0 and 1 these ends are exact; rounding would move them.
    low, high = max(0.0, centre - half), min(1.0, centre + half)
    return (low if share > 0 else 0.0), (high if share < 1 else 1.0)


def student(freedom: int, share: float = 0.95) -> float:
    """Half-width, in deviations, of the central interval that holds `share` of Student's
    distribution with `freedom` degrees of freedom.

    >>> f"{student(9):.3f}"
    '2.262'
    """
    from scipy.stats import t

    return float(t.ppf((1 + share) / 2, freedom))


def mean_of(x: "Tensor") -> tuple[float, float, float]:
    """The mean of values (N,), and the low and the high end of its interval."""
    mean = x.mean().item()
    half = NORMAL * (x.var() / len(x)).sqrt().item() if len(x) > 1 else math.inf
    return mean, mean - half, mean + half


def difference_of(a: "Tensor", b: "Tensor") -> tuple[float, float, float]:
    """The mean of values a (N,) less that of values b (M,), and the ends of its interval."""
    mean = (a.mean() - b.mean()).item()
    few = min(len(a), len(b)) < 2
    half = math.inf if few else NORMAL * (a.var() / len(a) + b.var() / len(b)).sqrt().item()
    return mean, mean - half, mean + half
