"""Paths from data to noise: x_t = alpha(t) x + sigma(t) epsilon, with epsilon from N(0, I).

Time is one for the whole family: t = 0 is data, t = 1 is noise. A path takes times (any shape) and
gives alpha and sigma of the same shape. The papers count otherwise; each file's docstring has how.
"""

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor


@dataclass(frozen=True)
class Straight:
    """alpha = 1 - t, sigma = t: the line from an image to its noise (flow matching)."""

    def __call__(self, t: Tensor) -> tuple[Tensor, Tensor]:
        return 1 - t, t


@dataclass(frozen=True)
class Exploding:
    """alpha = 1, sigma = largest * t^power: noise is added until nothing else is left.

    Even steps of t are Karras et al.'s steps of sigma^(1/power) (2206.00364, eq. 5).

    Args:
        largest: sigma at t = 1.
        power: The paper's rho.
    """

    largest: float = 80.0
    power: float = 7.0

    def __call__(self, t: Tensor) -> tuple[Tensor, Tensor]:
        return torch.ones_like(t), self.largest * t**self.power

    def time_of(self, sigma: Tensor) -> Tensor:
        return (sigma / self.largest) ** (1 / self.power)


@dataclass(frozen=True, eq=False)
class VariancePreserving:
    """alpha^2 + sigma^2 = 1, in T steps: t = k/T is step k, and between two the logarithm of alpha
    is a line.

    Args:
        betas: The variance that each step 1..T adds, float64 (T,).

    Attributes:
        alpha_bar: alpha^2 after the steps 0..T, float64 (T + 1,).
    """

    betas: Tensor
    alpha_bar: Tensor = field(init=False)
    _tables: dict[tuple, Tensor] = field(init=False, default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        betas = self.betas.double()
        kept = torch.cat((betas.new_ones(1), (1 - betas).cumprod(0)))
        object.__setattr__(self, "alpha_bar", kept)

    def __call__(self, t: Tensor) -> tuple[Tensor, Tensor]:
        key = t.device, t.dtype
        if key not in self._tables:  # no buffer, which a model of half precision would round
            self._tables[key] = self.alpha_bar.log().to(t.dtype).to(t.device)
        logs, place = self._tables[key], t * len(self.betas)
        before = place.long().clamp(0, len(self.betas) - 1)
        log = torch.lerp(logs[before], logs[before + 1], place - before)
        return (log / 2).exp(), (-log.expm1()).sqrt()

    def __reduce__(self) -> tuple:
        return VariancePreserving, (self.betas,)  # a copy makes its own table


def linear_betas(steps: int) -> Tensor:
    """From 1e-4 to 0.02 in 1,000 steps (2006.11239, sec. 4); in fewer steps each is larger by as
    much. float64 (T,)"""
    scale = 1000 / steps
    return torch.linspace(scale * 1e-4, scale * 0.02, steps, dtype=torch.float64)


def cosine_betas(steps: int, offset: float = 0.008, most: float = 0.999) -> Tensor:
    """alpha_bar falls as a squared cosine (2102.09672, eq. 17), each beta at most 0.999. float64
    (T,)"""
    at = torch.arange(steps + 1, dtype=torch.float64) / steps
    kept = ((at + offset) / (1 + offset) * math.pi / 2).cos().square()
    return (1 - kept[1:] / kept[:-1]).clamp(max=most)


BETAS = {"linear": linear_betas, "cosine": cosine_betas}
