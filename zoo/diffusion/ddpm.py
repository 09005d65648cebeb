"""DDPM: Denoising Diffusion Probabilistic Models.

Ho, Jain and Abbeel, 2020. https://arxiv.org/abs/2006.11239
With the sampler of Song, Meng and Ermon, 2020, Denoising Diffusion Implicit Models,
https://arxiv.org/abs/2010.02502, and the cosine schedule of Nichol and Dhariwal, 2021,
https://arxiv.org/abs/2102.09672.

Noise is added in T small steps, x_t = sqrt(1 - beta_t) x_{t-1} + sqrt(beta_t) z, so that

    x_t = sqrt(alpha_bar_t) x + sqrt(1 - alpha_bar_t) epsilon               (eq. 4)

with alpha_bar_t the product of all 1 - beta. A network learns the noise:

    min  E |epsilon - epsilon_theta(x_t, t)|^2,  t uniform on 1..T          (eq. 14)

a bound of the likelihood, but that all steps weigh alike. Where steps are small, x_{t-1} given x_t
is Gaussian as well, and its mean follows from the noise: the sampler draws one after the other
("ancestral", alg. 2). At the optimum epsilon_theta is E[epsilon | x_t], and the same network serves
a sampler without fresh noise ("ddim"), which follows the flow of probability and may leave steps
out.

Here t = k/T stands for step k; step 0 is data. x^ is clipped to [-1, 1] while images are drawn, as
in the authors' code: where alpha_bar_T is 2e-9 (cosine), the first step divides an error by 5e-5.

What did not hold: on 8x8 digits ten steps without fresh noise are no better than ten steps of the
chain (2010.02502, table 1).

Differs from the paper: the ancestral sampler may leave steps out, too, as in 2102.09672 (sec. 4),
and has the variance of Bayes' rule (the paper's second choice, sec. 3.2). `elbo` is that of the
flow of probability (2011.13456), not the sum over steps (eq. 5).
"""

from typing import Any, Literal

import torch
from torch import Tensor

from ...checks import at_least
from .denoising import Denoising
from .paths import BETAS, VariancePreserving


class DDPM(Denoising):
    """A long chain of small Gaussian steps, undone one by one.

    Args:
        timesteps: T; with "linear" more than 20, for each beta is less than 1.
        schedule: Of the betas: "linear" from 1e-4 to 0.02 (of T = 1000), or "cosine".
        sampler: How `sample` walks: "ancestral", the paper's, with fresh noise at each step, or
            without it "ddim", that of 2010.02502 (the same as "euler"), "midpoint" or "heun".
        steps: Of `sample` and of codes; 0: all T.
    """

    clipped = True

    def __init__(
        self,
        image_shape: tuple[int, ...],
        num_classes: int = 0,
        timesteps: int = 1000,
        schedule: Literal["linear", "cosine"] = "linear",
        sampler: Literal["euler", "ddim", "midpoint", "heun", "ancestral"] = "ancestral",
        steps: int = 0,
        dropout: float = 0.1,
        ema_decay: float = 0.9999,
        warmup_steps: int = 5000,
        **kwargs,
    ):
        at_least(1, timesteps=timesteps)
        at_least(0, steps=steps)
        if schedule not in BETAS:
            raise ValueError(f"schedule must be one of {', '.join(BETAS)}, got {schedule!r}")
        betas = BETAS[schedule](timesteps)
        if betas.max() >= 1:
            raise ValueError(f"timesteps must be at least 21 with 'linear', got {timesteps}")
        if steps > timesteps:
            raise ValueError(f"steps must be at most timesteps, {timesteps}, got {steps}")
        super().__init__(
            image_shape,
            num_classes,
            sampler=sampler,
            steps=steps or timesteps,
            dropout=dropout,
            ema_decay=ema_decay,
            warmup_steps=warmup_steps,
            **kwargs,
        )
        self.density_steps = min(self.density_steps, timesteps)
        self.path, self.timesteps, self.least = VariancePreserving(betas), timesteps, 1 / timesteps

    def times(self, steps: int | None = None) -> list[float]:
        steps = self.steps if steps is None else steps
        if steps > self.timesteps:
            raise ValueError(f"steps must be at most timesteps, {self.timesteps}, got {steps}")
        return [round(t * self.timesteps) / self.timesteps for t in super().times(steps)]

    def noise(self, x_t: Tensor, t: Tensor, *condition: Any) -> Tensor:
        """epsilon, of x_t's shape, as the network predicts it."""
        return self.predict(x_t, 1000 * t, *condition)

    def denoise(self, x_t: Tensor, t: Tensor, *condition: Any) -> Tensor:
        alpha, sigma = (v.view(-1, *[1] * (x_t.ndim - 1)) for v in self.path(t))
        return (x_t - sigma * self.noise(x_t, t, *condition)) / alpha

    def draw_times(self, n: int) -> Tensor:
        step = torch.randint(1, self.timesteps + 1, (n,), device=self.device)
        return step.to(self.dtype) / self.timesteps

    def loss(self, x_t: Tensor, t: Tensor, x: Tensor, noise: Tensor, *condition: Any) -> Tensor:
        return (self.noise(x_t, t, *condition) - noise).square().flatten(1).mean(1)
