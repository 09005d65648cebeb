"""The Frechet distance: known answers, and agreement with torch-fidelity."""

import math

import numpy as np
import pytest
import torch
from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric

from genzoo.metrics.frechet import (
    Moments,
    _frechet_by_features,
    _frechet_by_images,
    frechet_compared,
    frechet_distance,
    frechet_distance_infinity,
    frechet_of_moments,
)
from tests.helpers.intervals import contains


def exactly(n, mean, covariance):
    """n points with exactly this sample mean and covariance."""
    d = len(mean)
    x = torch.randn(n, d, dtype=torch.float64)
    x -= x.mean(0)
    x = torch.linalg.qr(x).Q * math.sqrt(n - 1)  # sample covariance 1
    values, vectors = torch.linalg.eigh(covariance)
    return mean + x @ (vectors * values.clamp(min=0).sqrt()) @ vectors.T


def test_moments_of_a_stream_are_those_of_the_whole():
    x = 1e4 + torch.randn(1000, 7)  # where sums of squares in float32 lose everything
    moments = Moments()
    for batch in x.split([1, 300, 699]):
        moments.update(batch)
    other = Moments.of(x[:0])
    other.merge(moments)
    assert other.n == 1000
    expected = np.cov(x.double().numpy(), rowvar=False)
    torch.testing.assert_close(other.mean, x.double().mean(0), rtol=1e-14, atol=0)
    torch.testing.assert_close(other.covariance, torch.from_numpy(expected), rtol=0, atol=1e-12)


@pytest.mark.parametrize("smallest", [1.0, 1e-8, 0.0])
def test_frechet_distance_of_gaussians_is_the_closed_form(smallest):
    """Commuting covariances, down to singular ones: |dm|^2 + sum (sqrt a - sqrt b)^2."""
    d = 12
    a, b = torch.rand(d).double() + 0.5, torch.rand(d).double() + 0.5
    a[0], b[1] = smallest, smallest
    axes = torch.linalg.qr(torch.randn(d, d, dtype=torch.float64)).Q
    means = torch.randn(2, d, dtype=torch.float64)
    real = exactly(200, means[0], axes @ a.diag() @ axes.T)
    generated = exactly(300, means[1], axes @ b.diag() @ axes.T)
    truth = (means[0] - means[1]).square().sum() + (a.sqrt() - b.sqrt()).square().sum()
    found = frechet_distance(real, generated)
    # A direction of no variance costs the root of the rounding error.
    assert found.value == pytest.approx(truth.item(), rel=1e-10 if smallest else 1e-6)
    assert found.note == ""


def test_frechet_distance_moves_with_translation_and_not_with_rotation():
    x, y = torch.randn(400, 9).double(), 1.3 * torch.randn(500, 9).double() + 0.4
    whole = frechet_distance(x, y).value
    axes = torch.linalg.qr(torch.randn(9, 9, dtype=torch.float64)).Q
    assert frechet_distance(x @ axes, y @ axes).value == pytest.approx(whole, rel=1e-12)
    step = torch.randn(9).double()
    assert frechet_distance(x, x + step).value == pytest.approx(step.square().sum().item())
    assert abs(frechet_distance(x, x).value) < 1e-6 * 9


@pytest.mark.parametrize("n, m", [(40, 60), (60, 150)])
def test_fewer_images_than_features(n, m):
    """By images and by features it is the same distance, and torch-fidelity's; it is marked."""
    d = 120
    x = torch.randn(n, d).double() * torch.linspace(0.1, 2, d)
    y = torch.randn(m, d).double() + 0.3
    found = frechet_distance(x, y)
    by_features = frechet_of_moments(Moments.of(x), Moments.of(y))
    assert found.value == pytest.approx(by_features, rel=1e-6)
    theirs = fid_statistics_to_metric(
        fid_features_to_statistics(x), fid_features_to_statistics(y), False
    )["frechet_inception_distance"]
    assert found.value == pytest.approx(theirs, rel=1e-4)
    assert f"{n} images are too few for 120 features" in found.note


@pytest.mark.parametrize("n", [5, 60])
def test_images_without_variance_are_no_error(n):
    """Constant features, nearly constant ones, and one direction alone, in any combination."""
    constant = 1e3 * torch.rand(1, 16)
    kinds = {
        "constant": constant.expand(n, 16),
        "nearly": constant + 1e-7 * torch.randn(n, 16),
        "a line": constant + torch.randn(n, 1) * torch.randn(1, 16),
        "one feature": torch.randn(n, 16) * torch.tensor([1e-8] * 15 + [1e4]),
    }
    for a in kinds.values():
        for b in kinds.values():
            found = frechet_distance(a, b)
            assert 0 <= found.low <= found.value <= found.high < math.inf
            step = (a.double().mean(0) - b.double().mean(0)).square().sum().item()
            assert found.value >= step - 1e-6 * max(1, a.var(), b.var())


