"""GAN: Generative Adversarial Nets.

Goodfellow, Pouget-Abadie, Mirza, Xu, Warde-Farley, Ozair, Courville and Bengio, 2014.
https://arxiv.org/abs/1406.2661

A generator turns noise z into images; a discriminator tells them from data. They play

    min_G max_D  E_x[log D(x)] + E_z[log(1 - D(G(z)))]                      (eq. 1)

with D = sigmoid(s), where s is the raw score of the discriminator network. For a fixed G the
optimal discriminator is D(x) = p(x) / (p(x) + q(x)) (prop. 1), so that exp(s) is the ratio of the
densities of data and samples; against it the generator's cost is 2 JSD(p, q) - log 4, with its
minimum at q = p (thm 1). Early in training log(1 - D) is flat. The generator may ascend log D
instead, which has the same fixed point and much stronger gradients (sec. 3); this form is the
default.

Differs from the paper: Adam for momentum, leaky ReLU for maxout, tanh for sigmoid (images are in
[-1, 1]), batch normalisation in the generator; DCGAN's convolutions for images of 16 pixels a side
and more (`network`).
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus
from torch.optim import Optimizer

from ... import latent
from ..._lightning import place_of, trainer_of
from ...checks import at_least
from ...modes import eager, evaluating
from .. import networks
from ..adversarial import Adversarial, Batch, Player
from ..base import VERSION
from ..ema import Averaging
from ..networks.regularisation import Regularisation, carry_over, let_noise_fall


class Payoff(NamedTuple):
    """The losses of both players, functions of raw scores (B,) that give a scalar to descend."""

    discriminator: Callable[[Tensor, Tensor], Tensor]  # of the scores of data and of samples
    generator: Callable[[Tensor], Tensor]  # of the scores of samples


def cross_entropy(real: Tensor, fake: Tensor) -> Tensor:
    """-E[log D(x)] - E[log(1 - D(G(z)))]: log 4 where the discriminator is undecided.

    >>> cross_entropy(torch.zeros(8), torch.zeros(8))
    tensor(1.3863)
    """
    return softplus(-real).mean() + softplus(fake).mean()


def log_one_minus_d(fake: Tensor) -> Tensor:
    """E[log(1 - D(G(z)))], the generator's part of eq. 1: flat where the discriminator is
    certain."""
    return -softplus(fake).mean()


def minus_log_d(fake: Tensor) -> Tensor:
    """-E[log D(G(z))]: steep where the discriminator is certain (sec. 3)."""
    return softplus(-fake).mean()


minimax = Payoff(cross_entropy, log_one_minus_d)
non_saturating = Payoff(cross_entropy, minus_log_d)


class GAN(Averaging, Adversarial):
    """Goodfellow's game between a generator and a discriminator; the base class of the GANs.

    A subclass changes what its paper changes: the losses (`loss`), the classes of the networks, the
    inputs of the discriminator (`real`, `fake`), its penalty (`penalty`), or the players.

    Args:
        image_shape: (C, H, W), or (D,) for points.
        num_classes: K, the number of classes, a condition of both networks; 0: unconditional.
        latent_dim: D, entries of the noise z.
        width: Units of the hidden layers; of convolutional networks channels at half the full
            side. None: 256 units, 64 channels, or 128 channels of residual networks.
        lr: Adam's learning rate.
        d_lr: Learning rate of the discriminator; None: `lr`.
        g_lr: Learning rate of the generator; None: `lr`.
        betas: Adam's decay rates.
        d_steps: Steps of the discriminator for each turn of the generator (the paper's k), each on
            a new batch.
        g_steps: Steps of the generator in a turn.
        decay_steps: The step at which all learning rates have fallen to 0, e.g. `max_steps`; 0:
            constant learning rates.
        decay_start: The step from which the learning rates fall linearly.
        saturating: Whether the generator descends eq. 1 itself.
        clip_norm: Maximum norm of each player's gradient; 0: no clipping.
        ema_decay: Decay per step of a moving average of the generator, from which samples are
            drawn; 0: none.
        ema_warmup: Whether the decay of the moving average is smaller at first (see `zoo/ema.py`).
        network: Kind of the networks: "mlp", "conv" or "residual"; "own": the attributes
            `Generator` and `Discriminator` of the class; "auto": "conv" for images of 16 pixels a
            side and more that strided convolutions reach, "mlp" for others; own choices stay.
        regularisation: Regularisation of the discriminator: a `networks.Regularisation`, or a
            mapping of its fields. Its most common fields are also arguments of the model.
        spectral_norm: Whether the discriminator's weights are divided by their largest singular
            values; its normalisation layers are removed (https://arxiv.org/abs/1802.05957).
        r1: gamma of the penalty gamma/2 |gradient of the score at data|^2
            (https://arxiv.org/abs/1801.04406, eq. 9), for discriminators without batch
            normalisation; 0: none.
        augment: Random changes of real images and samples before the discriminator: "colour",
            "translation", "cutout" (DiffAugment, https://arxiv.org/abs/2006.10738); (): none.
        prior: Distribution of z: "uniform" on [-1, 1], or "gaussian", N(0, I).
        instance_noise: Standard deviation of the noise on the discriminator's input
            (https://arxiv.org/abs/1610.04490); 0: none.
        instance_noise_steps: Steps over which the instance noise falls linearly to 0; 0: constant.
    """

    loss: Payoff = non_saturating
    Generator: type[nn.Module] = networks.MLPGenerator
    Discriminator: type[nn.Module] = networks.MLPDiscriminator
    pairs = networks.PAIRS
    averaged = "generator"
    average_generator, sampling_generator = Averaging.average, Averaging.average_network

    def __init__(
        self,
        image_shape: tuple[int, ...],
        num_classes: int = 0,
        latent_dim: int = 32,
        width: int | None = None,
        lr: float = 2e-4,
        betas: tuple[float, float] = (0.5, 0.999),
        d_steps: int = 1,
        g_steps: int = 1,
        saturating: bool = False,
        clip_norm: float = 0.0,
        ema_decay: float = 0.0,
        network: Literal["auto", "own", "mlp", "conv", "residual"] = "auto",
        spectral_norm: bool = False,
        r1: float = 0.0,
        augment: tuple[str, ...] = (),
        prior: Literal["uniform", "gaussian"] = "uniform",
        instance_noise: float = 0.0,
        instance_noise_steps: int = 0,
        d_lr: float | None = None,
        g_lr: float | None = None,
        decay_steps: int = 0,
        decay_start: float = 0,
        ema_warmup: bool = True,
        regularisation: Regularisation | dict[str, Any] | None = None,
    ):
        super().__init__(lr, betas)
        self.save_hyperparameters(ignore=["regularisation"])
        self.regularisation = Regularisation.of(
            regularisation,
            spectral_norm=spectral_norm,
            r1=r1,
            augment=augment,
            instance_noise=instance_noise,
            instance_noise_steps=instance_noise_steps,
        )
        if regularisation is not None:  # plain values for the checkpoint
            self.hparams["regularisation"] = self.regularisation.plain()
        at_least(1, d_steps=d_steps, g_steps=g_steps, latent_dim=latent_dim)
        if width is not None:
            at_least(1, width=width)
        at_least(0, clip_norm=clip_norm, decay_steps=decay_steps, decay_start=decay_start)
        if decay_start and decay_start >= decay_steps:
            raise ValueError(f"decay_start must be below decay_steps, got {decay_start}")
        at_least(0, **{name: rate for name, rate in (("d_lr", d_lr), ("g_lr", g_lr)) if rate})
        if prior not in ("uniform", "gaussian"):
            raise ValueError(f"prior must be uniform or gaussian, got {prior!r}")
        if prior != "uniform" and type(self).prior is not GAN.prior:
            raise ValueError(f"prior must be left out: {type(self).__name__} has its own")
        # A subclass may pass a condition of another kind in the place of a number.
        self.image_shape, self.condition = tuple(image_shape), num_classes
        self.latent_dim, self.d_steps, self.g_steps = latent_dim, d_steps, g_steps
        self.clip_norm, self.ema_decay, self.ema_warmup = clip_norm, ema_decay, ema_warmup
        self.d_lr, self.g_lr, self.width = d_lr, g_lr, width
        self.decay_steps, self.decay_start = decay_steps, decay_start
        if saturating and self.loss != non_saturating:
            raise ValueError(f"saturating must be False: {type(self).__name__} has its own loss")
        if saturating:
            self.loss = minimax
        own = self.Generator, self.Discriminator
        self.Generator, self.Discriminator = networks.pair(network, own, self.pairs, image_shape)
        self.regularisation.refuse_points(self.image_shape)
        self.gaussian_prior = prior == "gaussian"
        self.generator = self.make_generator()
        self.discriminator = self.make_discriminator()
        self.average_generator()

    # Networks

    def width_of(self, network: type[nn.Module]) -> int:
        """The width that was asked for, or the default width of such a network."""
        return self.width or getattr(network, "default_width", 256)

    def make_generator(self, latent_dim: int | None = None) -> nn.Module:
        """A new generator of latents of `latent_dim` entries; None: those of the model."""
        entries = self.latent_dim if latent_dim is None else latent_dim
        width = self.width_of(self.Generator)
        return self.Generator(self.image_shape, entries, self.condition.entries, width)

    def make_discriminator(self, num_classes: int | None = None) -> nn.Module:
        """A new, regularised discriminator of `num_classes` classes; None: those of the model."""
        classes = self.condition.entries if num_classes is None else num_classes
        width = self.width_of(self.Discriminator)
        return self.regularisation.wrap(self.Discriminator(self.image_shape, classes, width))

    def configure_model(self) -> None:
        # A class that built its discriminator of parts may not have regularised all of them.
        self.regularisation.wrap(self.discriminator)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_load_checkpoint(checkpoint)
        # A file with a version has all weights of that version; nothing is added to it.
        older = VERSION not in checkpoint and carry_over(self, checkpoint["state_dict"])
        if older and trainer_of(self) is not None and self.trainer.state.fn == "fit":
            raise ValueError(
                "ckpt_path must be of this version to be trained further: in this older one the "
                "discriminator was not wholly regularised. It can be tested and drawn from"
            )

    # The game

    def players(self) -> tuple[Player, ...]:
        d = Player("discriminator", (self.discriminator,), self.discriminator_loss, lr=self.d_lr)
        g = Player("generator", (self.generator,), self.generator_loss, lr=self.g_lr)
        clip = self.clip_norm
        return (
            replace(d, clip_norm=clip, regularised=True),
            replace(g, clip_norm=clip, every=self.d_steps, moves=self.g_steps),
        )

    def real(self, x: Tensor, *condition: Tensor) -> tuple[Tensor, ...]:
        """The discriminator's inputs for data: images, and their condition."""
        return x, *condition

    def fake(self, z: Tensor, *condition: Tensor) -> tuple[Tensor, ...]:
        """The discriminator's inputs for samples: images generated from z, and their condition."""
        return self.generator(z, *condition), *condition

    def penalty(self, real: tuple[Tensor, ...], fake: tuple[Tensor, ...]) -> Tensor | float:
        """A term of the discriminator's loss, of its inputs for data and for samples."""
        return 0.0

    def discriminator_loss(self, batch: Batch) -> Tensor:
        """What the discriminator descends, a scalar."""
        x, *condition = self.conditioned(batch)
        real, fake = self.real(x, *condition), self.fake(self.prior(len(x)), *condition)
        scores = self.discriminator(*real), self.discriminator(*fake)  # batch norm: apart
        return self.loss.discriminator(*scores) + self.penalty(real, fake)

    def generator_loss(self, batch: Batch) -> Tensor:
        """What the generator descends, a scalar."""
        x, *condition = self.conditioned(batch)
        return self.loss.generator(self.discriminator(*self.fake(self.prior(len(x)), *condition)))

    def move(self, player: Player, optimizer: Optimizer, batch: Batch) -> Tensor:
        every = self.regularisation.r1_every
        if self.regularisation.r1 and player.regularised and not place_of(self.trainer) % every:
            loss = player.loss
            player = replace(player, loss=lambda b: loss(b) + every * self.slope_penalty(b))
        return super().move(player, optimizer, batch)

    def slope_penalty(self, batch: Batch) -> Tensor:
        """R1: r1 / 2 times the mean squared norm of the score's gradient at data."""
        x, *rest = self.real(*self.conditioned(batch))
        x = x.detach().requires_grad_()
        with eager(self.discriminator):
            score = self.raw_scores(x, *rest)
        return self.regularisation.penalty(score, x)

    def setup(self, stage: str) -> None:
        super().setup(stage)
        if stage == "fit":
            self.regularisation.refuse_batch_norm(self.discriminator)

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        super().on_train_batch_start(batch, batch_idx)
        if steps := self.regularisation.instance_noise_steps:
            let_noise_fall(self, max(0.0, 1 - self.trainer.global_step / steps))

    def configure_optimizers(self):
        optimizers, schedules = super().configure_optimizers()
        for player, optimizer in zip(self.players(), optimizers, strict=True):
            if self.generator in player.modules:
                self.average_after(optimizer)
        return optimizers, schedules

    # What it can do

    def prior(self, n: int) -> Tensor:
        """Latents z (n, D), drawn from the prior."""
        z = torch.empty(n, self.latent_dim, device=self.device, dtype=self.dtype)
        return z.normal_() if self.gaussian_prior else z.uniform_(-1, 1)

    def decode(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        """Images (n, C, H, W) of latents (n, D), by the averaged generator if there is one."""
        network = self.sampling_generator
        with evaluating(self):
            return network(z, *self.to_draw(len(z), y))

    def sample(self, n: int, y: Tensor | None = None) -> Tensor:
        """n images (n, C, H, W) in [-1, 1]; conditions y are drawn at random if not given."""
        return self.decode(self.prior(n), *self.to_draw(n, y))

    interpolate = latent.interpolate

    def raw_scores(self, *inputs: Tensor) -> Tensor:
        """Raw scores (B,) of the inputs that `real` or `fake` give, with gradients."""
        return self.discriminator(*inputs)

    def verdict(self, *inputs: Tensor) -> Tensor:
        """The earlier name of `raw_scores`."""
        return self.raw_scores(*inputs)

    def score(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """Raw scores (B,) of images; at the optimum log p(x)/q(x), of data over samples."""
        with evaluating(self):
            return self.raw_scores(*self.real(x, *self.condition.arguments(y)))
