"""Precision, recall, density and coverage: known answers, and agreement with others."""

import pytest
import torch
from prdc import compute_prdc
from torch_fidelity.metric_prc import prc_features_to_metric

from genzoo.metrics import support
from genzoo.metrics.support import (
    density_coverage,
    distance_to_nearest,
    expected_coverage,
    precision_recall,
    rarity_scores,
    realism_scores,
)
from tests.helpers.intervals import contains


def test_precision_and_recall_are_torch_fidelitys():
    real, generated = torch.randn(700, 16), 0.9 * torch.randn(500, 16) + 0.2
    theirs = prc_features_to_metric(
        generated.double(),
        real.double(),
        prc_neighborhood=3,
        prc_batch_size=1000,
        save_cpu_ram=False,
        verbose=False,
    )
    precision, recall = precision_recall(real, generated)
    assert precision.value == pytest.approx(theirs["precision"], rel=1e-4)
    assert recall.value == pytest.approx(theirs["recall"], rel=1e-4)


def test_all_four_are_prdcs():
    real, generated = torch.randn(400, 16), 0.9 * torch.randn(300, 16) + 0.2
    theirs = compute_prdc(real.double().numpy(), generated.double().numpy(), nearest_k=5)
    precision, recall = precision_recall(real, generated, k=5)
    density, coverage = density_coverage(real, generated, k=5)
    for name, ours in zip(theirs, (precision, recall, density, coverage), strict=True):
        assert ours.value == pytest.approx(theirs[name], rel=1e-9), name
        assert contains(ours, ours.value)


def test_supports_that_are_known():
    real = torch.randn(500, 8)
    precision, recall = precision_recall(real, real[torch.randint(500, (500,))])
    assert precision.value == 1  # copies
    precision, recall = precision_recall(real, real[:1] + 1e-3 * torch.randn(500, 8))
    assert precision.value > 0.99 and recall.value < 0.01  # collapse
    density, coverage = density_coverage(real, real[:1] + 1e-3 * torch.randn(500, 8))
    assert coverage.value < 0.05
    for pair in (precision_recall, density_coverage):
        assert [x.value for x in pair(real, real + 100)] == [0, 0]
    half = torch.cat([torch.randn(250, 8), torch.randn(250, 8) + 50])
    density, coverage = density_coverage(half, torch.randn(2000, 8))
    assert coverage.value == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize("n, m, d", [(300, 300, 4), (300, 90, 32)])
def test_coverage_of_equals_is_the_same_whatever_they_are(n, m, d):
    found = [density_coverage(torch.randn(n, d), torch.randn(m, d))[1] for _ in range(25)]
    values = torch.tensor([x.value for x in found])
    expected = expected_coverage(n, m)
    assert abs(values.mean().item() - expected) < 4 * values.std().item() / 5
    assert sum(contains(x, expected) for x in found) >= 22


@pytest.mark.parametrize("part", [2000, 50])
def test_intervals_of_shares_hold_the_mean_of_repetitions(part, monkeypatch):
    """By halves, and by smaller parts where images are many."""
    monkeypatch.setattr(support, "PART", part)
    draws = [
        (*precision_recall(real, fake), *density_coverage(real, fake))
        for real, fake in ((torch.randn(250, 6), torch.randn(250, 6) + 0.3) for _ in range(40))
    ]
    for numbers in zip(*draws, strict=True):
        mean = sum(x.value for x in numbers) / len(numbers)
        assert sum(contains(x, mean) for x in numbers) >= 35


def balls(real, k):
    """Radii of the real images' balls, by the whole matrix."""
    return (
        torch.cdist(real, real, compute_mode="donot_use_mm_for_euclid_dist").kthvalue(k + 1).values
    )


def test_realism_and_rarity_are_the_papers_formulas():
    """By loops over all pairs, in float64."""
    real, generated = torch.randn(150, 6).double(), 1.2 * torch.randn(90, 6).double()
    radius = balls(real, 3)
    apart = torch.cdist(generated, real, compute_mode="donot_use_mm_for_euclid_dist")
    ratio = radius / apart
    ratio[:, radius > radius.median()] = 0
    torch.testing.assert_close(realism_scores(real, generated), ratio.amax(1))
    inside = apart <= radius
    expected = [
        min((r for r, held in zip(radius.tolist(), row, strict=True) if held), default=torch.nan)
        for row in inside.tolist()
    ]
    rarity = rarity_scores(real, generated)
    assert 0 < rarity.isnan().sum() < 90
    torch.testing.assert_close(rarity, torch.tensor(expected).double(), equal_nan=True)


def test_the_least_real_and_the_missed_are_those_that_were_planted():
    real, held_out = torch.randn(500, 8), torch.randn(300, 8)
    held_out[:20] += 20  # more than a ball reaches to
    generated = torch.cat([torch.randn(200, 8), 9 + torch.randn(4, 8), real[:3]])
    scores = realism_scores(real, generated)
    assert set(scores.argsort()[:4].tolist()) == set(range(200, 204))
    assert (scores[-3:] == torch.inf).any()  # a copy of one whose ball is small
    missed = distance_to_nearest(held_out, generated)
    assert set(missed.argsort()[-20:].tolist()) == set(range(20))
    covered = density_coverage(held_out, generated)[1].value
    assert (missed < 1).double().mean().item() == pytest.approx(covered)


def test_rare_images_have_large_balls():
    """A dense and a thin cluster: what lies in the thin one is rarer."""
    real = torch.cat([0.1 * torch.randn(400, 4), 5 + torch.randn(100, 4)])
    dense, thin = 0.1 * torch.randn(50, 4), 5 + torch.randn(50, 4)
    common, rare = (rarity_scores(real, x) for x in (dense, thin))
    assert rare.nanmean() > 3 * common.nanmean()
