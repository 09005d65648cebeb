"""All-convolutional networks by DCGAN's guidelines (https://arxiv.org/abs/1511.06434, sec. 3).

Strided convolutions instead of pooling, fractionally-strided ones on the way up, batch
normalisation everywhere but at the generator's output and the discriminator's input, no fully
connected hidden layer, ReLU and tanh in the generator, LeakyReLU in the discriminator.

The paper's kernels are 5x5; 4x4 with stride 2 covers each pixel equally often.
"""

from torch import Tensor, nn

from .conditional import beside


def reached(image_shape: tuple[int, ...]) -> bool:
    """Whether strided convolutions reach the side of such images.

    >>> reached((1, 28, 28)), reached((1, 30, 30))
    (True, False)
    """
    try:
        halvings(image_shape)
    except ValueError:
        return False
    return True


def halvings(image_shape: tuple[int, ...]) -> tuple[int, int]:
    """(base, times): the side of the images is `base` pixels, 4 to 7, doubled `times` times.

    >>> halvings((1, 28, 28))
    (7, 2)

    Raises:
        ValueError: strided convolutions cannot reach this side.
    """
    base, times = image_shape[-1], 0
    while base > 7 and base % 2 == 0:
        base, times = base // 2, times + 1
    if len(image_shape) != 3 or image_shape[1] != image_shape[2] or base > 7 or not times:
        raise ValueError(
            "image_shape must be (C, side, side), side 4 to 7 doubled at least once "
            f"(8, 16, 28, 32, 64, ...), got {tuple(image_shape)}: set --data.image_size"
        )
    return base, times


def doubled(width: int, times: int) -> list[int]:
    """Channels at each side, the largest first: they double with each halving, three times, and
    further only up to 512."""
    return [min(width * 2**i, max(8 * width, 512)) for i in range(times)]


def initialise(module: nn.Module) -> None:
    """Weights from N(0, 0.02^2), scales of batch norm from N(1, 0.02^2) (sec. 4)."""
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        nn.init.normal_(module.weight, 0.0, 0.02)
    elif isinstance(module, nn.BatchNorm2d):
        nn.init.normal_(module.weight, 1.0, 0.02)


class ConvGenerator(nn.Module):
    """Latents (B, D) to images in [-1, 1].

    Args:
        width: Channels before the output; they double with each halving of the side, three times,
            and further only up to 512.
    """

    default_width = 64

    def __init__(self, image_shape: tuple[int, ...], latent_dim: int, num_classes: int, width: int):
        super().__init__()
        self.num_classes = num_classes
        base, times = halvings(image_shape)
        channels = doubled(width, times)[::-1]  # from the smallest side up
        layers: list[nn.Module] = [
            nn.ConvTranspose2d(latent_dim + num_classes, channels[0], base, bias=False)
        ]
        for before, after in zip(channels, channels[1:], strict=False):
            layers += [nn.BatchNorm2d(before), nn.ReLU()]
            layers += [nn.ConvTranspose2d(before, after, 4, stride=2, padding=1, bias=False)]
        layers += [nn.BatchNorm2d(width), nn.ReLU()]
        layers += [nn.ConvTranspose2d(width, image_shape[0], 4, stride=2, padding=1), nn.Tanh()]
        self.body = nn.Sequential(*layers)
        self.apply(initialise)

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        return self.body(beside(z, y, self.num_classes)[:, :, None, None])


class ConvDiscriminator(nn.Module):
    """Images to one raw score each, (B,); the mirror of `ConvGenerator`."""

    Norm: type[nn.Module] = nn.BatchNorm2d
    default_width = 64

    def __init__(self, image_shape: tuple[int, ...], num_classes: int, width: int):
        super().__init__()
        self.num_classes = num_classes
        base, times = halvings(image_shape)
        channels = doubled(width, times)
        layers: list[nn.Module] = [
            nn.Conv2d(image_shape[0] + num_classes, width, 4, stride=2, padding=1),
            nn.LeakyReLU(0.2),
        ]
        for before, after in zip(channels, channels[1:], strict=False):
            layers += [nn.Conv2d(before, after, 4, stride=2, padding=1, bias=False)]
            layers += [self.Norm(after), nn.LeakyReLU(0.2)]
        self.body = nn.Sequential(*layers, nn.Conv2d(channels[-1], 1, base))
        self.apply(initialise)

    @property
    def score(self) -> nn.Module:
        """The last layer, which `Heads` replaces."""
        return self.body[-1]

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        return self.body(beside(x, y, self.num_classes)).flatten()


class LayerNorm(nn.GroupNorm):
    """Normalises the features (C, H, W) of an image together, independently of its batch."""

    def __init__(self, channels: int):
        super().__init__(1, channels)


class LayerNormConvDiscriminator(ConvDiscriminator):
    """A discriminator without batch normalisation, for losses that need the gradient of each image
    alone."""

    Norm: type[nn.Module] = LayerNorm
