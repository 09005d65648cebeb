"""Least squares: the best discriminator, the divergence, and the pull on samples far away."""

import numpy as np
import pytest
import torch

from genzoo.protocols import Decoder, Interpolator, Sampler
from genzoo.zoo import LSGAN
from genzoo.zoo.gan.gan import non_saturating
from genzoo.zoo.gan.lsgan import least_squares
from tests.helpers.fixed_generator import GRID, against, gaussian
from tests.helpers.tiny import Tiny

TINY = Tiny(LSGAN, {"latent_dim": 4, "width": 16}, {Sampler, Decoder, Interpolator})


def test_losses_by_hand():
    payoff = least_squares(a=-1.0, b=1.0, c=0.0)
    real, fake = torch.tensor([1.0, 3.0]), torch.tensor([0.0, 2.0])
    assert payoff.discriminator(real, fake).item() == pytest.approx((0 + 4) / 4 + (1 + 9) / 4)
    assert payoff.generator(fake).item() == pytest.approx((0 + 4) / 4)


@pytest.mark.claim
def test_samples_far_beyond_the_boundary_are_pulled_back(measured):
    """Sec. 3.2: cross-entropy has forgotten a sample with a score of 5, squares have not."""
    pulls = []
    for payoff in (least_squares(), non_saturating):
        score = torch.tensor([5.0], requires_grad=True)
        payoff.generator(score).backward()
        pulls.append(score.grad.abs().item())
    squares, entropy = pulls
    measured("pull at a score of 5, of squares", squares, near=4, within=4e-6)
    measured("pull at a score of 5, of cross-entropy", entropy, near=0.0067, within=1e-4)


@pytest.mark.claim
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_generators_cost_is_a_pearson_divergence(seed, measured):
    torch.manual_seed(seed)
    _, score = against(LSGAN, 1.5, 0.8, steps=1200, lr=1e-3, a=-1.0, b=1.0, c=0.0)
    p, q = gaussian(0, 1), gaussian(1.5, 0.8)
    error = np.average(np.abs(score - (p - q) / (p + q)), weights=(p + q) / 2)
    divergence = np.trapezoid((p - q) ** 2 / (p + q), GRID)
    found = np.trapezoid(score**2 * (p + q), GRID)  # 2 C(G), over data and samples
    print(f"error of D {error:.4f}, chi^2 {found:.4f} for {divergence:.4f}")
    measured("error of D", error, below=0.05)
    measured("divergence", found, near=divergence, within=0.1 * divergence)


def test_labels_that_do_not_differ_are_refused():
    with pytest.raises(ValueError, match="a must be less than b, got 1.0 and 1.0"):
        LSGAN((2,), a=1.0)
    with pytest.raises(ValueError, match="saturating must be False: LSGAN has its own loss"):
        LSGAN((2,), saturating=True)
