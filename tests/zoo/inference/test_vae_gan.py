"""Who learns from what: likeness teaches encoder and generator, fooling the generator alone."""

import pytest
import torch

from genzoo.datamodules import Digits
from genzoo.protocols import Decoder, Encoder, Interpolator, Sampler
from genzoo.zoo import VAEGAN
from genzoo.zoo.adversarial import Player
from genzoo.zoo.gan.gan import Payoff, non_saturating
from tests.helpers.digits import classes, digits, distance
from tests.helpers.tiny import Tiny
from tests.helpers.training import bits, fit

TINY = Tiny(VAEGAN, {"latent_dim": 3, "width": 16}, {Sampler, Decoder, Interpolator, Encoder})


def nothing(*scores):
    return sum(0 * score.sum() for score in scores)


def gradients(model, player, batch):
    """The parts that the player's loss would move, of its own and of all."""
    model.zero_grad()
    player.loss(batch).backward()
    own = {id(p) for p in player.parameters()}
    with_gradient = [
        (name.split(".")[0], id(p) in own)
        for name, p in model.named_parameters()
        if p.grad is not None and (p.grad != 0).any()
    ]
    return {part for part, mine in with_gradient if mine}


BATCH = bits(6), torch.arange(6) % 3


def test_nobody_is_taught_by_what_is_not_his():
    """Without scores only likeness is left: the discriminator then learns nothing.

    Without likeness only fooling is left: the encoder then has its divergence alone.
    """
    model = VAEGAN((1, 8, 8), latent_dim=3, width=16)
    encoder, discriminator, generator = model.players()
    model.loss = Payoff(nothing, nothing)
    assert gradients(model, encoder, BATCH) == {"encoder"}
    assert gradients(model, generator, BATCH) == {"generator"}
    assert gradients(model, discriminator, BATCH) == set()
    model.loss = non_saturating
    model.likeness = lambda real, fake: 0.0
    assert gradients(model, discriminator, BATCH) == {"discriminator"}
    assert gradients(model, generator, BATCH) == {"generator"}
    torch.manual_seed(1)
    loss = model.encoder_loss(BATCH)
    q = model.encoder(BATCH[0])
    mean, variance = q.mean, q.variance
    divergence = 0.5 * (mean.square() + variance - 1 - variance.log()).sum(1).mean()
    torch.testing.assert_close(loss, divergence)


def test_likeness_is_half_the_square_of_what_the_features_differ_by():
    model = VAEGAN((1, 8, 8), latent_dim=3, width=16)
    x, again = bits(4), torch.rand(4, 1, 8, 8)
    apart = model.discriminator.features(x) - model.discriminator.features(again)
    by_hand = sum(0.5 * (row @ row).item() for row in apart) / 4
    assert model.likeness((x,), (again,)).item() == pytest.approx(by_hand)
    assert model.likeness((x,), (x,)).item() == 0  # with dropout it would not be


def test_samples_of_both_kinds_are_judged():
    """Reconstructions and draws of the prior, as many of each."""
    model = VAEGAN((1, 8, 8), latent_dim=3, width=16)
    seen = []
    model.loss = Payoff(
        lambda real, fake: seen.append((real, fake)), lambda fake: seen.append(fake)
    )
    model.discriminator.forward = lambda x: x.flatten(1).sum(1)
    model.encoder.forward = lambda x: Fixed()
    model.generator.forward = lambda z: z[:, :1, None, None].expand(-1, 1, 8, 8)
    model.prior = lambda n: torch.full((n, 3), 2.0)
    model.discriminator_loss(BATCH)
    real, fake = seen.pop()
    assert torch.equal(real, BATCH[0].flatten(1).sum(1))
    assert fake.tolist() == [64.0] * 6 + [128.0] * 6


class Fixed:
    def rsample(self):
        return torch.ones(6, 3)


def test_a_negative_weight_is_refused():
    with pytest.raises(ValueError, match="like_weight must be 0 or more, got -1"):
        VAEGAN((1, 8, 8), like_weight=-1)


class ByPixels(VAEGAN):
    """The VAE of the same encoder and generator: a Gaussian of variance 0.1 around pixels."""

    def players(self):
        both = (self.encoder, self.generator)
        return (Player("vae", both, self.encoder_loss),)

    def likeness(self, real, fake):
        return (real[0] - fake[0]).square().flatten(1).sum(1).mean() / (2 * 0.1)


@pytest.mark.claim
@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_samples_are_sharper_than_a_vaes_and_pixels_further_off(seed, measured):
    """Beside a VAE of the same networks; what it compares is pixels."""
    _, _, unseen, labels = digits()
    found = []
    for model_class in (VAEGAN, ByPixels):
        torch.manual_seed(seed)
        model = model_class((1, 8, 8), latent_dim=10, lr=5e-4)
        fit(model, Digits(batch_size=128), steps=STEPS, limit_val_batches=0)
        drawn, again = model.sample(1297), model.reconstruct(unseen)
        contrast = unseen.abs().mean() - drawn.abs().mean()
        same = (classes(again) == labels).float().mean()
        error = (again - unseen).square().mean()
        found.append((distance(drawn), contrast.abs().item(), error.item(), same.item()))
    (ours, blur, error, same), (pixels, more_blur, less_error, vaes_same) = found
    measured("Fréchet distance, a VAE's", pixels)
    measured("Fréchet distance", ours, below=0.85 * pixels)
    measured("contrast of samples off by, a VAE's", more_blur)
    measured("contrast of samples off by", blur, below=more_blur)
    measured("squared error of unseen digits, a VAE's", less_error)
    measured("squared error of unseen digits", error, above=less_error)
    measured("digits that come back as themselves, a VAE's", vaes_same)
    measured("digits that come back as themselves", same, above=0.85)


STEPS = 1500
