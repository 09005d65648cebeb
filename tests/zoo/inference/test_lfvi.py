"""A posterior without a likelihood, where the exact one is known: a line through noisy points."""

import math

import pytest
import torch
from torch import nn
from torch.distributions import Independent, Normal, kl_divergence

from genzoo.protocols import Decoder, Interpolator, Sampler
from genzoo.zoo import LFVI
from tests.helpers.game_loop import moved_by_each
from tests.helpers.tiny import Tiny
from tests.helpers.training import bits, fit, loader, trainer

TINY = Tiny(
    LFVI,
    {"latent_dim": 3, "width": 16, "pair_width": 16, "d_steps": 1},
    {Sampler, Decoder, Interpolator},
    sampling_players=("simulator",),
    own_rates={"posterior": 0.01},
)


NOISE = 0.5  # of points about the line
STEPS = 1200  # of the posterior


class Line(nn.Module):
    """(intercept, slope, two numbers of noise) to points (t, x): a simulator, no likelihood."""

    def __init__(self, image_shape, latent_dim, num_classes, width):
        super().__init__()

    def forward(self, z):
        intercept, slope, t, noise = z.T
        return torch.stack((t, intercept + slope * t + NOISE * noise), dim=1)


class Regression(LFVI):
    Generator = Line

    def __init__(self, **settings):
        super().__init__((2,), beta_dim=2, latent_dim=2, width=64, lr=2e-3, **settings)

    def schedule(self, player, optimizer):
        half = STEPS // 2 * (self.d_steps if player.name == "ratio" else 1)
        return torch.optim.lr_scheduler.MultiStepLR(optimizer, [half], 0.2)


class Exact(nn.Module):
    """Minus log p(x | t, beta), up to what beta does not change."""

    def forward(self, x, beta):
        t, height = x.T
        return (height - beta[:, 0] - beta[:, 1] * t).square() / (2 * NOISE**2)


def points(n: int = 100) -> torch.Tensor:
    intercept, slope = torch.randn(2)
    t = torch.randn(n)
    return torch.stack((t, intercept + slope * t + NOISE * torch.randn(n)), dim=1)


