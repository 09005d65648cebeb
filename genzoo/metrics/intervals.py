"""Intervals of 95 %, for what is counted."""

import math

NORMAL = 1.959964  # 95 % of a normal distribution lie within so many deviations


def wilson(share: float, n: int) -> tuple[float, float]:
    """95 % interval of a share of n independent answers (Wilson, 1927), within 0 and 1."""
    z2 = NORMAL**2
    centre = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = NORMAL / (1 + z2 / n) * math.sqrt(share * (1 - share) / n + z2 / (4 * n**2))
    # At a share of 0 and of 1 the ends are these but for rounding.
    low, high = max(0.0, centre - half), min(1.0, centre + half)
    return (low if share > 0 else 0.0), (high if share < 1 else 1.0)


def student(freedom: int) -> float:
    """95 % of Student's distribution lie within so many deviations."""
    from scipy.stats import t

    return float(t.ppf(0.975, freedom))
