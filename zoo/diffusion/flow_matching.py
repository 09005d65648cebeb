"""Flow matching: Flow Matching for Generative Modeling.

Lipman, Chen, Ben-Hamu, Nickel and Le, 2022. https://arxiv.org/abs/2210.02747
The same by Liu, Gong and Liu, 2022 (rectified flow, https://arxiv.org/abs/2209.03003), and by
Albergo and Vanden-Eijnden, 2022 (https://arxiv.org/abs/2209.15571).

Each image and its noise are joined by a line, x_t = (1 - t) x + t epsilon, and a network learns the
direction of the lines that pass through a point:

    min_v  E |v(x_t, t) - (epsilon - x)|^2,  t uniform on [0, 1]            (eq. 23)

At the optimum v(x_t, t) = E[epsilon - x | x_t], and though lines cross and v has one value at each
point, dx/dt = v(x, t) carries N(0, I) at t = 1 to the data at t = 0 (thm. 1). Its paths bend less
than those of diffusion, so few steps of a solver are enough. x^ = x_t - t v.

Differs from the paper: t = 1 is noise, there t = 0; sigma_min is 0, as later authors have it;
Euler's method for an adaptive one, by which an image would depend on those drawn with it.
"""

from typing import Any, Literal

import torch
from torch import Tensor

from .denoising import Denoising
from .paths import Straight


class FlowMatching(Denoising):
    """Straight lines from noise to data.

    Args:
        time: How t is drawn in training: "uniform", or "logit_normal", the logistic of N(0, 1),
            whose times are more often in the middle (https://arxiv.org/abs/2403.03206, sec. 3.1).
    """

    path = Straight()
    least = 1e-5
    even_to_least = False

    def __init__(
        self,
        image_shape: tuple[int, ...],
        num_classes: int = 0,
        time: Literal["uniform", "logit_normal"] = "uniform",
        **kwargs,
    ):
        super().__init__(image_shape, num_classes, **kwargs)
        if time not in ("uniform", "logit_normal"):
            raise ValueError(f"time must be uniform or logit_normal, got {time!r}")
        self.time = time

    def velocity(self, x_t: Tensor, t: Tensor, *condition: Any) -> Tensor:
        """v, of x_t's shape: the direction from data to noise."""
        return self.predict(x_t, 1000 * t, *condition)

    def denoise(self, x_t: Tensor, t: Tensor, *condition: Any) -> Tensor:
        return x_t - t.view(-1, *[1] * (x_t.ndim - 1)) * self.velocity(x_t, t, *condition)

    def draw_times(self, n: int) -> Tensor:
        if self.time == "uniform":
            return torch.rand(n, device=self.device, dtype=self.dtype)
        return torch.randn(n, device=self.device, dtype=self.dtype).sigmoid()

    def loss(self, x_t: Tensor, t: Tensor, x: Tensor, noise: Tensor, *condition: Any) -> Tensor:
        error = self.velocity(x_t, t, *condition) - (noise - x)
        return error.square().flatten(1).mean(1)
