"""Denoising models that have learned digits or points, the same for all tests of a run."""

import tempfile
from functools import cache

import torch
from torch import Tensor
from torch.distributions import MultivariateNormal
from torch.utils.data import DataLoader, TensorDataset

from genzoo.callbacks import Memorisation
from genzoo.datamodules import Digits, Toy
from genzoo.images import from_uint8
from genzoo.report.card import Section
from tests.helpers.digits import classes, digits
from tests.helpers.training import fit, trainer

# For digits in a minute; the paper's numbers are for days.
DIGITS = {"lr": 1e-3, "warmup_steps": 50, "dropout": 0.0, "ema_decay": 0.999}


def on_digits(model_class: type, seed: int, steps: int = 4000, num_train: int = 0, **settings):
    """A class-conditional model after so many steps on 8x8 digits, some 80 CPU-seconds.

    Args:
        num_train: Of how many digits; 0: of all.
    """
    torch.manual_seed(seed)
    model = model_class((1, 8, 8), num_classes=10, **settings)
    data = Digits(batch_size=128, conditional=True)
    if num_train:  # over and over, so that batches are as large
        few = Digits(num_train=num_train).split("train")
        times = len(data.split("train")) // num_train + 1
        x, y = from_uint8(few.images).repeat(times, 1, 1, 1), few.labels.repeat(times)
        data = DataLoader(TensorDataset(x, y), batch_size=128, shuffle=True, drop_last=True)
    fit(model, data, steps=steps, limit_val_batches=0)
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


def copies(x: Tensor, train: Tensor, unseen: Tensor) -> float:
    """Share of images that are nearer to a training image than all but 1 % of unseen ones."""
    near, usual = (
        torch.cdist(images.flatten(1), train.flatten(1)).amin(1) for images in (x, unseen)
    )
    return (near < usual.quantile(0.01)).float().mean().item()


def asked_of_copies(model, num_train: int = 0, n: int = 500) -> Section:
    """What the card answers to whether so many samples are copies of the first digits."""
    question = Memorisation(extractor="pixels", num_samples=n)
    data = Digits(num_train=num_train, conditional=bool(model.num_classes))
    with tempfile.TemporaryDirectory() as folder:  # of its pictures
        trainer(callbacks=[question], default_root_dir=folder).test(model, data, verbose=False)
    return question.section


def one_gaussian(n: int = 600) -> Tensor:
    """Images of a Gaussian fitted to the pixels, (n, 1, 8, 8)."""
    x = digits()[0].flatten(1)
    fitted = MultivariateNormal(x.mean(0), x.T.cov() + 1e-4 * torch.eye(64))
    return fitted.sample((n,)).clamp(-1, 1).view(-1, 1, 8, 8)
