"""Walks through a latent space, and changes of images made there."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from .batches import given, repeat
from .checks import at_least
from .protocols import Decoder, Encoder


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
        y: Condition of each walk, held fixed along it.

    Returns:
        (n, steps, C, H, W) in [-1, 1].
    """
    if mode not in WALKS:
        raise ValueError(f"mode must be one of {sorted(WALKS)}, got {mode!r}")
    at_least(2, steps=steps)
    z = WALKS[mode](z0, z1, torch.linspace(0, 1, steps, dtype=z0.dtype, device=z0.device))
    condition = (repeat(one, steps) for one in given(y))
    return model.decode(z.flatten(0, 1), *condition).unflatten(0, (len(z0), steps))


@torch.no_grad()
def arithmetic(
    model: Decoder,
    plus: Sequence[Tensor],
    minus: Sequence[Tensor] = (),
    n: int = 1,
    reach: float = 0.25,
    y: Tensor | None = None,
) -> Tensor:
    """Images of what some samples show, without what others show (Radford et al., 2015,
    https://arxiv.org/abs/1511.06434, sec. 6.3.2): smiling woman - woman + man.

    Args:
        model: What decodes; as a method of a model it is the model itself.
        plus: Latents (k, D) for each thing, of k samples that show it. Their mean stands for it;
            three or more, since what else a single one shows would come along.
        minus: Likewise, of what is taken away.
        n: The first image is that of the sum itself, the others are around it.
        reach: These have noise on each entry of the latent, uniform in +-reach.
        y: Condition of each image.

    Returns:
        (n, C, H, W) in [-1, 1].
    """
    if not plus:
        raise ValueError("plus must have at least one group of latents, got none")
    at_least(1, n=n)
    z = sum(group.mean(0) for group in plus) - sum(group.mean(0) for group in minus)
    noise = torch.empty(n, *z.shape, dtype=z.dtype, device=z.device).uniform_(-reach, reach)
    noise[0] = 0
    return model.decode(z + noise, *given(y))


@torch.no_grad()
def direction(
    model: Encoder, x: Tensor, has: Tensor, y: Tensor | None = None, within: Tensor | None = None
) -> Tensor:
    """What an attribute is in the latent space: the mean code of images that have it, minus that
    of images that do not (as Radford et al., 2015, https://arxiv.org/abs/1511.06434, sec. 6.3.2,
    do with samples).

    Args:
        model: What encodes.
        x: (B, C, H, W); has: (B,) bool, whether an image has the attribute.
        y: Condition of each image, of a conditional model.
        within: (B,) groups, say classes. The difference is taken within each that has both kinds,
            and averaged, so that what merely goes along with the attribute cancels.

    Returns:
        (D,)
    """
    has = has.bool()
    z = model.encode(x, *given(y))
    groups = torch.zeros_like(has, dtype=torch.long) if within is None else within
    differences = [
        z[has & group].mean(0) - z[~has & group].mean(0)
        for group in (groups == label for label in groups.unique())
        if (has & group).any() and (~has & group).any()
    ]
    if not differences:
        raise ValueError("has must tell some images from others, got one kind only in each group")
    return torch.stack(differences).mean(0)


@torch.no_grad()
def edit(
    model: Decoder,
    x: Tensor,
    direction: Tensor,
    strength: float | Tensor = 1.0,
    y: Tensor | None = None,
) -> Tensor:
    """Images (B, C, H, W) moved along a direction (D,) of the latent space and decoded.

    Args:
        strength: How far; 1: by the direction itself, 0: a mere reconstruction. One for all
            images, or (B,).
    """
    z = model.encode(x, *given(y))
    strength = torch.as_tensor(strength, dtype=z.dtype, device=z.device).view(-1, 1)
    return model.decode(z + strength * direction, *given(y))


@torch.no_grad()
def traverse(
    model: Decoder,
    z: Tensor,
    dimensions: Sequence[int] | None = None,
    steps: int = 9,
    reach: float = 3.0,
    y: Tensor | None = None,
) -> Tensor:
    """Images of one latent z (D,) with one of its dimensions after the other led through the prior.

    Args:
        dimensions: Which; None: all.
        reach: The values go from -reach to reach, in standard deviations of the prior.
        y: Condition of one image, held fixed.

    Returns:
        (dimensions, steps, C, H, W) in [-1, 1].
    """
    at_least(2, steps=steps)
    dimensions = range(len(z)) if dimensions is None else dimensions
    if any(not 0 <= d < len(z) for d in dimensions):
        raise ValueError(f"dimensions must be in 0..{len(z) - 1}, got {list(dimensions)}")
    walks = z.repeat(len(dimensions), steps, 1)  # (dimensions, steps, D)
    values = torch.linspace(-reach, reach, steps, dtype=z.dtype, device=z.device)
    for walk, dimension in zip(walks, dimensions, strict=True):
        walk[:, dimension] = values
    condition = (repeat(one, walks[..., 0].numel()) for one in given(y))
    return model.decode(walks.flatten(0, 1), *condition).unflatten(0, walks.shape[:2])


@torch.no_grad()
def manifold(model: Decoder, side: int = 16, y: Tensor | None = None) -> Tensor:
    """The images of a latent plane, (side, side, C, H, W), evenly by the probability of N(0, I).

    Row and column are quantiles (Kingma and Welling, 2013, https://arxiv.org/abs/1312.6114,
    app. A): the inverse of the Gaussian's distribution function carries an even grid of the unit
    square to the plane, so equal parts of the picture are equally probable. The first entry of z
    grows to the right, the second upwards.

    Args:
        y: Condition of one image, that of all.
    """
    at_least(2, side=side)
    like = model.prior(1)
    if like.shape[1] != 2:
        raise ValueError(f"latent_dim must be 2 for a picture of the plane, got {like.shape[1]}")
    quantiles = (torch.arange(side, dtype=like.dtype, device=like.device) + 0.5) / side
    values = torch.special.ndtri(quantiles)
    up, right = torch.meshgrid(values.flip(0), values, indexing="ij")
    z = torch.stack((right, up), dim=2).flatten(0, 1)  # (side * side, 2)
    condition = (repeat(one, len(z)) for one in given(y))
    return model.decode(z, *condition).unflatten(0, (side, side))
