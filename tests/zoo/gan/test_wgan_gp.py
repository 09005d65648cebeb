"""The penalty by hand, its slope of 1, and what clipping does instead."""

import pytest
import torch
from torch import nn

from genzoo.protocols import Decoder, Interpolator, Sampler
from genzoo.zoo import WGAN, WGANGP
from genzoo.zoo.networks import ConvDiscriminator
from tests.helpers.parallel_lines import THETAS, data, on_lines
from tests.helpers.tiny import Tiny
from tests.helpers.training import loader, trainer

TINY = Tiny(
    WGANGP,
    {"latent_dim": 4, "width": 16, "d_steps": 1},
    {Sampler, Decoder, Interpolator},
    last_bias_moves=False,  # it cancels in a difference of scores
    eager={"discriminator"},  # the penalty on its gradient needs second derivatives
)


class Plane(nn.Module):
    """A critic of slope 5 in the plane."""

    def __init__(self, image_shape, num_classes, width):
        super().__init__()
        self.normal = nn.Parameter(torch.tensor([3.0, 4.0]))

    def forward(self, x):
        return x.flatten(1)[:, :2] @ self.normal


class OnPlane(WGANGP):
    Discriminator = Plane


def test_the_penalty_of_a_linear_critic_of_slope_5_is_160():
    model = OnPlane((2,))
    x, fake = torch.randn(6, 2), torch.randn(6, 2)
    assert model.penalty((x,), (fake,)).item() == pytest.approx(10 * (5 - 1) ** 2)
    assert model.gradient_norms(x).tolist() == pytest.approx([5.0] * 6)


def test_each_image_has_a_gradient_and_a_place_of_its_own():
    """A norm over the batch, or one number t for all, are the classical mistakes."""
    model, seen = WGANGP((1, 8, 8), width=8), []
    model.discriminator.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    x, fake = torch.zeros(64, 1, 8, 8), torch.ones(64, 1, 8, 8)
    slope = model._slope((x,), (fake,))
    assert slope.shape == (64,)
    t = seen[0].flatten(1)
    assert torch.equal(t, t[:, :1].expand_as(t))  # the same for all pixels of one
    assert t[:, 0].min() < 0.2 and t[:, 0].max() > 0.8 and len(t[:, 0].unique()) == 64


def test_a_flat_critic_gives_no_nan():
    model = OnPlane((2,))
    nn.init.zeros_(model.discriminator.normal)
    model.penalty((torch.randn(4, 2),), (torch.randn(4, 2),)).backward()
    assert torch.isfinite(model.discriminator.normal.grad).all()


def test_batch_normalisation_in_the_critic_is_refused():
    class Wrong(WGANGP):
        Discriminator = ConvDiscriminator

    with pytest.raises(ValueError, match="must not have batch normalisation .* got BatchNorm2d"):
        Wrong((1, 16, 16), width=4)
    WGANGP((1, 16, 16), width=4, network="conv")


@pytest.mark.claim
@pytest.mark.parametrize("seed", [0, *(pytest.param(s, marks=pytest.mark.slow) for s in (1, 2))])
def test_the_gain_is_the_distance_itself(seed, measured):
    """On parallel lines W is theta and its slope 1, which clipping cannot say."""
    torch.manual_seed(seed)
    gains, slopes = [], []
    for theta in THETAS:
        model, slope = on_lines(WGANGP, theta, lr=1e-3)
        scores = model.score(data(1000)), model.score(*model.fake(torch.zeros(1000, 1)))
        gains.append((scores[0].mean() - scores[1].mean()).item())
        slopes.append(-slope)
    for theta, gain in zip(THETAS, gains, strict=True):
        measured(f"gain at distance {theta:g}", gain, near=theta, within=theta / 4)
    # The loss falls as theta does: its slope in theta is +1.
    for theta, slope in zip(THETAS, slopes, strict=True):
        measured(f"slope at distance {theta:g}", -slope, above=0.75, below=1.3)


class Deep(nn.Module):
    """Eight layers of 64 ReLUs: deep enough for gradients to vanish or to explode."""

    def __init__(self, image_shape, num_classes, width):
        super().__init__()
        layers = [nn.Linear(2, 64), nn.ReLU()]
        for _ in range(7):
            layers += [nn.Linear(64, 64), nn.ReLU()]
        self.body = nn.Sequential(*layers, nn.Linear(64, 1))

    def forward(self, x):
        return self.body(x).squeeze(1)


def trained_critic(model_class, **settings):
    """(ratio of the gradient's norm in the first layer to that in the last, share at a bound)"""

    class Noisy(model_class):
        Discriminator = Deep

        def fake(self, z, *condition):
            return (torch.randn(len(z), 2) * 0.5 + torch.tensor([1.0, 0.0]),)

    model = Noisy((2,), d_steps=10**6, **settings)
    trainer(max_epochs=1).fit(model, loader(torch.randn(128 * 300, 2) * 0.5, batch_size=128))
    at = {}
    for index in (1, -2):
        model.discriminator.body[index].register_forward_hook(
            lambda _, __, out, index=index: at.__setitem__(index, out)
        )
    score = model.discriminator(torch.randn(256, 2)).sum()
    first, last = torch.autograd.grad(score, (at[1], at[-2]))
    weights = torch.cat([p.detach().flatten() for p in model.discriminator.parameters()])
    bound = getattr(model, "clip_value", 0.01)
    return (first.norm() / last.norm()).item(), (
        weights.abs() > 0.999 * bound
    ).float().mean().item()


@pytest.mark.claim
@pytest.mark.parametrize("seed", [0, *(pytest.param(s, marks=pytest.mark.slow) for s in (1, 2))])
def test_clipping_makes_gradients_vanish_or_explode_and_the_penalty_does_not(seed, measured):
    """Sec. 3, fig. 1."""
    torch.manual_seed(seed)
    small, share = trained_critic(WGAN, clip_value=0.01, lr=1e-3)
    with pytest.warns(UserWarning, match="the loss of the discriminator is -?[0-9.]+e"):
        large, _ = trained_critic(WGAN, clip_value=0.5, lr=1e-3)
    penalised, _ = trained_critic(WGANGP, lr=1e-3)
    measured("first over last layer's gradient, clipped at 0.01", small, below=1e-3)
    measured("clipped at 0.5", large, above=30)
    measured("with the penalty", penalised, above=0.1, below=10)
    measured("weights at a bound, clipped at 0.01", share, above=0.5)
