"""Table 2 by its definition, the bound by quadrature, and what each divergence prefers."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from genzoo.protocols import Decoder, Interpolator, Sampler
from genzoo.zoo import FGAN
from genzoo.zoo.gan.f_gan import DIVERGENCES, divergence_of
from tests.helpers.fixed_generator import GRID, against, gaussian
from tests.helpers.tiny import Tiny
from tests.helpers.training import loader, trainer

TINY = Tiny(FGAN, {"latent_dim": 4, "width": 16}, {Sampler, Decoder, Interpolator})


ALL = [*((name, 0.5) for name in DIVERGENCES), ("weighted_jensen_shannon", 0.3)]
ALL += [("alpha", 0.5), ("alpha", 2.0)]
each = pytest.mark.parametrize(("name", "number"), ALL)


@each
def test_conjugates_are_conjugates(name, number):
    """f*(f'(u)) = u f'(u) - f(u), with f' by differentiation and g_f inverted by bisection."""
    divergence = divergence_of(name, pi=number, alpha=number)
    u = torch.linspace(0.2, 4, 50, dtype=torch.double, requires_grad=True)
    f = divergence.f(u)
    (t,) = torch.autograd.grad(f.sum(), u)
    low, high = torch.full_like(u, -40.0), torch.full_like(u, 40.0)
    for _ in range(100):
        middle = (low + high) / 2
        below = divergence.activation(middle) < t
        low, high = torch.where(below, middle, low), torch.where(below, high, middle)
    reached = (divergence.activation(low) - t).abs() < 1e-9
    assert reached.all() or name == "total_variation"  # whose f' jumps from -1/2 to 1/2
    torch.testing.assert_close(divergence.conjugate(low), u * t - f)


@each
def test_activations_rise_and_nothing_overflows(name, number):
    divergence = divergence_of(name, pi=number, alpha=number)
    v = torch.linspace(-20, 20, 401)
    assert (divergence.activation(v).diff() >= 0).all()
    assert torch.isfinite(divergence.activation(v)).all()
    assert torch.isfinite(divergence.conjugate(v)).all()


def exact(name: str, number: float, p: np.ndarray, q: np.ndarray) -> float:
    ratio = torch.tensor(p / q)
    inner = np.abs(GRID) < 6  # beyond, q is too small to divide by, and p and q f are nothing
    f = divergence_of(name, pi=number, alpha=number).f(ratio).numpy()
    return float(np.trapezoid((q * f)[inner], GRID[inner]))


@pytest.mark.claim
@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("name", ["kl", "reverse_kl", "hellinger", "jensen_shannon"])
def test_the_bound_is_tight_at_the_best_discriminator(name, seed, measured):
    """Eq. 6 between N(0, 1) and N(1, 1)."""
    torch.manual_seed(seed)
    model, score = against(FGAN, 1.0, 1.0, steps=400, lr=1e-3, divergence=name)
    p, q = gaussian(0, 1), gaussian(1, 1)
    v = torch.tensor(score)
    activation, conjugate = model.divergence.activation(v), model.divergence.conjugate(v)
    found = np.trapezoid(p * activation.numpy() - q * conjugate.numpy(), GRID)
    truth = exact(name, 0.5, p, q)
    print(f"{name}: {found:.4f} of {truth:.4f}")
    tight = f"{name}: bound over the exact divergence"
    measured(tight, found / truth, above=0.95, below=1 + 1e-4)


class Shift(nn.Module):
    """G(z) = mu + sigma z (sec. 4.1)."""

    def __init__(self, image_shape, latent_dim, num_classes, width):
        super().__init__()
        self.mu, self.log_sigma = nn.Parameter(torch.zeros(1)), nn.Parameter(torch.zeros(1))

    def forward(self, z):
        return self.mu + self.log_sigma.exp() * z


class OneGaussian(FGAN):
    Generator = Shift

    def prior(self, n):
        return torch.randn(n, 1)

    def schedule(self, player, optimizer):
        return torch.optim.lr_scheduler.LambdaLR(optimizer, lambda n: 1.0 if n < 900 else 0.2)


def fitted(name: str, seed: int) -> tuple[float, float]:
    """mu and sigma of the Gaussian nearest to 1/2 N(-1, 0.5^2) + 1/2 N(2, 1)."""
    torch.manual_seed(seed)
    model = OneGaussian(
        (1,), latent_dim=1, width=64, lr=3e-3, divergence=name, trick=False, clip_norm=10.0
    )
    kept = []

    def keep(*_):
        if model.trainer.global_step > 1000:
            kept.append((model.generator.mu.item(), model.generator.log_sigma.exp().item()))

    model.on_train_batch_end = keep
    first = torch.rand(512 * 1500, 1) < 0.5
    z = torch.randn(512 * 1500, 1)
    x = torch.where(first, -1 + 0.5 * z, 2 + z)
    trainer(max_epochs=1).fit(model, loader(x, batch_size=512))
    return tuple(np.mean(kept, axis=0))


@pytest.mark.claim
@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_kl_covers_both_modes_and_reverse_kl_seeks_one(seed, measured):
    """Table 3's order: mu rises and sigma falls from KL over Jensen-Shannon to reverse KL."""
    mus, sigmas = zip(
        *(fitted(n, seed) for n in ("kl", "jensen_shannon", "reverse_kl")), strict=True
    )
    measured("fitted to two modes by KL: mu", mus[0], near=0.5, within=0.08)
    measured("by Jensen-Shannon: mu", mus[1], above=mus[0], below=mus[2])
    measured("by reverse KL: mu", mus[2])
    measured("fitted to two modes by KL: sigma", sigmas[0], near=1.696, within=0.08)
    measured("by Jensen-Shannon: sigma", sigmas[1], above=sigmas[2], below=sigmas[0])
    measured("by reverse KL: sigma", sigmas[2])


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"divergence": "chi"}, "divergence must be one of total_variation, kl, .*, got 'chi'"),
        ({"divergence": "weighted_jensen_shannon", "pi": 1.0}, r"pi must be in \(0, 1\), got 1.0"),
        ({"divergence": "alpha", "alpha": 1.0}, "alpha must be neither 0 nor 1"),
    ],
)
def test_impossible_divergences_are_refused(setting, message):
    with pytest.raises(ValueError, match=message):
        FGAN((2,), **setting)


def test_an_undecided_discriminator_costs_goodfellows_log_4():
    loss = FGAN((2,), divergence="gan").loss
    assert loss.discriminator(torch.zeros(4), torch.zeros(4)).item() == pytest.approx(math.log(4))
