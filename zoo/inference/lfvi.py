"""LFVI: Hierarchical Implicit Models and Likelihood-Free Variational Inference.

Tran, Ranganath and Blei, 2017. https://arxiv.org/abs/1702.08896

A simulator x = g(epsilon; beta), with unknown parameters beta from N(0, I) that all data share, is
a model with samples but without a tractable likelihood. The posterior of beta needs only the ratio

    r(x, beta) = log p(x | beta) - log q(x),    q(x) that of the data,

which a discriminator between simulated pairs (g(epsilon; beta), beta) and pairs of data and an
independent beta estimates: the ratio is minus the score of a GAN's discriminator. With q(beta) a
Gaussian of independent entries, the bound of the evidence, up to the constant sum_n log q(x_n), is

    sum_n E_q[r(x_n, beta)] - KL(q(beta) || p(beta))

and its gradient passes through draws of beta into the ratio. At the optimum the ratio is exact and
q(beta) is the Gaussian closest to the posterior. The ratio is right for every distribution of the
betas, but its slope in beta, on which q depends, is learned only where betas are drawn: they are
drawn from a Gaussian several times as wide as q(beta).

A simulator is `Generator`, from latents (beta, epsilon) to data. By default it is a network
with one beta for all images, and epsilon is the latent of a GAN. The paper's "Bayesian
GAN" is the case in which beta are the weights of a network.

What did not hold: that betas three times as wide as q(beta) are enough. In this range the ratio of
one image is nearly linear, and the learned ratio is more so: for a line through 100 points the
standard deviations were 1.2 to 1.4 times the exact ones, on two seeds; six times as wide, 1.0 to
1.25.

Differs from the paper: no latents of single images (see `ALI`); q(beta) is not an implicit
model; the logistic loss only; the weights of a simulator are trained as those of a GAN's generator,
by the ratio.
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
        """The Gaussian, its standard deviation multiplied by `spread`."""
        return gaussian(self.mean, spread * self.log_deviation.exp())


class LFVI(Kept, GAN):
    """The posterior of a simulator's parameters, by a ratio in place of the likelihood.

    Args:
        beta_dim: D, the number of parameters beta that all data share. A latent is beta, from the
            posterior, and epsilon, from N(0, I).
        latent_dim: Entries of epsilon, the noise of a single image.
        num_data: N, the number of data of the posterior; 0: the number in the full batches of an
            epoch.
        samples: Draws of beta for each image in a step.
        spread: Width of the betas on which the ratio is trained, over that of q(beta).
        pair_width: Units of the ratio's layers of beta, and of beta and data together.
        d_steps: Steps of the ratio for each step of the posterior.
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
        """The discriminator's inputs for data: with independent betas."""
        beta = self.q(self.spread).sample((len(x),))
        return x, beta, *condition

    def fake(self, z: Tensor, *condition: Tensor) -> tuple[Tensor, ...]:
        """The discriminator's inputs for simulated data: with the betas of the simulation."""
        x, *condition = super().fake(z, *condition)
        return x, z[:, : self.beta_dim], *condition

    def discriminator_loss(self, batch: Batch) -> Tensor:
        x, *condition = self._repeated(*self.conditioned(batch))
        real = self.real(x, *condition)
        fake = self.fake(self._latents(len(x), self.spread), *condition)
        return self.loss.discriminator(self.discriminator(*real), self.discriminator(*fake))

    def posterior_loss(self, batch: Batch) -> Tensor:
        """Minus the bound, in nats per data point."""
        return -self._bound(*self.conditioned(batch)) / max(self.num_data, 1)

    def _bound(self, x: Tensor, *condition: Tensor) -> Tensor:
        x, *condition = self._repeated(x, *condition)
        q = self.q()
        ratio = -self.discriminator(x, q.rsample((len(x),)), *condition)
        return self.num_data * ratio.mean() - kl_divergence(q, standard_gaussian(q.mean))

    def _repeated(self, *batch: Tensor) -> list[Tensor]:
        """The batch, repeated for several betas of each image."""
        return [part.repeat(self.samples, *[1] * (part.ndim - 1)) for part in batch]

    def _latents(self, n: int, spread: float = 1.0) -> Tensor:
        beta = self.q(spread).sample((n,))
        noise = torch.randn(
            n, self.latent_dim - self.beta_dim, device=self.device, dtype=self.dtype
        )
        return torch.cat((beta, noise), dim=1)

    # What it can do

    def prior(self, n: int) -> Tensor:
        """Latents (n, D + E), beta from the posterior and noise, so that `sample` is the posterior
        predictive."""
        return self._latents(n)

    def posterior(self) -> Distribution:
        """q(beta), over (D,)."""
        with torch.no_grad():
            return gaussian(self.q().mean.clone(), self.q().stddev.clone())

    def sample_posterior(self, n: int) -> Tensor:
        """n draws of beta from the posterior, (n, D)."""
        return self.posterior().sample((n,))

    def log_ratio(self, x: Tensor, beta: Tensor, y: Tensor | None = None) -> Tensor:
        """(B,) estimates of log p(x | beta) - log q(x), of data and beta (B, D) in pairs."""
        with evaluating(self):
            return -self.discriminator(x, beta, *self.condition.arguments(y))

    def evidence_bound(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """A bound of log p(x) - sum log q(x) of `num_data` data like x, in nats. It is no `elbo`,
        which is for each image and has no term q(x)."""
        with evaluating(self):
            return self._bound(x, *self.condition.arguments(y))
