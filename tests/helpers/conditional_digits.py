"""Games on scikit-learn's digits, and a judge of whether samples show what was asked for."""

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from torch.utils.data import DataLoader, TensorDataset

from genzoo.images import from_uint8
from tests.helpers.training import trainer


def played(model, data, epochs: int, shuffled: bool = False):
    """The model after so many epochs of 20 batches; `shuffled` labels say nothing of images."""
    x, y = split(data, "train")
    y = y[torch.randperm(len(y))] if shuffled else y
    batches = DataLoader(TensorDataset(x, y), 64, shuffle=True, drop_last=True)
    trainer(max_epochs=epochs).fit(model, batches)
    return model


def split(data, name: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Images in [-1, 1] and labels."""
    part = data.split(name)
    return from_uint8(part.images), part.labels


class Judge:
    """A logistic regression on the pixels of training images."""

    def __init__(self, data):
        x, y = split(data, "train")
        self.model = LogisticRegression(max_iter=200).fit(x.flatten(1), y)
        assert self.agrees(*split(data, "test")) > 0.9

    def names(self, x: torch.Tensor) -> np.ndarray:
        return self.model.predict(x.flatten(1))

    def agrees(self, x: torch.Tensor, y: torch.Tensor) -> float:
        """Share of images that show what they should."""
        return (self.names(x) == y.numpy()).mean().item()


def spread(x: torch.Tensor, y: torch.Tensor) -> float:
    """Mean variance of a pixel within a class."""
    return torch.stack([x[y == label].var(0).mean() for label in y.unique()]).mean().item()
