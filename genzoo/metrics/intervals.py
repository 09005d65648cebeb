"""Intervals of 95 %, for what is counted and for means."""

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

NORMAL = 1.959964  # 95 % of a normal distribution lie within so many deviations


def wilson(share: float, n: int) -> tuple[float, float]:
    """95 % interval of a share of n independent answers (Wilson, 1927), within 0 and 1."""
    z2 = NORMAL**2
    centre = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = NORMAL / (1 + z2 / n) * math.sqrt(share * (1 - share) / n + z2 / (4 * n**2))
    # At a share of 0 and of 1 the ends are these but for rounding.
    low, high = max(0.0, centre - half), min(1.0, centre + half)
    return (low if share > 0 else 0.0), (high if share < 1 else 1.0)


def student(freedom: int, share: float = 0.95) -> float:
    """The share of Student's distribution lies within so many deviations."""
    from scipy.stats import t

    return float(t.ppf((1 + share) / 2, freedom))


def mean_of(x: "Tensor") -> tuple[float, float, float]:
    """The mean of values (N,), and its interval."""
    mean = x.mean().item()
    half = NORMAL * (x.var() / len(x)).sqrt().item() if len(x) > 1 else math.inf
    return mean, mean - half, mean + half


def difference_of(a: "Tensor", b: "Tensor") -> tuple[float, float, float]:
    """By how much the mean of values (N,) is above that of others (M,), and its interval."""
    mean = (a.mean() - b.mean()).item()
    few = min(len(a), len(b)) < 2
    half = math.inf if few else NORMAL * (a.var() / len(a) + b.var() / len(b)).sqrt().item()
    return mean, mean - half, mean + half
