"""ALI: Adversarially Learned Inference.

Dumoulin, Belghazi, Poole, Mastropietro, Lamb, Arjovsky and Courville, 2016.
https://arxiv.org/abs/1606.00704

A decoder p(x|z) with a prior p(z) = N(0, I) defines a joint distribution of images and latents; an
encoder q(z|x) and the data q(x) define another. A game on pairs makes them equal:

    min_G max_D  E_{q(x,z)}[log D(x, z)] + E_{p(x,z)}[log(1 - D(x, z))]     (eq. 1)

That is BiGAN's game (the two were found at the same time) with a stochastic encoder: z is drawn
from N(mu(x), sigma^2(x)) as mu + sigma epsilon, so that gradients reach both. At the optimum
q(z|x) is the posterior p(z|x), and the codes of all images have the distribution of the prior.

Differs from the paper: no maxout; the decoder adds no noise.
"""

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from ...modes import evaluating
from ..networks import GaussianEncoder
from .bigan import BiGAN


class ALI(BiGAN):
    """A BiGAN with a stochastic encoder."""

    Encoder: type[nn.Module] = GaussianEncoder

    def prior(self, n: int) -> Tensor:
        """Latents z (n, D) from N(0, I)."""
        return torch.randn(n, self.latent_dim, device=self.device, dtype=self.dtype)

    def code(self, x: Tensor, *condition: Tensor) -> Tensor:
        return self.encoder(x, *condition).rsample()

    def posterior(self, x: Tensor, y: Tensor | None = None) -> Distribution:
        """q(z|x), over (B, D)."""
        with evaluating(self):
            return self.encoder(x, *self.condition.arguments(y))

    def encode(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """Means (B, D) of the posterior of images."""
        return self.posterior(x, y).mean
