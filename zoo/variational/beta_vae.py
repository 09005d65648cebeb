"""beta-VAE: Learning Basic Visual Concepts with a Constrained Variational Framework.

Higgins et al., 2017. https://openreview.net/forum?id=Sy2fzU9gl

A VAE pays the divergence from its prior more dearly than its reconstruction:

    E_q[log p(x|z)] - beta KL(q(z|x) || p(z)),   beta > 1                   (eq. 4)

So a dimension of z is used only where it is worth its price, and what is used should be factors
that vary by themselves. In terms of coding (Alemi et al., 2018, https://arxiv.org/abs/1711.00464)
beta picks a point on the curve of distortion -E_q[log p(x|z)] against rate KL: at the optimum
both are monotone in it, the rate falls and the distortion rises. Without supervision no objective
can promise that the dimensions are the factors (Locatello et al., 2019,
https://arxiv.org/abs/1811.12359), so that is nothing one run can show.

`elbo` is the bound on the likelihood, beta = 1, whatever was trained. Beta is the weight of nats
against nats: both terms are summed, over dimensions and over pixels.
"""

from .vae import VAE


class BetaVAE(VAE):
    """A VAE with a price on what its latent says.

    Args:
        beta: That price; 1: a VAE.
    """

    def __init__(
        self,
        image_shape: tuple[int, ...],
        num_classes: int = 0,
        latent_dim: int = 20,
        beta: float = 4.0,
        **kwargs,
    ):
        super().__init__(image_shape, num_classes, latent_dim, beta=beta, **kwargs)