def exact_posterior(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean (2,) and precision (2, 2) of the Gaussian posterior."""
    design = torch.stack((torch.ones(len(x)), x[:, 0]), dim=1)
    precision = torch.eye(2) + design.T @ design / NOISE**2
    return torch.linalg.solve(precision, design.T @ x[:, 1] / NOISE**2), precision


def climbed(model: LFVI, x: torch.Tensor, steps: int) -> LFVI:
    """The model after so many steps of the posterior alone, ever smaller ones."""
    optimizer = torch.optim.Adam(model.q.parameters(), 0.05, betas=(0.9, 0.95))
    slower = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        optimizer.zero_grad()
        model.posterior_loss((x, None)).backward()
        optimizer.step()
        slower.step()
    return model


@pytest.mark.claim
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_with_the_exact_ratio_the_optimum_is_the_exact_posterior(seed, measured):
    """Its best Gaussian of independent entries: the same mean, variances of the precisions."""
    torch.manual_seed(seed)
    x = points()
    mean, precision = exact_posterior(x)
    model = Regression(num_data=len(x), samples=32)
    model.discriminator = Exact()
    q = climbed(model, x, 500).posterior()
    off = (q.mean - mean).abs().max().item()
    measured("by the exact ratio: means off by at most", off, below=0.003)
    off = (q.stddev / precision.diagonal().rsqrt() - 1).abs().max().item()
    measured("by the exact ratio: deviations off by at most, share", off, below=0.05)
    # The posterior of a quarter of the data, were the factor N / B forgotten.
    model = Regression(num_data=len(x) // 4, samples=32)
    model.discriminator = Exact()
    wider = climbed(model, x, 500).posterior().stddev / q.stddev
    for what, times in zip(("of the intercept", "of the slope"), wider.tolist(), strict=True):
        measured(f"deviation {what}, of a quarter of the data, times", times, near=2, within=0.25)


@pytest.mark.claim
def test_a_ratio_that_knows_nothing_leaves_the_prior(measured):
    """Without the divergence nothing would move; from elsewhere q comes back to N(0, I)."""
    model = Regression(num_data=100)
    last = model.discriminator.pair[-1]
    nn.init.zeros_(last.weight)
    nn.init.constant_(model.q.mean, 0.7)
    nn.init.constant_(model.q.log_deviation, -1.5)
    q = climbed(model, points(), 300).posterior()
    measured("untaught ratio: means off the prior's by", q.mean.abs().max().item(), below=1e-3)
    off = (q.stddev - 1).abs().max().item()
    measured("untaught ratio: deviations off the prior's by", off, below=1e-3)


def test_the_bound_is_the_sum_of_the_ratios_less_the_divergence():
    """The mean over q of a square is known: one bound by draws, one in closed form."""
    model = Regression(num_data=300, samples=4000)
    model.discriminator = Exact()
    nn.init.constant_(model.q.mean, 0.5)
    nn.init.constant_(model.q.log_deviation, -1.0)
    x = points(20)
    t, height = x.T
    variance = math.exp(-2) * (1 + t.square())
    square = (height - 0.5 - 0.5 * t).square() + variance
    q = Independent(Normal(torch.full((2,), 0.5), math.exp(-1) * torch.ones(2)), 1)
    prior = Independent(Normal(torch.zeros(2), torch.ones(2)), 1)
    expected = -300 * (square / (2 * NOISE**2)).mean() - kl_divergence(q, prior)
    found = model.evidence_bound(x)
    assert found.item() == pytest.approx(expected.item(), rel=0.02) and not found.requires_grad
    loss = model.posterior_loss((x, None))
    assert loss.item() == pytest.approx(-expected.item() / 300, rel=0.02)


@pytest.mark.claim
def test_the_ratio_is_that_of_simulations_over_data(measured):
    """Where both are Gaussian: x ~ N(beta, 1), data N(1, 1), whatever law the betas have."""

    class Shift(nn.Module):
        def __init__(self, *_):
            super().__init__()

        def forward(self, z):
            return z.sum(1, keepdim=True)

    class Shifted(LFVI):
        Generator = Shift

    settings = {"beta_dim": 1, "latent_dim": 1, "width": 32, "pair_width": 32, "samples": 1}
    model = Shifted((1,), lr=3e-3, d_steps=10**6, spread=1.0, **settings)
    data = loader(1 + torch.randn(512 * 700, 1), batch_size=512)
    trainer(max_epochs=1).fit(model, data)
    pairs = torch.cartesian_prod(torch.linspace(-1, 3, 21), torch.linspace(-1, 1, 11))
    x, beta = pairs.split(1, dim=1)
    exact = (Normal(beta, 1).log_prob(x) - Normal(1, 1).log_prob(x)).squeeze(1)
    error = (model.log_ratio(x, beta).sigmoid() - exact.sigmoid()).abs().mean().item()
    # As of the discriminators of other games.
    measured("mean error of the chance of a simulation", error, below=0.03)


def test_simulated_pairs_belong_together_and_those_of_data_do_not():
    model = Regression(spread=3.0)
    nn.init.constant_(model.q.log_deviation, -1.0)
    z = model._latents(20_000, 3.0)
    torch.testing.assert_close(z.std(0), torch.tensor([3, 3, math.e, math.e]) / math.e,
                               atol=0.03, rtol=0)  # fmt: skip
    x, beta = model.fake(z)
    assert torch.equal(beta, z[:, :2])
    residual = x[:, 1] - beta[:, 0] - beta[:, 1] * x[:, 0]
    assert residual.std().item() == pytest.approx(NOISE, rel=0.03)
    data = points(20_000)
    seen, beta = model.real(data)
    assert torch.equal(seen, data)
    assert torch.corrcoef(torch.stack((seen[:, 1], beta[:, 0])))[0, 1].abs() < 0.03
    assert beta.std().item() == pytest.approx(3 / math.e, rel=0.03)


def test_each_turn_moves_its_own():
    model = LFVI((1, 8, 8), width=8, latent_dim=3, pair_width=8, num_data=6)
    batch = bits(6), torch.arange(6)
    parts = {"ratio": {"discriminator"}, "simulator": {"generator"}, "posterior": {"q"}}
    players = model.players()
    assert [player.name for player in players] == list(parts)
    assert [player.every for player in players] == [1, 2, 2]
    assert moved_by_each(model, batch) == parts
    assert [player.name for player in Regression().players()] == ["ratio", "posterior"]
    assert [model.optimizer(p).param_groups[0]["lr"] for p in players] == [2e-4, 2e-4, 1e-2]


@pytest.mark.parametrize(("told", "known"), [(0, 24), (1000, 1000)])
def test_how_many_data_there_are_is_found_out_unless_told(told, known):
    model = LFVI((1, 8, 8), width=8, latent_dim=3, pair_width=8, num_data=told)
    fit(model, loader(bits(24)), steps=1)
    assert model.num_data == known


def test_predictions_are_of_the_posterior():
    model = Regression()
    model.q.mean.data = torch.tensor([3.0, 0.0])
    model.q.log_deviation.data = torch.tensor([-2.0, -20.0])
    drawn = model.sample(20_000)
    assert drawn[:, 1].mean().item() == pytest.approx(3, abs=0.02)
    expected = math.sqrt(math.exp(-4) + NOISE**2)
    assert drawn[:, 1].std().item() == pytest.approx(expected, rel=0.03)
    beta = model.sample_posterior(20_000)
    assert beta.shape == (20_000, 2) and not beta.requires_grad
    torch.testing.assert_close(beta.mean(0), model.posterior().mean, atol=0.01, rtol=0)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"beta_dim": 0}, "beta_dim must be at least 1, got 0"),
        ({"samples": 0}, "samples must be at least 1, got 0"),
        ({"num_data": -1}, "num_data must be 0 or more, got -1"),
        ({"spread": 0.5}, "spread must be at least 1, got 0.5"),
    ],
)
def test_impossible_numbers_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        LFVI((2,), **settings)


@pytest.mark.slow
@pytest.mark.claim
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_posterior_is_found_without_a_likelihood(seed, measured):
    """A hundred points on a line: what a ratio learned from simulations says of its coefficients.

    The baseline, a ratio that was not taught, is above: it leaves the prior, of deviation 1.
    """
    torch.manual_seed(seed)
    x = points()
    mean, precision = exact_posterior(x)
    deviation = precision.inverse().diagonal().sqrt()
    model = Regression(num_data=len(x))
    fit(model, loader(x.repeat(2 * STEPS, 1), batch_size=len(x)), steps=STEPS)
    q = model.posterior()
    measured("learned ratio: means off by at most", (q.mean - mean).abs().max().item(), below=0.06)
    times = (q.stddev / deviation).tolist()
    for what, found in zip(("of the intercept", "of the slope"), times, strict=True):
        measured(f"deviation {what}, times the exact", found, near=1, within=0.4)
