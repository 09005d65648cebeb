"""Digits of which few are labelled, and a classifier that learns from those alone."""

import torch
from torch.nn.functional import cross_entropy

from genzoo.datamodules import Digits
from genzoo.images import from_uint8


def held_out(data: Digits) -> tuple[torch.Tensor, torch.Tensor]:
    """The 500 images that training does not see, in [-1, 1], and their classes."""
    parts = [data.split(name) for name in ("val", "test")]
    images = torch.cat([part.images for part in parts])
    return from_uint8(images), torch.cat([part.labels for part in parts])


def accuracy(model, data: Digits) -> float:
    x, y = held_out(data)
    return (model.predict_proba(x).argmax(1) == y).float().mean().item()


def taught(model, data: Digits, steps: int, lr: float):
    """The model, its discriminator trained on the labelled images and nothing else."""
    known = data.split("train")[data.train_dataloader().labelled]
    x, y = from_uint8(known.images), known.labels
    optimizer = torch.optim.Adam(model.discriminator.parameters(), lr=lr, betas=model.betas)
    for _ in range(steps):
        optimizer.zero_grad()
        cross_entropy(model.discriminator.outputs(x)["classes"], y).backward()
        optimizer.step()
    return model
