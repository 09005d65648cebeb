"""The chain in closed form, both samplers against the papers' formulas, and few steps."""

import math
import pickle

import pytest
import torch

from genzoo.protocols import Bounded, Completer, Decoder, Encoder, Interpolator, Sampler
from genzoo.zoo import DDPM
from genzoo.zoo.diffusion.paths import VariancePreserving, cosine_betas, linear_betas
from genzoo.zoo.diffusion.samplers import ancestral, ddim, even
from tests.helpers.closed_form_denoisers import of_gaussian
from tests.helpers.digits import digits, distance
from tests.helpers.tiny import Tiny
from tests.helpers.trained_denoisers import DIGITS, agreement, drawn, on_digits, one_gaussian

TINY = Tiny(
    DDPM,
    {
        "width": 16,
        "blocks": 1,
        "timesteps": 40,
        "steps": 4,
        "label_dropout": 0.5,
        "levels": 2,
        "warmup_steps": 0,
    },
    {Sampler, Decoder, Interpolator, Encoder, Bounded, Completer},
    bound_above_a_nat=False,  # while it predicts no noise
)


def test_the_steps_add_up_to_the_closed_form():
    """Eq. 4: one step after the other, as numbers that multiply and variances that add."""
    betas = linear_betas(1000)
    assert betas[0].item() == pytest.approx(1e-4) and betas[-1].item() == pytest.approx(0.02)
    path, alpha, variance = VariancePreserving(betas), 1.0, 0.0
    for k, beta in enumerate(betas.tolist(), 1):
        alpha, variance = alpha * math.sqrt(1 - beta), variance * (1 - beta) + beta
        a, s = (v.item() for v in path(torch.tensor(k / 1000, dtype=torch.float64)))
        assert a == pytest.approx(alpha, abs=1e-12) and s**2 == pytest.approx(variance, abs=1e-12)
    assert path(torch.tensor([0.0])) == (torch.ones(1), torch.zeros(1))
    assert path.alpha_bar[-1].item() == pytest.approx(4.04e-5, rel=0.01)


def test_the_cosine_falls_late():
    """2102.09672, eq. 17: below 1e-4 in the last percent only, and half gone halfway."""
    kept = VariancePreserving(cosine_betas(1000)).alpha_bar
    assert kept[500].item() == pytest.approx(0.49, abs=0.01)
    assert (kept < 1e-4).nonzero()[0].item() >= 990
    assert cosine_betas(1000).max() == 0.999


def test_a_copy_of_a_path_is_the_same_path():
    path = VariancePreserving(linear_betas(50))
    t = torch.rand(9)
    path(t)
    for mine, other in zip(path(t), pickle.loads(pickle.dumps(path))(t), strict=True):
        assert torch.equal(mine, other)


def test_coefficients_stay_precise_in_a_model_of_half_precision():
    model = DDPM((2,)).bfloat16()
    alpha, sigma = model.path(torch.tensor([0.001], dtype=torch.float64))
    assert sigma.item() == pytest.approx(0.01, rel=1e-9)
    seen = []
    model.eval().ema.module.level.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    model.sample(1, steps=1000, sampler="ddim")  # each step is told from the next
    assert [c.item() for c in seen] == pytest.approx([*range(1000, 0, -1)], abs=1e-3)


MEAN, COVARIANCE = torch.tensor([0.4, -0.2]), torch.tensor([[0.5, 0.2], [0.2, 0.3]])


@pytest.mark.parametrize("large", [False, True])
def test_the_ancestral_step_is_the_papers(large):
    """Eq. 7 and sec. 3.2: c1 x^ + c2 x_t, with the variance of Bayes' rule or that of the step."""
    betas = linear_betas(50)
    path, k, n = VariancePreserving(betas), 20, 200_000
    denoise = of_gaussian(path, MEAN, COVARIANCE)
    x = torch.tensor([[0.7, -1.1]]).double().expand(n, 2)
    (drawn,) = ancestral(denoise, path, x, [k / 50, (k - 1) / 50], large=large)
    bar = (1 - betas).cumprod(0)
    beta, before, now = betas[k - 1], bar[k - 2], bar[k - 1]
    clean = denoise(x[:1], torch.tensor([k / 50], dtype=torch.float64))
    mean = beta * before.sqrt() / (1 - now) * clean
    mean = mean + (1 - before) * (1 - beta).sqrt() / (1 - now) * x[:1]
    variance = beta if large else beta * (1 - before) / (1 - now)
    torch.testing.assert_close(drawn.mean(0), mean[0], atol=3e-3, rtol=0)
    torch.testing.assert_close(drawn.var(0), variance.expand(2), atol=0, rtol=0.02)


def test_ddim_is_the_papers():
    """2010.02502, eq. 12 and 16, and at eta = 1 the ancestral step, on the same noise."""
    path = VariancePreserving(linear_betas(50))
    denoise, x = of_gaussian(path, MEAN, COVARIANCE), torch.randn(6, 2).double()
    now, before = path.alpha_bar[30], path.alpha_bar[10]
    clean = denoise(x, torch.full((6,), 0.6, dtype=torch.float64))
    noise = (x - now.sqrt() * clean) / (1 - now).sqrt()
    for eta in (0.0, 0.5, 1.0):
        sigma = eta * ((1 - before) / (1 - now)).sqrt() * (1 - now / before).sqrt()
        torch.manual_seed(1)
        expected = before.sqrt() * clean + (1 - before - sigma**2).sqrt() * noise
        expected = expected + sigma * torch.randn_like(x) if eta else expected
        torch.manual_seed(1)
        (found,) = ddim(denoise, path, x, [0.6, 0.2], eta=eta)
        torch.testing.assert_close(found, expected, atol=1e-12, rtol=0)
    torch.manual_seed(1)
    (other,) = ancestral(denoise, path, x, [0.6, 0.2])
    torch.testing.assert_close(found, other, atol=1e-12, rtol=0)


