"""Goodfellow's theorems, in numbers."""

import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import logsigmoid

from genzoo.protocols import Decoder, Interpolator, Sampler
from genzoo.zoo.gan import GAN
from genzoo.zoo.gan.gan import minimax, non_saturating
from tests.helpers.fixed_generator import GRID, against, gaussian
from tests.helpers.tiny import Tiny
from tests.helpers.training import fit, loader, trainer

TINY = Tiny(
    GAN,
    {"latent_dim": 4, "width": 16},
    {Sampler, Decoder, Interpolator},
    variant={"spectral_norm": True, "r1": 1.0, "augment": ("colour", "translation", "cutout")},
)


def test_an_undecided_discriminator_costs_log_4():
    zero = torch.zeros(8)
    assert minimax.discriminator(zero, zero).item() == pytest.approx(math.log(4))
    assert minimax.generator(zero).item() == pytest.approx(-math.log(2))
    assert non_saturating.generator(zero).item() == pytest.approx(math.log(2))


def test_losses_are_those_of_equation_1():
    real, fake = torch.randn(64, dtype=torch.double), torch.randn(64, dtype=torch.double)
    d_real, d_fake = real.sigmoid(), fake.sigmoid()
    value = d_real.log().mean() + (1 - d_fake).log().mean()
    assert minimax.discriminator(real, fake).item() == pytest.approx(-value.item())
    assert minimax.generator(fake).item() == pytest.approx((1 - d_fake).log().mean().item())
    assert non_saturating.generator(fake).item() == pytest.approx(-logsigmoid(fake).mean().item())


def test_losses_stay_finite_where_a_sigmoid_would_not():
    far = torch.tensor([200.0, -200.0])
    assert all(
        torch.isfinite(loss) for loss in (minimax.discriminator(far, -far), minimax.generator(far))
    )
    assert non_saturating.generator(torch.tensor([-200.0])).item() == pytest.approx(200.0)


def test_saturating_changes_the_generators_loss_only():
    model = GAN((2,), saturating=True)
    assert model.loss == minimax and GAN((2,)).loss == non_saturating


@pytest.mark.claim
def test_the_best_discriminator_is_the_share_of_the_data(measured):
    """Prop. 1 and thm 1, for p = N(0, 1) and a generator stuck at q = N(1.5, 0.8^2)."""
    _, score = against(GAN, 1.5, 0.8)
    p, q = gaussian(0, 1), gaussian(1.5, 0.8)
    mixture = (p + q) / 2
    error = np.average(np.abs(1 / (1 + np.exp(-score)) - p / (p + q)), weights=mixture)
    divergence = np.trapezoid(0.5 * p * np.log(p / mixture) + 0.5 * q * np.log(q / mixture), GRID)
    cost = np.trapezoid(p * np.logaddexp(0, -score) + q * np.logaddexp(0, score), GRID)
    found = math.log(2) - cost / 2
    measured("error of the best D", error, below=0.02)
    measured("divergence by its cost, nats", found, near=divergence, within=0.01)


def test_every_network_of_its_size_plays():
    for network, width in (("mlp", 16), ("conv", 4), ("residual", 4)):
        model = GAN((1, 16, 16), num_classes=3, width=width, network=network)
        y = torch.tensor([0, 2])
        assert model.score(model.sample(2, y), y).shape == (2,)
    with pytest.raises(ValueError, match="network must be one of auto, own, mlp, conv, residual"):
        GAN((1, 16, 16), network="unet")


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"d_steps": 0}, "d_steps must be at least 1, got 0"),
        ({"latent_dim": 0}, "latent_dim must be at least 1, got 0"),
        ({"ema_decay": 1.0}, r"ema_decay must be in \[0, 1\), got 1.0"),
        ({"prior": "cauchy"}, "prior must be uniform or gaussian, got 'cauchy'"),
        ({"instance_noise": -0.1}, "instance_noise must be 0 or more, got -0.1"),
        ({"instance_noise_steps": -1}, "instance_noise_steps must be 0 or more, got -1"),
    ],
)
def test_impossible_numbers_are_refused(setting, message):
    with pytest.raises(ValueError, match=message):
        GAN((2,), **setting)


