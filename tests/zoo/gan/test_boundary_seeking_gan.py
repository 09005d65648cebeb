"""Reweighted likelihood against the sum over all images, and digits of bits."""

from itertools import product

import pytest
import torch
from torch import nn
from torch.nn.functional import cosine_similarity

from genzoo.protocols import Decoder, Interpolator, Sampler
from genzoo.zoo import BoundarySeekingGAN
from tests.helpers.digits import classes, digits, distance
from tests.helpers.game_loop import among, play
from tests.helpers.tiny import Tiny
from tests.helpers.training import bits, fit, loader

TINY = Tiny(
    BoundarySeekingGAN,
    {"latent_dim": 4, "width": 16},
    {Sampler, Decoder, Interpolator},
    variant={"binary": True},
)


def test_the_continuous_generator_aims_at_the_boundary():
    model = BoundarySeekingGAN((2,))
    score = torch.tensor([3.0, 0.0, -1.0], requires_grad=True)
    loss = model.loss.generator(score)
    (slope,) = torch.autograd.grad(loss, score)
    assert loss.item() == pytest.approx((9 + 0 + 1) / 6)
    assert slope.tolist() == pytest.approx([1.0, 0.0, -1 / 3])


class Coins(nn.Module):
    """The same three pixels for every z."""

    def __init__(self, image_shape, latent_dim, num_classes, width):
        super().__init__()
        self.logits = nn.Parameter(torch.randn(3))

    def forward(self, z):
        return (self.logits / 2).tanh().expand(len(z), 1, 1, 3)


class Ratio(nn.Module):
    """The best discriminator: log p/q, of 8 images and a q that it is told."""

    states = torch.tensor(list(product((-1.0, 1.0), repeat=3)))

    def __init__(self, image_shape, num_classes, width):
        super().__init__()
        self.p = nn.Parameter(torch.randn(8).softmax(0))
        self.q = torch.ones(8)

    def forward(self, x):
        index = ((x.flatten(1) + 1) / 2 @ torch.tensor([4.0, 2.0, 1.0])).long()
        return (self.p / self.q).log()[index]


class ThreePixels(BoundarySeekingGAN):
    Generator, Discriminator = Coins, Ratio


@pytest.mark.claim
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_weights_stand_in_for_the_data(seed, measured):
    """At the best D the gradient is that of the data's likelihood, whatever the generator is."""
    torch.manual_seed(seed)
    model = ThreePixels((1, 1, 3), binary=True, draws=2000)
    logits, states = model.generator.logits, (Ratio.states + 1) / 2
    log_g = (states * logits.sigmoid().log() + (1 - states) * (-logits).sigmoid().log()).sum(1)
    model.discriminator.q = log_g.detach().exp()
    exact = -(model.discriminator.p.detach() * log_g).sum()
    unweighted = -(log_g.detach().exp() * log_g).sum()  # of draws as they are: no direction at all
    (truth,) = torch.autograd.grad(exact, logits, retain_graph=True)
    (wrong,) = torch.autograd.grad(unweighted, logits)
    (found,) = torch.autograd.grad(model.generator_loss((torch.zeros(8, 1, 1, 3), None)), logits)
    likeness = [cosine_similarity(truth, other, dim=0).item() for other in (found, wrong)]
    measured("cosine with the exact gradient", likeness[0], above=0.99)
    measured("of draws without weights", likeness[1], below=0.99)
    torch.testing.assert_close(found, truth, atol=0.03, rtol=0.1)


def test_weights_compare_the_draws_of_one_z_and_the_discriminator_sees_bits():
    model, seen = BoundarySeekingGAN((1, 8, 8), num_classes=3, width=8, binary=True, draws=5), []
    model.discriminator.register_forward_pre_hook(lambda _, given: seen.append(given))
    grey, y = torch.rand(6, 1, 8, 8) * 2 - 1, torch.arange(6) % 3
    model.generator_loss((grey, y))
    model.discriminator_loss((grey, y))
    drawn, real, fake = seen
    assert [len(x) for x, _ in seen] == [30, 6, 6]
    assert torch.equal(drawn[1], y.repeat(5))
    assert torch.equal(real[0], torch.where(grey > 0, 1.0, -1.0))
    assert all(set(x.unique().tolist()) == {-1.0, 1.0} for x, _ in seen)

    # A score common to all draws of one z changes nothing.
    class Biased(nn.Module):
        def forward(self, x, y):
            return 7.0 * y

    model.discriminator = Biased()
    torch.manual_seed(0)
    biased = model.generator_loss((grey, y))
    model.discriminator.forward = lambda x, y: 0.0 * y
    torch.manual_seed(0)
    torch.testing.assert_close(model.generator_loss((grey, y)), biased)


@pytest.mark.parametrize("num_classes", [0, 3])
def test_binary_images_are_drawn_and_every_parameter_moves(num_classes):
    model = BoundarySeekingGAN((1, 8, 8), num_classes=num_classes, width=16, binary=True)
    before = {key: p.clone() for key, p in model.named_parameters()}
    fit(model, loader(bits(24)), steps=3)
    assert not [key for key, p in model.named_parameters() if torch.equal(p, before[key])]
    assert 1 <= model.trainer.callback_metrics["effective_draws"] <= 20
    assert set(model.sample(8).unique().tolist()) == {-1.0, 1.0}
    means = model.decode(model.prior(8), torch.arange(8) % 3 if num_classes else None)
    assert len(means.unique()) > 100 and means.abs().max() <= 1


@pytest.mark.parametrize(
    ("shape", "setting", "message"),
    [
        ((2,), {"binary": True}, r"image_shape must be \(C, H, W\) if binary, got \(2,\)"),
        ((1, 8, 8), {"draws": 1}, "draws must be at least 2"),
    ],
)
def test_impossible_settings_are_refused(shape, setting, message):
    with pytest.raises(ValueError, match=message):
        BoundarySeekingGAN(shape, **setting)


@pytest.mark.claim
@pytest.mark.slow
def test_binary_digits_are_learned(measured):
    """Though no gradient passes a pixel; against pixels that know nothing of each other."""
    x = digits()[0]
    x = torch.where(x > 0, 1.0, -1.0)
    chance = (x.mean(0) + 1) / 2
    floor, rows = distance(torch.bernoulli(chance.expand_as(x)) * 2 - 1, x), []
    for seed in (0, 1, 2):
        torch.manual_seed(seed)
        model = BoundarySeekingGAN((1, 8, 8), latent_dim=16, width=128, lr=1e-3, binary=True)
        drawn = play(model, among(x), steps=600).sample(1297)
        share = torch.bincount(classes(drawn), minlength=10) / len(drawn)
        rows.append([distance(drawn, x), torch.special.entr(share).sum().item()])
    distances, entropies = zip(*rows, strict=True)
    measured("distance to binary digits, independent pixels", floor)
    measured.median("distance to binary digits", distances, below=0.3 * floor)
    measured.median("entropy of their classes, nats (log 10 = 2.303)", entropies, above=2.1)
