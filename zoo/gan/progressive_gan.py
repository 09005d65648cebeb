"""ProgressiveGAN: Progressive Growing of GANs for Improved Quality, Stability, and Variation.

Karras, Aila, Laine and Lehtinen, 2017. https://arxiv.org/abs/1710.10196

Details are hard to learn before large shapes. Both networks start with images of 4x4 pixels and
grow by one block at a time, each of which doubles the side (sec. 2). A new block is faded in: while
alpha goes from 0 to 1,

    G(z) = (1 - alpha) up(old image) + alpha (new image)

and the discriminator mixes its features of the halved image and those of its new block in the same
way; data are mixed as samples are. At alpha = 0 samples and scores are the same as before, at
alpha = 1 the old path is not used. Then the grown networks train for the same number of steps. Most
steps are cheap, since images are small.

The loss is WGAN-GP's, with 0.001 E[D(x)^2] against the drift of scores (app. A.1). Three further
parts keep the players in balance and samples diverse:

* Minibatch standard deviation (sec. 3): an input of the discriminator is the variation of its
  features among the images of a group.
* An equalised learning rate (sec. 4.1): weights are drawn from N(0, 1) and scaled when they
  are used, so that under Adam all weights have the same speed relative to their range.
* Pixel normalisation (sec. 4.2): behind each convolution of the generator the features of a
  pixel are scaled to a mean square of 1.

So most of the training is done before steps become expensive: in equal time samples are better than
those of the same networks trained at full size from the start.

Differs from the paper: stages in steps rather than in images; Adam's moments are kept when a block
is added; fewer channels by default; a class is appended to the inputs of both networks; samples are
enlarged to full size while the networks are smaller, and clamped to [-1, 1].
"""

import math
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, interpolate, leaky_relu

from ... import latent
from ...checks import at_least
from ...modes import evaluating
from ..adversarial import Batch, Phase
from ..networks.conditional import beside
from ..networks.conv import halvings
from ..networks.kept import Kept
from .wgan import minus_gain
from .wgan_gp import WGANGP


def gain_without_drift(real: Tensor, fake: Tensor, drift_weight: float = 0.0) -> Tensor:
    """E[D(G(z))] - E[D(x)] + epsilon E[D(x)^2]"""
    return minus_gain(real, fake) + drift_weight * real.square().mean()


class Equalized:
    """Mixin for a layer: weights of N(0, 1), scaled by gain / sqrt(inputs) when they are used.

    Args:
        numbers: Arguments of the layer.
        gain: sqrt(2) before a ReLU, otherwise 1.
        kwargs: Arguments of the layer.
    """

    def __init__(self, *numbers: int, gain: float = math.sqrt(2), **kwargs):
        super().__init__(*numbers, **kwargs)
        nn.init.normal_(self.weight)
        nn.init.zeros_(self.bias)
        self.scale = gain / math.sqrt(self.weight[0].numel())

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x * self.scale)  # scales the weights, but not the bias


class EqualizedConv2d(Equalized, nn.Conv2d):
    pass


class EqualizedLinear(Equalized, nn.Linear):
    pass


class PixelNorm(nn.Module):
    """Scales the features of each pixel, or vectors (B, C), to a mean square of 1."""

    def forward(self, x: Tensor) -> Tensor:
        return x * (x.square().mean(1, keepdim=True) + 1e-8).rsqrt()


class MinibatchStdDev(nn.Module):
    """Appends a plane with the variation of features: the mean, over features and pixels, of their
    standard deviations among the images of a group. (B, C, H, W) to (B, C + 1, H, W).

    Args:
        group: Images in a group; if it does not divide the batch, the largest smaller number that
            does.
    """

    def __init__(self, group: int = 4):
        super().__init__()
        self.group = group

    def forward(self, x: Tensor) -> Tensor:
        size = next(k for k in range(min(self.group, len(x)), 0, -1) if len(x) % k == 0)
        groups = x.unflatten(0, (size, -1))  # (size, B / size, C, H, W)
        deviation = (groups.var(0, correction=0) + 1e-8).sqrt().mean((1, 2, 3))  # (B / size,)
        plane = deviation.repeat(size).view(-1, 1, 1, 1).expand(-1, 1, *x.shape[2:])
        return torch.cat((x, plane), dim=1)


def up(x: Tensor) -> Tensor:
    """Repeats pixels: (B, C, H, W) to (B, C, 2H, 2W)."""
    return interpolate(x, scale_factor=2)


