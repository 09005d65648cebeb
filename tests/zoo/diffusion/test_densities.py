"""Densities against closed forms, and what must hold of any network."""

import math

import pytest
import torch
from torch import nn
from torch.distributions import MultivariateNormal

from genzoo.zoo import DDPM, EDM, FlowMatching
from genzoo.zoo.diffusion.densities import divergence, log_density
from tests.helpers.closed_form_denoisers import PATHS, of_gaussian

MEAN, COVARIANCE = torch.tensor([0.4, -0.2]).double(), torch.tensor([[0.5, 0.2], [0.2, 0.3]])


def rising(least, steps):
    return [least + k * (1 - least) / steps for k in range(steps + 1)]


@pytest.mark.parametrize("name", PATHS)
def test_of_a_gaussian(name):
    """As far as nothing but noise is left at the end of the path."""
    path, x = PATHS[name], torch.randn(20, 2).double()
    least = 0.05 if name == "exploding" else 0.002
    mean = 0 * MEAN if name == "exploding" else MEAN  # which shows through noise of 20
    alpha, sigma = path(torch.tensor([least]).double())
    noisy = alpha**2 * COVARIANCE + sigma**2 * torch.eye(2)
    truth = MultivariateNormal(alpha * mean, noisy).log_prob(x)
    found = log_density(of_gaussian(path, mean, COVARIANCE), path, x, rising(least, 200))
    torch.testing.assert_close(found, truth, atol=0.02, rtol=0)


def test_an_estimate_is_right_on_average():
    """Of 20 dimensions, one draw of +-1 at a time, beside the sum of all."""
    path = PATHS["straight"]
    mixing = torch.randn(20, 20).double() / 5

    def denoise(x, t):
        return torch.tanh(x @ mixing)

    x = torch.randn(1, 20).double()
    _, exact = divergence(denoise, x, 0.5)
    many = x.expand(5000, 20)
    _, estimated = divergence(denoise, many, 0.5, torch.randint_like(many, 2) * 2 - 1)
    error = estimated.std() / math.sqrt(len(many))
    assert error < 0.1 < estimated.std()
    assert abs(estimated.mean() - exact.item()) < 4 * error
    assert log_density(denoise, path, x, rising(0.01, 8)).shape == (1,)


def ruffled(model):
    """A model whose network says something, though it has learned nothing."""
    for module in model.network.modules():
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=1.2 * module.in_features**-0.5)
    nn.init.normal_(model.network.last.weight, std=0.6 * model.network.last.in_features**-0.5)
    model.average()
    return model.eval()


@pytest.mark.parametrize(
    "model",
    [
        FlowMatching((2,), width=32, blocks=2),
        EDM((2,), width=32, blocks=2, sigma_data=1.0),
        DDPM((2,), width=32, blocks=2, timesteps=200),
    ],
    ids=lambda model: type(model).__name__,
)
def test_densities_of_points_integrate_to_1(model):
    """Whatever the network says: on a grid of the plane."""
    torch.manual_seed(0)
    if isinstance(model, DDPM):  # saying nothing, it would spread points over 150 units

        def noise(x, t):
            return model.path(t)[1][:, None] * (x + 0.3 * torch.sin(2 * x.flip(1)))

        model.noise = noise
    else:
        ruffled(model)
    side = torch.linspace(-5, 5, 51)
    points = torch.cartesian_prod(side, side)
    density = model.log_density(points, steps=40).exp()
    assert (density.sum() * 0.2**2).item() == pytest.approx(1, abs=0.03)
    assert density.max() < 1.5  # the grid is fine enough
    normal = (-points.square().sum(1) / 2).exp() / (2 * math.pi)
    assert (density - normal).abs().sum() * 0.2**2 > 0.1


@pytest.mark.parametrize("model_class", [FlowMatching, EDM])
def test_the_bound_is_of_levels(model_class):
    """Of one pixel and four levels, by a network that says nothing yet, whose density is normal:
    the mean of its logarithm over a level, less than the logarithm of the level's share."""
    torch.manual_seed(0)
    extra = {"sigma_data": 0.7} if model_class is EDM else {}
    model = model_class((1, 1, 1), width=16, blocks=1, levels=4, steps=30, **extra).eval()
    grid = torch.linspace(-1, 1, 4).view(4, 1, 1, 1)
    nats = model.elbo(grid.repeat(500, 1, 1, 1)).view(500, 4).mean(0)
    width, x = 2 / 3, grid.flatten()
    variance = 0.7**2 if model_class is EDM else 1.0
    mean_square = x**2 + width**2 / 12  # of x + u
    expected = -mean_square / (2 * variance) - math.log(2 * math.pi * variance) / 2
    torch.testing.assert_close(nats, expected + math.log(width), atol=0.05, rtol=0)
    normal = torch.distributions.Normal(0, variance**0.5)
    levels = normal.cdf(x + width / 2) - normal.cdf(x - width / 2)
    assert (expected + math.log(width) < levels.log()).all()


def test_points_have_a_density_and_images_a_bound():
    model = FlowMatching((2,), width=16, blocks=1).eval()
    x = torch.randn(3, 2)
    torch.testing.assert_close(model.elbo(x), model.log_density(x))
    images = FlowMatching((1, 8, 8), width=16, blocks=1, levels=2).eval()
    x = torch.ones(3, 1, 8, 8)
    torch.manual_seed(1)
    bound = images.elbo(x)
    torch.manual_seed(1)
    noisy = images.dequantised(x)
    assert (noisy - x).abs().max() <= 1 and (noisy - x).abs().mean() > 0.4
    torch.testing.assert_close(bound, images.log_density(noisy) + 64 * math.log(2))
