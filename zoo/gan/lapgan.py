"""LAPGAN: Deep Generative Image Models Using a Laplacian Pyramid of Adversarial Networks.

Denton, Chintala, Szlam and Fergus, 2015. https://arxiv.org/abs/1506.05751

Let d(.) halve the sides of an image and u(.) double them. An image I_0 is equivalent to its
Laplacian
pyramid: the coarsest image I_K, and at each level the details h_k that doubling does not recover,

    I_{k+1} = d(I_k),   l_k = u(I_{k+1}),   h_k = I_k - l_k                 (eq. 3)

A GAN learns I_K. At every other level a conditional GAN learns the details h_k given l_k: the
inputs of its generator are l_k and noise, one number a pixel; those of its discriminator l_k + h_k
and l_k. In training l_k is made of real images, so that the levels are independent and are trained
together. In sampling each level uses the output of the one before it:

    I_k = u(I_{k+1}) + G_k(z_k, u(I_{k+1}))                                 (eq. 5)

So p(I_0) = p(I_K) prod_k p(h_k | l_k) at the optimum, and the details of an l_k are as diverse as
the images that have it.

What did not hold: that the cascade draws better images than one GAN. On 8x8 digits, from 4x4, it
came to a Frechet distance of 100, 146 and 135 on three seeds, the GAN in equal time to 8, 7 and 7.
And the levels depend less and less on their noise: for one l_k details varied by 0.24 to 0.37 of
the variance of all details after 200 steps, by about a tenth after 800.

Differs from the paper: d averages four pixels, u is bilinear; the discriminators' inputs are l_k
and l_k + h_k; a label is one of K constant planes; Adam for momentum; the networks of the coarsest
level are those of `GAN` or of `network`.
"""

from dataclasses import replace
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, interpolate

from ...checks import shape_of_images
from ...modes import evaluating
from ..adversarial import Batch, Player
from ..networks.conditional import beside
from ..networks.conv import halvings
from .gan import GAN


def down(x: Tensor) -> Tensor:
    """The paper's d: (B, C, H, W) to (B, C, H/2, W/2)."""
    return avg_pool2d(x, 2)


def up(x: Tensor) -> Tensor:
    """The paper's u: (B, C, H, W) to (B, C, 2H, 2W)."""
    return interpolate(x, scale_factor=2, mode="bilinear")


