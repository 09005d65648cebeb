"""VAE: Auto-Encoding Variational Bayes.

Kingma and Welling, 2013. https://arxiv.org/abs/1312.6114

A decoder p(x|z) with a Gaussian prior p(z) = N(0, I), and an encoder q(z|x) that approximates
its posterior, are trained together on a lower bound of the likelihood:

    log p(x) >= E_q[log p(x|z)] - KL(q(z|x) || p(z))                        (eq. 3)

q is Gaussian with diagonal covariance, so that the second term has a closed form (app. B), and
z = mu + sigma * epsilon carries gradients to the encoder (sec. 2.4). The decoder is Bernoulli
for binary images, or Gaussian with mean and diagonal covariance (app. C). The gap of the bound
is KL(q(z|x) || p(z|x)); averaging importance weights reduces it
(Burda et al., 2015, https://arxiv.org/abs/1509.00519, eq. 8).

Every bound here is in nats of the *discrete* image, so that models can be compared. For the
Gaussian decoder on 256 levels: x + u with u uniform on one level has a density whose expected
logarithm bounds the log-probability of x (Theis et al., 2015, https://arxiv.org/abs/1511.01844,
sec. 3.1).

Differs from the paper: Adam for Adagrad, ReLU for tanh.
"""

import math
from typing import Literal

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, kl_divergence
from torch.nn.functional import softplus

from ... import latent
from ...checks import at_least, refuse_unless
from ...modes import evaluating
from .. import networks
from ..base import GenerativeModel
from ..networks.conditional import beside
from ..networks.distributions import coins, gaussian, standard_gaussian

LEVELS = 256
LEAST_LOG_VARIANCE = 2 * math.log(2 / LEVELS)  # of one level; a smaller variance is not needed


class Encoder(nn.Module):
    """Images to mean and log-variance of the posterior, (B, D) each."""

    def __init__(self, image_shape: tuple[int, ...], latent_dim: int, num_classes: int, width: int):
        super().__init__()
        self.num_classes = num_classes
        sizes = (math.prod(image_shape) + num_classes, width, width, 2 * latent_dim)
        self.body = networks.MLP(sizes)

    def forward(self, x: Tensor, y: Tensor | None = None) -> tuple[Tensor, Tensor]:
        mean, log_variance = self.body(beside(x.flatten(1), y, self.num_classes)).chunk(2, dim=1)
        return mean, log_variance


class Decoder(nn.Module):
    """Latents to `outputs` raw numbers for each pixel, (outputs, B, C, H, W)."""

    def __init__(
        self,
        image_shape: tuple[int, ...],
        latent_dim: int,
        num_classes: int,
        width: int,
        outputs: int,
    ):
        super().__init__()
        self.num_classes, self.shape = num_classes, (outputs, *image_shape)
        sizes = (latent_dim + num_classes, width, width, outputs * math.prod(image_shape))
        self.body = networks.MLP(sizes)

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        return self.body(beside(z, y, self.num_classes)).unflatten(1, self.shape).transpose(0, 1)


def not_binary() -> ValueError:
    """The error for grey images and a Bernoulli decoder."""
    return ValueError(
        "a Bernoulli decoder must get binary images (its cross-entropy on grey values "
        "is no likelihood): set --data.binarise threshold, or --model.decoder gaussian"
    )


