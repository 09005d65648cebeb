"""WGAN: Wasserstein GAN.

Arjovsky, Chintala and Bottou, 2017. https://arxiv.org/abs/1701.07875

If data and samples lie on low-dimensional sets that do not intersect, their Jensen-Shannon
divergence is log 2 at every distance between them, and gives the generator no gradient. The earth
mover's distance gives one. It is the supremum

    W(p, q) = sup_f  E_x[f(x)] - E_z[f(G(z))],   f 1-Lipschitz             (eq. 2)

A critic is trained to be this f. To keep it Lipschitz, each of its weights is clipped to [-c, c]
after every step (alg. 1). At the critic's optimum its gain is W up to an unknown factor, and its
gradient does not vanish. Clipping is, as the authors say, a terrible way to enforce the constraint:
see `wgan_gp.py`.

Differs from the paper: the weights of normalisation layers are clipped, too.
"""

import torch
from torch import Tensor
from torch.optim import Optimizer

from ...modes import evaluating
from ..adversarial import Player
from .gan import GAN, Payoff


def minus_gain(real: Tensor, fake: Tensor) -> Tensor:
    """E[f(G(z))] - E[f(x)]: minus the critic's gain.

    >>> minus_gain(torch.tensor([2.0, 4.0]), torch.tensor([1.0, 1.0]))
    tensor(-2.)
    """
    return fake.mean() - real.mean()


def minus_score(fake: Tensor) -> Tensor:
    """-E[f(G(z))]: the slope in the score is the same for every sample."""
    return -fake.mean()


wasserstein = Payoff(minus_gain, minus_score)


class WGAN(GAN):
    """A GAN whose discriminator is a critic with clipped weights.

    Args:
        clip_value: The paper's c; with a smaller value all gradients are smaller.
        lr: RMSProp's learning rate; the paper advises against momentum.
        d_steps: Steps of the critic for each step of the generator, the paper's n_critic.
    """

    loss = wasserstein

    def __init__(
        self,
        image_shape: tuple[int, ...],
        num_classes: int = 0,
        clip_value: float = 0.01,
        lr: float = 5e-5,
        d_steps: int = 5,
        **kwargs,
    ):
        super().__init__(image_shape, num_classes, lr=lr, d_steps=d_steps, **kwargs)
        if self.betas != (0.5, 0.999):
            raise ValueError(f"betas must be left out: RMSProp has none, got {self.betas}")
        if not clip_value > 0:
            raise ValueError(f"clip_value must be positive, got {clip_value}")
        self.clip_value = clip_value

    def optimizer(self, player: Player) -> Optimizer:
        optimizer = torch.optim.RMSprop(player.parameters(), lr=self.lr_of(player))
        if self.discriminator in player.modules:
            optimizer.register_step_post_hook(self._clip)
        return optimizer

    @torch.no_grad()
    def _clip(self, *_) -> None:
        for weight in self.discriminator.parameters():
            weight.clamp_(-self.clip_value, self.clip_value)

    def wasserstein_estimate(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """The critic's gain on images (B, C, H, W) and as many samples: W up to a factor."""
        condition = self.condition.arguments(y)
        with evaluating(self):
            real, fake = self.real(x, *condition), self.fake(self.prior(len(x)), *condition)
            return -minus_gain(self.discriminator(*real), self.discriminator(*fake))
