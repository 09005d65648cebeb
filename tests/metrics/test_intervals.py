"""Intervals of what is counted."""

import pytest

from genzoo.metrics.intervals import wilson


def test_wilson():
    """Against the roots of (p - s)^2 = z^2 p (1 - p) / n."""
    for share, n in ((0.0, 20), (0.3, 50), (1.0, 10)):
        for p in wilson(share, n):
            assert (p - share) ** 2 == pytest.approx(1.959964**2 * p * (1 - p) / n, abs=1e-12)
