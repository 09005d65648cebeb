"""A model and data that are small enough to know all about."""

import lightning as L
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from genzoo.images import from_uint8


def pictures(count: int, classes: int = 3, side: int = 8, seed: int = 0):
    """Grey images whose brightest quarter tells the class, and the labels; classes in turn."""
    generator = torch.Generator().manual_seed(seed)
    y = torch.arange(count) % classes
    x = torch.randint(0, 90, (count, 1, side, side), generator=generator, dtype=torch.uint8)
    half = side // 2
    for label in range(classes):
        top, left = half * (label // 2), half * (label % 2)
        x[y == label, :, top : top + half, left : left + half] += 120
    return x, y


class Images:
    def __init__(self, images, labels):
        self.images, self.labels = images, labels


class Data(L.LightningDataModule):
    """Speaks `split`, as the project's own DataModules do."""

    name, class_names, image_shape, num_classes = "toys", ("a", "b", "c"), (1, 8, 8), 3

    def __init__(self, labelled: bool = True, shuffle: bool = True):
        super().__init__()
        self.labelled, self.shuffle = labelled, shuffle

    def split(self, part):
        count, seed = {"train": (330, 0), "val": (150, 1), "test": (170, 2)}[part]
        x, y = pictures(count, seed=seed)
        return Images(x, y if self.labelled else torch.full_like(y, -1))

    def _loader(self, part, shuffle=False):
        data = self.split(part)
        pairs = TensorDataset(from_uint8(data.images), data.labels)
        return DataLoader(pairs, batch_size=33, shuffle=shuffle)

    def train_dataloader(self):
        return self._loader("train", self.shuffle)

    def val_dataloader(self):
        return self._loader("val")

    def test_dataloader(self):
        return self._loader("test")


class Toy(L.LightningModule):
    """A linear decoder that trains on noise of the global random state, and counts its samples."""

    def __init__(self, num_classes: int = 0):
        super().__init__()
        self.image_shape, self.num_classes = (1, 8, 8), num_classes
        self.net = nn.Sequential(nn.Linear(4, 64), nn.BatchNorm1d(64), nn.Dropout(0.2), nn.Tanh())
        self.drawn = 0

    def training_step(self, batch, batch_idx):
        x, _ = batch
        return (self.net(torch.randn(len(x), 4)) - x.flatten(1)).square().mean()

    def validation_step(self, batch, batch_idx):
        pass

    def test_step(self, batch, batch_idx):
        pass

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=1e-2)

    def sample(self, n, y=None):
        self.drawn += n
        x = self.net(torch.randn(n, 4, device=self.device)).unflatten(1, (1, 8, 8))
        return x if y is None else x * (y.view(-1, 1, 1, 1) + 1) / 3


def trainer(tmp_path, callbacks=(), **kwargs):
    settings = {"accelerator": "cpu", "devices": 1, "logger": False, "max_epochs": 1}
    quiet = {"enable_progress_bar": False, "enable_checkpointing": False}
    quiet |= {"enable_model_summary": False, "default_root_dir": tmp_path}
    return L.Trainer(**(settings | quiet | kwargs), callbacks=list(callbacks))
