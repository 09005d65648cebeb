"""Failures of a game are named on runs that fail on purpose, and not on those that do well."""

import warnings

import pytest
import torch
from sklearn.datasets import load_digits

from genzoo.callbacks import GameMonitor
from genzoo.callbacks.game_monitor import told_apart
from genzoo.zoo.gan import GAN
from genzoo.zoo.variational import VAE
from tests.helpers.training import bits, fit, loader, trainer


def digits():
    return torch.tensor(load_digits().images, dtype=torch.float32)[:, None] / 8 - 1


def ring(n=6400, away=0.0):
    angle = torch.randint(8, (n,)) * torch.pi / 4
    return torch.stack([angle.cos(), angle.sin()], 1) + 0.05 * torch.randn(n, 2) + away


class Handicap(GAN):
    """The discriminator learns so many times as fast."""

    factor = 1.0

    def optimizer(self, player):
        optimizer = super().optimizer(player)
        if player.name == "discriminator":
            optimizer.param_groups[0]["lr"] *= self.factor
        return optimizer


def watched(model, images, steps, every=50):
    monitor = GameMonitor(every_n_steps=every)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        runner = trainer(max_epochs=-1, max_steps=steps, callbacks=[monitor])
        runner.fit(model, loader(images, 64))
    said = [str(w.message) for w in said if str(w.message).startswith("step ")]
    assert len(said) == len(monitor.named)
    return {failure for failure, _ in monitor.named}, runner, said


@pytest.mark.parametrize(
    ("real", "fake", "share"),
    [([1.0, 2.0], [0.0, 0.5], 1.0), ([1.0, 1.0], [1.0, 1.0], 0.5), ([0.0, 3.0], [1.0, 2.0], 0.5)],
)
def test_told_apart_is_the_area_under_the_curve(real, fake, share):
    assert told_apart(torch.tensor(real), torch.tensor(fake)) == share


@pytest.mark.claim
def test_a_discriminator_that_starves_the_generator_is_named(measured):
    Handicap.factor = 100.0
    starving = Handicap((1, 8, 8), network="conv", width=8, saturating=True, d_steps=3, lr=1e-4)
    named, runner, said = watched(starving, digits(), 200)
    assert named == {"discriminator too good"}
    apart = runner.callback_metrics["game/told_apart"].item()
    measured("told apart by a discriminator 100 times as fast", apart, above=0.99)
    assert "hardly a gradient left" in said[0] and "step 200: discriminator too good" in said[0]
    torch.manual_seed(0)  # the other loss learns against the same opponent
    fed = Handicap((1, 8, 8), network="conv", width=8, d_steps=3, lr=1e-4)
    assert "discriminator too good" not in watched(fed, digits(), 200)[0]


@pytest.mark.claim
def test_a_discriminator_that_does_not_learn_is_named(measured):
    Handicap.factor = 0.0
    named, runner, _ = watched(Handicap((1, 8, 8), width=64), digits(), 400)
    assert "discriminator too bad" in named
    offset = runner.callback_metrics["game/offset"].item()
    measured("offset, of a discriminator that does not learn", offset, above=0.5)


@pytest.mark.claim
def test_a_collapse_is_named(measured):
    model = GAN((2,), latent_dim=8, width=64, lr=1e-3, g_steps=20)
    named, runner, _ = watched(model, ring(), 1500, every=100)
    assert "collapse" in named
    spread = runner.callback_metrics["game/spread"].item()
    measured("spread of a collapsed generator, over that of data", spread, below=0.2)


@pytest.mark.claim
def test_a_game_that_goes_round_is_named_and_one_that_is_damped_is_not():
    settings = dict(latent_dim=8, width=64, lr=1e-3)
    assert watched(GAN((2,), **settings), ring(), 700)[0] == {"oscillation"}
    torch.manual_seed(0)
    assert watched(GAN((2,), r1=1.0, **settings), ring(), 700)[0] == set()


@pytest.mark.claim
def test_nothing_is_named_where_nothing_fails():
    assert watched(GAN((1, 8, 8), width=64), digits(), 600)[0] == set()


def test_looks_leave_the_training_as_it_is():
    weights = []
    for callbacks in ([], [GameMonitor(every_n_steps=1, patience=9)]):
        torch.manual_seed(0)
        model = GAN((1, 8, 8), width=16, d_steps=2)
        fit(model, loader(bits(64)), 5, callbacks=callbacks)
        weights.append(torch.cat([p.flatten() for p in model.parameters()]))
    assert torch.equal(*weights)


def test_looks_count_the_generators_moves():
    monitor = GameMonitor(every_n_steps=2)
    runner = fit(GAN((1, 8, 8), width=16, d_steps=3), loader(bits(64)), 6, callbacks=[monitor])
    assert [look["step"] for look in monitor._looks] == [2, 4, 6]
    names = ("told_apart", "gradient", "offset", "spread", "swing")
    assert {f"game/{name}" for name in names} <= set(runner.callback_metrics)


def test_classes_are_looked_at_by_their_labels():
    monitor = GameMonitor(every_n_steps=1)
    fit(GAN((1, 8, 8), 3, width=16), loader(bits(64)), 2, callbacks=[monitor])
    assert len(monitor._looks) == 2


def test_what_is_no_game_is_passed_over():
    monitor = GameMonitor(every_n_steps=1)
    fit(VAE((1, 8, 8), width=16), loader(bits(64)), 2, callbacks=[monitor])
    assert not monitor._looks


@pytest.mark.parametrize("batch", [torch.rand(4, 1, 8, 8), {"x": 1}, [torch.rand(1, 1, 8, 8)] * 2])
def test_somebodys_own_batches_are_passed_over(batch):
    class Now:
        global_step = 1

    monitor = GameMonitor(every_n_steps=1)
    monitor.on_train_batch_end(Now(), GAN((1, 8, 8), width=8), None, batch, 0)
    assert not monitor._looks


@pytest.mark.parametrize("name", ["every_n_steps", "patience"])
def test_bad_settings(name):
    with pytest.raises(ValueError, match=f"{name} must be at least 1, got 0"):
        GameMonitor(**{name: 0})
    with pytest.raises(ValueError, match="count must be at least 2, got 1"):
        GameMonitor(count=1)
