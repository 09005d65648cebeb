"""A user's own file: models and data that know nothing of the zoo. Tests copy it into a folder."""

import lightning as L
import torch
from torch.utils.data import DataLoader, TensorDataset


class Mean(L.LightningModule):
    """Learns the mean image, and draws it with noise."""

    def __init__(self, image_shape: tuple[int, ...], num_classes: int = 0, lr: float = 0.1):
        super().__init__()
        self.save_hyperparameters()
        if lr <= 0:
            raise ArithmeticError("a bug in somebody's own file")
        self.image_shape, self.num_classes, self.lr = tuple(image_shape), num_classes, lr
        self.mean = torch.nn.Parameter(torch.zeros(image_shape))

    def training_step(self, batch, batch_idx):
        loss = (batch[0] - self.mean).square().mean()
        self.log("loss/mean", loss, prog_bar=True)
        return loss

    def test_step(self, batch, batch_idx):
        self.log("distance", (batch[0] - self.mean).abs().mean())

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), self.lr)

    def sample(self, n, y=None):
        noise = torch.randn(n, *self.image_shape, device=self.device)
        return (self.mean.detach() + 0.1 * noise).clamp(-1, 1)


class Plain(L.LightningModule):
    """Takes nothing that the data could say, and has no step but that of training."""

    def __init__(self, hidden: int = 4):
        super().__init__()
        self.layer = torch.nn.Linear(64, hidden)

    def training_step(self, batch, batch_idx):
        return self.layer(batch[0].flatten(1)).square().mean()

    def predict_step(self, batch, batch_idx):
        return self.layer(batch[0].flatten(1))

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.1)


class Noise(L.LightningDataModule):
    class_names = ("a", "b")

    def __init__(self, conditional: bool = False, batch_size: int = 8, side: int = 8):
        super().__init__()
        self.conditional, self.batch_size, self.num_classes = conditional, batch_size, 2
        self.image_shape = (1, side, side)

    def loader(self):
        random = torch.Generator().manual_seed(0)
        images = torch.rand(64, *self.image_shape, generator=random) * 2 - 1
        return DataLoader(TensorDataset(images, torch.arange(64) % 2), batch_size=self.batch_size)

    train_dataloader = val_dataloader = test_dataloader = predict_dataloader = loader


class Shapeless(Noise):
    def __init__(self):
        super().__init__()
        self.shape = self.image_shape
        del self.image_shape

    def loader(self):
        return DataLoader(TensorDataset(torch.zeros(16, 1, 8, 8), torch.zeros(16)), batch_size=8)

    train_dataloader = val_dataloader = test_dataloader = predict_dataloader = loader


class Unscaled(Noise):
    """As `ToTensor` leaves images: in [0, 1]."""

    def loader(self):
        images = torch.rand(64, *self.image_shape, generator=torch.Generator().manual_seed(0))
        return DataLoader(TensorDataset(images), batch_size=self.batch_size)

    train_dataloader = val_dataloader = test_dataloader = predict_dataloader = loader


class Named(Noise):
    """Dictionaries, as Hugging Face's data sets give them."""

    name = "image"

    def loader(self):
        images = super().loader().dataset.tensors[0]
        rows = [{self.name: image, "label": i % 2} for i, image in enumerate(images)]
        return DataLoader(rows, batch_size=self.batch_size)

    train_dataloader = val_dataloader = test_dataloader = predict_dataloader = loader


class Unnamed(Named):
    name = "picture"
