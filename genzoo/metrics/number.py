"""A measured value, with its interval, as a person reads it. No torch here."""

import math
from dataclasses import dataclass


@dataclass
class Number:
    """One measured value with its 95 % interval, where there is one."""

    value: float
    low: float | None = None
    high: float | None = None
    note: str = ""

    @property
    def shown(self) -> str:
        """The value as a person reads it: of one without a limit, what it exceeds."""
        return f"more than {written(self.low)}" if self._endless else written(self.value)

    @property
    def interval(self) -> str:
        """As a person reads it; empty where there is none, or where `shown` says it."""
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
    """Four significant digits, without exponents where none is needed."""
    if abs(value) < 1e-15:
        return "0"  # what rounding has left
    if math.isfinite(value) and value == int(value) and abs(value) < 1e9:
        return f"{int(value):,}"
    return f"{value:,.0f}" if 1e4 <= abs(value) < 1e9 else f"{value:.4g}"
