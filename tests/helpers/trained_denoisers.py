"""Denoising models that have learned digits or points, the same for all tests of a run."""

from functools import cache

import torch
from torch import Tensor
from torch.distributions import MultivariateNormal

from genzoo.datamodules import Digits, Toy
from tests.helpers.digits import classes, digits
from tests.helpers.training import fit


def on_digits(model_class: type, seed: int, steps: int = 1000, **settings):
    """A class-conditional model after so many steps on 8x8 digits."""
    torch.manual_seed(seed)
    model = model_class((1, 8, 8), num_classes=10, **settings)
    fit(model, Digits(batch_size=128, conditional=True), steps=steps, limit_val_batches=0)
    return model.eval()


def on_ring(model_class: type, seed: int, steps: int = 1200, **settings):
    """A model of points after so many steps on eight Gaussians."""
    torch.manual_seed(seed)
    model = model_class((2,), width=128, lr=1e-3, **settings)
    fit(model, Toy("ring"), steps=steps, limit_val_batches=0)
    return model.eval()


on_digits, on_ring = cache(on_digits), cache(on_ring)


def drawn(model, seed: int = 0, n: int = 600, **settings) -> tuple[Tensor, Tensor]:
    """Images of all classes in turn, and what was asked for; the same noise each time."""
    torch.manual_seed(seed)
    y = torch.arange(n) % 10
    return model.sample(n, y, **settings), y


def agreement(x: Tensor, y: Tensor) -> float:
    """Share of images that a classifier takes for what was asked for."""
    return (classes(x) == y).float().mean().item()


def spread(x: Tensor, y: Tensor) -> float:
    """Mean variance of a pixel within a class."""
    return torch.stack([x[y == label].var(0).mean() for label in y.unique()]).mean().item()


def one_gaussian(n: int = 600) -> Tensor:
    """Images of a Gaussian fitted to the pixels, (n, 1, 8, 8)."""
    x = digits()[0].flatten(1)
    fitted = MultivariateNormal(x.mean(0), x.T.cov() + 1e-4 * torch.eye(64))
    return fitted.sample((n,)).clamp(-1, 1).view(-1, 1, 8, 8)
