"""Gradients of both generators' losses, targets, and samples that meet them."""

import math

import pytest
import torch

from genzoo.datamodules import Digits
from genzoo.protocols import Classifier, Decoder, Interpolator, Sampler
from genzoo.zoo import AMGAN
from genzoo.zoo.conditional.amgan import any_real_class, class_aware
from tests.helpers.conditional_digits import Judge, played, split, spread
from tests.helpers.tiny import Tiny

TINY = Tiny(
    AMGAN,
    {"latent_dim": 4, "width": 16, "target": "label"},
    {Sampler, Decoder, Interpolator, Classifier},
    needs_classes=True,
)


@pytest.mark.claim
def test_the_gradient_goes_to_one_class_and_labelgans_to_all():
    """Sec. 3: 1 - p_t for the target and -p_k for the rest; for LabelGAN p_k (1 - P) / P > 0 for
    every real class, with P the probability of all of them."""
    logits = torch.randn(7, 5, dtype=torch.double, requires_grad=True)
    target = torch.tensor([0, 1, 2, 3, 0, 1, 2])
    p = logits.softmax(dim=1).detach()
    (pull,) = torch.autograd.grad(-7 * class_aware(logits, target), logits)
    torch.testing.assert_close(pull, torch.eye(5).double()[target] - p)
    (pull,) = torch.autograd.grad(-7 * any_real_class(logits), logits)
    real = p[:, :4].sum(dim=1, keepdim=True)
    torch.testing.assert_close(pull[:, :4], p[:, :4] * (1 - real) / real)
    torch.testing.assert_close(pull[:, 4:], -p[:, 4:])


def saying(logits: list[float], **settings) -> AMGAN:
    """A model whose discriminator says the same of everything."""
    model = AMGAN((1, 4, 4), len(logits) - 1, width=8, latent_dim=2, **settings)
    head = model.discriminator.heads["classes"]
    torch.nn.init.zeros_(head.weight)
    head.bias.data = torch.tensor(logits)
    return model


def test_the_target_is_the_likeliest_real_class_never_that_of_samples():
    batch = torch.rand(4, 1, 4, 4), torch.tensor([0, 0, 2, 2])
    said = [1.0, 2.0, 0.0, 5.0]
    nats = -torch.tensor(said).log_softmax(0)
    assert saying(said).generator_loss(batch).item() == pytest.approx(nats[1].item())
    asked = saying(said, target="label").generator_loss(batch).item()
    assert asked == pytest.approx((nats[0] + nats[2]).item() / 2)
    marginal = saying(said, target="marginal").generator_loss(batch).item()
    assert marginal == pytest.approx(-math.log((-nats[:3]).exp().sum().item()))
    cost = saying(said).discriminator_loss(batch).item()
    assert cost == pytest.approx((nats[0] + nats[2]).item() / 2 + nats[3].item())


def test_images_without_a_label_are_passed_over():
    model, x = saying([1.0, 2.0, 0.0, 5.0]), torch.rand(2, 1, 4, 4)
    nats = -torch.tensor([1.0, 2.0, 0.0, 5.0]).log_softmax(0)
    cost = model.discriminator_loss((x, torch.tensor([1, -1]))).item()
    assert cost == pytest.approx((nats[1] + nats[3]).item())


def test_scores_and_probabilities_are_of_the_same_logits():
    model, x = saying([1.0, 2.0, 0.0, 5.0]), torch.rand(2, 1, 4, 4)
    p = torch.tensor([1.0, 2.0, 0.0, 5.0]).softmax(0)
    torch.testing.assert_close(model.score(x), ((1 - p[3]) / p[3]).log().expand(2))
    torch.testing.assert_close(model.predict_proba(x), (p[:3] / p[:3].sum()).expand(2, 3))


def test_only_given_targets_make_it_conditional():
    assert AMGAN((1, 4, 4), 3).num_classes == 0
    assert AMGAN((1, 4, 4), 3, target="label").num_classes == 3
    with pytest.raises(ValueError, match="target must be dynamic, label or marginal, got 'other'"):
        AMGAN((1, 4, 4), 3, target="other")
    with pytest.raises(ValueError, match="num_classes must be at least 2, got 0: AMGAN learns"):
        AMGAN((1, 4, 4), 0)


@pytest.mark.claim
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_samples_activate_the_class_that_they_aim_at(seed, measured):
    """By an independent classifier; the baseline is the same model before it has learned."""
    torch.manual_seed(seed)
    data, asked = Digits(seed=seed), torch.arange(1000) % 10
    judge = Judge(data)
    model = AMGAN((1, 8, 8), 10, target="label", latent_dim=16, width=128, lr=1e-3)
    untrained = judge.agrees(model.sample(1000, asked), asked)
    drawn = played(model, data, 8).sample(1000, asked)
    agree = judge.agrees(drawn, asked)
    x, y = split(data, "test")
    names = (model.predict_proba(x).argmax(1) == y).float().mean().item()
    print(f"as asked {agree:.3f}, untrained {untrained:.3f}, names data {names:.3f}")
    print(f"variance within a class {spread(drawn, asked):.3f}")
    measured("samples as asked", agree, above=0.95)
    measured("before training", untrained, below=0.3)
    measured("held-out digits named by D", names, above=0.85)
