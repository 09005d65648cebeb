"""LFVI: Hierarchical Implicit Models and Likelihood-Free Variational Inference.

Tran, Ranganath and Blei, 2017. https://arxiv.org/abs/1702.08896

A simulator x = g(epsilon; beta) with unknowns beta of all data, from N(0, I), is a model from which
one can draw but whose likelihood nobody knows. The posterior of beta needs no more than the ratio

    r(x, beta) = log p(x | beta) - log q(x),    q(x) that of the data,

which a discriminator finds that tells simulated pairs (g(epsilon; beta), beta) from pairs of data
and an unrelated beta: the ratio is minus the score of a GAN's. With q(beta) a Gaussian of
independent entries, the bound of the evidence is, but for sum_n log q(x_n), a constant,

    sum_n E_q[r(x_n, beta)] - KL(q(beta) || p(beta))

and its gradient goes through draws of beta into the ratio. At the optimum the ratio is exact and
q(beta) is the Gaussian closest to the posterior. The ratio holds whatever law its betas are drawn
from, but its slope in beta, which is all that moves q, is only learned as far as they reach: they
are drawn from a Gaussian some times as wide as q(beta).

A simulator is `Generator`, from latents (beta, epsilon) to data. Here, by default, it is a network
that has one beta for all images, and epsilon is what a GAN's latent is. The paper's "Bayesian
GAN" is the case in which beta are the weights of a network.

What did not hold: that betas three times as wide as q(beta) teach enough. Over so short a way the
ratio of one image hardly bends, and the learned one bends less: on a line through 100 points the
deviations came out 1.2 to 1.4 times the exact ones, on two seeds; six times as wide, 1.0 to 1.25.

Differs from the paper: no latents of single images (for these alone see `ALI`); q(beta) is no
implicit model; the logistic loss only; a simulator with weights of its own learns them as a GAN's
generator does, from the ratio.
"""

from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Independent, kl_divergence

from ...checks import at_least
from ...modes import evaluating
from ..adversarial import Batch, Player
from ..gan.gan import GAN
from ..networks.distributions import gaussian, standard_gaussian
from ..networks.kept import Kept
from .bigan import PairDiscriminator


class MeanField(nn.Module):
    """A Gaussian over (D,) of independent entries; N(0, I) at first."""

    def __init__(self, dims: int):
        super().__init__()
        self.mean = nn.Parameter(torch.zeros(dims))
        self.log_deviation = nn.Parameter(torch.zeros(dims))

    def forward(self, spread: float = 1.0) -> Independent:
        """The Gaussian, with so many times its deviation."""
        return gaussian(self.mean, spread * self.log_deviation.exp())