# Priors and instance noise


def test_the_prior_is_a_cube_or_a_sphere():
    torch.manual_seed(0)
    z = GAN((2,), latent_dim=100, prior="gaussian").prior(2000)
    assert z.mean().abs() < 0.01 and z.var().item() == pytest.approx(1, abs=0.01)
    assert z.pow(4).mean().item() == pytest.approx(3, abs=0.1)
    z = GAN((2,), latent_dim=100).prior(2000)
    assert z.abs().max() <= 1 and z.var().item() == pytest.approx(1 / 3, abs=0.01)


class Summing(nn.Module):
    """Scores that are the sum of an image's pixels, and of one weight that nothing hangs on."""

    def __init__(self, *numbers):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))

    def forward(self, x):
        return x.flatten(1).sum(1) + self.weight


class Noticing(GAN):
    """Notes the deviation of the noise on what its discriminator saw in each step."""

    Discriminator = Summing

    def __init__(self, *settings, **more):
        super().__init__(*settings, **more)
        self.seen = []

    def discriminator_loss(self, batch):
        noise = self.discriminator(torch.zeros(4000, *self.image_shape))
        self.seen.append(noise.std().item() / 8)  # a sum of 64
        return super().discriminator_loss(batch)


def test_instance_noise_is_on_all_that_is_seen_in_training_only():
    model = Noticing((1, 8, 8), instance_noise=0.5)
    x = torch.rand(4000, 1, 8, 8)
    plain = x.flatten(1).sum(1)
    assert torch.equal(model.score(x), plain)
    off = model.train().raw_scores(x) - plain
    assert off.mean().item() == pytest.approx(0, abs=0.2)
    assert off.std().item() == pytest.approx(0.5 * 8, rel=0.05)


def test_instance_noise_falls_along_a_line_and_goes_on_where_it_was(tmp_path):
    def noticing():
        return Noticing((1, 8, 8), latent_dim=2, instance_noise=0.5, instance_noise_steps=4)

    data = loader(torch.rand(24, 1, 8, 8) * 2 - 1)
    whole, first, second = noticing(), noticing(), noticing()
    fit(whole, data, steps=6)
    fit(first, data, steps=2).save_checkpoint(tmp_path / "m.ckpt")
    runner = trainer(max_epochs=9, max_steps=6)
    runner.fit(second, data, ckpt_path=tmp_path / "m.ckpt", weights_only=True)
    expected = [0.5, 0.375, 0.25, 0.125, 0, 0]
    assert whole.seen == pytest.approx(expected, rel=0.05, abs=1e-6)
    assert first.seen + second.seen == pytest.approx(expected, rel=0.05, abs=1e-6)


def digits():
    """Scikit-learn's digits as floats in [-1, 1], training and held-out."""
    from genzoo.datamodules import Digits
    from genzoo.images import from_uint8

    data = Digits()
    return (from_uint8(data.split(name).images) for name in ("train", "test"))


def gradient_norm(model, payoff, z):
    model.generator.zero_grad()
    payoff.generator(model.discriminator.eval()(model.generator(z))).backward()
    return math.sqrt(sum(p.grad.square().sum().item() for p in model.generator.parameters()))


@pytest.mark.claim
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_minimax_loss_saturates(seed, measured):
    """Sec. 3: against a discriminator that is sure, eq. 1 gives the generator no gradient."""
    torch.manual_seed(seed)
    train, _ = digits()
    model = GAN((1, 8, 8), lr=1e-3, d_steps=10**6)
    z = model.prior(256)
    before = gradient_norm(model, minimax, z) / gradient_norm(model, non_saturating, z)
    measured("ratio of gradients, before", before, above=0.5, below=2)
    # With so many d_steps the generator never moves.
    trainer(max_epochs=30).fit(model, loader(train, batch_size=128))
    after = gradient_norm(model, minimax, z) / gradient_norm(model, non_saturating, z)
    measured("against a sure discriminator", after, below=0.05)
