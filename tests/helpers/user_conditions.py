"""A user's own file: models and data of every kind of condition. Tests copy it into a folder.

Images have one bright quarter, and their condition says which it is.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from genzoo.conditions import Classes, Condition, ImageOf, Together, Tokens, Vector
from genzoo.datamodules.base import ImageData
from genzoo.datamodules.batches import Images
from genzoo.zoo.base import GenerativeModel

WORDS = ("the", "upper", "lower", "left", "right", "corner")
CAPTIONS = ("upper left", "The upper, right!", "lower left corner", "the lower right corner")


def quarters(y: Tensor) -> Tensor:
    """uint8 (n, 1, 8, 8)"""
    x = torch.full((len(y), 1, 8, 8), 20, dtype=torch.uint8)
    for i, label in enumerate(y.tolist()):
        top, left = 4 * (label // 2), 4 * (label % 2)
        x[i, :, top : top + 4, left : left + 4] = 230
    return x


class Quarters(ImageData):
    """With classes; subclasses say more of each image."""

    raw_shape, class_names = (1, 8, 8), ("a", "b", "c", "d")

    def read(self):
        y = torch.arange(600) % 4
        noise = torch.randint(20, (600, 1, 8, 8), generator=torch.Generator().manual_seed(0))
        return {"train": self.described(quarters(y) + noise.to(torch.uint8), y)}

    def described(self, x: Tensor, y: Tensor) -> Images:
        return Images(x, y)


@dataclass(frozen=True, eq=False)
class Described(Images):
    y: Tensor

    @property
    def conditions(self):
        return self.y


class Placed(Quarters):
    own_condition = Vector(2, names=("down", "right"))

    def described(self, x, y):
        return Described(x, y, torch.stack((y // 2, y % 2), dim=1).double())


class Paired(Quarters):
    own_condition = ImageOf((1, 8, 8))

    def described(self, x, y):
        return Described(x, y, 255 - quarters(y))


class Captioned(Quarters):
    own_condition = Tokens(WORDS, 4)

    def described(self, x, y):
        captions = torch.cat([self.own_condition.encode(caption) for caption in CAPTIONS])
        return Described(x, y, captions[y])


@dataclass(frozen=True, eq=False)
class Both(Images):
    row: Tensor
    right: Tensor

    @property
    def conditions(self):
        return {"row": self.row, "right": self.right}


class Parted(Quarters):
    own_condition = Together(row=Tokens(WORDS, 1), right=Vector(1))

    def described(self, x, y):
        return Both(x, y, 2 + y[:, None] // 2, (y[:, None] % 2).float())


class Painter(GenerativeModel):
    """Learns the mean image of each condition, and draws it with noise."""

    condition_kinds = (Condition,)

    def __init__(
        self, image_shape: tuple[int, ...], condition: dict | None = None, lr: float = 0.1
    ):
        super().__init__()
        self.save_hyperparameters()
        self.image_shape, self.condition, self.lr = tuple(image_shape), condition, lr
        self.embedding = self.embed()
        self.image = nn.Linear(8, 64)

    def embed(self) -> nn.Module:
        """Of a condition, to (n, 8)."""
        return nn.Identity()

    def mean(self, n: int, *condition: Tensor) -> Tensor:
        code = [self.embedding(y) for y in condition] or [self.image.weight.new_zeros(n, 8)]
        return self.image(*code).unflatten(1, self.image_shape)

    def training_step(self, batch, batch_idx):
        x, *condition = self.conditioned(batch)
        return (self.mean(len(x), *condition) - x).square().mean()

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), self.lr)

    @torch.no_grad()
    def sample(self, n, y=None):
        mean = self.mean(n, *self.to_draw(n, y))
        return (mean + 0.1 * torch.randn_like(mean)).clamp(-1, 1)


class OfNothing(Painter):
    """Of no condition."""


class OfClasses(Painter):
    def embed(self):
        return nn.Embedding(self.condition.num_classes, 8)


class OfVector(Painter):
    def embed(self):
        return nn.Sequential(nn.Linear(self.condition.entries, 32), nn.ReLU(), nn.Linear(32, 8))


class OfImage(Painter):
    def embed(self):
        return nn.Sequential(nn.Flatten(), nn.Linear(64, 8))


class OfTokens(Painter):
    def embed(self):
        return nn.EmbeddingBag(self.condition.entries, 8, padding_idx=0)


class OfBoth(Painter):
    def embed(self):
        row, right = self.condition["row"].entries, self.condition["right"].entries
        return Sum(row=nn.EmbeddingBag(row, 8), right=nn.Linear(right, 8))


class Sum(nn.ModuleDict):
    def __init__(self, **parts: nn.Module):
        super().__init__(parts)

    def forward(self, y):
        return sum(part(y[name]) for name, part in self.items())


class OfLabels(Painter):
    """Of classes alone."""

    condition_kinds = (Classes,)
