"""b-GAN: Generative Adversarial Nets from a Density Ratio Estimation Perspective.

Uehara, Sato, Suzuki, Nakayama and Matsuo, 2016. https://arxiv.org/abs/1610.02920

The two losses share a convex f with f(1) = 0. The discriminator estimates the ratio r = p/q of the
densities of data and samples, by minimising a Bregman divergence from the true ratio; the generator
descends the f-divergence at the estimated ratio:

    L_D = E_z[f'(r) r - f(r)] - E_x[f'(r)]
    L_G = E_z[f(r)]

L_D is minus f-GAN's bound at T = f'(r) (see `f_gan.py`): only the generator's step differs. With
Pearson's f it is least squares, E_z[r^2] / 2 - E_x[r], up to a factor and a constant. Where samples
miss data, r is unbounded and its square has no mean. The relative ratio
p / (alpha p + (1 - alpha) q) is at most 1/alpha: a share alpha of the samples is replaced by data.
It is the default.

On eight Gaussians this L_G did not hold (one of them was found, where Goodfellow's loss finds all):
the slope of f(r) in the score vanishes where r is near 0, and has the wrong sign for large r. With
`ascend_ratio` the generator descends -E_z[r] instead.

Differs from the paper: the raw score is log r, so that r is positive; `ascend_ratio`.
"""

from collections.abc import Callable
from functools import partial
from typing import Literal

import torch
from torch import Tensor
from torch.func import jvp

from .f_gan import DIVERGENCES
from .gan import GAN, Payoff

Convex = Callable[[Tensor], Tensor]


def ratio_of(score: Tensor) -> Tensor:
    """exp(s), plus 1e-12 so that no f of the table overflows."""
    return score.exp() + 1e-12


def bregman(real: Tensor, fake: Tensor, f: Convex, relative: float) -> Tensor:
    """Bregman divergence up to a constant: least at the ratio of the densities of data and samples,
    a share `relative` of which is data."""

    def slope_and_conjugate(score: Tensor) -> tuple[Tensor, Tensor]:  # f'(r), f'(r) r - f(r)
        r = ratio_of(score)
        value, slope = jvp(f, (r,), (torch.ones_like(r),))
        return slope.mean(), (slope * r - value).mean()

    (slope, of_data), (_, of_samples) = slope_and_conjugate(real), slope_and_conjugate(fake)
    return relative * of_data + (1 - relative) * of_samples - slope


def f_of(u: Tensor, name: str) -> Tensor:
    """f(u) of a divergence of the table."""
    return DIVERGENCES[name].f(u)


def f_divergence(fake: Tensor, f: Convex) -> Tensor:
    """E[f(r)] of the scores of samples."""
    return f(ratio_of(fake)).mean()


def minus_ratio(fake: Tensor) -> Tensor:
    """-E[r] of the scores of samples."""
    return -ratio_of(fake).mean()


class BGAN(GAN):
    """A GAN whose discriminator estimates the ratio of the densities of data and samples.

    Args:
        divergence: A name of `f_gan.DIVERGENCES`, except total variation, whose f is not smooth.
        relative: The paper's alpha, in [0, 1); 0: the plain ratio p/q.
        ascend_ratio: Whether the generator ascends the ratio instead.
    """

    loss = Payoff(bregman, f_divergence)

    def __init__(
        self,
        image_shape: tuple[int, ...],
        num_classes: int = 0,
        divergence: Literal[
            "kl", "reverse_kl", "pearson", "neyman", "hellinger", "jeffrey", "jensen_shannon", "gan"
        ] = "pearson",
        relative: float = 0.2,
        ascend_ratio: bool = False,
        **kwargs,
    ):
        super().__init__(image_shape, num_classes, **kwargs)
        smooth = [name for name in DIVERGENCES if name != "total_variation"]
        if divergence not in smooth:
            raise ValueError(f"divergence must be one of {', '.join(smooth)}, got {divergence!r}")
        if not 0 <= relative < 1:
            raise ValueError(f"relative must be in [0, 1), got {relative}")
        f = partial(f_of, name=divergence)
        self.loss = Payoff(
            partial(bregman, f=f, relative=relative),
            minus_ratio if ascend_ratio else partial(f_divergence, f=f),
        )

    def density_ratio(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """(B,) estimates of p/q, or of the relative ratio, at images (B, C, H, W)."""
        return ratio_of(self.score(x, y))
