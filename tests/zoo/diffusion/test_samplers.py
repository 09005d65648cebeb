"""Walks with the best denoiser of a Gaussian, whose flow is known: x_1 to mean + S^(1/2) of it."""

import math

import pytest
import torch

from genzoo.zoo.diffusion.samplers import (
    DETERMINISTIC,
    ancestral,
    euler,
    even,
    heun,
    midpoint,
    repaint,
    split,
)
from tests.helpers.closed_form_denoisers import PATHS, of_gaussian, root

MEAN, COVARIANCE = torch.tensor([0.4, -0.2]).double(), torch.tensor([[0.5, 0.2], [0.2, 0.3]])


def transported(path, x, times):
    """Where the flow carries points from times[0] to times[-1]: each keeps its place in units of
    the deviation, which is (alpha^2 S + sigma^2 I)^(1/2)."""
    ends = []
    for time in (times[0], times[-1]):
        alpha, sigma = path(torch.tensor([time]).double())
        ends.append((alpha * MEAN, root(alpha**2 * COVARIANCE + sigma**2 * torch.eye(2))))
    (mean_t, root_t), (mean_s, root_s) = ends
    return mean_s + (x - mean_t) @ torch.linalg.inv(root_t) @ root_s


def off(sampler, name, steps, least=0.2):
    """Error of a walk from t = 0.9 to `least`."""
    path, x = PATHS[name], torch.randn(64, 2, generator=torch.Generator().manual_seed(1)).double()
    times = [0.9 - k * (0.9 - least) / steps for k in range(steps)] + [least]
    *_, found = sampler(of_gaussian(path, MEAN, COVARIANCE), path, x, times)
    return (found - transported(path, x, times)).square().mean().sqrt().item()


@pytest.mark.parametrize("name", PATHS)
@pytest.mark.parametrize(("sampler", "order"), [(euler, 1), (heun, 2), (midpoint, 2)])
def test_orders_of_the_solvers(sampler, order, name):
    """Half the step, half the error of Euler's method, a quarter of the others' or less."""
    coarse, fine = off(sampler, name, 32), off(sampler, name, 64)
    assert math.log2(coarse / fine) > order - 0.1
    assert fine < 0.01 if order == 1 else fine < 1e-4
    assert sampler is not euler or math.log2(coarse / fine) < 1.1


@pytest.mark.parametrize("name", PATHS)
@pytest.mark.parametrize("sampler", [*DETERMINISTIC.values()], ids=[*DETERMINISTIC])
def test_the_way_back_is_the_inverse(sampler, name):
    """As far as the steps are small."""
    path, x = PATHS[name], torch.randn(64, 2).double()
    denoise, times = of_gaussian(path, MEAN, COVARIANCE), [0.05 + k / 400 for k in range(361)]
    *_, z = sampler(denoise, path, x, times)
    *_, again = sampler(denoise, path, z, times[::-1])
    assert (again - x).square().mean().sqrt() < (
        0.02 if sampler in (euler, DETERMINISTIC["ddim"]) else 5e-4
    )


def test_times():
    assert even(4) == [1.0, 0.75, 0.5, 0.25, 0.0]
    assert even(4, 0.4) == pytest.approx([1.0, 0.8, 0.6, 0.4, 0.0])
    assert even(1) == even(1, 0.4) == [1.0, 0.0]


@pytest.mark.parametrize("name", PATHS)
def test_the_slope_of_the_density_follows(name):
    """Tweedie: minus epsilon^ over sigma is the slope of log N(alpha mean, alpha^2 S + sigma^2)."""
    path, x, t = PATHS[name], torch.randn(5, 2).double(), 0.4
    alpha, sigma = path(torch.tensor([t]).double())
    noisy = alpha**2 * COVARIANCE.double() + sigma**2 * torch.eye(2)
    slope = -(x - alpha * MEAN) @ torch.linalg.inv(noisy)
    _, noise = split(of_gaussian(path, MEAN, COVARIANCE), path, x, t)
    torch.testing.assert_close(-noise / sigma, slope)


@pytest.mark.parametrize("name", PATHS)
def test_fresh_noise_draws_the_same_law(name):
    path = PATHS[name]
    x = path(torch.ones(1).double())[1] * torch.randn(20_000, 2).double()
    least = 0.1 if name == "exploding" else 0.01
    *_, x = ancestral(of_gaussian(path, MEAN, COVARIANCE), path, x, even(200, least))
    torch.testing.assert_close(x.mean(0), MEAN, atol=0.02, rtol=0)
    torch.testing.assert_close(x.T.cov(), COVARIANCE.double(), atol=0.03, rtol=0)


@pytest.mark.parametrize("name", PATHS)
def test_each_step_can_be_looked_at(name):
    path, looked = PATHS[name], []
    denoise = of_gaussian(path, MEAN, COVARIANCE)

    def counted(x, t):
        looked.append(t[0].item())
        return denoise(x, t)

    x, times = torch.randn(3, 2).double(), even(5, 0.3)
    assert len([*euler(counted, path, x, times)]) == 5 and looked == pytest.approx(times[:-1])
    looked.clear()
    assert len([*heun(counted, path, x, times)]) == 5 and len(looked) == 9
    first = next(euler(denoise, path, x, times))
    assert first.shape == (3, 2)


@pytest.mark.parametrize("name", PATHS)
def test_what_is_known_tells_of_the_rest(name):
    """Two pixels that go together, one of them known: the other's mean and variance given it."""
    path, rho, n = PATHS[name], 0.9, 4000
    covariance = torch.tensor([[1.0, rho], [rho, 1.0]])
    flat = of_gaussian(path, torch.zeros(2), covariance)

    def denoise(x, t):
        return flat(x.flatten(1), t).view_as(x)

    known = torch.zeros(n, 1, 1, 2).double()
    known[..., 0] = 1.0
    mask = torch.tensor([True, False]).expand(n, 1, 1, 2)
    x = path(torch.ones(1).double())[1] * torch.randn(n, 1, 1, 2).double()
    found = {}
    for resample in (1, 8):
        *_, drawn = repaint(denoise, path, x, even(40, 0.05), known, mask, 5, resample)
        rest = drawn[:, 0, 0, 1]
        found[resample] = (
            abs(rest.mean() - rho).item() + abs(rest.std() - (1 - rho**2) ** 0.5).item()
        )
    assert found[8] < 0.12
    assert found[8] < found[1]
