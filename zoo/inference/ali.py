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

from torch import Tensor, nn
from torch.distributions import Distribution

from ... import latent
from ..networks import GaussianEncoder
from .bigan import BiGAN


class ALI(BiGAN):
    """A BiGAN with a stochastic encoder."""

    Encoder: type[nn.Module] = GaussianEncoder

    prior, posterior = latent.standard_gaussian, latent.posterior
    encode = latent.posterior_mean

    def infer(self, x: Tensor, *condition: Tensor) -> Distribution:
        """q(z|x), over (B, D)."""
        return self.encoder(x, *condition)

    def code(self, x: Tensor, *condition: Tensor) -> Tensor:
        return self.infer(x, *condition).rsample()
