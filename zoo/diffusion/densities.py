"""Densities by change of variables along the flow of probability.

    log p(x) = log N(z; 0, I) + integral of the divergence, along the flow from x to its noise z

(1806.07366, eq. 8; 2011.13456, eq. 39). By dx = x^ d alpha + epsilon^ d sigma only the divergence
of x^ is needed, J: the integrand is J d alpha + (D - alpha J) / sigma d sigma.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from .samplers import Denoise, Path, at, split

EXACT = 16  # dimensions up to which J is summed exactly; beyond, it is estimated by one draw


def log_density(denoise: Denoise, path: Path, x: Tensor, times: Sequence[float]) -> Tensor:
    """(B,) nats, as exact as the midpoint method's steps.

    Args:
        denoise: As `samplers` have it; its gradient by x is taken.
        x: (B, ...), at times[0].
        times: Rising, from above 0 to 1.
    """
    dimensions = x[0].numel()
    # The same for all steps, so that what is integrated has no noise (1810.01367, sec. 3.1).
    draw = None if dimensions <= EXACT else torch.randint_like(x, 2) * 2 - 1
    gained = x.new_zeros(len(x))
    for time, after in zip(times, times[1:], strict=False):
        half = (time + after) / 2
        (alpha, sigma), (alpha_m, sigma_m), (alpha_s, sigma_s) = (
            at(path, t, x) for t in (time, half, after)
        )
        with torch.no_grad():
            clean, noise = split(denoise, path, x, time)
        ahead = alpha_m * clean + sigma_m * noise
        clean, slope = divergence(denoise, ahead, half, draw)
        noise = (ahead - alpha_m * clean) / sigma_m
        x = x + (alpha_s - alpha) * clean + (sigma_s - sigma) * noise
        alphas, sigmas, rate = (v.flatten() for v in (alpha_s - alpha, sigma_s - sigma, alpha_m))
        gained = gained + slope * alphas
        gained = gained + (dimensions - rate * slope) / sigma_m.flatten() * sigmas
    _, sigma = at(path, times[-1], x)
    z = (x / sigma).flatten(1)
    normal = -(z.square() + math.log(2 * math.pi)).sum(1) / 2
    return normal - dimensions * sigma.flatten().log() + gained


def divergence(
    denoise: Denoise, x: Tensor, time: float, draw: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """x^ and the sum of its derivatives by its own entries, (B,).

    Args:
        draw: Of +-1, x's shape, for an estimate by one derivative; None: all are taken.
    """
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        clean = denoise(x, x.new_full((len(x),), time))
        if draw is not None:
            (along,) = torch.autograd.grad(clean, x, draw)
            return clean.detach(), (along * draw).flatten(1).sum(1)
        total = x.new_zeros(len(x))
        for index, one in enumerate(clean.flatten(1).sum(0)):
            (slopes,) = torch.autograd.grad(one, x, retain_graph=True)
            total = total + slopes.flatten(1)[:, index]
    return clean.detach(), total
