"""Fully connected networks, for points and for images of few pixels."""

import math

from torch import Tensor, nn

from .conditional import beside


class MLP(nn.Sequential):
    """Linear layers with activations between them; the output of the last layer is raw.

    >>> MLP((4, 8, 8, 2))(torch.zeros(3, 4)).shape
    torch.Size([3, 2])

    Args:
        sizes: Units of each layer, input and output included.
        norm: Batch normalisation before each activation.
        slope: Negative slope of the leaky ReLU; 0: ReLU.
        dropout: Share of hidden units that are dropped in training; 0: none.
    """

    def __init__(
        self, sizes: tuple[int, ...], norm: bool = False, slope: float = 0.0, dropout: float = 0.0
    ):
        *hidden, _ = zip(sizes, sizes[1:], strict=False)
        layers: list[nn.Module] = []
        for before, after in hidden:
            layers.append(nn.Linear(before, after))
            if norm:
                layers.append(nn.BatchNorm1d(after))
            layers.append(nn.LeakyReLU(slope))
            if dropout:
                layers.append(nn.Dropout(dropout))
        super().__init__(*layers, nn.Linear(*sizes[-2:]))


class MLPGenerator(nn.Module):
    """Latents (B, D) to images in [-1, 1], or to points on the whole plane."""

    default_width = 256

    def __init__(self, image_shape: tuple[int, ...], latent_dim: int, num_classes: int, width: int):
        super().__init__()
        self.image_shape, self.num_classes = tuple(image_shape), num_classes
        sizes = (latent_dim + num_classes, width, width, math.prod(image_shape))
        points = len(image_shape) == 1
        self.body = MLP(sizes, norm=not points)
        self.out = nn.Identity() if points else nn.Tanh()

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        return self.out(self.body(beside(z, y, self.num_classes))).unflatten(1, self.image_shape)


class MLPDiscriminator(nn.Module):
    """Images or points to one raw score each, (B,)."""

    default_width = 256

    def __init__(self, image_shape: tuple[int, ...], num_classes: int, width: int):
        super().__init__()
        self.num_classes = num_classes
        sizes = (math.prod(image_shape) + num_classes, width, width, 1)
        self.body = MLP(sizes, slope=0.2, dropout=0.0 if len(image_shape) == 1 else 0.3)

    @property
    def score(self) -> nn.Module:
        """The last layer, which `Heads` replaces."""
        return self.body[-1]

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        return self.body(beside(x.flatten(1), y, self.num_classes)).squeeze(1)
