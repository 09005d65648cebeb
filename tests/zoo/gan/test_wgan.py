"""The critic's gain follows the distance where Jensen-Shannon is blind."""

import numpy as np
import pytest
import torch

from genzoo.protocols import Decoder, Interpolator, Sampler
from genzoo.zoo import GAN, WGAN
from genzoo.zoo.gan.gan import minimax
from genzoo.zoo.gan.wgan import wasserstein
from tests.helpers.parallel_lines import THETAS, data, on_lines
from tests.helpers.tiny import Tiny
from tests.helpers.training import fit, loader

TINY = Tiny(
    WGAN,
    {"latent_dim": 4, "width": 16, "d_steps": 1},
    {Sampler, Decoder, Interpolator},
    last_bias_moves=False,  # it cancels in a difference of scores
)


def test_losses_by_hand():
    real, fake = torch.tensor([1.0, 3.0]), torch.tensor([0.0, 1.0])
    assert wasserstein.discriminator(real, fake).item() == pytest.approx(0.5 - 2.0)
    assert wasserstein.generator(fake).item() == pytest.approx(-0.5)


def test_every_weight_of_the_critic_is_clipped_and_none_of_the_generator():
    model = WGAN((2,), clip_value=0.01, lr=1e-3, d_steps=1)
    fit(model, loader(torch.randn(32, 2)), steps=2)
    assert max(p.abs().max().item() for p in model.discriminator.parameters()) <= 0.01
    assert max(p.abs().max().item() for p in model.generator.parameters()) > 0.01
    with pytest.raises(ValueError, match="clip_value must be positive, got 0"):
        WGAN((2,), clip_value=0)


class MinimaxGAN(GAN):
    loss = minimax


@pytest.mark.claim
@pytest.mark.parametrize("seed", [0, *(pytest.param(s, marks=pytest.mark.slow) for s in (1, 2))])
def test_the_gain_rises_with_the_distance_of_parallel_lines(seed, measured):
    """Example 1. Of Goodfellow's divergence nothing but log 2 is ever seen."""
    torch.manual_seed(seed)
    gains, slopes = [], []
    for theta in THETAS:
        model, slope = on_lines(WGAN, theta, clip_value=0.05, lr=5e-4)
        gains.append(model.wasserstein_estimate(data(1000)).item())
        slopes.append(-slope)
    blind, flat = on_lines(MinimaxGAN, 1.0, lr=5e-3)
    scores = blind.score(data(1000)), blind.score(*blind.fake(torch.zeros(1000, 1)))
    divergence = np.log(2) - minimax.discriminator(*scores).item() / 2
    nearer = None
    for theta, gain in zip(THETAS, gains, strict=True):
        nearer = measured(f"gain at distance {theta:g}", gain, above=nearer)
    measured("correlation with the distance", np.corrcoef(gains, THETAS)[0, 1], above=0.9)
    least = measured("least of its slopes", min(np.abs(slopes)))
    measured("greatest of its slopes", max(np.abs(slopes)), below=4 * least)
    measured("divergence at any distance (log 2)", divergence, near=np.log(2), within=0.02)
    measured("slope of the divergence", abs(flat), below=0.05 * least)
