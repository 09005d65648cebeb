"""GAN: Generative Adversarial Nets.

Goodfellow, Pouget-Abadie, Mirza, Xu, Warde-Farley, Ozair, Courville and Bengio, 2014.
https://arxiv.org/abs/1406.2661

A generator turns noise z into images; a discriminator tells them from data. They play

    min_G max_D  E_x[log D(x)] + E_z[log(1 - D(G(z)))]                      (eq. 1)

with D = sigmoid of the score s that the network here gives. For a fixed G the best answer is
D(x) = p(x) / (p(x) + q(x)) (prop. 1), so that exp(s) is the ratio of the densities of data and
samples; against it the generator's cost is 2 JSD(p, q) - log 4, which is least where q = p
(thm 1). Early on log(1 - D) is flat: the generator may ascend log D instead, which has the same
fixed point and much stronger gradients (sec. 3). That form is the default.

Differs from the paper: Adam for momentum, leaky ReLU for maxout, tanh for sigmoid (images are in
[-1, 1]), batch normalisation in the generator.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Literal, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import softplus
from torch.optim import Optimizer
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from ...checks import at_least
from .. import latent, networks
from ..adversarial import Adversarial, Batch, Player
from ..module import eager, evaluating
from ..networks.bound import bound, let_noise_fall


class Payoff(NamedTuple):
    """What both players pay, as functions of raw scores (B,); each gives a scalar to descend."""

    discriminator: Callable[[Tensor, Tensor], Tensor]  # of data and of samples
    generator: Callable[[Tensor], Tensor]  # of samples


def cross_entropy(real: Tensor, fake: Tensor) -> Tensor:
    """-E[log D(x)] - E[log(1 - D(G(z)))]: log 4 where the discriminator is undecided."""
    return softplus(-real).mean() + softplus(fake).mean()


def log_one_minus_d(fake: Tensor) -> Tensor:
    """E[log(1 - D(G(z)))], eq. 1 as it stands: flat where the discriminator is sure."""
    return -softplus(fake).mean()


def minus_log_d(fake: Tensor) -> Tensor:
    """-E[log D(G(z))]: steep where the discriminator is sure (sec. 3)."""
    return softplus(-fake).mean()


minimax = Payoff(cross_entropy, log_one_minus_d)
non_saturating = Payoff(cross_entropy, minus_log_d)


class GAN(Adversarial):
    """Goodfellow's game between two multilayer perceptrons; the base of the family.

    A subclass changes what a paper changes: `loss`, the classes of the networks, what the
    discriminator sees (`real`, `fake`), what else binds it (`penalty`), or who plays.

    Args:
        image_shape: (C, H, W), or (D,) for points.
        num_classes: K, and both networks are told the class; 0: unconditional.
        latent_dim: D, entries of the noise z.
        width: Units of the hidden layers (of convolutions: channels at the full side).
        lr: Adam's learning rate.
        betas: Adam's decay rates.
        d_steps: Moves of the discriminator for each turn of the generator (the paper's k), each
            on fresh data.
        g_steps: Moves of the generator in a turn.
        saturating: The generator descends eq. 1 itself.
        clip_norm: Largest norm of either player's gradient; 0: as it is.
        ema_decay: Decay per step of a moving average of the generator, from which samples are
            drawn; 0: none.
        network: "mlp", "conv" or "residual" networks; "own": those of the class, `Generator` and
            `Discriminator`.
        spectral_norm: The discriminator's weights are divided by their largest singular values,
            and it loses its normalisation layers (https://arxiv.org/abs/1802.05957).
        r1: gamma of the penalty gamma/2 |gradient of the score at data|^2
            (https://arxiv.org/abs/1801.04406, eq. 9).
        augment: How images, real or not, are changed before the discriminator sees them:
            "colour", "translation", "cutout" (DiffAugment, https://arxiv.org/abs/2006.10738).
        prior: What z is drawn from: "uniform" on [-1, 1], or "gaussian", N(0, I).
        instance_noise: Standard deviation of the noise on all that the discriminator sees
            (https://arxiv.org/abs/1610.04490); 0: none.
        instance_noise_steps: Steps over which it falls to 0, along a line; 0: it stays.
    """

    loss: Payoff = non_saturating
    Generator = networks.MLPGenerator
    Discriminator = networks.MLPDiscriminator
    pairs = networks.PAIRS

    def __init__(
        self,
        image_shape: tuple[int, ...],
        num_classes: int = 0,
        latent_dim: int = 32,
        width: int = 256,
        lr: float = 2e-4,
        betas: tuple[float, float] = (0.5, 0.999),
        d_steps: int = 1,
        g_steps: int = 1,
        saturating: bool = False,
        clip_norm: float = 0.0,
        ema_decay: float = 0.0,
        network: Literal["own", "mlp", "conv", "residual"] = "own",
        spectral_norm: bool = False,
        r1: float = 0.0,
        augment: tuple[str, ...] = (),
        prior: Literal["uniform", "gaussian"] = "uniform",
        instance_noise: float = 0.0,
        instance_noise_steps: int = 0,
    ):
        super().__init__(lr, betas)
        self.save_hyperparameters()
        at_least(1, d_steps=d_steps, g_steps=g_steps, latent_dim=latent_dim)
        if not 0 <= ema_decay < 1:
            raise ValueError(f"ema_decay must be in [0, 1), got {ema_decay}")
        at_least(0, r1=r1, instance_noise=instance_noise, instance_noise_steps=instance_noise_steps)
        if prior not in ("uniform", "gaussian"):
            raise ValueError(f"prior must be uniform or gaussian, got {prior!r}")
        if prior != "uniform" and type(self).prior is not GAN.prior:
            raise ValueError(f"prior must be left out: {type(self).__name__} has its own")
        self.image_shape, self.num_classes = tuple(image_shape), num_classes
        self.latent_dim, self.d_steps, self.g_steps = latent_dim, d_steps, g_steps
        self.clip_norm, self.ema_decay = clip_norm, ema_decay
        if saturating:
            if self.loss != non_saturating:
                raise ValueError(
                    f"saturating must be False: {type(self).__name__} has its own loss"
                )
            self.loss = minimax
        if network != "own":
            if network not in self.pairs:
                names = ", ".join(("own", *self.pairs))
                raise ValueError(f"network must be one of {names}, got {network!r}")
            self.Generator, self.Discriminator = self.pairs[network]
        if augment and len(self.image_shape) != 3:
            raise ValueError(f"augment must be empty for points, got {', '.join(augment)}")
        if augment or spectral_norm or instance_noise:
            ways = spectral_norm, augment, instance_noise
            self.Discriminator = bound(self.Discriminator, *ways)
        self.r1, self.gaussian_prior = r1, prior == "gaussian"
        self.instance_noise_steps = instance_noise_steps
        self.generator = self.Generator(self.image_shape, latent_dim, num_classes, width)
        self.discriminator = self.Discriminator(self.image_shape, num_classes, width)
        if ema_decay:
            average = get_ema_multi_avg_fn(ema_decay)
            self.ema = AveragedModel(self.generator, multi_avg_fn=average, use_buffers=True)
            self.ema.requires_grad_(False)

    # The game

    def players(self) -> tuple[Player, ...]:
        clip = self.clip_norm
        return (
            Player("discriminator", (self.discriminator,), self.discriminator_loss, clip_norm=clip),
            Player(
                "generator",
                (self.generator,),
                self.generator_loss,
                every=self.d_steps,
                moves=self.g_steps,
                clip_norm=clip,
            ),
        )

    def real(self, x: Tensor, y: Tensor | None) -> tuple[Tensor, ...]:
        """What the discriminator sees of data."""
        return (x,) if y is None else (x, y)

    def fake(self, z: Tensor, y: Tensor | None) -> tuple[Tensor, ...]:
        """What the discriminator sees of the generator."""
        return (self.generator(z),) if y is None else (self.generator(z, y), y)

    def penalty(self, real: tuple[Tensor, ...], fake: tuple[Tensor, ...]) -> Tensor | float:
        """What else the discriminator pays."""
        return 0.0

    def discriminator_loss(self, batch: Batch) -> Tensor:
        x, y = self._told(batch)
        real, fake = self.real(x, y), self.fake(self.prior(len(x)), y)
        scores = self.discriminator(*real), self.discriminator(*fake)  # batch norm: apart
        return self.loss.discriminator(*scores) + self.penalty(real, fake)

    def generator_loss(self, batch: Batch) -> Tensor:
        x, y = self._told(batch)
        return self.loss.generator(self.discriminator(*self.fake(self.prior(len(x)), y)))

    def move(self, player: Player, optimizer: Optimizer, batch: Batch) -> Tensor:
        if self.r1 and player.name == "discriminator":
            pay = player.loss
            player = replace(player, loss=lambda batch: pay(batch) + self.slope_penalty(batch))
        return super().move(player, optimizer, batch)

    def slope_penalty(self, batch: Batch) -> Tensor:
        """r1 / 2 times the mean squared norm of the score's gradient at data."""
        x, *rest = self.real(*self._told(batch))
        x = x.detach().requires_grad_()
        with eager(self.discriminator):
            score = self.verdict(x, *rest)
        (slope,) = torch.autograd.grad(score.sum(), x, create_graph=True)
        return self.r1 / 2 * slope.flatten(1).square().sum(1).mean()

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        super().on_train_batch_start(batch, batch_idx)
        if self.instance_noise_steps:
            gone = self.trainer.global_step / self.instance_noise_steps
            let_noise_fall(self, max(0.0, 1 - gone))

    def _told(self, batch: Batch) -> tuple[Tensor, Tensor | None]:
        x, y = batch
        return x, y if self.num_classes else None

    def configure_optimizers(self):
        optimizers, schedules = super().configure_optimizers()
        for player, optimizer in zip(self.players(), optimizers, strict=True):
            if self.ema_decay and self.generator in player.modules:
                optimizer.register_step_post_hook(self._follow)
        return optimizers, schedules

    def _follow(self, *_) -> None:
        self.ema.update_parameters(self.generator)

    # What it can do

    def prior(self, n: int) -> Tensor:
        z = torch.empty(n, self.latent_dim, device=self.device, dtype=self.dtype)
        return z.normal_() if self.gaussian_prior else z.uniform_(-1, 1)

    def decode(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        """(n, D) to (n, C, H, W), by the averaged generator where there is one."""
        network = self.ema.module if self.ema_decay else self.generator
        with evaluating(self):
            return network(z, self.labels(len(z), y)) if self.num_classes else network(z)

    def sample(self, n: int, y: Tensor | None = None) -> Tensor:
        return self.decode(self.prior(n), self.labels(n, y))

    interpolate = latent.interpolate

    def verdict(self, *seen: Tensor) -> Tensor:
        """(B,) raw scores of what `real` or `fake` show the discriminator, with gradients."""
        return self.discriminator(*seen)

    def score(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """(B,) raw scores; at the optimum log p(x)/q(x), of data over samples."""
        with evaluating(self):
            return self.verdict(*self.real(x, y))
