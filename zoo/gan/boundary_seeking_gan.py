"""BGAN: Boundary-Seeking Generative Adversarial Networks.

Hjelm, Jacob, Che, Trischler, Cho and Bengio, 2017. https://arxiv.org/abs/1702.08431

Discrete samples have no gradient. But an optimal discriminator gives p/q = D / (1 - D) = exp(s)
(Goodfellow's prop. 1), so q(x) exp(s(x)) is the density of the data. For M images drawn for one z
the weights

    w_m = exp(s(x_m)) / sum_k exp(s(x_k))

are how often each should have been drawn. The generator raises the likelihood of its own draws with
these weights, which are constants in its gradient:

    L_G = -E_z[sum_m w_m log g(x_m | z)]

This is the gradient of a divergence from the reweighted density. Continuous samples are moved to
the decision boundary, D = 1/2: L_G = 1/2 E_z[s(G(z))^2].

On small binary digits REINFORCE, with as many draws, the reward log D and a baseline, was behind on
two seeds of three and ahead on one; on eight Gaussians the continuous form is behind Goodfellow's.

Differs from the paper: of discrete images only binary ones, their pixels independent given z.
"""

import torch
from torch import Tensor
from torch.distributions import Independent

from ..adversarial import Batch
from ..networks.distributions import coins
from .gan import GAN, Payoff, cross_entropy


def squared_score(fake: Tensor) -> Tensor:
    """1/2 E[(log D - log(1 - D))^2]: 0 at the decision boundary."""
    return fake.square().mean() / 2


class BoundarySeekingGAN(GAN):
    """A GAN whose generator aims at the discriminator's boundary; also for binary images.

    Args:
        binary: Whether images are binary, with pixels 1 or -1; pixels of data above 0 become 1.
            `decode` gives means of pixels, `sample` gives draws.
        draws: The paper's M, the number of images drawn for each z.
    """

    loss = Payoff(cross_entropy, squared_score)

    def __init__(
        self,
        image_shape: tuple[int, ...],
        num_classes: int = 0,
        binary: bool = False,
        draws: int = 20,
        **kwargs,
    ):
        super().__init__(image_shape, num_classes, **kwargs)
        if binary and len(image_shape) != 3:
            raise ValueError(f"image_shape must be (C, H, W) if binary, got {tuple(image_shape)}")
        if draws < 2:
            raise ValueError(f"draws must be at least 2 (weights compare them), got {draws}")
        self.binary, self.draws = binary, draws

    def pixels(self, mean: Tensor) -> Independent:
        """Distribution of bits in {0, 1}, from the generator's means in [-1, 1]."""
        chance = ((mean + 1) / 2).clamp(1e-6, 1 - 1e-6)
        return coins(len(self.image_shape), probs=chance)

    def real(self, x: Tensor, *condition: Tensor) -> tuple[Tensor, ...]:
        x, *condition = super().real(x, *condition)
        return ((x > 0).to(x) * 2 - 1 if self.binary else x, *condition)

    def fake(self, z: Tensor, *condition: Tensor) -> tuple[Tensor, ...]:
        x, *condition = super().fake(z, *condition)
        return (self.pixels(x).sample() * 2 - 1 if self.binary else x, *condition)

    def generator_loss(self, batch: Batch) -> Tensor:
        if not self.binary:
            return super().generator_loss(batch)
        x, *condition = self.conditioned(batch)
        mean, *condition = super().fake(self.prior(len(x)), *condition)
        pixels = self.pixels(mean)
        bits = pixels.sample((self.draws,))  # (M, B, C, H, W)
        condition = [y.repeat(self.draws) for y in condition]
        with torch.no_grad():
            scores = self.discriminator(bits.flatten(0, 1) * 2 - 1, *condition)
        weights = scores.unflatten(0, bits.shape[:2]).softmax(0)  # (M, B), among those of one z
        self.log("effective_draws", 1 / weights.square().sum(0).mean())
        return -(weights * pixels.log_prob(bits)).sum(0).mean()

    def sample(self, n: int, y: Tensor | None = None) -> Tensor:
        x = super().sample(n, y)
        return self.pixels(x).sample() * 2 - 1 if self.binary else x
