"""Interpolation in a latent space, and edits of images by their latents."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.distributions import Distribution

from .batches import given, repeat
from .checks import at_least
from .modes import evaluating
from .protocols import Decoder, Encoder


def lerp(z0: Tensor, z1: Tensor, t: Tensor) -> Tensor:
    """Points on the straight line: z0, z1 (n, D) and t (T,) in [0, 1] to (n, T, D).

    >>> lerp(torch.zeros(1, 1), torch.ones(1, 1), torch.tensor([0.0, 0.5, 1.0])).flatten()
    tensor([0.0000, 0.5000, 1.0000])
    """
    return torch.lerp(z0[:, None], z1[:, None], t[None, :, None])


def slerp(z0: Tensor, z1: Tensor, t: Tensor) -> Tensor:
    """Points on the great circle, whose norms are typical of a Gaussian prior.

    >>> z = torch.eye(2)
    >>> round(slerp(z[:1], z[1:], torch.tensor([0.5])).norm().item(), 4)  # on the line 0.7071
    1.0

    White, 2016, Sampling Generative Networks. https://arxiv.org/abs/1609.04468

    The midpoint of the straight line between two independent Gaussian vectors is shorter than
    either by about the square root of two, a norm that samples do not have. z0, z1 (n, D) and t
    (T,) to (n, T, D).
    """
    cosine = torch.nn.functional.cosine_similarity(z0, z1, dim=1).clamp(-1, 1)
    angle = cosine.acos()[:, None, None]  # (n, 1, 1)
    t = t[None, :, None]
    arc = ((1 - t) * angle).sin() * z0[:, None] + (t * angle).sin() * z1[:, None]
    # Parallel vectors span no circle: the result is the line, not 0 / 0.
    return torch.where(angle.sin() < 1e-4, lerp(z0, z1, t.flatten()), arc / angle.sin())


# What models with an encoder have in common, methods of theirs


def standard_gaussian(self, n: int) -> Tensor:
    """Latents z (n, D) from N(0, I)."""
    return torch.randn(n, self.latent_dim, device=self.device, dtype=self.dtype)


def posterior(self, x: Tensor, y: Tensor | None = None) -> Distribution:
    """q(z|x), over (B, D); y is required for a conditional model."""
    with evaluating(self):
        return self.infer(x, *self.condition.arguments(y))


def posterior_mean(self, x: Tensor, y: Tensor | None = None) -> Tensor:
    """Means (B, D) of the posterior of images; y is required for a conditional model."""
    return self.posterior(x, y).mean


def reconstruct(self, x: Tensor, y: Tensor | None = None) -> Tensor:
    """Images (B, C, H, W) decoded from the codes of x."""
    return self.decode(self.encode(x, y), y)


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
    """Images of latents from z0 to z1, (n, D) each, both ends included.

    >>> from genzoo.zoo import GAN
    >>> model = GAN((1, 8, 8), latent_dim=4, width=16)
    >>> interpolate(model, model.prior(2), model.prior(2), steps=5).shape
    torch.Size([2, 5, 1, 8, 8])

    Args:
        model: The model that decodes; as a method of a model, the model itself.
        z0: First latents.
        z1: Last latents.
        steps: Number of images.
        mode: "slerp" for latents of a Gaussian prior, "lerp" for encoded images.
        y: Condition of each interpolation; None: the model is unconditional.

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
    """Images of sums and differences of latents (Radford et al., 2015,
    https://arxiv.org/abs/1511.06434, sec. 6.3.2): smiling woman - woman + man.

    Args:
        model: The model that decodes; as a method of a model, the model itself.
        plus: Groups of latents (k, D) of samples with an attribute, whose means are added. A group
            should have three or more latents, since a single sample has other attributes, too.
        minus: Groups whose means are subtracted.
        n: Number of images: the first is that of the sum, the others have noise.
        reach: The noise of each entry of a latent is uniform in [-reach, reach].
        y: Condition of each image; None: the model is unconditional.

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
    """The direction of an attribute in the latent space: the mean code of images that have it,
    minus that of images that do not (as Radford et al., 2015, https://arxiv.org/abs/1511.06434,
    sec. 6.3.2, do with samples).

    Args:
        model: The model that encodes.
        x: Images (B, C, H, W).
        has: Whether each image has the attribute, (B,) bool.
        y: Condition of each image; None: the model is unconditional.
        within: Groups (B,), e.g. classes. The mean of the differences within the groups is taken,
            so that differences between groups cancel.

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
        model: The model that encodes and decodes.
        x: The images.
        direction: The direction.
        strength: Factor of the direction, one number or (B,); 0: reconstructions.
        y: Condition of each image; None: the model is unconditional.
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
    """Images of one latent z (D,), in which one dimension at a time takes several values.

    Args:
        model: The model that decodes.
        z: The latent.
        dimensions: The dimensions; None: all.
        steps: Number of values.
        reach: Largest value, in standard deviations of the prior; the smallest is -reach.
        y: Condition of one image; None: the model is unconditional.

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
    """The images of a latent plane, (side, side, C, H, W), at even quantiles of N(0, I).

    Row and column are quantiles (Kingma and Welling, 2013, https://arxiv.org/abs/1312.6114,
    app. A): the inverse of the Gaussian's distribution function carries an even grid of the unit
    square to the plane, so equal parts of the picture are equally probable. The first entry of z
    grows to the right, the second upwards.

    Args:
        model: The model that decodes latents of two entries.
        side: Images of a row and of a column.
        y: Condition of one image, used for all; None: the model is unconditional.
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
