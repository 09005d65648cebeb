"""AAE: Adversarial Autoencoders.

Makhzani, Shlens, Jaitly, Goodfellow and Frey, 2015. https://arxiv.org/abs/1511.05644

The distribution of an autoencoder's codes is unknown, so it cannot be sampled. Here a GAN in the
space of codes matches it to a prior p(z): the encoder is the generator of the GAN, draws of the
prior are its data, and each batch is used twice (sec. 2),

    reconstruction:  min_{E,G}    E_x |x - G(E(x))|^2
    regularisation:  min_E max_D  E_{p(z)}[log D(z)] + E_x[log(1 - D(E(x)))]

A VAE's KL divergence does this with a formula that needs the density of the prior. A discriminator
needs only draws of the prior, which may have any shape: a Gaussian, ten petals, a roll. At the
optimum the codes of all images have the distribution of the prior, and G maps draws of it to
images.

With the class as a condition of the discriminator, each class gets a part of the prior (sec. 2.3),
and encoder and decoder need no condition. A Gaussian has no parts: there the class is a condition
of all three networks, and z contains the style, which is independent of the class (sec. 4).

The encoder's two losses have separate Adam optimizers, so there is no weight between them. In a
plain game the codes oscillate around the prior. They converge with four changes together: batch
normalisation in the encoder; dropout in the discriminator; four times the learning rate for the
discriminator; and falling learning rates (`decay_steps`; in the paper they fall in stages).

What did not hold: that the game alone brings codes near N(0, I). On 8x8 digits with two
numbers in a code, three seeds, their energy distance from it was 0.53 to 0.55 in a plain
autoencoder, 0.020 to 0.033 in one with batch normalisation, and 0.006 to 0.012 here (draws of the
prior: 0.003 to 0.005). Without the normalisation, and with `r1=1` for dropout, the game got to
0.006, 0.022 and 0.031.

Differs from the paper: the first three of those four; a deterministic encoder only; Adam for
momentum; leaky ReLU in the encoder; tanh, for images in [-1, 1]; either all images have
labels or none; with a Gaussian prior the class is also a condition of encoder and discriminator.
Semi-supervised learning and clustering (sec. 5, 6) are not implemented.
"""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Literal

import torch
from torch import Tensor, nn

from ... import latent
from ...modes import evaluating
from ..adversarial import Batch, Player
from ..gan.gan import GAN
from ..networks import MLP, PAIRS, Encoder, MLPDiscriminator, MLPGenerator

PARTS = 10  # of a prior without classes


def petals(part: Tensor, parts: int) -> Tensor:
    """Gaussians (n, 2) that point away from the origin, evenly around it: 0.5 long, 0.1 wide."""
    angle = 2 * math.pi * part / parts
    along, across = 1.5 + 0.5 * torch.randn_like(angle), 0.1 * torch.randn_like(angle)
    sine, cosine = angle.sin(), angle.cos()
    return torch.stack((along * cosine - across * sine, along * sine + across * cosine), dim=1)


def swiss_roll(part: Tensor, parts: int) -> Tensor:
    """A spiral (n, 2) of two turns and radius up to 2, the parts one after the other along it."""
    # Inner turns are shorter: the root spreads draws evenly.
    place = ((part + torch.rand_like(part)) / parts).sqrt()
    angle = 4 * math.pi * place
    return 2 * place[:, None] * torch.stack((angle.cos(), angle.sin()), dim=1)


PLANES: dict[str, Callable[[Tensor, int], Tensor]] = {"petals": petals, "swiss_roll": swiss_roll}


class EncoderBody(MLPDiscriminator):
    """A discriminator with batch normalisation, for images, in place of dropout."""

    def __init__(self, image_shape: tuple[int, ...], num_classes: int, width: int):
        super().__init__(image_shape, num_classes, width)
        sizes = (math.prod(image_shape) + num_classes, width, width, 1)
        self.body = MLP(sizes, norm=len(image_shape) > 1, slope=0.2)


