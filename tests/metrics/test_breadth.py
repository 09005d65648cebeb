"""Recall and coverage beside those of as many held-out images."""

import math

import pytest
import torch

from genzoo.metrics.breadth import breadth
from genzoo.metrics.support import support_shares


def normal(n, seed, d=6):
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed))


def test_the_shares_are_those_of_support_shares():
    real, samples, held_out = normal(300, 0), 0.6 * normal(300, 1), normal(300, 2)
    found = breadth(real, samples, held_out)
    order = found.real
    assert torch.equal(order, torch.arange(300))
    ours, yardstick = (support_shares(real, x) for x in (samples, held_out))
    assert found.recalled.double().mean().item() == ours["recall"].value
    assert found.recalled_held_out.double().mean().item() == yardstick["recall"].value
    assert (found.covered > 0).double().mean().item() == ours["coverage"].value
    assert (found.covered_held_out > 0).double().mean().item() == yardstick["coverage"].value
    ratio = ours["recall"].value / yardstick["recall"].value
    assert found.recall.value == pytest.approx(ratio) and found.recall.high < 1
    assert found.recall.note == (
        f"{ours['recall'].value:.1%} of 300 real images; "
        f"held-out images {yardstick['recall'].value:.1%}"
    )
    ratio = ours["coverage"].value / yardstick["coverage"].value
    assert found.coverage.value == pytest.approx(ratio)


@pytest.mark.parametrize("n", [100, pytest.param(400, marks=pytest.mark.slow)])
def test_equal_distributions_have_ratio_one(n):
    """Of 60 runs 95 % would miss 1 in 3; more than 8 has a chance below 1 %."""
    missed = torch.zeros(2)
    for seed in range(60):
        x = normal(3 * n, seed).split(n)
        found = breadth(*x, seed=seed)
        for i, number in enumerate((found.recall, found.coverage)):
            missed[i] += not number.low <= 1 <= number.high
    assert missed.max() <= 8


def test_counts_do_not_flatter():
    """More samples than held-out images are no advantage: of each as many are drawn."""
    real, held_out = normal(1000, 0), normal(200, 2)
    few, many = (breadth(real, 0.6 * normal(n, 1), held_out) for n in (200, 5000))
    assert len(few.real) == len(many.real) == 200
    assert few.recall.high < 1 and many.recall.high < 1
    assert abs(few.recall.value - many.recall.value) < 0.15


def test_collapse_reaches_nothing_and_says_so_surely():
    real, held_out = normal(300, 0), normal(300, 2)
    found = breadth(real, normal(5, 1).repeat(60, 1) + 0.01 * normal(300, 3), held_out)
    assert found.recall.value == 0 and 0 < found.recall.high < 0.05
    assert found.coverage.high < 0.3


def test_what_is_missed_is_where_held_out_images_are():
    """Two clusters, of which samples draw one; the clearest cases come first."""
    real, held_out = normal(200, 0), normal(200, 2)
    real[:50, 0] += 50
    held_out[::4, 0] += 50
    found = breadth(real, normal(200, 1), held_out)
    missed = found.missed
    assert len(missed) > 40 and (missed[:30] < 50).all()
    assert not (found.covered[missed] > 0).any()
    counts = found.covered_held_out[missed]
    assert (counts[1:] <= counts[:-1]).all() and counts[-1] > 0
    drawn = breadth(real, normal(200, 1), held_out, most=100)
    assert (drawn.missed < 50).double().mean() > 0.6  # places among those given, not drawn


def test_no_yardstick_no_ratio():
    real, far = normal(100, 0), normal(100, 2) + 100
    found = breadth(real, normal(100, 1), far)
    assert math.isnan(found.recall.value) and found.recall.low is None


def test_too_few_are_one_clear_line():
    message = "real, samples and held_out must be at least 12 images, got 11"
    with pytest.raises(ValueError, match=message):
        breadth(normal(30, 0), normal(11, 1), normal(30, 2))
