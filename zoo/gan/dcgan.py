"""DCGAN: Unsupervised Representation Learning with Deep Convolutional Generative Adversarial
Networks.

Radford, Metz and Chintala, 2015. https://arxiv.org/abs/1511.06434

Goodfellow's game between all-convolutional networks, which train stably under a few guidelines
(sec. 3): strided convolutions for pooling, batch normalisation in both networks, no fully
connected hidden layers, ReLU with a final tanh in the generator, LeakyReLU in the discriminator.
z is uniform on [-1, 1]^100, Adam has a learning rate of 2e-4 and beta_1 = 0.5 (sec. 4).

Walking from one z to another changes images smoothly, in meaning rather than in pixels (sec. 6.1).
Sums and differences of latents also have a meaning, if each latent is the mean of a few samples
with one attribute (sec. 6.3.2): z(woman with dark skin) is about z(man with dark skin) - z(man with
light skin) + z(woman with light skin).

Differs from the paper: kernels 4x4 for 5x5; half its width by default.
"""

from torch import nn

from ... import latent
from .. import networks
from .gan import GAN


class DCGAN(GAN):
    """A GAN of two convolutional networks, for square images of 8, 16, 28, 32, 64 ... pixels.

    >>> DCGAN((3, 16, 16), latent_dim=8, width=8).sample(2).shape
    torch.Size([2, 3, 16, 16])

    Args:
        latent_dim: D, entries of the noise z.
        width: Channels at half the full side (the paper's 128); they double with each halving,
            three times, and further only up to 512.
    """

    Generator: type[nn.Module] = networks.ConvGenerator
    Discriminator: type[nn.Module] = networks.ConvDiscriminator

    def __init__(
        self,
        image_shape: tuple[int, ...],
        num_classes: int = 0,
        latent_dim: int = 100,
        width: int = 64,
        **kwargs,
    ):
        super().__init__(image_shape, num_classes, latent_dim, width, **kwargs)

    arithmetic = latent.arithmetic
