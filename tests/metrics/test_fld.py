"""Feature likelihood divergence: against an independent computation, and known directions."""

import math

import pytest
import torch
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal

from genzoo.metrics import fld
from genzoo.metrics.fld import feature_likelihood_divergence


def mixture(centres, log_variances):
    scale = (log_variances / 2).exp()[:, None].expand_as(centres)
    parts = Independent(Normal(centres, scale), 1)
    return MixtureSameFamily(Categorical(logits=torch.zeros(len(centres))), parts)


def fitted(centres, train):
    """By torch.distributions and autograd."""
    d = train.shape[1]
    nearest = torch.cdist(train, centres).square().amin(0)
    widths = ((nearest + 1e-3) / d).log().requires_grad_()
    broad = torch.zeros(()).requires_grad_()
    adam = torch.optim.Adam([widths, broad], lr=0.5)
    away = 0.9 * (train - train.mean(0))
    for _ in range(50):
        scale = (broad / 2).exp().expand(d)
        mean = Independent(Normal(torch.zeros(d), scale), 1).log_prob(away)
        both = torch.stack([mixture(centres, widths).log_prob(train), mean])
        loss = -both.logsumexp(0).mean() / d
        adam.zero_grad()
        loss.backward()
        adam.step()
    return widths.detach()


def test_widths_and_likelihoods_are_those_of_autograd(monkeypatch):
    train, centres, x = torch.randn(80, 5), torch.randn(40, 5), torch.randn(30, 5)
    expected = fitted(centres, train)
    monkeypatch.setattr(fld, "BLOCK", 40 * 7)  # in blocks of seven
    found = fld._fit(centres, train)
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3)
    costs = -mixture(centres, expected).log_prob(x) / 5
    torch.testing.assert_close(fld._costs(x, centres, expected), costs)


def test_the_divergence_is_the_difference_of_two_mixtures():
    train, held_out, generated = torch.randn(60, 4), torch.randn(50, 4) + 1, torch.randn(25, 4)
    found = feature_likelihood_divergence(train, held_out, generated, seed=3)
    mean, deviation = held_out.mean(0), held_out.std(0)
    train, held_out, generated = ((x - mean) / deviation for x in (train, held_out, generated))
    order = torch.randperm(60, generator=torch.Generator().manual_seed(3))
    centres, others = train[order[:25]], train[order[25:]]
    ours, theirs = (
        -mixture(y, fitted(y, t)).log_prob(held_out).mean() / 4
        for y, t in ((generated, train), (centres, others))
    )
    assert found.value == pytest.approx(100 * (ours - theirs).item(), abs=0.2)
    assert found.low < found.value < found.high
    assert found.note == "25 samples against 25 training images"


def clusters(n):
    """Two, far from each other."""
    x = torch.randn(n, 8)
    x[::2, 0] += 8
    return x


@pytest.mark.parametrize("seed", range(2))
def test_copies_noise_and_missing_kinds_cost_likelihood(seed):
    torch.manual_seed(seed)
    train, held_out = clusters(200), clusters(150)
    kinds = {
        "fresh": clusters(100),
        "copies": train[:100].clone(),
        "near copies": train[:100] + 0.02 * torch.randn(100, 8),
        "noise": 4 * torch.randn(100, 8),
        "one cluster": clusters(200)[::2],
    }
    found = {name: feature_likelihood_divergence(train, held_out, x) for name, x in kinds.items()}
    assert abs(found["fresh"].value) < 10, found
    for name in ("copies", "near copies", "noise", "one cluster"):
        assert found[name].low > found["fresh"].high, name


def test_dead_features_and_bad_input():
    x = torch.randn(40, 5)
    dead = torch.cat([x, torch.ones(40, 2)], 1)
    parts = dead[:20], dead[20:30], dead[30:]
    alive = [part[:, :5] for part in parts]
    found, expected = (feature_likelihood_divergence(*part) for part in (parts, alive))
    assert found.value == pytest.approx(expected.value) and math.isfinite(found.value)
    with pytest.raises(ValueError, match="held_out must vary in at least one feature"):
        feature_likelihood_divergence(x, torch.ones(9, 5), x)
    with pytest.raises(ValueError, match="train must be at least 4 images, got"):
        feature_likelihood_divergence(x[:3], x, x)
    with pytest.raises(ValueError, match="as many features as real, got 3 and 5"):
        feature_likelihood_divergence(x, x, x[:, :3])
