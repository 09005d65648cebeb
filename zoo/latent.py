"""Walks through a latent space."""

from __future__ import annotations

import torch
from torch import Tensor

from .protocols import Decoder


def lerp(z0: Tensor, z1: Tensor, t: Tensor) -> Tensor:
    """The straight line. z0, z1 (n, D) and t (T,) in [0, 1] to (n, T, D)."""
    return torch.lerp(z0[:, None], z1[:, None], t[None, :, None])


def slerp(z0: Tensor, z1: Tensor, t: Tensor) -> Tensor:
    """The great circle, on which norms stay typical of a Gaussian prior.

    White, 2016, Sampling Generative Networks. https://arxiv.org/abs/1609.04468

    The midpoint of the straight line between two independent Gaussian vectors is shorter than
    either by about the square root of two: a place no sample comes from. (n, D) to (n, T, D).
    """
    cosine = torch.nn.functional.cosine_similarity(z0, z1, dim=1).clamp(-1, 1)
    angle = cosine.acos()[:, None, None]  # (n, 1, 1)
    t = t[None, :, None]
    arc = ((1 - t) * angle).sin() * z0[:, None] + (t * angle).sin() * z1[:, None]
    # Parallel vectors span no circle: there the line is the answer, not 0 / 0.
    return torch.where(angle.sin() < 1e-4, lerp(z0, z1, t.flatten()), arc / angle.sin())


WALKS = {"slerp": slerp, "lerp": lerp}


@torch.no_grad()
def interpolate(
    model: Decoder,
    z0: Tensor,
    z1: Tensor,
    steps: int = 9,
    mode: str = "slerp",
    y: Tensor | None = None,
) -> Tensor:
    """Images along the way from z0 to z1, (n, D) each, both ends included.

    Args:
        model: What decodes; as a method of a model it is the model itself.
        mode: "slerp" for latents of a Gaussian prior, "lerp" for encoded images.
        y: (n,) labels, held fixed along each walk.

    Returns:
        (n, steps, C, H, W) in [-1, 1].
    """
    if mode not in WALKS:
        raise ValueError(f"mode must be one of {sorted(WALKS)}, got {mode!r}")
    if steps < 2:
        raise ValueError(f"steps must be at least 2, got {steps}")
    z = WALKS[mode](z0, z1, torch.linspace(0, 1, steps, dtype=z0.dtype, device=z0.device))
    labels = None if y is None else y.repeat_interleave(steps)
    return model.decode(z.flatten(0, 1), labels).unflatten(0, (len(z0), steps))