def down(x: Tensor) -> Tensor:
    """Averages four pixels: (B, C, H, W) to (B, C, H/2, W/2)."""
    return avg_pool2d(x, 2)


class Block(nn.Sequential):
    """Two convolutions 3x3, from `before` to `after` channels, with leaky ReLUs.

    Args:
        first: Channels between them.
        norm: Pixel normalisation behind each.
    """

    def __init__(self, before: int, first: int, after: int, norm: bool = False):
        layers: list[nn.Module] = []
        for pair in ((before, first), (first, after)):
            layers += [EqualizedConv2d(*pair, 3, padding=1), nn.LeakyReLU(0.2)]
            layers += [PixelNorm()] * norm
        super().__init__(*layers)


def widths(image_shape: tuple[int, ...], width: int, largest: int) -> list[int]:
    """Channels at each side, the smallest side first."""
    _, times = halvings(image_shape)
    return [min(width * 2**k, largest) for k in reversed(range(times + 1))]


class Stage(NamedTuple):
    """The growth of networks in the form for compiled ones: they are compiled for each level, but
    not for each alpha."""

    level: int  # the finest level
    alpha: Tensor | None  # share that it is faded in, a scalar tensor; None: all


def stage(growth: float) -> tuple[int, float]:
    """The finest level, and its alpha.

    >>> stage(1.25)  # the second doubling, a quarter faded in
    (2, 0.25)
    """
    level = math.ceil(growth)
    return level, 1 - (level - growth)


def staged(growth: float | Stage, like: Tensor) -> Stage:
    """The stage of a growth, with alpha on the device of a tensor."""
    if not isinstance(growth, Stage):
        level, alpha = stage(growth)
        growth = Stage(level, None if alpha == 1 else torch.full((), alpha, device=like.device))
    return growth


def faded(old: Tensor, new: Tensor, alpha: Tensor) -> Tensor:
    """(1 - alpha) old + alpha new"""
    return torch.lerp(old, new, alpha.to(new.dtype))


class GrowingGenerator(nn.Module):
    """Latents (B, D) and a growth to images of the side of that growth.

    Args:
        width: Channels at the full side; they double with each halving, up to 512.
    """

    largest_width = 512

    def __init__(self, image_shape: tuple[int, ...], latent_dim: int, num_classes: int, width: int):
        super().__init__()
        self.num_classes = num_classes
        base, _ = halvings(image_shape)
        first, *others = channels = widths(image_shape, width, self.largest_width)
        self.start = nn.Sequential(
            PixelNorm(),
            EqualizedLinear(latent_dim + num_classes, first * base**2),
            nn.Unflatten(1, (first, base, base)),
            nn.LeakyReLU(0.2),
            PixelNorm(),
            EqualizedConv2d(first, first, 3, padding=1),
            nn.LeakyReLU(0.2),
            PixelNorm(),
        )
        pairs = zip(channels, others, strict=False)
        self.blocks = nn.ModuleList(Block(a, b, b, norm=True) for a, b in pairs)
        self.to_image = nn.ModuleList(
            EqualizedConv2d(c, image_shape[0], 1, gain=1.0) for c in channels
        )

    def forward(self, z: Tensor, growth: float | Stage, y: Tensor | None = None) -> Tensor:
        level, alpha = staged(growth, z)
        old, new = None, self.start(beside(z, y, self.num_classes))
        for block in self.blocks[:level]:
            old, new = new, block(up(new))
        x = self.to_image[level](new)
        if alpha is not None:
            x = faded(up(self.to_image[level - 1](old)), x, alpha)
        return x


class GrowingDiscriminator(nn.Module):
    """Images of the side of a growth to raw scores (B,); the generator's mirror."""

    largest_width = 512

    def __init__(self, image_shape: tuple[int, ...], num_classes: int, width: int):
        super().__init__()
        self.num_classes = num_classes
        base, _ = halvings(image_shape)
        last, *others = channels = widths(image_shape, width, self.largest_width)
        planes = image_shape[0] + num_classes
        self.from_image = nn.ModuleList(EqualizedConv2d(planes, c, 1) for c in channels)
        pairs = zip(channels, others, strict=False)
        self.blocks = nn.ModuleList(Block(b, b, a) for a, b in pairs)
        self.end = nn.Sequential(
            MinibatchStdDev(),
            EqualizedConv2d(last + 1, last, 3, padding=1),
            nn.LeakyReLU(0.2),
            nn.Flatten(),
            EqualizedLinear(last * base**2, last),
            nn.LeakyReLU(0.2),
            EqualizedLinear(last, 1, gain=1.0),
        )

    def forward(self, x: Tensor, growth: float | Stage, y: Tensor | None = None) -> Tensor:
        level, alpha = staged(growth, x)
        x = beside(x, y, self.num_classes)
        h = self._read(x, level)
        for k in reversed(range(level)):
            h = down(self.blocks[k](h))
            if alpha is not None and k == level - 1:
                h = faded(self._read(down(x), k), h, alpha)
        return self.end(h).squeeze(1)

    def _read(self, x: Tensor, level: int) -> Tensor:
        return leaky_relu(self.from_image[level](x), 0.2)