class AAE(GAN):
    """An autoencoder and a discriminator of its codes. For another prior override `prior`.

    Args:
        prior: Distribution of codes: "gaussian", N(0, I); or "petals" or "swiss_roll" in the first
            two entries of z, with N(0, I) in the others, where each class has a part.
        latent_dim: D, entries of a code z.
        code_width: Units of the hidden layers of the discriminator.
        d_lr_ratio: Learning rate of the discriminator over that of the other networks; it is not
            used if `d_lr` is given.
        decay_steps: The step at which all learning rates have fallen to 0, e.g. `max_steps`; 0:
            constant learning rates.
        decay_start: The step from which learning rates fall, along a line; None: half of
            `decay_steps`.
        network: The kind of decoder and encoder: "mlp", "conv" or "residual"; "own": the classes
            `Generator` and `Discriminator`; "auto": "conv" for images of 16 pixels a side and more
            that strided convolutions reach, "mlp" for others and for points.
        regularisation: Regularisation of the discriminator of codes, a `networks.Regularisation`
            or a mapping of its fields. The most common fields are arguments, too.
    """

    Encoder: type[nn.Module] = Encoder
    Discriminator = EncoderBody  # of the encoder; the discriminator's inputs are codes
    pairs = PAIRS | {"mlp": (MLPGenerator, EncoderBody)}

    def __init__(
        self,
        image_shape: tuple[int, ...],
        num_classes: int = 0,
        prior: Literal["gaussian", "petals", "swiss_roll"] = "gaussian",
        latent_dim: int = 8,
        code_width: int = 256,
        d_lr_ratio: float = 4.0,
        decay_steps: int = 0,
        decay_start: float | None = None,
        **kwargs,
    ):
        if prior not in ("gaussian", *PLANES):
            names = ", ".join(("gaussian", *PLANES))
            raise ValueError(f"prior must be one of {names}, got {prior!r}")
        if prior != "gaussian" and latent_dim < 2:
            raise ValueError(f"latent_dim must be at least 2 for {prior}, got {latent_dim}")
        if d_lr_ratio <= 0:
            raise ValueError(f"d_lr_ratio must be above 0, got {d_lr_ratio}")
        of_networks = num_classes if prior == "gaussian" else 0
        super().__init__(
            image_shape,
            of_networks,
            latent_dim=latent_dim,
            decay_steps=decay_steps,
            decay_start=decay_steps / 2 if decay_start is None else decay_start,
            **kwargs,
        )
        self.num_classes, self.prior_shape = num_classes, prior
        self.d_lr_ratio = d_lr_ratio
        self.encoder = self.Encoder(self.discriminator, latent_dim)
        # A code as an image of one line: the discriminator of images has dropout, of points none.
        discriminator = MLPDiscriminator((1, 1, latent_dim), num_classes, code_width)
        self.discriminator = self.regularisation.wrap(discriminator)

    def make_discriminator(self, num_classes: int | None = None) -> nn.Module:
        """The encoder's body, without regularisation."""
        if self.regularisation.augment:
            raise ValueError("augment must be empty: codes are judged, not images")
        if self.regularisation.instance_noise:
            raise ValueError("instance_noise must be 0: codes are judged, not images")
        width = self.width_of(self.Discriminator)
        return self.Discriminator(self.image_shape, self.num_classes, width)

    # The game

    def players(self) -> tuple[Player, ...]:
        discriminator, encoder = super().players()
        both = Player(
            "reconstruction",
            (self.encoder, self.generator),
            self.reconstruction_loss,
            clip_norm=self.clip_norm,
        )
        return both, discriminator, replace(encoder, name="encoder", modules=(self.encoder,))

    def lr_of(self, player: Player) -> float:
        if player.name == "discriminator" and player.lr is None:
            return self.lr * self.d_lr_ratio
        return super().lr_of(player)

    def real(self, x: Tensor, *condition: Tensor) -> tuple[Tensor, ...]:
        """The discriminator's inputs for draws of the prior, as many as there are images."""
        return super().real(self.prior(len(x), *condition), *condition)

    def fake(self, x: Tensor, *condition: Tensor) -> tuple[Tensor, ...]:
        """The discriminator's inputs for images: their codes."""
        return super().real(self.encoder(x, *condition), *condition)

    def reconstruction_loss(self, batch: Batch) -> Tensor:
        """Mean squared error of reconstructions, which encoder and decoder descend."""
        x, *condition = self.conditioned(batch)
        return (x - self.generator(self.encoder(x, *condition), *condition)).square().mean()

    def discriminator_loss(self, batch: Batch) -> Tensor:
        real, fake = self.real(*self.conditioned(batch)), self.fake(*self.conditioned(batch))
        scores = self.discriminator(*real), self.discriminator(*fake)
        return self.loss.discriminator(*scores) + self.penalty(real, fake)

    def generator_loss(self, batch: Batch) -> Tensor:
        """What the encoder descends in the game: its codes are the samples."""
        return self.loss.generator(self.discriminator(*self.fake(*self.conditioned(batch))))

    # What it can do

    def prior(self, n: int, y: Tensor | None = None) -> Tensor:
        """Codes (n, D) of the prior, from the parts of classes y (n,); without y from random
        parts."""
        z = latent.standard_gaussian(self, n)
        if self.prior_shape != "gaussian":
            parts = self.num_classes or PARTS
            part = torch.randint(parts, (n,), device=self.device) if y is None else y
            z[:, :2] = PLANES[self.prior_shape](part.to(z), parts)
        return z

    def sample(self, n: int, y: Tensor | None = None) -> Tensor:
        condition = self.to_draw(n, y)
        return self.decode(self.prior(n, *condition), *condition)

    def encode(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """Codes (B, D) of images (B, C, H, W); y is used only with a Gaussian prior."""
        with evaluating(self):
            return self.encoder(x, *self.condition.arguments(y))

    reconstruct = latent.reconstruct

    def score(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """(B,) raw scores of codes; at the optimum log p(z)/q(z), of the prior over all codes."""
        with evaluating(self):
            return self.discriminator(*self.fake(x, *self.condition.arguments(y)))