def test_the_whole_chain_draws_the_data():
    """With the best denoiser, from N(0, I) to the Gaussian that the data are."""
    path = VariancePreserving(linear_betas(1000))
    denoise = of_gaussian(path, MEAN, COVARIANCE)
    for sampler in (ancestral, ddim):
        *_, x = sampler(denoise, path, torch.randn(10_000, 2).double(), even(1000, 1e-3))
        torch.testing.assert_close(x.mean(0), MEAN.double(), atol=0.025, rtol=0)
        torch.testing.assert_close(x.T.cov(), COVARIANCE.double(), atol=0.025, rtol=0)


def test_steps_are_those_of_the_chain():
    model = DDPM((2,), timesteps=10, schedule="cosine")
    assert [round(10 * t) for t in model.times()] == list(range(10, -1, -1))
    assert [round(10 * t) for t in model.times(4)] == [10, 7, 4, 1, 0]
    assert [round(10 * t) for t in model.times(1)] == [10, 0]
    t = model.draw_times(10_000)
    assert sorted({round(10 * one) for one in t.tolist()}) == list(range(1, 11))
    with pytest.raises(ValueError, match="steps must be at most timesteps, 10, got 11"):
        model.sample(1, steps=11)


def test_clipping_is_of_images_and_not_of_codes():
    model = DDPM((1, 8, 8), width=8, blocks=1, timesteps=40)
    x = torch.full((1, 1, 8, 8), 5.0)
    t = torch.full((1,), 0.5)
    assert model.guided(1.0, clipped=True)(x, t).max() == 1
    assert model.guided(1.0)(x, t).max() > 1
    assert DDPM((2,), timesteps=40).guided(1.0, clipped=True)(x[0, 0, :1, :2], t).max() > 1


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"schedule": "quadratic"}, "schedule must be one of linear, cosine, got 'quadratic'"),
        ({"timesteps": 20}, "timesteps must be at least 21 with 'linear', got 20"),
        ({"steps": 50, "timesteps": 40}, "steps must be at most timesteps, 40, got 50"),
    ],
)
def test_impossible_settings_are_refused(setting, message):
    with pytest.raises(ValueError, match=message):
        DDPM((2,), **setting)


@pytest.mark.claim
@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_chain_draws_digits(seed, measured):
    """Nearer to the training images than one Gaussian of the pixels by half."""
    model = on_digits(DDPM, seed, **DIGITS)
    measured("fd of held-out digits", distance(digits()[2]))
    gaussian = measured("fd of one Gaussian's", distance(one_gaussian()))
    x, y = drawn(model, seed, sampler="ancestral", steps=100)
    measured("fd of digits drawn in 100 steps of the chain", distance(x), below=0.5 * gaussian)
    measured("share of them that shows the class asked for", agreement(x, y), above=0.95)


@pytest.mark.claim
@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_without_fresh_noise_more_steps_are_better(seed, measured):
    """2010.02502, table 1, whose rows fall. That ten steps are better without fresh noise than
    with it did not hold on digits: both numbers are recorded, none is asked for."""
    model = on_digits(DDPM, seed, **DIGITS)
    fd = {n: distance(drawn(model, seed, sampler="ddim", steps=n)[0]) for n in (5, 10, 20, 50)}
    chain = distance(drawn(model, seed, sampler="ancestral", steps=10)[0])
    measured("fd by DDIM in 50 steps", fd[50])
    measured("fd by DDIM in 20 steps", fd[20])
    measured("fd by DDIM in 10 steps", fd[10])
    measured("fd by DDIM in 5 steps", fd[5], above=fd[50])
    measured("fd by the chain in 10 steps", chain)


@pytest.mark.claim
@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_cosine_needs_clipping(seed, monkeypatch, measured):
    """alpha_bar_T is 2e-9: the first step divides the error by 5e-5."""
    model = on_digits(DDPM, seed, schedule="cosine", **DIGITS | {"steps": 1000})
    clipped = distance(drawn(model, seed, sampler="ddim", steps=50)[0])
    clipped = measured("fd by the cosine schedule, clipped", clipped)
    monkeypatch.setattr(DDPM, "clipped", False)
    free = distance(drawn(model, seed, sampler="ddim", steps=50)[0])
    measured("fd by the cosine schedule, not clipped", free, above=2 * clipped)


@pytest.mark.claim
@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_unseen_digits_come_back_from_their_codes(seed, measured):
    """2010.02502, sec. 5.4: the error falls with the steps. That it is below 0.05 in 50 steps did
    not hold."""
    model = on_digits(DDPM, seed, **DIGITS)
    *_, unseen, labels = digits()
    found = {}
    for steps in (10, 20, 50):
        z = model.encode(unseen, labels, steps=steps)
        back = model.decode(z, labels, steps=steps, sampler="ddim")
        found[steps] = (back - unseen).square().mean().sqrt().item()
    measured("error of unseen digits from their codes, 50 steps", found[50])
    measured("error from their codes, 20 steps", found[20], above=found[50])
    measured("error from their codes, 10 steps", found[10], above=found[20])
