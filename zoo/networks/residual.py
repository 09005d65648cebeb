"""Residual networks in the manner of Gulrajani et al. (https://arxiv.org/abs/1704.00028).

A block is two 3x3 convolutions beside a shortcut; the side doubles on the way up by repeating
pixels, and halves on the way down by averaging four. No normalisation in the discriminator.
"""

from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, interpolate, relu

from .conditional import beside
from .conv import halvings


class UpBlock(nn.Module):
    """(B, C, H, W) to (B, C', 2H, 2W)."""

    def __init__(self, before: int, after: int):
        super().__init__()
        self.norms = nn.ModuleList([nn.BatchNorm2d(before), nn.BatchNorm2d(after)])
        self.first = nn.Conv2d(before, after, 3, padding=1)
        self.second = nn.Conv2d(after, after, 3, padding=1)
        self.shortcut = nn.Conv2d(before, after, 1)

    def forward(self, x: Tensor) -> Tensor:
        h = self.first(interpolate(relu(self.norms[0](x)), scale_factor=2))
        h = self.second(relu(self.norms[1](h)))
        return h + interpolate(self.shortcut(x), scale_factor=2)


class DownBlock(nn.Module):
    """(B, C, H, W) to (B, C', H/2, W/2)."""

    def __init__(self, before: int, after: int):
        super().__init__()
        self.first = nn.Conv2d(before, after, 3, padding=1)
        self.second = nn.Conv2d(after, after, 3, padding=1)
        self.shortcut = nn.Conv2d(before, after, 1)

    def forward(self, x: Tensor) -> Tensor:
        h = self.second(relu(self.first(relu(x))))
        return avg_pool2d(h, 2) + self.shortcut(avg_pool2d(x, 2))


class ResidualGenerator(nn.Module):
    """Latents (B, D) to images in [-1, 1].

    Args:
        width: Channels of each block.
    """

    def __init__(self, image_shape: tuple[int, ...], latent_dim: int, num_classes: int, width: int):
        super().__init__()
        self.num_classes = num_classes
        base, times = halvings(image_shape)
        self.start = nn.Linear(latent_dim + num_classes, width * base**2)
        self.unflatten = nn.Unflatten(1, (width, base, base))
        self.blocks = nn.Sequential(*(UpBlock(width, width) for _ in range(times)))
        self.norm = nn.BatchNorm2d(width)
        self.out = nn.Conv2d(width, image_shape[0], 3, padding=1)

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        x = self.unflatten(self.start(beside(z, y, self.num_classes)))
        return self.out(relu(self.norm(self.blocks(x)))).tanh()


class ResidualDiscriminator(nn.Module):
    """Images to one raw score each, (B,); the mirror of `ResidualGenerator`."""

    def __init__(self, image_shape: tuple[int, ...], num_classes: int, width: int):
        super().__init__()
        self.num_classes = num_classes
        _, times = halvings(image_shape)
        self.start = nn.Conv2d(image_shape[0] + num_classes, width, 3, padding=1)
        self.blocks = nn.Sequential(*(DownBlock(width, width) for _ in range(times)))
        self.score = nn.Linear(width, 1)

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        x = self.blocks(self.start(beside(x, y, self.num_classes)))
        return self.score(relu(x).mean((2, 3))).squeeze(1)
