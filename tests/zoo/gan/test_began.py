"""The control by hand; in play it holds gamma, and gamma is a dial of diversity."""

import numpy as np
import pytest
import torch

from genzoo.protocols import Decoder, Interpolator, Sampler
from genzoo.zoo import BEGAN
from tests.helpers.game_loop import play
from tests.helpers.tiny import Tiny
from tests.helpers.training import bits, fit, loader

TINY = Tiny(BEGAN, {"latent_dim": 4, "width": 16, "code_dim": 4}, {Sampler, Decoder, Interpolator})


@pytest.mark.parametrize(
    ("k", "real", "fake", "after", "measure"),
    [
        (0.2, 1.0, 0.3, 0.22, 1.2),  # samples too cheap: heed them more
        (0.2, 1.0, 0.9, 0.16, 1.4),  # too dear: less
        (0.2, 1.0, 0.5, 0.2, 1.0),  # in balance
        (0.01, 1.0, 0.9, 0.0, 1.4),
        (0.99, 1.0, 0.0, 1.0, 1.5),
    ],
)
def test_the_control_by_hand(k, real, fake, after, measure):
    model = BEGAN((1, 8, 8), width=8, diversity=0.5, control_rate=0.1)
    model.k.fill_(k)
    found = model.balance(torch.tensor(real), torch.tensor(fake))
    assert model.k.item() == pytest.approx(after)
    assert found.item() == pytest.approx(measure)


def test_losses_by_hand():
    model = BEGAN((1, 8, 8), width=8, control_rate=0.1)
    x = bits(6)
    error = (model.reconstruct(x) - x).abs().mean().item()
    assert -model.score(x).mean().item() == pytest.approx(error)
    assert model.discriminator_loss((x, None)).item() == pytest.approx(error)  # k starts at 0
    model.k.fill_(0.5)
    torch.manual_seed(0)
    paid = model.discriminator_loss((x, None)).item()
    torch.manual_seed(0)
    drawn = model.generator(model.prior(6))
    assert paid == pytest.approx(error + 0.5 * model.score(drawn).mean().item())
    torch.manual_seed(0)
    cost = model.generator_loss((x, None)).item()
    assert cost == pytest.approx(-model.score(drawn).mean().item())
    assert model.k.item() == pytest.approx(0.5 + 0.1 * (0.5 * error - cost), abs=1e-6)


@pytest.mark.parametrize(("network", "side"), [("mlp", 8), ("conv", 16), ("conv", 28)])
def test_networks_are_plain_and_play(network, side):
    model = BEGAN((1, side, side), num_classes=3, width=8, network=network, ema_decay=0.9)
    kinds = {type(module).__name__ for module in model.modules()}
    assert "ELU" in kinds
    assert not kinds & {"BatchNorm1d", "BatchNorm2d", "ReLU", "LeakyReLU", "Tanh", "Dropout"}
    assert model.sample(4).shape == (4, 1, side, side)
    assert model.generator(model.prior(64), torch.arange(64) % 3).std() > 0.01


def test_the_balance_is_kept_in_checkpoints(tmp_path):
    model = BEGAN((1, 8, 8), width=16, control_rate=0.5)
    path = tmp_path / "m.ckpt"
    fit(model, loader(bits(24)), steps=3).save_checkpoint(path)
    assert 0 < model.k <= 1
    assert torch.equal(BEGAN.load_from_checkpoint(path, weights_only=True).k, model.k)
    assert {"convergence", "k"} <= set(model.trainer.callback_metrics)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"diversity": 0.0}, r"diversity must be in \(0, 1\], got 0.0"),
        ({"control_rate": 0.0}, "control_rate must be positive, got 0.0"),
        ({"network": "residual"}, "network must be one of auto, own, mlp, conv, got 'residual'"),
        ({"saturating": True}, "saturating must be False: BEGAN has its own loss"),
    ],
)
def test_impossible_settings_are_refused(setting, message):
    with pytest.raises(ValueError, match=message):
        BEGAN((1, 16, 16), **setting)


def played(seed: int, diversity: float, control_rate: float, steps: int = 600):
    """Ratio of costs in the last half, every k, and the mean distance of two samples.

    The data are eight Gaussian numbers; the code holds two, so that they never come back whole.
    """
    torch.manual_seed(seed)
    model = BEGAN(
        (8,),
        diversity=diversity,
        control_rate=control_rate,
        latent_dim=8,
        code_dim=2,
        width=32,
        lr=2e-3,
    )
    costs, ks, balance = [], [], model.balance

    def watched(real, fake):
        costs.append((real.item(), fake.item()))
        measure = balance(real, fake)
        ks.append(model.k.item())
        return measure

    model.balance = watched
    play(model, lambda n: torch.randn(n, 8), steps)
    real, fake = np.mean(costs[steps // 2 :], axis=0)
    return fake / real, ks, torch.pdist(model.sample(500)).mean().item()


@pytest.mark.claim
@pytest.mark.slow
def test_the_ratio_of_costs_is_held_and_is_a_dial_of_diversity(measured):
    """Sec. 3.3. Without control samples become as cheap as can be: all alike."""
    rows = []
    for seed in (0, 1, 2):
        row = []
        for diversity, rate in ((0.3, 0.01), (0.7, 0.01), (0.7, 1e-9)):
            ratio, ks, spread = played(seed, diversity, rate)
            assert 0 <= min(ks) and max(ks) <= 1
            row += [ratio, spread]
        rows.append(row)
    low, near, high, far, free, alike = zip(*rows, strict=True)
    measured.median("ratio of costs at gamma 0.3", low, near=0.3, within=0.1)
    measured.median("ratio of costs at gamma 0.7", high, near=0.7, within=0.1)
    off = abs(measured.median("ratio at 0.7 without control", free) - 0.7)
    measured("its median off from 0.7 by", off, above=0.2)
    least = 1.2 * max(
        measured.median("spread of samples at gamma 0.3", near),
        measured.median("spread at 0.7 without control", alike),
    )
    measured.median("spread of samples at gamma 0.7", far, above=least)
