"""A measured value with its interval, formatted for a reader. This file does not import torch."""

import math
from dataclasses import dataclass


@dataclass
class Number:
    """One measured value with its 95 % interval, if it has one.

    >>> number = Number(0.52, 0.43, 0.61)
    >>> number.shown, number.interval
    ('0.52', '0.43 to 0.61')
    """

    value: float
    low: float | None = None
    high: float | None = None
    note: str = ""

    @property
    def shown(self) -> str:
        """The value as text; for an infinite value with a low end, "more than" that end."""
        return f"more than {written(self.low)}" if self._endless else written(self.value)

    @property
    def interval(self) -> str:
        """The interval as text; empty if there is none, or if `shown` already holds it."""
        if self._endless or (self.low is None and self.high is None):
            return ""
        if self.high == math.inf and self.low is not None and math.isfinite(self.low):
            return f"{written(self.low)} or more"
        if self.low is None and math.isfinite(self.high):
            return f"{written(self.high)} or less"
        ends = ("?" if end is None else written(end) for end in (self.low, self.high))
        return "{} to {}".format(*ends)

    @property
    def _endless(self) -> bool:
        return self.value == math.inf and self.low is not None and math.isfinite(self.low)


def written(value: float) -> str:
    """Four significant digits, without an exponent unless it is needed.

    >>> written(1234567.8), written(0.123456), written(1e-7)
    ('1,234,568', '0.1235', '1e-07')
    """
    if abs(value) < 1e-15:
        return "0"  # a rounding error
    if math.isfinite(value) and value == int(value) and abs(value) < 1e9:
        return f"{int(value):,}"
    return f"{value:,.0f}" if 1e4 <= abs(value) < 1e9 else f"{value:.4g}"
