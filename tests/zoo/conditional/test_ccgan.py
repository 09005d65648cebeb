"""Holes: where they are, what fills them, who pays for what, and what is learned of the rest."""

import math

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from genzoo.datamodules import Digits
from genzoo.protocols import Classifier, Completer, Decoder, Interpolator, Sampler
from genzoo.zoo import CCGAN
from tests.helpers.digits import classes, digits, distance
from tests.helpers.tiny import Tiny
from tests.helpers.training import bits, fit, loader

TINY = Tiny(
    CCGAN,
    {"latent_dim": 4, "width": 16},
    {Sampler, Decoder, Interpolator, Classifier, Completer},
    needs_classes=True,
    draws_classes=False,  # they teach the discriminator only
    waits=("[plays]", "[without_label(y)]"),  # how many images of a batch have no label
)


def tiny(**settings) -> CCGAN:
    return CCGAN((1, 8, 8), 3, **{"width": 8, "latent_dim": 2, **settings})


@pytest.mark.parametrize(("hole", "side"), [(0, 4), (1, 1), (3, 3), (8, 8)])
def test_a_mask_hides_one_square_anywhere(hole, side):
    hidden = 1 - tiny(hole=hole).masks(3000)
    assert hidden.shape == (3000, 1, 8, 8) and set(hidden.unique().tolist()) <= {0.0, 1.0}
    assert (hidden.sum((1, 2, 3)) == side**2).all()
    across = (hidden.amax(2).sum(2), hidden.amax(3).sum(2))  # a square is so wide and so high
    assert all((extent == side).all() for extent in across)
    corners = hidden[:, 0].flatten(1).argmax(1).bincount(minlength=64).view(8, 8)
    places = 8 - side + 1
    assert (corners[:places, :places] > 0).all() and corners[:places, :places].sum() == 3000


@pytest.mark.claim
@pytest.mark.parametrize("network", ["mlp", "conv", "residual"])
def test_what_is_seen_stays_to_the_bit_and_what_is_hidden_is_not_looked_at(network):
    model = tiny(network=network, hidden_noise=0.0, ema_decay=0.9).train()
    x, mask = torch.rand(6, 1, 8, 8) * 2 - 1, model.masks(6)
    torch.manual_seed(1)
    drawn = model.complete(x, mask)
    torch.manual_seed(1)
    other = model.complete(torch.where(mask == 1, x, 0.3), mask.bool())
    assert torch.equal(drawn[mask == 1], x[mask == 1])
    assert (drawn[mask == 0] != x[mask == 0]).all() and drawn.abs().max() <= 1
    assert torch.equal(drawn, other)
    assert not torch.equal(drawn, model.complete(x, mask))  # but noise is
    assert torch.equal(model.complete(x, torch.ones_like(mask)), x)
    assert model.training and not drawn.requires_grad


def test_the_generator_is_told_where_the_hole_is():
    """A hidden pixel is not one that is seen and 0."""
    model = tiny().eval()
    x, z = torch.zeros(4, 1, 8, 8), model.prior(4)
    made = [model.generator(z, x, torch.full((4, 1, 8, 8), m)) for m in (0.0, 1.0)]
    assert not torch.allclose(*made)


@pytest.mark.parametrize("y", [[0, 2, 1, 0, 1], [-1, 2, -1, -1, 1], [-1] * 5])
def test_the_losses_are_those_of_the_paper(y):
    model = tiny(label_weight=2.0, whole_weight=0.5).double().eval()
    x, y = bits(5).double(), torch.tensor(y)
    known = y >= 0
    plays = ~known | known.all()  # those with a label play only where there are no others
    mask, z = model.masks(5), model.prior(5)
    model.masks, model.prior = (lambda n: mask), (lambda n: z)

    def d(images, head):
        return model.discriminator.outputs(images)[head].flatten().sigmoid()

    filled = mask * x + (1 - mask) * model.generator(z, mask * x, mask)
    whole = model.generator(z)
    logits = model.discriminator.outputs(x)["classes"]
    named = cross_entropy(logits[known], y[known]) if known.any() else 0
    paid = [
        -d(x[plays], head).log().mean() - (1 - d(made, head)).log().mean()
        for head, made in (("score", filled[plays]), ("whole", whole))
    ]
    expected = paid[0] + 0.5 * paid[1] + 2 * named
    torch.testing.assert_close(model.discriminator_loss((x, y)), expected)
    expected = -d(filled[plays], "score").log().mean() - 0.5 * d(whole, "whole").log().mean()
    torch.testing.assert_close(model.generator_loss((x, y)), expected)
    torch.testing.assert_close(model.score(x).sigmoid(), d(x, "score"))
    torch.testing.assert_close(model.predict_proba(x), logits.softmax(1))