class ProgressiveGAN(Kept, WGANGP):
    """A critic with a gradient penalty and a generator, which grow together.

    The smallest images have 4 pixels a side (or 5, 6, 7: the full side is one of these, doubled).
    With n doublings the networks are fully grown after 2 n stage_steps.

    Args:
        latent_dim: D, entries of z from N(0, I), which the generator scales to a mean square of 1.
        width: Channels at the full side (the paper's 16 at 1024 pixels); they double with each
            halving, up to 512.
        stage_steps: Steps of each stage: training at a side, or fading in the next one.
        drift_weight: The paper's epsilon_drift, the weight of the mean squared score of data.
        ema_decay: Decay per step of a moving average of the generator, from which samples are
            drawn; 0: none.
        lr: Adam's learning rate.
        betas: Adam's decay rates.
        d_steps: Steps of the critic for each step of the generator.

    Attributes:
        growth: Number of doublings that are faded in: 1.25 is one and a quarter of the second. It
            can be set outside of training, to sample with the smaller networks.
    """

    Generator: type[nn.Module] = GrowingGenerator
    Discriminator: type[nn.Module] = GrowingDiscriminator
    pairs = {}
    kept = ("growth",)
    growth = 0.0

    def __init__(
        self,
        image_shape: tuple[int, ...],
        num_classes: int = 0,
        latent_dim: int = 512,
        width: int = 16,
        stage_steps: int = 10_000,
        drift_weight: float = 1e-3,
        ema_decay: float = 0.999,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.0, 0.99),
        d_steps: int = 1,
        **kwargs,
    ):
        at_least(1, stage_steps=stage_steps)
        settings = {"lr": lr, "betas": betas, "d_steps": d_steps, "ema_decay": ema_decay}
        super().__init__(
            image_shape, num_classes, latent_dim=latent_dim, width=width, **settings, **kwargs
        )
        self.stage_steps = stage_steps
        self.loss = self.loss._replace(
            discriminator=partial(gain_without_drift, drift_weight=drift_weight)
        )

    # Growing

    def phases(self) -> tuple[Phase, ...]:
        sides = len(self.generator.blocks)
        found = [Phase("the smallest side", self.stage_steps)]
        for k in range(1, sides + 1):
            found.append(Phase(f"doubling {k}", self.stage_steps))
            found.append(Phase(f"side {k}", self.stage_steps))
        return tuple(found)

    def growth_at(self, step: int) -> float:
        """The growth at a step: a stage at a side, a stage that fades in the next, and so on."""
        number, share = self.phase_at(step)
        return number // 2 + number % 2 * share

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        super().on_train_batch_start(batch, batch_idx)
        # In single precision, as it will be in the checkpoint.
        self.growth = float(np.float32(self.growth_at(self.trainer.global_step)))
        self.log_number("growth", self.growth)

    def shown(self, x: Tensor) -> Tensor:
        """Images (B, C, H, W) at the current growth: smaller, with details faded in."""
        level, alpha = stage(self.growth)
        for _ in self.generator.blocks[level:]:
            x = down(x)
        return x if alpha == 1 else torch.lerp(up(down(x)), x, alpha)

    # The game, in which the growth is an input with each image

    def real(self, x: Tensor, *condition: Tensor) -> tuple[Tensor, ...]:
        x, *condition = super().real(x, *condition)
        return self.shown(x), staged(self.growth, x), *condition

    def fake(self, z: Tensor, *condition: Tensor) -> tuple[Tensor, ...]:
        growth = staged(self.growth, z)
        return self.generator(z, growth, *condition), growth, *condition

    # What it can do

    prior = latent.standard_gaussian

    def decode(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        """Images (n, C, H, W) of full size, at any growth, of latents (n, D)."""
        network = self.sampling_generator
        condition = self.to_draw(len(z), y)
        with evaluating(self):
            x = network(z, self.growth, *condition)
        return interpolate(x, self.image_shape[1:]).clamp(-1, 1)
