"""VAE-GAN: Autoencoding beyond Pixels Using a Learned Similarity Metric.

Larsen, Sonderby, Larochelle and Winther, 2015. https://arxiv.org/abs/1512.09300

The reconstructions of a VAE with a likelihood of pixels are blurred. The features of a GAN's
discriminator are a better measure of similarity: here the likelihood is a Gaussian not of x but of
the features D_l(x) of one of its layers, and the VAE's decoder is the GAN's generator,

    L_prior = KL(q(z|x) || N(0, I))
    L_like  = 1/2 |D_l(x) - D_l(G(z))|^2,   z from q(z|x)
    L_GAN   = log D(x) + log(1 - D(G(z))) + log(1 - D(G(z_p)))

The discriminator gets two kinds of samples, from z of the encoder and from z_p of the prior. Each
player descends some of the terms (alg. 1): the encoder descends L_prior + L_like, the generator
gamma L_like - L_GAN, the discriminator -L_GAN. The discriminator does not descend L_like,
which is 0 for constant features, and the encoder does not descend L_GAN.

Samples are sharper than those of a VAE with the same networks, and reconstructions further from the
originals in pixels, whose error is not minimised.

Differs from the paper: the players move in turn, each on a forward pass of its own; the generator
descends the non-saturating form; the two kinds of samples count half each; D_l is the last hidden
layer; Adam for RMSProp.
"""

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, kl_divergence

from ... import latent
from ...checks import at_least
from ..adversarial import Batch, Player
from ..gan.gan import GAN
from ..networks import GaussianEncoder, Heads, without_dropout
from ..networks.distributions import standard_gaussian


class VAEGAN(GAN):
    """A VAE with a likelihood of a discriminator's features.

    Args:
        latent_dim: D, entries of z from N(0, I).
        like_weight: The paper's gamma, the weight of L_like in the generator's loss. L_like is a
            sum over features: with more features the weight should be smaller.
    """

    Encoder: type[nn.Module] = GaussianEncoder

    def __init__(
        self,
        image_shape: tuple[int, ...],
        num_classes: int = 0,
        latent_dim: int = 10,
        like_weight: float = 0.1,
        **kwargs,
    ):
        super().__init__(image_shape, num_classes, latent_dim=latent_dim, **kwargs)
        at_least(0, like_weight=like_weight)
        self.like_weight = like_weight
        self.encoder = self.Encoder(self.make_discriminator(), latent_dim)
        # Features that are compared must not be random.
        discriminator = Heads(without_dropout(self.discriminator))
        self.discriminator = self.regularisation.wrap(discriminator)

    # The game

    def players(self) -> tuple[Player, ...]:
        encoder = Player("encoder", (self.encoder,), self.encoder_loss, clip_norm=self.clip_norm)
        return encoder, *super().players()

    def infer(self, x: Tensor, *condition: Tensor) -> Distribution:
        """q(z|x), over (B, D)."""
        return self.encoder(*self.real(x, *condition))

    def likeness(self, real: tuple[Tensor, ...], fake: tuple[Tensor, ...]) -> Tensor:
        """L_like: nats up to a constant, a mean over images."""
        apart = self.discriminator.features(*real) - self.discriminator.features(*fake)
        return apart.square().sum(1).mean() / 2

    def divergence(self, q: Distribution) -> Tensor:
        """L_prior: nats, a mean over images."""
        return kl_divergence(q, standard_gaussian(q.mean)).mean()

    def encoder_loss(self, batch: Batch) -> Tensor:
        """L_prior + L_like, which the encoder descends."""
        x, *condition = self.conditioned(batch)
        q = self.infer(x, *condition)
        real, again = self.real(x, *condition), self.fake(q.rsample(), *condition)
        return self.divergence(q) + self.likeness(real, again)

    def discriminator_loss(self, batch: Batch) -> Tensor:
        x, *condition = self.conditioned(batch)
        real, (again, new) = self.real(x, *condition), self._fakes(x, *condition)
        scores = torch.cat((self.discriminator(*again), self.discriminator(*new)))
        return self.loss.discriminator(self.discriminator(*real), scores)

    def generator_loss(self, batch: Batch) -> Tensor:
        x, *condition = self.conditioned(batch)
        again, new = self._fakes(x, *condition)
        scores = torch.cat((self.discriminator(*again), self.discriminator(*new)))
        likeness = self.likeness(self.real(x, *condition), again)
        return self.loss.generator(scores) + self.like_weight * likeness

    def _fakes(self, x: Tensor, *condition: Tensor) -> tuple[tuple[Tensor, ...], ...]:
        """Reconstructions, and as many samples."""
        z = self.infer(x, *condition).rsample()
        return self.fake(z, *condition), self.fake(self.prior(len(x)), *condition)

    # What it can do

    prior, posterior = latent.standard_gaussian, latent.posterior
    encode, reconstruct = latent.posterior_mean, latent.reconstruct