class LFVI(Kept, GAN):
    """A posterior of what a simulator leaves open, by a ratio in the likelihood's stead.

    Args:
        beta_dim: D, the unknowns that all data share. A latent is beta, from the posterior once
            there is one, then epsilon, from N(0, I).
        latent_dim: Entries of epsilon, the noise of a single image.
        num_data: N, of data that q(beta) is the posterior given; 0: as many as whole batches of
            an epoch have.
        samples: Draws of beta for each image in a step.
        spread: How many times as wide as q(beta) the betas are that teach the ratio.
        pair_width: Units of the ratio's layers that look at beta, alone and beside the data.
        d_steps: Steps of the ratio for each of the posterior.
        q_lr: Adam's learning rate of the posterior.
    """

    kept = ("num_data",)
    num_data = 0

    def __init__(
        self,
        image_shape: tuple[int, ...],
        num_classes: int = 0,
        beta_dim: int = 2,
        latent_dim: int = 32,
        num_data: int = 0,
        samples: int = 8,
        spread: float = 6.0,
        pair_width: int = 64,
        d_steps: int = 2,
        q_lr: float = 1e-2,
        **kwargs,
    ):
        at_least(1, beta_dim=beta_dim, samples=samples, spread=spread)
        at_least(0, num_data=num_data)
        entries = beta_dim + latent_dim
        super().__init__(image_shape, num_classes, latent_dim=entries, d_steps=d_steps, **kwargs)
        self.beta_dim, self.samples, self.spread, self.q_lr = beta_dim, samples, spread, q_lr
        pairs = PairDiscriminator(self.discriminator, beta_dim, pair_width)
        self.discriminator = self.regularisation.wrap(pairs)
        self.q = MeanField(beta_dim)
        self.num_data = num_data

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        super().on_train_batch_start(batch, batch_idx)
        if not self.num_data:
            batches = self.trainer.num_training_batches * self.trainer.world_size
            self.num_data = len(batch[0]) * batches

    # The game

    def players(self) -> tuple[Player, ...]:
        ratio, simulator = super().players()
        own = {"modules": (self.q,), "loss": self.posterior_loss, "lr": self.q_lr}
        posterior = replace(simulator, name="posterior", **own)
        simulator = replace(simulator, name="simulator")
        learning = (simulator,) if list(self.generator.parameters()) else ()
        return replace(ratio, name="ratio"), *learning, posterior

    def real(self, x: Tensor, *condition: Tensor) -> tuple[Tensor, ...]:
        """Data with betas that have nothing to do with them."""
        beta = self.q(self.spread).sample((len(x),))
        return x, beta, *condition

    def fake(self, z: Tensor, *condition: Tensor) -> tuple[Tensor, ...]:
        """What is simulated, with the betas it was simulated by."""
        x, *condition = super().fake(z, *condition)
        return x, z[:, : self.beta_dim], *condition

    def discriminator_loss(self, batch: Batch) -> Tensor:
        x, *condition = self._repeated(*self.conditioned(batch))
        real = self.real(x, *condition)
        fake = self.fake(self._latents(len(x), self.spread), *condition)
        return self.loss.discriminator(self.discriminator(*real), self.discriminator(*fake))

    def posterior_loss(self, batch: Batch) -> Tensor:
        """Minus the bound, in nats for each of the data."""
        return -self._bound(*self.conditioned(batch)) / max(self.num_data, 1)

    def _bound(self, x: Tensor, *condition: Tensor) -> Tensor:
        x, *condition = self._repeated(x, *condition)
        q = self.q()
        ratio = -self.discriminator(x, q.rsample((len(x),)), *condition)
        return self.num_data * ratio.mean() - kl_divergence(q, standard_gaussian(q.mean))

    def _repeated(self, *batch: Tensor) -> list[Tensor]:
        """So that each of the data meets several betas."""
        return [part.repeat(self.samples, *[1] * (part.ndim - 1)) for part in batch]

    def _latents(self, n: int, spread: float = 1.0) -> Tensor:
        beta = self.q(spread).sample((n,))
        noise = torch.randn(
            n, self.latent_dim - self.beta_dim, device=self.device, dtype=self.dtype
        )
        return torch.cat((beta, noise), dim=1)

    # What it can do

    def prior(self, n: int) -> Tensor:
        """(n, D + E): beta from the posterior, and noise, so that `sample` is what is predicted."""
        return self._latents(n)

    def posterior(self) -> Distribution:
        """q(beta), over (D,)."""
        with torch.no_grad():
            return gaussian(self.q().mean.clone(), self.q().stddev.clone())

    def sample_posterior(self, n: int) -> Tensor:
        """(n, D) draws of beta."""
        return self.posterior().sample((n,))

    def log_ratio(self, x: Tensor, beta: Tensor, y: Tensor | None = None) -> Tensor:
        """(B,) estimates of log p(x | beta) - log q(x), of data and beta (B, D) in pairs."""
        with evaluating(self):
            return -self.discriminator(x, beta, *self.condition.arguments(y))

    def evidence_bound(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """Nats of `num_data` data like x, a bound of log p(x) - sum log q(x): no `elbo`, which
        would be of each image, and without the law of the data."""
        with evaluating(self):
            return self._bound(x, *self.condition.arguments(y))
