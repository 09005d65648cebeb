"""BiGAN: Adversarial Feature Learning.

Donahue, Krahenbuhl and Darrell, 2016. https://arxiv.org/abs/1605.09782

A generator maps z to images; an encoder E learns the inverse without pairs of z and image. The
discriminator's inputs are images with latents, and it separates (x, E(x)) from (G(z), z):

    min_{G,E} max_D  E_x[log D(x, E(x))] + E_z[log(1 - D(G(z), z))]         (eq. 3)

Generator and encoder are trained together against it. At the optimum both kinds of pairs have the
same joint distribution, so a deterministic E inverts G: E(G(z)) = z and G(E(x)) = x almost
everywhere (thm 2). Before the optimum a reconstruction is a similar image rather than the same.

Both descend the non-saturating loss of a GAN's generator rather than eq. 3 (sec. 3.4): -log D(G(z),
z) - log(1 - D(x, E(x))).

What did not hold: on 8x8 digits, after 2,000 steps, reconstructions kept their digit in 0.48, 0.36
and 0.23 of cases on three seeds (chance 0.1), instead of nearly half; features were better than
those of an untrained encoder on all seeds.

Differs from the paper: networks as `GAN` or as `network` says, no decay of the learning
rate by default, and no weight decay.
"""

from dataclasses import replace

import torch
from torch import Tensor, nn

from ... import latent
from ...checks import at_least
from ...modes import evaluating
from ..adversarial import Batch, Player
from ..gan.gan import GAN
from ..networks import MLP, Encoder, Heads


class PairDiscriminator(nn.Module):
    """Pairs of an image and a latent to raw scores (B,).

    Args:
        discriminator: The network whose body gives features of the image, and of its condition.
        latent_dim: D, entries of a latent.
        width: Units of the layers of the latent, and of both together.
    """

    def __init__(self, discriminator: nn.Module, latent_dim: int, width: int):
        super().__init__()
        self.image = Heads(discriminator, score=False)
        self.latent = MLP((latent_dim, width, width), slope=0.2)
        self.pair = MLP((self.image.num_features + width, width, 1), slope=0.2)

    def forward(self, x: Tensor, z: Tensor, *condition: Tensor) -> Tensor:
        both = torch.cat((self.image.features(x, *condition), self.latent(z)), dim=1)
        return self.pair(both).squeeze(1)


class BiGAN(GAN):
    """A GAN whose discriminator also has latents as inputs, and an encoder of images.

    Args:
        pair_width: Units of the discriminator's layers of the latent, and of latent and image
            together.
    """

    Encoder: type[nn.Module] = Encoder

    def __init__(
        self, image_shape: tuple[int, ...], num_classes: int = 0, pair_width: int = 256, **kwargs
    ):
        super().__init__(image_shape, num_classes, **kwargs)
        at_least(1, pair_width=pair_width)
        self.encoder = self.Encoder(self.make_discriminator(), self.latent_dim)
        pairs = PairDiscriminator(self.discriminator, self.latent_dim, pair_width)
        self.discriminator = self.regularisation.wrap(pairs)

    # The game

    def players(self) -> tuple[Player, ...]:
        discriminator, generator = super().players()
        return discriminator, replace(generator, modules=(self.generator, self.encoder))

    def code(self, x: Tensor, *condition: Tensor) -> Tensor:
        """Latents (B, D) of images, which are inputs of the discriminator."""
        return self.encoder(x, *condition)

    def real(self, x: Tensor, *condition: Tensor) -> tuple[Tensor, ...]:
        x, *condition = super().real(x, *condition)
        return x, self.code(x, *condition), *condition

    def fake(self, z: Tensor, *condition: Tensor) -> tuple[Tensor, ...]:
        x, *condition = super().fake(z, *condition)
        return x, z, *condition

    def generator_loss(self, batch: Batch) -> Tensor:
        """The generator's loss, and that of the encoder: the same with the sign of scores reversed,
        on data."""
        score = self.discriminator(*self.real(*self.conditioned(batch)))
        return super().generator_loss(batch) + self.loss.generator(-score)

    # What it can do

    def encode(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """(B, C, H, W) to (B, D); a conditional model needs y."""
        with evaluating(self):
            return self.encoder(*super().real(x, *self.condition.arguments(y)))

    reconstruct = latent.reconstruct