class DetailGenerator(nn.Module):
    """Noise z (B, HW) and an enlarged image l to l + h, all three of one size.

    h has no tanh: its values are in [-2, 2].
    """

    def __init__(self, image_shape: tuple[int, ...], num_classes: int, width: int):
        super().__init__()
        self.num_classes = num_classes
        planes = image_shape[0] + 1 + num_classes
        self.body = nn.Sequential(
            nn.Conv2d(planes, width, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(width, image_shape[0], 3, padding=1),
        )

    def forward(self, z: Tensor, low: Tensor, y: Tensor | None = None) -> Tensor:
        noise = z.view(len(z), 1, *low.shape[2:])
        return low + self.body(beside(torch.cat((low, noise), dim=1), y, self.num_classes))


class DetailDiscriminator(nn.Module):
    """Images l + h, with l, to raw scores (B,).

    It has no batch normalisation, with which generators ignored their noise.
    """

    def __init__(self, image_shape: tuple[int, ...], num_classes: int, width: int):
        super().__init__()
        self.num_classes = num_classes
        channels, side, _ = image_shape
        self.body = nn.Sequential(
            nn.Conv2d(2 * channels + num_classes, width, 4, stride=2, padding=1),
            nn.LeakyReLU(0.2),
            nn.Conv2d(width, 2 * width, 4, stride=2, padding=1),
            nn.LeakyReLU(0.2),
            nn.Flatten(),
            nn.Dropout(0.3),
            nn.Linear(2 * width * (side // 4) ** 2, 1),
        )

    def forward(self, x: Tensor, low: Tensor, y: Tensor | None = None) -> Tensor:
        return self.body(beside(torch.cat((x, low), dim=1), y, self.num_classes)).squeeze(1)


class PyramidGenerator(nn.Module):
    """A generator for each level, the coarsest first; together, latents (B, D) to images."""

    def __init__(self, levels: list[nn.Module], sizes: list[int]):
        super().__init__()
        self.levels, self.sizes = nn.ModuleList(levels), sizes

    def forward(self, z: Tensor, *condition: Tensor) -> Tensor:
        first, *details = z.split(self.sizes, dim=1)
        return self.refine(self.levels[0](first, *condition), details, *condition)

    def refine(self, x: Tensor, details: list[Tensor], *condition: Tensor) -> Tensor:
        """Images of a level through the finer ones, one for each of the latents (eq. 5)."""
        for z, level in zip(details, self.levels[len(self.levels) - len(details) :], strict=True):
            x = level(z, up(x), *condition)
        return x


class PyramidDiscriminator(nn.Module):
    """A discriminator for each level, the coarsest first; together, images to scores (B,).

    At the optimum the score of a level is a log-ratio of conditional densities, so that their sum
    is the log-ratio of the densities of whole pyramids.
    """

    def __init__(self, levels: list[nn.Module]):
        super().__init__()
        self.levels = nn.ModuleList(levels)

    def forward(self, x: Tensor, *condition: Tensor) -> Tensor:
        scores = []
        for level in reversed(self.levels[1:]):
            scores.append(level(x, up(down(x)), *condition))
            x = down(x)
        return self.levels[0](x, *condition) + sum(scores)


class LAPGAN(GAN):
    """A GAN of coarse images, and one for the details of each doubling of the side.

    Args:
        levels: The paper's K, the number of doublings of the side: with 2, 28 pixels from 7.
        latent_dim: Entries of the noise of the coarsest level; the other levels have a number for
            each pixel.
        width: Units of the hidden layers of the coarsest level; None: 256, or 64 channels.
        detail_width: Channels of the networks of the other levels; twice as many in the second
            layer of discriminators.
    """

    def __init__(
        self,
        image_shape: tuple[int, ...],
        num_classes: int = 0,
        levels: int = 2,
        latent_dim: int = 32,
        width: int | None = None,
        detail_width: int = 64,
        **kwargs,
    ):
        _, times = halvings(shape_of_images(image_shape))
        if not 1 <= levels <= times:
            raise ValueError(
                f"levels must be 1 to {times} for images of {image_shape[-1]} pixels a side, "
                f"got {levels}"
            )
        # They regularise one discriminator.
        for name in ("spectral_norm", "r1", "augment", "instance_noise", "regularisation"):
            if kwargs.get(name):
                raise ValueError(f"{name} must be left out of LAPGAN, got {kwargs[name]}")
        sides = [image_shape[-1] // 2**k for k in reversed(range(levels + 1))]
        coarse, *finer = [(image_shape[0], side, side) for side in sides]
        super().__init__(coarse, num_classes, latent_dim, width, **kwargs)
        generators = [DetailGenerator(shape, num_classes, detail_width) for shape in finer]
        discriminators = [DetailDiscriminator(shape, num_classes, detail_width) for shape in finer]
        sizes = [latent_dim, *(side**2 for side in sides[1:])]
        self.generator = PyramidGenerator([self.generator, *generators], sizes)
        self.discriminator = PyramidDiscriminator([self.discriminator, *discriminators])
        self.image_shape, self.latent_dim = tuple(image_shape), sum(sizes)
        self.sides = sides
        self.average_generator()

    # The game

    def players(self) -> tuple[Player, ...]:
        """Two for each level, the coarsest first, so that the finest generator's moves count."""
        discriminator, generator = super().players()
        pairs = zip(self.discriminator.levels, self.generator.levels, strict=True)
        return tuple(
            replace(
                player,
                name=f"{player.name}_{level}",
                modules=(network,),
                loss=partial(player.loss, level=level),
            )
            for level, networks in enumerate(pairs)
            for player, network in zip((discriminator, generator), networks, strict=True)
        )

    def discriminator_loss(self, batch: Batch, level: int) -> Tensor:
        discriminator = self.discriminator.levels[level]
        inputs = self.inputs(batch, level)
        return self.loss.discriminator(*(discriminator(*images) for images in inputs))

    def generator_loss(self, batch: Batch, level: int) -> Tensor:
        _, fake = self.inputs(batch, level)
        return self.loss.generator(self.discriminator.levels[level](*fake))

    def inputs(self, batch: Batch, level: int) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        """The inputs of a level's discriminator for data and for samples of its generator."""
        x, *condition = self.real(*self.conditioned(batch))
        for _ in self.generator.levels[level + 1 :]:
            x = down(x)
        if level:
            condition = [up(down(x)), *condition]
        z = self.prior(len(x)).split(self.generator.sizes, dim=1)[level]
        return (x, *condition), (self.generator.levels[level](z, *condition), *condition)

    def seen(self, batch: Batch, level: int) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        """The earlier name of `inputs`."""
        return self.inputs(batch, level)

    def configure_optimizers(self):
        optimizers, schedules = super().configure_optimizers()
        self.average_after(optimizers[-1])  # by then all levels have moved
        return optimizers, schedules

    # What it can do

    def decode(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        return super().decode(z, y).clamp(-1, 1)

    def pyramid(self, x: Tensor) -> list[Tensor]:
        """The pyramid [I_K, h_{K-1}, ..., h_0] of images (B, C, H, W), the coarsest first."""
        details = []
        for _ in self.generator.levels[1:]:
            details.append(x - up(down(x)))
            x = down(x)
        return [x, *reversed(details)]

    def collapse(self, pyramid: list[Tensor]) -> Tensor:
        """The images (B, C, H, W) of a pyramid."""
        x, *details = pyramid
        for detail in details:
            x = up(x) + detail
        return x

    def refine(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """Images of the size of any level, enlarged to full size with sampled details.

        Labels y (B,) of a conditional model are drawn at random if not given.
        """
        shapes = [(self.image_shape[0], side, side) for side in self.sides]
        if tuple(x.shape[1:]) not in shapes:
            raise ValueError(f"x must be (B, ...) of one of {shapes}, got {tuple(x.shape)}")
        level = shapes.index(tuple(x.shape[1:]))
        details = self.prior(len(x)).split(self.generator.sizes, dim=1)[level + 1 :]
        network = self.sampling_generator
        condition = self.to_draw(len(x), y)
        with evaluating(self):
            return network.refine(x, details, *condition).clamp(-1, 1)
