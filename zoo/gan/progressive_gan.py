"""ProgressiveGAN: Progressive Growing of GANs for Improved Quality, Stability, and Variation.

Karras, Aila, Laine and Lehtinen, 2017. https://arxiv.org/abs/1710.10196

Details are hard to learn before the large shapes are there. Both networks begin with images of
4x4 pixels and grow by a block at a time, each doubling the side (sec. 2). A new block fades in:
while alpha goes from 0 to 1,

    G(z) = (1 - alpha) up(old image) + alpha (new image)

and the discriminator mixes in the same way what it reads off the halved image with what its new
block reads off the image itself; data are mixed as samples are. Nothing that was learned is lost:
at alpha = 0 samples and scores are what they were before, at alpha = 1 the old way is gone. Then
the grown networks train for as long again. Most steps are cheap, as they see few pixels.

The loss is WGAN-GP's, with 0.001 E[D(x)^2] against the drift of scores (app. A.1). Three more
parts keep the players from outgrowing each other and samples from looking alike:

* Minibatch standard deviation (sec. 3): the discriminator is given how much its features vary
  among the images of a group.
* An equalised learning rate (sec. 4.1): weights are drawn from N(0, 1) and scaled as they are
  used, so that under Adam each of them moves as fast relative to its range.
* Pixel normalisation (sec. 4.2): behind each convolution of the generator a pixel's features are
  scaled to a mean square of 1.

So most of the training is over before it becomes dear: in equal time samples are better than those
of the same networks at full size from the start.

Differs from the paper: stages in steps rather than in images; Adam's moments are kept when a
block is added; fewer channels by default; the class, where there is one, is given to both networks
beside their inputs; samples are enlarged to full size while the networks are smaller, and clamped
to [-1, 1].
"""

import math
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, interpolate, leaky_relu

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
    """Weights of N(0, 1), scaled by gain / sqrt(inputs) in use; before a layer's class.

    Args:
        gain: sqrt(2) before a rectifier, 1 elsewhere. Others as the layer has.
    """

    def __init__(self, *numbers: int, gain: float = math.sqrt(2), **kwargs):
        super().__init__(*numbers, **kwargs)
        nn.init.normal_(self.weight)
        nn.init.zeros_(self.bias)
        self.scale = gain / math.sqrt(self.weight[0].numel())

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x * self.scale)  # is to scale the weights, but not the bias


class EqualizedConv2d(Equalized, nn.Conv2d):
    pass


class EqualizedLinear(Equalized, nn.Linear):
    pass


class PixelNorm(nn.Module):
    """Scales the features of each pixel, or vectors (B, C), to a mean square of 1."""

    def forward(self, x: Tensor) -> Tensor:
        return x * (x.square().mean(1, keepdim=True) + 1e-8).rsqrt()


class MinibatchStdDev(nn.Module):
    """Appends a plane that says how much features vary: the mean, over features and pixels, of
    their standard deviations among the images of a group. (B, C, H, W) to (B, C + 1, H, W).

    Args:
        group: Images of a group; where a batch does not divide so, the most that it does.
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
    """How far networks are grown, as a compiled one takes it: another level is another network,
    another alpha is not."""

    level: int  # the finest there is
    alpha: Tensor | None  # how far it is faded in, a tensor without dimensions; None: wholly


def stage(growth: float) -> tuple[int, float]:
    """The finest level there is, and its alpha: 1.25 is a second doubling, a quarter faded in."""
    level = math.ceil(growth)
    return level, 1 - (level - growth)


def staged(growth: float | Stage, like: Tensor) -> Stage:
    """The stage, its alpha beside a tensor."""
    if not isinstance(growth, Stage):
        level, alpha = stage(growth)
        growth = Stage(level, None if alpha == 1 else torch.full((), alpha, device=like.device))
    return growth


def faded(old: Tensor, new: Tensor, alpha: Tensor) -> Tensor:
    """(1 - alpha) old + alpha new"""
    return torch.lerp(old, new, alpha.to(new.dtype))


class GrowingGenerator(nn.Module):
    """Latents (B, D) and a growth to images as large as it says.

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
    """Images as large as a growth says to one raw score each, (B,); the generator's mirror."""

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
    For n doublings, growing is done after 2 n stage_steps.

    Args:
        latent_dim: D, of z from N(0, I), which the generator scales to a mean square of 1.
        width: Channels at the full side (the paper's 16 at 1024 pixels); they double with each
            halving, up to 512.
        stage_steps: Steps of each stage: of each side alone, and of each fading in.
        drift_weight: The paper's epsilon_drift, for scores near 0.
        ema_decay: Decay per step of the average of the generator, from which samples are drawn.
        lr: Adam's learning rate.
        betas: Adam's decay rates.
        d_steps: Moves of the critic for each of the generator. Other arguments as `WGANGP`.

    Attributes:
        growth: How many doublings have faded in: 1.25 is one, and a quarter of the second. Set
            by hand outside of training, it draws with the smaller networks.
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
        """One stage at a side, one in which the next fades in, and so on to the full side."""
        number, share = self.phase_at(step)
        return number // 2 + number % 2 * share

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        super().on_train_batch_start(batch, batch_idx)
        # In single precision, as it will be in the checkpoint.
        self.growth = float(np.float32(self.growth_at(self.trainer.global_step)))
        self.log_number("growth", self.growth)

    def shown(self, x: Tensor) -> Tensor:
        """Images (B, C, H, W) as the networks know them now: smaller, with details faded in."""
        level, alpha = stage(self.growth)
        for _ in self.generator.blocks[level:]:
            x = down(x)
        return x if alpha == 1 else torch.lerp(up(down(x)), x, alpha)

    # The game, in which the growth stands beside each image

    def real(self, x: Tensor, *condition: Tensor) -> tuple[Tensor, ...]:
        x, *condition = super().real(x, *condition)
        return self.shown(x), staged(self.growth, x), *condition

    def fake(self, z: Tensor, *condition: Tensor) -> tuple[Tensor, ...]:
        growth = staged(self.growth, z)
        return self.generator(z, growth, *condition), growth, *condition

    # What it can do

    def prior(self, n: int) -> Tensor:
        return torch.randn(n, self.latent_dim, device=self.device, dtype=self.dtype)

    def decode(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        """(n, D) to (n, C, H, W) of full size, whatever the growth."""
        network = self.sampling_generator
        condition = self.to_draw(len(z), y)
        with evaluating(self):
            x = network(z, self.growth, *condition)
        return interpolate(x, self.image_shape[1:]).clamp(-1, 1)
