"""Codes that take the shape of a prior, whatever it is."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from genzoo.datamodules import Digits
from genzoo.zoo import AAE
from genzoo.zoo.inference.aae import petals, swiss_roll
from tests.toys import bits, fit
from tests.zoo.digits import classes, digits, distance, energy_distance


def test_petals_by_their_moments():
    for part, turn in ((0, 0.0), (3, 2 * math.pi * 3 / 8)):
        z = petals(torch.full((50_000,), float(part)), parts=8)
        axis = torch.tensor([math.cos(turn), math.sin(turn)])
        across = torch.tensor([-math.sin(turn), math.cos(turn)])
        torch.testing.assert_close(z.mean(0), 1.5 * axis, atol=0.01, rtol=0)
        assert (z @ axis).std().item() == pytest.approx(0.5, rel=0.03)
        assert (z @ across).std().item() == pytest.approx(0.1, rel=0.03)


def test_a_roll_is_a_spiral_with_its_parts_one_after_the_other():
    part = torch.arange(4.0).repeat_interleave(1000)
    z = swiss_roll(part, parts=4)
    radius = z.norm(dim=1)
    angle = 2 * math.pi * radius  # two turns until radius 2
    torch.testing.assert_close(z[:, 0], radius * angle.cos(), atol=1e-3, rtol=0)
    inner, outer = (radius / 2).square().view(4, -1).aminmax(dim=1)
    assert (inner >= torch.arange(4) / 4 - 1e-5).all()
    assert (outer <= torch.arange(1, 5) / 4 + 1e-5).all()


def test_a_class_has_its_own_part_and_other_entries_are_gaussian():
    model = AAE((1, 8, 8), num_classes=4, prior="petals", latent_dim=4, width=8)
    y = torch.arange(4).repeat(5000)
    z = model.prior(len(y), y)
    turn = torch.atan2(z[:, 1], z[:, 0]) / (math.pi / 2)
    assert (turn.round().remainder(4) == y).float().mean() > 0.99
    torch.testing.assert_close(z[:, 2:].T.cov(), torch.eye(2), atol=0.05, rtol=0)
    assert model.generator.num_classes == 0  # a code says all


def test_the_prior_is_what_the_discriminator_takes_for_real():
    """Not the codes, as one who thinks of images might have it."""
    model = AAE((1, 8, 8), width=8, latent_dim=3)

    class IsCode(nn.Module):
        def forward(self, z):
            return torch.where((z == 7).all(1), -9.0, 9.0)

    model.discriminator = IsCode()
    model.encoder.forward = lambda x, y: torch.full((len(x), 3), 7.0)
    batch = bits(6), torch.arange(6)
    assert model.discriminator_loss(batch).item() == pytest.approx(0, abs=1e-3)
    assert model.generator_loss(batch).item() == pytest.approx(9, abs=1e-3)


def test_three_players_move_their_own():
    model = AAE((1, 8, 8), num_classes=3, width=8, latent_dim=3)
    expected = {
        "reconstruction": {"encoder", "generator"},
        "discriminator": {"discriminator"},
        "encoder": {"encoder"},
    }
    batch = bits(6), torch.arange(6) % 3
    assert [player.name for player in model.players()] == list(expected)
    for player in model.players():
        before = {name: p.clone() for name, p in model.named_parameters()}
        model.zero_grad()
        optimizer = model.optimizer(player)
        player.loss(batch).backward()
        optimizer.step()
        moved = {n.split(".")[0] for n, p in model.named_parameters() if (p != before[n]).any()}
        assert moved == expected[player.name]


def test_a_checkpoint_knows_whom_it_told(tmp_path):
    model = AAE((1, 8, 8), num_classes=3, prior="petals", latent_dim=2, width=8)
    from tests.toys import loader

    fit(model, loader(bits(8)), steps=1).save_checkpoint(tmp_path / "m.ckpt")
    loaded = AAE.load_from_checkpoint(tmp_path / "m.ckpt", weights_only=True)
    assert loaded.num_classes == 3 and loaded.encoder.body.body.num_classes == 0
    assert torch.equal(loaded.reconstruct(bits(4)), model.reconstruct(bits(4)))


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"prior": "torus"}, "prior must be one of gaussian, petals, swiss_roll, got 'torus'"),
        ({"prior": "petals", "latent_dim": 1}, "latent_dim must be at least 2 for petals, got 1"),
    ],
)
def test_impossible_settings_are_refused(setting, message):
    with pytest.raises(ValueError, match=message):
        AAE((1, 8, 8), **setting)


class Plain(AAE):
    """The autoencoder that is left when nobody looks at codes."""

    def players(self):
        return super().players()[:1]


def learned(model_class, seed, **settings):
    torch.manual_seed(seed)
    model = model_class((1, 8, 8), latent_dim=2, width=256, lr=1e-3, **settings)
    told = "num_classes" in settings
    fit(model, Digits(batch_size=128, conditional=told), steps=STEPS, limit_val_batches=0)
    return model


STEPS = 1000


@pytest.mark.claim
@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_codes_follow_the_prior_at_no_cost_to_images(seed):
    """Sec. 2, beside an autoencoder of the same networks whose codes nobody looks at."""
    _, _, unseen, _ = digits()

    def measured(model):
        apart = energy_distance(model.encode(unseen), model.prior(2000))
        error = (model.reconstruct(unseen) - unseen).square().mean().item()
        return apart, distance(model.sample(1297)), error

    held, plain = measured(learned(AAE, seed)), measured(learned(Plain, seed))
    floor = energy_distance(torch.randn(500, 2), torch.randn(2000, 2))
    print("energy distance, Frechet distance, error:", np.round(held, 4), np.round(plain, 4))
    print(f"energy distance of as many draws {floor:.4f}")
    assert held[0] < min(0.03, 0.05 * plain[0])
    assert held[1] < 0.25 * plain[1]
    assert held[2] < 1.1 * plain[2]


@pytest.mark.claim
@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_each_class_goes_where_it_is_told(seed):
    """Sec. 2.3: ten petals for ten digits, though encoder and decoder are not told the class."""
    _, _, unseen, labels = digits()
    model = learned(AAE, seed, num_classes=10, prior="petals")
    z = model.encode(unseen)
    petal = (torch.atan2(z[:, 1], z[:, 0]) / (2 * math.pi / 10)).round().remainder(10)
    there = (petal == labels).float().mean().item()
    y = torch.arange(10).repeat(100)
    drawn = (classes(model.sample(1000, y)) == y).float().mean().item()
    print(f"codes in the petal of their class {there:.3f}, samples of their class {drawn:.3f}")
    assert there > 0.8
    assert drawn > 0.9
