"""Residual networks in the manner of Gulrajani et al. (https://arxiv.org/abs/1704.00028).

A block is two 3x3 convolutions with a shortcut. The generator doubles the side by repeating
pixels, the discriminator halves it by averaging four; the discriminator has no normalisation.
Weights are initialised as in the authors' code, by Glorot's rule, and those behind a ReLU by He's.

The class is a condition as in Miyato and Koyama (https://arxiv.org/abs/1802.05637): in the
generator it sets scale and shift of the normalisation, in the discriminator the score contains a
projection of the features on an embedding of the class.
"""

from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, interpolate, relu
from torch.nn.utils import parametrize

from ..._torch import Stored
from .conditional import beside, checked
from .conv import halvings
from .regularisation import spectrally_normal


def initialise(module: nn.Module) -> None:
    """Glorot's uniform weights; sqrt(2) times as large, He's, for the convolutions of a block."""
    if isinstance(module, UpBlock | DownBlock):
        for layer in (module.first, module.second):
            nn.init.xavier_uniform_(layer.weight, gain=2**0.5)
    elif isinstance(module, ConditionalBatchNorm2d):
        nn.init.ones_(module.scale.weight)
        nn.init.zeros_(module.shift.weight)
    elif isinstance(module, nn.Embedding):
        nn.init.xavier_uniform_(module.weight)
    elif isinstance(module, nn.Linear | nn.Conv2d):
        nn.init.xavier_uniform_(module.weight)
        nn.init.zeros_(module.bias)


class ConditionalBatchNorm2d(nn.Module):
    """Batch normalisation with a scale and a shift for each class."""

    def __init__(self, channels: int, num_classes: int):
        super().__init__()
        self.norm = nn.BatchNorm2d(channels, affine=False)
        self.scale = nn.Embedding(num_classes, channels)
        self.shift = nn.Embedding(num_classes, channels)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return self.norm(x) * self.scale(y)[:, :, None, None] + self.shift(y)[:, :, None, None]


class UpBlock(nn.Module):
    """(B, C, H, W) to (B, C', 2H, 2W)."""

    def __init__(self, before: int, after: int, num_classes: int = 0):
        super().__init__()
        kind = (ConditionalBatchNorm2d, num_classes) if num_classes else (nn.BatchNorm2d,)
        self.norms = nn.ModuleList([kind[0](width, *kind[1:]) for width in (before, after)])
        self.first = nn.Conv2d(before, after, 3, padding=1)
        self.second = nn.Conv2d(after, after, 3, padding=1)
        self.shortcut = nn.Conv2d(before, after, 1)

    def forward(self, x: Tensor, *label: Tensor) -> Tensor:
        h = self.first(interpolate(relu(self.norms[0](x, *label)), scale_factor=2))
        h = self.second(relu(self.norms[1](h, *label)))
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


class Conditional(Stored):
    """Base of the two networks: how the class is their condition.

    Attributes:
        in_blocks: Whether blocks have the class; False in networks of older checkpoints, in which
            the class was appended to the input.
    """

    in_blocks = True

    def before_loading(self, state_dict: dict[str, Tensor], prefix: str) -> None:
        start = state_dict.get(f"{prefix}start.weight")
        start = state_dict.get(f"{prefix}start.parametrizations.weight.original", start)
        if self.num_classes and self.in_blocks and start is not None:
            if start.shape[1] == self.start.weight.shape[1] + self.num_classes:
                normal = parametrize.is_parametrized(self.start)
                self.join_beside()
                if normal:
                    spectrally_normal(self)


class ResidualGenerator(Conditional):
    """Latents (B, D) to images in [-1, 1].

    Args:
        width: Channels of each block.
    """

    default_width = 128

    def __init__(self, image_shape: tuple[int, ...], latent_dim: int, num_classes: int, width: int):
        super().__init__()
        self.num_classes = num_classes
        base, times = halvings(image_shape)
        self.start = nn.Linear(latent_dim, width * base**2)
        self.unflatten = nn.Unflatten(1, (width, base, base))
        self.blocks = nn.ModuleList(UpBlock(width, width, num_classes) for _ in range(times))
        self.norm = nn.BatchNorm2d(width)
        self.out = nn.Conv2d(width, image_shape[0], 3, padding=1)
        self.apply(initialise)

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        label: tuple[Tensor, ...] = ()
        if self.num_classes and self.in_blocks:
            label = (checked(y, len(z), self.num_classes),)
        elif self.num_classes:
            z = beside(z, y, self.num_classes)
        x = self.unflatten(self.start(z))
        for block in self.blocks:
            x = block(x, *label)
        return self.out(relu(self.norm(x))).tanh()

    def join_beside(self) -> None:
        """Changes to the older form, in which the class is appended to the latents."""
        self.in_blocks = False
        self.start = nn.Linear(self.start.in_features + self.num_classes, self.start.out_features)
        for block in self.blocks:
            norms = [nn.BatchNorm2d(norm.norm.num_features) for norm in block.norms]
            block.norms = nn.ModuleList(norms)


class ResidualDiscriminator(Conditional):
    """Images to one raw score each, (B,); the mirror of `ResidualGenerator`.

    With a class y its features are phi(x) + v_y phi(x), entry by entry, so that the score is the
    sum of <w, phi(x)> and a projection on the class, <w v_y, phi(x)>.
    """

    default_width = 128

    def __init__(self, image_shape: tuple[int, ...], num_classes: int, width: int):
        super().__init__()
        self.num_classes, self.gain = num_classes, 1.0
        _, times = halvings(image_shape)
        self.start = nn.Conv2d(image_shape[0], width, 3, padding=1)
        self.blocks = nn.Sequential(*(DownBlock(width, width) for _ in range(times)))
        self.score = nn.Linear(width, 1)
        self.classes = nn.Embedding(num_classes, width) if num_classes else None
        self.apply(initialise)

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        if self.num_classes and not self.in_blocks:
            x = beside(x, y, self.num_classes)
        h = relu(self.blocks(self.start(x))).mean((2, 3))
        if self.classes is not None:
            h = h * (1 + self.classes(checked(y, len(x), self.num_classes))) * self.gain
        return self.score(h).squeeze(1)

    def limit_slope(self) -> None:
        """Scales the features, so that the score has a slope of at most 1 with a class, too."""
        if self.classes is not None:  # of normal weights no entry of v_y is above 1
            self.gain = 0.5

    def join_beside(self) -> None:
        """Changes to the older form, in which the class is appended to the image as planes."""
        self.in_blocks, self.classes = False, None
        channels, width = self.start.in_channels + self.num_classes, self.start.out_channels
        self.start = nn.Conv2d(channels, width, 3, padding=1)
