"""VAE-GAN: Autoencoding beyond Pixels Using a Learned Similarity Metric.

Larsen, Sonderby, Larochelle and Winther, 2015. https://arxiv.org/abs/1512.09300

A VAE that compares pixels answers what it is unsure of with a blur. A GAN's discriminator knows
better what matters in an image: let the likelihood be a Gaussian not of x but of what one of its
layers says of x, D_l(x), and let the VAE's decoder be the GAN's generator,

    L_prior = KL(q(z|x) || N(0, I))
    L_like  = 1/2 |D_l(x) - D_l(G(z))|^2,   z from q(z|x)                   (eq. 7, 8)
    L_GAN   = log D(x) + log(1 - D(G(z))) + log(1 - D(G(z_p)))

The discriminator sees both kinds of samples, of the encoder's z and of the prior's z_p. Each
player has its own share of the three (alg. 1): the encoder descends L_prior + L_like, the generator
gamma L_like - L_GAN, the discriminator -L_GAN. It is not taught by L_like, which it could satisfy
by saying nothing, and no fooling reaches the encoder.

Samples are sharper than those of a VAE of the same networks, and reconstructions further from the
original in pixels: they are not what is minimised.

Differs from the paper: the players move in turn, each on a forward pass of its own; the generator
descends the non-saturating form; D_l is the last hidden layer; Adam for RMSProp.
"""

import torch
from torch import Tensor
from torch.distributions import Distribution, kl_divergence

from ..adversarial import Batch, Player
from ..gan.gan import GAN
from ..module import evaluating
from ..networks import GaussianEncoder, Heads, without_dropout


class VAEGAN(GAN):
    """A VAE whose likelihood is of a discriminator's features.

    Args:
        latent_dim: D, of z from N(0, I).
        like_weight: The paper's gamma: what the generator gives for likeness against fooling. The
            likeness is summed over features: the more there are, the less of it.
            Other arguments as `GAN`.
    """

    Encoder = GaussianEncoder

    def __init__(
        self,
        image_shape: tuple[int, ...],
        num_classes: int = 0,
        latent_dim: int = 10,
        like_weight: float = 0.1,
        **kwargs,
    ):
        super().__init__(image_shape, num_classes, latent_dim, **kwargs)
        if like_weight < 0:
            raise ValueError(f"like_weight must be 0 or more, got {like_weight}")
        self.like_weight = like_weight
        body = self.Discriminator(self.image_shape, num_classes, self.hparams.width)
        self.encoder = self.Encoder(body, latent_dim)
        # What is compared must be the same each time.
        self.discriminator = Heads(without_dropout(self.discriminator))

    # The game

    def players(self) -> tuple[Player, ...]:
        encoder = Player("encoder", (self.encoder,), self.encoder_loss, clip_norm=self.clip_norm)
        return encoder, *super().players()

    def likeness(self, real: tuple[Tensor, ...], fake: tuple[Tensor, ...]) -> Tensor:
        """L_like, a mean over images of nats up to a constant."""
        features = self.discriminator.features
        return (features(*real) - features(*fake)).square().sum(1).mean() / 2

    def encoder_loss(self, batch: Batch) -> Tensor:
        x, y = self._told(batch)
        real = self.real(x, y)
        q = self.encoder(*real)
        z = q.rsample()
        divergence = kl_divergence(q, _standard(q)).mean()
        return divergence + self.likeness(real, self.fake(z, y))

    def discriminator_loss(self, batch: Batch) -> Tensor:
        x, y = self._told(batch)
        again = self.discriminator(*self.fake(self._code(x, y), y))
        return super().discriminator_loss(batch) + self.loss.fake(again)

    def generator_loss(self, batch: Batch) -> Tensor:
        ...
