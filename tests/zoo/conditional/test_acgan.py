"""The second head: what it costs, what it is told, and samples that are named as asked."""

import math

import pytest
import torch
from torch import nn
from torch.nn.functional import avg_pool2d, interpolate

from genzoo.datamodules import Digits
from genzoo.protocols import Classifier, Decoder, Interpolator, Sampler
from genzoo.zoo import ACGAN, CGAN
from tests.helpers.conditional_digits import Judge, played, split, spread
from tests.helpers.tiny import Tiny

TINY = Tiny(
    ACGAN,
    {"latent_dim": 4, "width": 16},
    {Sampler, Decoder, Interpolator, Classifier},
    needs_classes=True,
)


def undecided(**settings) -> ACGAN:
    """Its discriminator says nothing of anything."""
    model = ACGAN((1, 4, 4), 5, width=8, latent_dim=2, **settings)
    for head in model.discriminator.heads.values():
        nn.init.zeros_(head.weight)
        nn.init.zeros_(head.bias)
    return model


@pytest.mark.parametrize("weight", [1.0, 0.25])
def test_ignorance_costs_log_4_and_a_log_of_the_classes_for_each_source(weight):
    model = undecided(class_weight=weight)
    batch = torch.rand(8, 1, 4, 4), torch.arange(8) % 5
    expected = math.log(4) + weight * 2 * math.log(5)
    assert model.discriminator_loss(batch).item() == pytest.approx(expected)
    expected = math.log(2) + weight * math.log(5)
    assert model.generator_loss(batch).item() == pytest.approx(expected)
    torch.testing.assert_close(model.predict_proba(batch[0]), torch.full((8, 5), 0.2))


def test_both_players_want_samples_to_be_named_by_the_label_they_were_made_from():
    model = undecided()
    batch = torch.rand(6, 1, 4, 4), torch.full((6,), 3)
    head = model.discriminator.heads["classes"]
    for loss in (model.discriminator_loss, model.generator_loss):
        before = loss(batch).item()
        head.bias.data[3] += 1
        assert loss(batch).item() < before
        head.bias.data[3] -= 1


def test_the_discriminator_is_not_told_the_class():
    model = ACGAN((1, 4, 4), 5, width=8, latent_dim=2)
    told = CGAN((1, 4, 4), 5, width=8, latent_dim=2).discriminator.body[0].in_features
    assert model.discriminator.body.body[0].in_features == 16 == told - 5
    x = torch.rand(2, 1, 4, 4)
    assert torch.equal(model.score(x), model.score(x, torch.tensor([0, 1])))
    assert isinstance(model, Classifier) and not isinstance(CGAN((1, 4, 4), 5), Classifier)


def resized(x: torch.Tensor, times: int) -> torch.Tensor:
    """Taken down in resolution and up again."""
    return interpolate(avg_pool2d(x, times), scale_factor=times, mode="nearest")


@pytest.mark.claim
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_samples_are_named_as_asked_and_need_their_resolution(seed, measured):
    """Sec. 4.1, beside the conditional GAN with the same networks and steps."""
    agree, within = {}, {}
    data, asked = Digits(seed=seed), torch.arange(1000) % 10
    judge = Judge(data)
    for kind in (ACGAN, CGAN):
        torch.manual_seed(seed)
        model = kind((1, 8, 8), 10, latent_dim=16, width=128, lr=1e-3)
        drawn = played(model, data, 8).sample(1000, asked)
        agree[kind.__name__] = judge.agrees(drawn, asked)
        within[kind.__name__] = spread(drawn, asked)
        if kind is ACGAN:
            coarse = [judge.agrees(resized(drawn, times), asked) for times in (2, 4)]
            x, y = split(data, "test")
            names = (model.predict_proba(x).argmax(1) == y).float().mean().item()
    print(f"as asked {agree}, at 1/2 and 1/4 of the side {coarse}, names data {names:.3f}")
    print(f"variance within a class {within}, of data {spread(*split(data, 'train')):.3f}")
    told = measured("samples as asked", agree["ACGAN"], above=0.95)
    measured("a conditional GAN's, of the same networks", agree["CGAN"], below=told)
    measured("at half of the side", coarse[0], below=told - 0.03)
    measured("at a quarter of the side", coarse[1], below=told - 0.1)
    measured("held-out digits named by D", names, above=0.9)
