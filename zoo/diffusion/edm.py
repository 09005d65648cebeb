"""EDM: Elucidating the Design Space of Diffusion-Based Generative Models.

Karras, Aittala, Aila and Laine, 2022. https://arxiv.org/abs/2206.00364

Noise of deviation sigma is added to an image, x_sigma = x + sigma epsilon, and D takes it out. A
network from x_sigma as it is to x or epsilon would have inputs and errors of every size. So D has
the network F between weights by which F's input and target have variance 1:

    D(x; sigma) = c_skip x + c_out F(c_in x, ln(sigma) / 4)                 (eq. 7)
    c_skip = s^2 / (sigma^2 + s^2),  c_out = sigma s / sqrt(sigma^2 + s^2),
    c_in = 1 / sqrt(sigma^2 + s^2)

with s^2 the data's mean square. Training weighs |D - x|^2 by 1 / c_out^2, which is F's plain
squared error, 1 at first whatever sigma is, and draws ln(sigma) from N(-1.2, 1.2^2), where there is
something to be learned. Sampling follows the flow by Heun's method, N steps even in sigma^(1/7)
from 80 to 0.002 and one more to 0: 2N - 1 calls of the network. At the optimum on a finite set D is
the mean of its images weighted by exp(-|x_sigma - x_i|^2 / 2 sigma^2), and every sample is one of
them.

Here t in [0, 1] stands for sigma = 80 t^7, by which the paper's steps are even in t.

Differs from the paper: s is measured on the first batch where it is not given; no augmentation; no
noise is added back while images are drawn (S_churn = 0, as the paper has it for CIFAR-10).
"""

from typing import Any, Literal

import torch
from torch import Tensor

from ..._lightning import place_of
from ...checks import at_least
from .denoising import Denoising
from .paths import Exploding


class EDM(Denoising):
    """A network between weights that keep its input and its target at variance 1.

    Args:
        sigma_data: The paper's, s: root of the data's mean square; None: of the first batch's.
        sigma_min: The least noise at which the network is called.
        sigma_max: The noise from which images are drawn.
        rho: Power of sigma whose inverse has even steps.
        noise_mean: The paper's P_mean, of ln(sigma) in training.
        noise_deviation: The paper's P_std, of ln(sigma) in training.
    """

    def __init__(
        self,
        image_shape: tuple[int, ...],
        num_classes: int = 0,
        sigma_data: float | None = None,
        sigma_min: float = 0.002,
        sigma_max: float = 80.0,
        rho: float = 7.0,
        noise_mean: float = -1.2,
        noise_deviation: float = 1.2,
        sampler: Literal["euler", "ddim", "midpoint", "heun", "ancestral"] = "heun",
        steps: int = 18,
        lr: float = 1e-3,
        **kwargs,
    ):
        super().__init__(image_shape, num_classes, sampler=sampler, steps=steps, lr=lr, **kwargs)
        at_least(1, rho=rho)
        at_least(0, noise_deviation=noise_deviation)
        if not sigma_min > 0:
            raise ValueError(f"sigma_min must be above 0, got {sigma_min}")
        if not sigma_max > sigma_min:
            raise ValueError(f"sigma_max must be above sigma_min, {sigma_min}, got {sigma_max}")
        if sigma_data is not None and not sigma_data > 0:
            raise ValueError(f"sigma_data must be above 0, got {sigma_data}")
        self.path = Exploding(sigma_max, rho)
        self.least = (sigma_min / sigma_max) ** (1 / rho)
        self.noise_mean, self.noise_deviation = noise_mean, noise_deviation
        self.measures = sigma_data is None
        self.register_buffer("sigma_data", torch.tensor(sigma_data or 0.5))

    def on_train_batch_start(self, batch, batch_idx) -> None:
        super().on_train_batch_start(batch, batch_idx)
        if self.measures and place_of(self.trainer) == 0:
            square = self.trainer.strategy.reduce(batch[0].square().mean(), reduce_op="mean")
            self.sigma_data.copy_(square.sqrt())

    def output(self, x: Tensor, sigma: Tensor, *condition: Any) -> Tensor:
        """F, of x_sigma times c_in."""
        scaled = x * (sigma.square() + self.sigma_data.square()).rsqrt()
        return self.predict(scaled, sigma.flatten().log() / 4, *condition)

    def weights(self, sigma: Tensor) -> tuple[Tensor, Tensor]:
        """c_skip and c_out."""
        both = sigma.square() + self.sigma_data.square()
        return self.sigma_data.square() / both, sigma * self.sigma_data * both.rsqrt()

    def denoise(self, x_t: Tensor, t: Tensor, *condition: Any) -> Tensor:
        sigma = self.path(t)[1].view(-1, *[1] * (x_t.ndim - 1))
        skip, out = self.weights(sigma)
        return skip * x_t + out * self.output(x_t, sigma, *condition)

    def draw_times(self, n: int) -> Tensor:
        normal = torch.randn(n, device=self.device, dtype=self.dtype)
        return self.path.time_of((self.noise_mean + self.noise_deviation * normal).exp())

    def loss(self, x_t: Tensor, t: Tensor, x: Tensor, noise: Tensor, *condition: Any) -> Tensor:
        sigma = self.path(t)[1].view(-1, *[1] * (x_t.ndim - 1))
        skip, out = self.weights(sigma)
        target = (x - skip * x_t) / out
        return (self.output(x_t, sigma, *condition) - target).square().flatten(1).mean(1)