@pytest.mark.parametrize("scale", [1e-20, 1e-6, 1.0, 1e20])
@pytest.mark.parametrize("n", [500, 40])
def test_sides_that_vary_in_different_directions(n, scale):
    """Nothing of S1 S2 is left but rounding: |dm|^2 + Tr S1 + Tr S2, with all of its interval."""
    generator = torch.Generator().manual_seed(0)
    axes = torch.linalg.qr(torch.randn(64, 64, generator=generator)).Q
    a = torch.randn(500, 3, generator=generator) @ axes[:3]
    b = torch.randn(500, 3, generator=generator) @ axes[3:6]
    if n == 500 and scale == 1:
        assert frechet_distance(a, b).value == pytest.approx(6.239402724847975, rel=1e-6)
    a, b = a[:n].double() * scale, b[:n].double() * scale
    step = a.mean(0) - b.mean(0)
    truth = (step.square().sum() + a.var(0).sum() + b.var(0).sum()).item()
    found = frechet_distance(a, b)
    assert found.value == pytest.approx(truth, rel=1e-6, abs=0)
    streamed = frechet_of_moments(Moments.of(a), Moments.of(b))
    assert streamed == pytest.approx(truth, rel=1e-6, abs=0)
    influences = (
        (x - x.mean(0)).square().sum(1) + 2 * sign * x @ step for x, sign in ((a, 1), (b, -1))
    )
    half = 1.959964 * sum(x.var() / n for x in influences).sqrt().item()
    assert found.high - found.value == pytest.approx(half, rel=1e-4, abs=0)


def test_both_ways_to_the_interval_agree():
    x, y = torch.randn(150, 10).double(), torch.randn(90, 10).double() * 1.2
    one, other = _frechet_by_features(x, y), _frechet_by_images(x, y)
    assert one.value == pytest.approx(other.value, rel=1e-9)
    torch.testing.assert_close(one.on_real, other.on_real, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(one.on_generated, other.on_generated, rtol=1e-9, atol=1e-9)


def test_frechet_distance_is_torch_fidelitys():
    x, y = torch.randn(3000, 64).relu(), (1.1 * torch.randn(2000, 64) + 0.1).relu()
    for kind in (torch.float32, torch.float64):
        theirs = fid_statistics_to_metric(
            fid_features_to_statistics(x.to(kind)), fid_features_to_statistics(y.to(kind)), False
        )["frechet_inception_distance"]
        ours = frechet_distance(x.to(kind), y.to(kind)).value
        assert ours == pytest.approx(theirs, rel=1e-4 if kind == torch.float32 else 1e-9)


@pytest.mark.parametrize("scale, shift", [(1.0, 0.0), (1.1, 0.1)])
def test_frechet_interval_holds_the_mean_of_repetitions(scale, shift):
    draws = [
        frechet_distance(torch.randn(600, 8), scale * torch.randn(600, 8) + shift)
        for _ in range(200)
    ]
    mean = sum(number.value for number in draws) / len(draws)
    assert sum(contains(number, mean) for number in draws) >= 180


@pytest.mark.parametrize("n", [1000, 60, 24])
def test_the_excess_over_held_out_images_hardly_depends_on_n(n):
    """d shift^2 = 0.64, also for fewer images than features, where the distance itself is several
    times that; and 0 for equal distributions. The interval holds it."""
    real = exactly(4000, torch.zeros(32).double(), torch.eye(32).double())
    found, plain = {0.0: [], 0.02**0.5: []}, []
    for _ in range(30):
        held_out = frechet_compared(real, torch.randn(n, 32))
        for shift, excesses in found.items():
            shifted = frechet_compared(real, torch.randn(n, 32) + shift)
            excesses.append(shifted.excess_over(held_out))
        plain.append(shifted.value)
    for shift, excesses in found.items():
        truth = 32 * shift**2
        values = torch.tensor([x.value for x in excesses])
        assert abs(values.mean() - truth) < 4 * values.std() / 30**0.5
        assert sum(contains(x, truth) for x in excesses) >= 25
    assert n == 1000 or sum(plain) / 30 > 2 * 0.64


def test_frechet_distance_infinity_removes_the_bias():
    """d (shift^2 + (scale - 1)^2) = 0.32; at 2,000 images the plain distance is biased."""
    real = exactly(50_000, torch.zeros(16).double(), torch.eye(16).double())
    draws = [1.1 * torch.randn(2000, 16) + 0.1 for _ in range(20)]
    limits = [frechet_distance_infinity(real, x, permutations=4) for x in draws]
    plain = [frechet_distance(real, x).value for x in draws]
    bias = sum(plain) / 20 - 0.32
    assert bias > 0.02
    assert abs(sum(x.value for x in limits) / 20 - 0.32) < bias / 2
    assert sum(contains(x, 0.32) for x in limits) >= 17
    alike = frechet_distance_infinity(real, torch.randn(2000, 16))
    assert contains(alike, 0)
    with pytest.raises(ValueError, match="at least 10 images per feature, 160, got 159"):
        frechet_distance_infinity(real, draws[0][:159])
