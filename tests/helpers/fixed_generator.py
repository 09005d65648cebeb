"""Discriminators against a generator that stands still: there the papers say what is best."""

import math

import numpy as np
import torch

from tests.helpers.training import loader, trainer

GRID = np.linspace(-8, 8, 4001)


def gaussian(mean: float, deviation: float) -> np.ndarray:
    """Its density on GRID."""
    return np.exp(-0.5 * ((GRID - mean) / deviation) ** 2) / (deviation * math.sqrt(2 * math.pi))


def against(model_class: type, mean: float, deviation: float, steps: int = 1500, **settings):
    """A model whose discriminator met N(0, 1) and a stuck generator, and its scores on GRID."""

    class Stuck(model_class):
        def fake(self, z, *condition):
            return (mean + deviation * torch.randn(len(z), 1),)

    settings = {"latent_dim": 1, "width": 64, "lr": 2e-3, "d_steps": 10**6, **settings}
    model = Stuck((1,), **settings)
    data = loader(torch.randn(512 * steps, 1), batch_size=512)
    trainer(max_epochs=1).fit(model, data)
    points = torch.tensor(GRID, dtype=torch.float32)[:, None]
    return model, model.score(points).double().numpy()
