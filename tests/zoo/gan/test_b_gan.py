"""Bregman's loss by f-GAN's bound, and the ratio of two Gaussians."""

import numpy as np
import pytest
import torch

from genzoo.datamodules.toys import Toy, mode_coverage
from genzoo.protocols import Decoder, Interpolator, Sampler
from genzoo.zoo import BGAN
from genzoo.zoo.gan.b_gan import bregman, f_divergence, minus_ratio
from genzoo.zoo.gan.f_gan import DIVERGENCES, minus_bound
from genzoo.zoo.gan.gan import cross_entropy
from tests.helpers.fixed_generator import GRID, gaussian
from tests.helpers.tiny import Tiny
from tests.helpers.training import trainer

TINY = Tiny(BGAN, {"latent_dim": 4, "width": 16}, {Sampler, Decoder, Interpolator})


# The raw score v of f-GAN at which g_f(v) = f'(exp(s)).
SCORES = {
    "kl": lambda s: s + 1,
    "reverse_kl": lambda s: s,
    "pearson": lambda s: 2 * torch.expm1(s),
    "neyman": lambda s: 2 * s,
    "hellinger": lambda s: s / 2,
    "jeffrey": lambda s: s,
    "jensen_shannon": lambda s: s,
    "gan": lambda s: s,
}


@pytest.mark.parametrize("name", SCORES)
def test_the_loss_is_minus_f_gans_bound(name):
    real, fake = torch.randn(2, 32, dtype=torch.double)
    divergence, v = DIVERGENCES[name], SCORES[name]
    found = bregman(real, fake, divergence.f, relative=0.0)
    torch.testing.assert_close(found, minus_bound(v(real), v(fake), divergence))


def test_losses_by_hand():
    half_square = lambda r: (r - 1).square() / 2  # noqa: E731
    real, fake = torch.tensor([2.0, 4.0]).log(), torch.tensor([1.0, 3.0]).log()
    plain = (1 + 9) / 4 - 3  # E_z[r^2] / 2 - E_x[r]
    found = bregman(real, fake, half_square, relative=0.0).item()
    assert found == pytest.approx(plain + 0.5)  # (r - 1) r - (r - 1)^2 / 2 is (r^2 - 1) / 2
    mixed = 0.2 * (4 + 16) / 4 + 0.8 * (1 + 9) / 4 - 3
    assert bregman(real, fake, half_square, relative=0.2).item() == pytest.approx(mixed + 0.5)
    assert f_divergence(fake, half_square).item() == pytest.approx((0 + 4) / 4)
    assert minus_ratio(fake).item() == pytest.approx(-2)
    assert bregman(real, fake, DIVERGENCES["gan"].f, 0.0).item() == pytest.approx(
        cross_entropy(real, fake).item()
    )


@pytest.mark.parametrize("name", SCORES)
def test_far_scores_leave_gradients_finite(name):
    score = torch.tensor([-200.0, -30.0, 5.0], requires_grad=True)
    for loss in (bregman(score, score, DIVERGENCES[name].f, 0.2), minus_ratio(score)):
        (slope,) = torch.autograd.grad(loss, score)
        assert torch.isfinite(loss) and torch.isfinite(slope).all()


def estimated(seed: int, steps: int = 300, **settings) -> np.ndarray:
    """The ratio of N(0, 1) to N(1.5, 0.8^2) that a discriminator arrives at, on GRID."""
    torch.manual_seed(seed)
    model = BGAN((1,), width=64, **settings)
    optimizer = torch.optim.Adam(model.discriminator.parameters(), lr=5e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        x, fake = torch.randn(1024, 1), 1.5 + 0.8 * torch.randn(1024, 1)
        optimizer.zero_grad()
        model.loss.discriminator(model.discriminator(x), model.discriminator(fake)).backward()
        optimizer.step()
        schedule.step()
    return model.density_ratio(torch.tensor(GRID, dtype=torch.float32)[:, None]).double().numpy()


@pytest.mark.claim
@pytest.mark.parametrize("seeds", [(0,), pytest.param((0, 1, 2), marks=pytest.mark.slow)], ids=len)
def test_the_ratio_of_two_gaussians(seeds, measured):
    """KL's f finds p/q. Pearson's does not, for here r has no second moment; the relative one has.

    KL's loss has no variance either: of three seeds the median is judged.
    """
    p, q = gaussian(0, 1), gaussian(1.5, 0.8)
    seen = np.abs(GRID - 1.5) < 3.5 * 0.8  # beyond, there is not one sample in 2,000

    def mean(values: np.ndarray) -> float:
        return float(np.trapezoid((q * values)[seen], GRID[seen]))

    rows = []
    for seed in seeds:
        kl = estimated(seed, divergence="kl", relative=0.0)
        plain, relative = estimated(seed, relative=0.0), estimated(seed, relative=0.2)
        row = [mean(np.abs(found - p / q)) for found in (kl, plain)]
        row += [mean(np.abs(relative - p / (0.2 * p + 0.8 * q))), relative[seen].max(), mean(kl)]
        rows.append(row)
    kl, plain, relative, greatest, total = zip(*rows, strict=True)
    measured.median("error of the ratio, KL", kl, below=0.1)
    measured.median("mean ratio, KL", total, near=mean(p / q), within=0.05)
    measured.median("error of the ratio, Pearson (no second moment)", plain, above=0.3)
    measured.median("error of the relative ratio, Pearson", relative, below=0.05)
    measured.median("greatest relative ratio (at most 5)", greatest, below=5.1)


@pytest.mark.claim
@pytest.mark.slow
def test_ascending_the_ratio_finds_all_eight_gaussians(measured):
    data, found = Toy("ring", batch_size=256), []
    for seed in (0, 1, 2):
        torch.manual_seed(seed)
        model = BGAN((2,), latent_dim=8, width=128, lr=1e-3, ascend_ratio=True)
        trainer(max_epochs=9, limit_val_batches=0).fit(model, data)
        found.append(mode_coverage(model.sample(4000), data.centres, data.sigma))
    modes, near = zip(*found, strict=True)
    measured.median("Gaussians found of eight", modes, near=8, within=0)
    measured.median("samples at one of them", near)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"divergence": "total_variation"}, "divergence must be one of kl, .*'total_variation'"),
        ({"relative": 1.0}, r"relative must be in \[0, 1\), got 1.0"),
        ({"saturating": True}, "saturating must be False: BGAN has its own loss"),
    ],
)
def test_impossible_settings_are_refused(setting, message):
    with pytest.raises(ValueError, match=message):
        BGAN((2,), **setting)
