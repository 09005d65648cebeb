"""WGAN-GP: Improved Training of Wasserstein GANs.

Gulrajani, Ahmed, Arjovsky, Dumoulin and Courville, 2017. https://arxiv.org/abs/1704.00028

Clipping drives a critic's weights to the bounds, and its gradients vanish or explode with the
number of layers (sec. 3). The gradient of an optimal critic has norm 1 almost everywhere on the
lines between coupled data and samples (prop. 1). The loss asks for this norm:

    L_D = E_z[D(G(z))] - E_x[D(x)] + lambda E[(|grad D(x_hat)| - 1)^2]      (eq. 3)

with x_hat uniform on the line between a real image and a sample. The penalty is on the gradient of
each image alone, so the critic has layer normalisation, or none, instead of batch normalisation
(sec. 4).
"""

import torch
from torch import Tensor
from torch.autograd import grad

from ..._torch import BATCH_NORM
from ...modes import eager, evaluating
from .. import networks
from .gan import GAN
from .wgan import wasserstein


class WGANGP(GAN):
    """A GAN whose discriminator is a critic with a gradient penalty.

    Args:
        penalty_weight: Weight of the gradient penalty, the paper's lambda: 10 for images; 0.1 for
            points in the plane, where 10 restricts the critic too much.
        lr: Adam's learning rate.
        betas: Adam's decay rates.
        d_steps: Steps of the critic for each step of the generator, the paper's n_critic.
    """

    loss = wasserstein
    pairs = {
        **networks.PAIRS,
        "conv": (networks.ConvGenerator, networks.LayerNormConvDiscriminator),
    }

    def __init__(
        self,
        image_shape: tuple[int, ...],
        num_classes: int = 0,
        penalty_weight: float = 10.0,
        lr: float = 1e-4,
        betas: tuple[float, float] = (0.0, 0.9),
        d_steps: int = 5,
        **kwargs,
    ):
        super().__init__(image_shape, num_classes, lr=lr, betas=betas, d_steps=d_steps, **kwargs)
        self.penalty_weight = penalty_weight
        for name, module in self.discriminator.named_modules():
            if isinstance(module, BATCH_NORM):
                raise ValueError(
                    f"the critic must not have batch normalisation (each image's gradient must be "
                    f"its own), got {type(module).__name__} at {name}"
                )

    def penalty(self, real: tuple[Tensor, ...], fake: tuple[Tensor, ...]) -> Tensor:
        slope = self._slope(real, fake)
        return self.penalty_weight * (slope - 1).square().mean()

    def _slope(self, real: tuple[Tensor, ...], fake: tuple[Tensor, ...]) -> Tensor:
        """Norms (B,) of the critic's gradient, each at a random point between an image and a
        sample."""
        (x, *condition), (x_fake, *_) = real, fake
        t = torch.rand(len(x), *[1] * (x.ndim - 1), device=x.device)  # one for each image
        with torch.enable_grad():
            x_hat = torch.lerp(x, x_fake, t.to(x)).detach().requires_grad_()
            with eager(self.discriminator):
                score = self.discriminator(x_hat, *condition)
            (slope,) = grad(score.sum(), x_hat, create_graph=True)
        return (slope.flatten(1).square().sum(1) + 1e-12).sqrt()  # a norm of 0 has no gradient

    def gradient_norms(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """Norms (B,) of the critic's gradient between images and samples; 1 at the optimum."""
        condition = self.condition.arguments(y)
        with evaluating(self):
            real, fake = self.real(x, *condition), self.fake(self.prior(len(x)), *condition)
            return self._slope(real, fake).detach()