def test_only_what_fills_the_hole_is_judged():
    """The gradient of the generator's cost at its images is 0 wherever they are not seen."""
    model = tiny(whole_weight=0.0)
    x, mask = bits(5), model.masks(5)
    made = torch.rand_like(x, requires_grad=True)
    model.masks, model.generator = (lambda n: mask), nn.Identity()
    model.generator.forward = lambda *_: made
    model.generator_loss((x, torch.arange(5))).backward()
    assert (made.grad[mask == 1] == 0).all() and (made.grad[mask == 0] != 0).all()


def test_an_undecided_discriminator_costs_log_4_a_game():
    model = tiny(label_weight=0.0)
    for head in ("score", "whole"):
        for p in model.discriminator.heads[head].parameters():
            nn.init.zeros_(p)
    batch = bits(6), torch.arange(6) % 3
    assert model.discriminator_loss(batch).item() == pytest.approx(2 * math.log(4))
    assert model.generator_loss(batch).item() == pytest.approx(2 * math.log(2))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"hole": 9}, r"hole must be in 0\.\.8, the image's side, got 9"),
        ({"hole": -1}, r"hole must be in 0\.\.8, the image's side, got -1"),
        ({"whole_weight": -1.0}, "whole_weight must be 0 or more, got -1"),
        ({"num_classes": 1}, "num_classes must be at least 2, got 1: CCGAN"),
        ({"image_shape": (2,)}, r"image_shape must be \(C, H, W\), got \(2,\)"),
    ],
)
def test_impossible_numbers_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        CCGAN(**{"image_shape": (1, 8, 8), "num_classes": 3, **settings})


def test_masks_must_fit_the_images():
    with pytest.raises(ValueError, match=r"mask must be \(2, 1, H, W\) as the images, got \(8, 8"):
        tiny().complete(bits(2), torch.ones(8, 8))


@pytest.mark.claim
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_holes_are_filled_by_what_is_around(seed, measured):
    """Images all black or all white: without a loss of pixels holes become black or white."""
    torch.manual_seed(seed)
    x = (torch.randint(2, (64 * 200, 1, 1, 1)) * 2.0 - 1).expand(-1, 1, 4, 4).contiguous()
    model = CCGAN((1, 4, 4), 3, width=32, latent_dim=2, lr=2e-3, whole_weight=0.0)
    fit(model, loader(x, batch_size=64), steps=200)
    x, mask = x[:500], model.masks(500)
    drawn, other = model.complete(x, mask), model.complete(x.roll(1, 0), mask)
    right, wrong = ((a - x)[mask == 0].abs().mean().item() for a in (drawn, other))
    measured("black or white: error in the hole", right, below=0.25)
    measured("black or white: by another image's surroundings", wrong, above=0.7)


@pytest.mark.slow
@pytest.mark.claim
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_completed_digits_look_like_digits(seed, measured):
    """Of held-out digits with a hole of 4x4. The baseline fills it by the mean image."""
    x, _, unseen, labels = digits()
    torch.manual_seed(seed)
    model = CCGAN((1, 8, 8), 10, lr=1e-3, ema_decay=0.99)
    fit(model, Digits(batch_size=64, conditional=True), steps=1500, limit_val_batches=0)
    mask = model.masks(len(unseen))
    drawn, mean = model.complete(unseen, mask), torch.where(mask == 1, unseen, x.mean(0))
    assert torch.equal(drawn * mask, unseen * mask)
    right, naively = ((classes(made) == labels).float().mean().item() for made in (drawn, mean))
    apart = measured("distance to data, filled by the mean image", distance(mean))
    measured("distance to data, of completed digits", distance(drawn), below=0.5 * apart)
    measured("distance to data, of the whole digits", distance(unseen))
    measured("distance to data, of samples", distance(model.sample(1000)))
    measured("named rightly, filled by the mean image", naively)
    measured("named rightly, of completed digits", right, above=naively)
