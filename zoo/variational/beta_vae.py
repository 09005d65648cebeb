"""beta-VAE: Learning Basic Visual Concepts with a Constrained Variational Framework.

Higgins et al., 2017. https://openreview.net/forum?id=Sy2fzU9gl

A VAE whose KL divergence has a larger weight than its reconstruction:

    E_q[log p(x|z)] - beta KL(q(z|x) || p(z)),   beta > 1                   (eq. 4)

So a dimension of z is used only where it reduces the reconstruction error enough, and the used
dimensions should be independent factors of the data. In terms of coding (Alemi et al., 2018, https://arxiv.org/abs/1711.00464)
beta picks a point on the curve of distortion -E_q[log p(x|z)] against rate KL: at the optimum
both are monotone in it, the rate falls and the distortion rises. Without supervision no objective
guarantees that the dimensions are the factors (Locatello et al., 2019,
https://arxiv.org/abs/1811.12359), so one run cannot show it.

`elbo` is the bound on the likelihood, with beta = 1, at every beta of training. Both terms are sums
in nats, over dimensions and over pixels, and beta is the weight of one against the other.
"""

from .vae import VAE


class BetaVAE(VAE):
    """A VAE with a weighted KL divergence.

    Args:
        beta: The paper's beta, the weight of the KL divergence in training; 1: a VAE. The reported
            ELBO is always the bound with weight 1.
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