class VAE(GenerativeModel):
    """A latent-variable model and its encoder, trained on the evidence lower bound.

    >>> model = VAE((1, 8, 8), latent_dim=2, width=16)
    >>> x = torch.ones(3, 1, 8, 8)
    >>> model.elbo(x).shape, model.encode(x).shape
    (torch.Size([3]), torch.Size([3, 2]))

    Args:
        image_shape: (C, H, W).
        num_classes: K, the number of classes, which are a condition of encoder and decoder; 0: the
            model is unconditional.
        latent_dim: D, entries of z.
        width: Units of each hidden layer.
        decoder: "bernoulli" for binary images (`--data.binarise`), "gaussian" for 256 levels.
        lr: Adam's learning rate.
        beta: Weight of the KL divergence in training; 1: the bound itself. The reported ELBO is
            always the bound with weight 1.
    """

    Encoder: type[nn.Module] = Encoder
    Decoder: type[nn.Module] = Decoder

    def __init__(
        self,
        image_shape: tuple[int, ...],
        num_classes: int = 0,
        latent_dim: int = 20,
        width: int = 400,
        decoder: Literal["bernoulli", "gaussian"] = "bernoulli",
        lr: float = 1e-3,
        beta: float = 1.0,
    ):
        super().__init__()
        self.save_hyperparameters()
        if decoder not in ("bernoulli", "gaussian"):
            raise ValueError(f"decoder must be 'bernoulli' or 'gaussian', got {decoder!r}")
        at_least(1, latent_dim=latent_dim)
        at_least(0, beta=beta)
        self.image_shape, self.num_classes = tuple(image_shape), num_classes
        self.latent_dim, self.bernoulli = latent_dim, decoder == "bernoulli"
        self.lr, self.beta = lr, beta
        self.encoder = self.Encoder(self.image_shape, latent_dim, num_classes, width)
        self.decoder = self.Decoder(
            self.image_shape, latent_dim, num_classes, width, 1 if self.bernoulli else 2
        )

    # The model

    def given(self, n: int, y: Tensor | None) -> tuple[Tensor, ...]:
        """The `*condition` of the networks for n images."""
        return self.condition.arguments(y)

    def posterior(self, x: Tensor, *condition: Tensor) -> Distribution:
        """q(z|x), over (B, D)."""
        mean, log_variance = self.encoder(x, *condition)
        return gaussian(mean, (log_variance / 2).exp())

    def likelihood(self, z: Tensor, *condition: Tensor) -> Distribution:
        """p(x|z), over (B, C, H, W): bits in {0, 1}, or values in [-1, 1]."""
        if self.bernoulli:
            (logits,) = self.decoder(z, *condition)
            return coins(len(self.image_shape), logits=logits)
        mean, log_variance = self.decoder(z, *condition)
        log_variance = LEAST_LOG_VARIANCE + softplus(log_variance - LEAST_LOG_VARIANCE)
        return gaussian(mean.tanh(), (log_variance / 2).exp(), len(self.image_shape))

    def log_likelihood(self, x: Tensor, z: Tensor, *condition: Tensor) -> Tensor:
        """(B,) nats: log p(x|z) of the discrete image, for the Gaussian a bound by one draw of u.

        Raises:
            ValueError: images are grey and the decoder is Bernoulli.
        """
        p = self.likelihood(z, *condition)
        if self.bernoulli:
            refuse_unless((x.abs() == 1).all(), not_binary)
            return p.log_prob((x + 1) / 2)
        level = 2 / LEVELS  # levels are cells of this width, and images their middles, on [-1, 1]
        u = torch.rand_like(x) - 0.5
        dequantised = x * (1 - 1 / LEVELS) + u * level
        return p.log_prob(dequantised) + math.prod(self.image_shape) * math.log(level)

    def elbo(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """Lower bound of log p(x) (eq. 3) by one draw of z, (B,) nats."""
        reconstruction, divergence = self.terms(x, y)
        return reconstruction - divergence

    def terms(self, x: Tensor, y: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Both terms of the bound, (B,) nats each: E_q[log p(x|z)] and KL(q || p(z))."""
        condition = self.given(len(x), y)
        q = self.posterior(x, *condition)
        z = q.rsample()
        p = self.latent_prior(z, *condition)
        return self.log_likelihood(x, z, *condition), kl_divergence(q, p)

    @torch.no_grad()
    def importance_weighted(self, x: Tensor, y: Tensor | None = None, samples: int = 50) -> Tensor:
        """Burda et al.'s bound of log p(x), (B,) nats, by `samples` draws of z; it is tighter with
        more draws."""
        condition = self.given(len(x), y)
        q = self.posterior(x, *condition)
        log_weights = []
        for _ in range(samples):
            z = q.sample()
            prior = self.latent_prior(z, *condition).log_prob(z)
            log_weights.append(self.log_likelihood(x, z, *condition) + prior - q.log_prob(z))
        return torch.stack(log_weights).logsumexp(0) - math.log(samples)

    def latent_prior(self, z: Tensor, *condition: Tensor) -> Distribution:
        """p(z), over the shape of z."""
        return standard_gaussian(z)

    # Training

    def training_step(self, batch, batch_idx) -> Tensor:
        reconstruction, divergence = (term.mean() for term in self.terms(*batch))
        self.log("loss/elbo", (divergence - reconstruction).detach(), prog_bar=True)
        self.log("kl", divergence.detach())
        return self.divergence_weight() * divergence - reconstruction

    def divergence_weight(self) -> float:
        """Weight of the KL divergence in this training step."""
        return self.beta

    def validation_step(self, batch, batch_idx) -> None:
        self._log_bound(batch, "")

    def test_step(self, batch, batch_idx) -> None:
        self._log_bound(batch, "test/")

    def _log_bound(self, batch, prefix: str) -> None:
        elbo = self.elbo(*batch).mean()
        bits = -elbo / (math.prod(self.image_shape) * math.log(2))
        size = len(batch[0])
        bounds = {f"{prefix}elbo": elbo, f"{prefix}bits_per_dim": bits}
        self.log_dict(bounds, on_epoch=True, batch_size=size, sync_dist=True, prog_bar=True)

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=self.lr)

    # What it can do

    prior = latent.standard_gaussian

    def decode(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        """Means of p(x|z), (n, C, H, W), of latents (n, D): images without pixel noise."""
        return self._mean(z, *self.given(len(z), self.labels(len(z), y)))

    def _mean(self, z: Tensor, *condition: Tensor) -> Tensor:
        with evaluating(self):
            mean = self.likelihood(z, *condition).mean
            return mean * 2 - 1 if self.bernoulli else mean

    def sample(self, n: int, y: Tensor | None = None) -> Tensor:
        """n images (n, C, H, W) in [-1, 1]; labels y (n,) are drawn at random if not given."""
        return self.decode(self.prior(n), *self.to_draw(n, y))

    def encode(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """Means (B, D) of the posterior of images."""
        with evaluating(self):
            return self.posterior(x, *self.given(len(x), y)).mean

    interpolate = latent.interpolate
