"""ConvAutoencoder: Stacked Convolutional Auto-Encoders for Hierarchical Feature Extraction.

Masci, Meier, Ciresan and Schmidhuber, 2011. https://doi.org/10.1007/978-3-642-21735-7_7

An autoencoder of convolutional layers: a feature learned in one place is detected in all places,
and images keep their locality (sec. 3). It has far fewer weights than an autoencoder of fully
connected layers, and needs fewer images to train them.

Differs from the paper: DCGAN's networks (strides for pooling, all layers trained together,
batch normalisation), and a code of few numbers between them.
"""

from torch import Tensor, nn

from .. import networks
from .autoencoder import Autoencoder


class ConvEncoder(networks.ConvDiscriminator):
    """Images to codes (B, D): a discriminator with D outputs in place of the score."""

    def __init__(self, image_shape: tuple[int, ...], latent_dim: int, num_classes: int, width: int):
        super().__init__(image_shape, num_classes, width)
        score = self.body[-1]
        self.body[-1] = nn.Conv2d(score.in_channels, latent_dim, score.kernel_size)

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x).flatten(1)


class ConvAutoencoder(Autoencoder):
    """A convolutional autoencoder, for square images of 8, 16, 28, 32 or 64 pixels a side.

    Args:
        width: Channels at half the full side; they double with each halving.
    """

    Encoder: type[nn.Module] = ConvEncoder
    Decoder: type[nn.Module] = networks.ConvGenerator

    def __init__(
        self,
        image_shape: tuple[int, ...],
        num_classes: int = 0,
        latent_dim: int = 30,
        width: int = 32,
        lr: float = 1e-3,
    ):
        super().__init__(image_shape, num_classes, latent_dim, width, lr)
