"""Pairs: what they cost, who sees which belongs to which, and an encoder that inverts."""

import math

import pytest
import torch
from torch import nn

from genzoo.protocols import Decoder, Encoder, Interpolator, Sampler
from genzoo.zoo import BiGAN
from tests.helpers.digits import inverted
from tests.helpers.game_loop import moved_by_each
from tests.helpers.tiny import Tiny
from tests.helpers.training import bits, loader, trainer

TINY = Tiny(
    BiGAN,
    {"latent_dim": 3, "width": 16, "pair_width": 16},
    {Sampler, Decoder, Interpolator, Encoder},
)


class Undecided(nn.Module):
    def forward(self, x, z, *label):
        return 0 * x.flatten(1).sum(1) + 0 * z.sum(1)


def test_an_undecided_discriminator_costs_both_sides_log_4():
    model = BiGAN((1, 8, 8), width=8)
    model.discriminator = Undecided()
    batch = bits(6), torch.arange(6)
    assert model.discriminator_loss(batch).item() == pytest.approx(math.log(4))
    assert model.generator_loss(batch).item() == pytest.approx(math.log(4))


def test_losses_are_those_of_the_paper():
    """-log D(x, E(x)) - log(1 - D(G(z), z)), and the same with the two exchanged."""
    model = BiGAN((1, 8, 8), width=8, latent_dim=3).double().eval()
    x, z = bits(6).double(), torch.rand(6, 3).double()
    model.prior = lambda n: z
    d_real = model.discriminator(x, model.encoder(x)).sigmoid()
    d_fake = model.discriminator(model.generator(z), z).sigmoid()
    batch = x, torch.arange(6)
    paid = -(d_real.log() + (1 - d_fake).log()).mean()
    assert model.discriminator_loss(batch).item() == pytest.approx(paid.item())
    paid = -(d_fake.log() + (1 - d_real).log()).mean()
    assert model.generator_loss(batch).item() == pytest.approx(paid.item())


def test_each_turn_moves_its_own():
    model = BiGAN((1, 8, 8), width=8, latent_dim=3)
    batch = bits(6), torch.arange(6)
    parts = {
        "discriminator": {"discriminator"},
        "generator": {"generator", "encoder"},
    }
    assert moved_by_each(model, batch) == parts


def test_the_discriminator_sees_which_latent_belongs_to_which_image():
    """A score that were a sum of one of x and one of z would not change in sum."""
    score = BiGAN((1, 8, 8), width=16, latent_dim=3).eval().discriminator
    x, z = bits(2), torch.rand(2, 3) * 20
    assert (score(x, z).sum() - score(x, z.flip(0)).sum()).abs() > 1e-4


def test_an_image_has_one_code_in_training_too():
    model = BiGAN((1, 8, 8), width=16).train()
    assert torch.equal(model.encoder(bits(4)), model.encoder(bits(4)))


@pytest.mark.claim
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_only_an_inverse_fools_the_discriminator(seed, measured):
    """Thm 2, where G is the identity: E = 1 cannot be told, E = -1 can, as a pair only.

    Images and latents are uniform on a square, so each by itself has the same law in all cases.
    """
    torch.manual_seed(seed)

    def cost(sign):
        class Known(BiGAN):
            def code(self, x):
                return sign * x

            def fake(self, z, *condition):
                return z, z

        model = Known((2,), latent_dim=2, width=32, pair_width=32, lr=2e-3, d_steps=10**6)
        points = torch.rand(64 * 200, 2) * 2 - 1
        trainer(max_epochs=1).fit(model, loader(points, batch_size=64))
        with torch.no_grad():
            return model.discriminator_loss((model.prior(4000), None)).item()

    inverse, reversed_ = cost(1), cost(-1)
    measured("cost of D, the inverse (log 4)", inverse, above=math.log(4) - 0.02)
    measured("cost of D, another map of the same law", reversed_, below=math.log(4) / 2)


@pytest.mark.claim
@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_an_encoder_that_saw_no_pair_has_features_of_digits(seed, measured):
    """Sec. 4.1: better ones than an untrained encoder's, on codes spread as the prior.

    How often a digit comes back as the same digit is recorded and not asserted: in 2,000 steps it
    was found in 0.48, 0.36 and 0.23 of cases (seeds 0, 1, 2), where 0.45 was looked for.
    """
    same, again, untrained, trained, spread = inverted(BiGAN, seed)
    measured("1-NN on codes, before training", untrained)
    measured("1-NN on codes", trained, above=untrained + 0.04)
    measured("standard deviation of codes, less the prior's", spread, near=0, within=0.2)
    measured("digits that come back as themselves", same)
    measured("correlation of latents with those of their samples", again)
