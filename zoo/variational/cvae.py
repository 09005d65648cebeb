"""CVAE: Learning Structured Output Representation using Deep Conditional Generative Models.

Sohn, Lee and Yan, 2015.
https://papers.nips.cc/paper/5775-learning-structured-output-representation-using-deep-conditional-generative-models

Everything in a VAE has a condition c, the prior too, which is learned:

    log p(x|c) >= E_q(z|x,c)[log p(x|z,c)] - KL(q(z|x,c) || p(z|c))         (eq. 4)

What c says z need not, so the bound rises by what c tells about x. Here c is the class (`CVAE`),
or a part of the image, quarters of it, and x is the rest (`QuadrantCVAE`, sec. 5.1). There lies
the point of the paper: a network that maps c to each hidden pixel's chance treats them as
independent and answers a blur; z makes them one of several whole answers.

With p(z|c) = N(0, I), `prior="standard"`, this is model M2 of Kingma et al., 2014
(https://arxiv.org/abs/1406.5298). A latent that `prior` gives and `encode` finds is counted from
the mean of p(z|c) in its standard deviations: N(0, I) whatever c is, and no divergence changes.

Differs from the paper, which writes x for the condition and y for what is drawn: no first guess
by a deterministic network is fed to the others (its recurrent connection), and one network
serves any number of known quadrants.
"""

import math
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from ...checks import refuse_unless
from ...modes import evaluating
from ..networks.distributions import coins, gaussian
from .vae import VAE, Decoder, Encoder

CERTAIN = 1e3  # a logit whose chance is 1 to the last bit


class ClassPrior(nn.Embedding):
    """Mean and log-variance of p(z|y) for each class, (n, D) each: a table, N(0, I) at first."""

    def __init__(self, image_shape: tuple[int, ...], latent_dim: int, num_classes: int, width: int):
        super().__init__(max(num_classes, 1), 2 * latent_dim)

    def reset_parameters(self) -> None:
        nn.init.zeros_(self.weight)

    def forward(self, n: int, *condition: Tensor) -> tuple[Tensor, Tensor]:
        one = torch.zeros(n, dtype=torch.long, device=self.weight.device)
        mean, log_variance = super().forward(*(condition or (one,))).chunk(2, dim=1)
        return mean, log_variance


class CVAE(VAE):
    """A VAE whose networks have the class as a condition, the prior too.

    Args:
        num_classes: K; 0: there is no condition, and the prior is one learned Gaussian.
        prior: "learned", p(z|c) of the paper, or "standard", N(0, I). Other arguments as `VAE`.
    """

    Prior: type[nn.Module] = ClassPrior

    def __init__(
        self,
        image_shape: tuple[int, ...],
        num_classes: int = 0,
        latent_dim: int = 20,
        width: int = 400,
        decoder: Literal["bernoulli", "gaussian"] = "bernoulli",
        lr: float = 1e-3,
        beta: float = 1.0,
        prior: Literal["learned", "standard"] = "learned",
    ):
        super().__init__(image_shape, num_classes, latent_dim, width, decoder, lr, beta)
        if prior not in ("learned", "standard"):
            raise ValueError(f"prior must be 'learned' or 'standard', got {prior!r}")
        self.prior_network = None
        if prior == "learned":
            self.prior_network = self.Prior(self.image_shape, latent_dim, num_classes, width)

    def latent_prior(self, z: Tensor, *condition: Tensor) -> Distribution:
        """p(z|c), over the shape of z."""
        if self.prior_network is None:
            return super().latent_prior(z, *condition)
        mean, log_variance = self.prior_network(len(z), *condition)
        return gaussian(mean, (log_variance / 2).exp())

    def encode(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """The posterior's mean as the prior counts, (B, D)."""
        with evaluating(self):
            condition = self.given(len(x), y)
            z = self.posterior(x, *condition).mean
            p = self.latent_prior(z, *condition)
            return (z - p.mean) / p.stddev

    def _mean(self, z: Tensor, *condition: Tensor) -> Tensor:
        with evaluating(self):
            p = self.latent_prior(z, *condition)
            return super()._mean(p.mean + p.stddev * z, *condition)


class Known(NamedTuple):
    """A condition: what is known of binary images, and their classes."""

    image: Tensor  # (B, C, H, W): -1 or 1 where known, 0 where hidden
    condition: tuple[Tensor, ...]


class CompletingEncoder(Encoder):
    def __init__(self, image_shape: tuple[int, ...], *args):
        super().__init__((2, *image_shape), *args)

    def forward(self, x: Tensor, known: Known) -> tuple[Tensor, Tensor]:
        return super().forward(torch.stack((x, known.image), dim=1), *known.condition)


class CompletingDecoder(Decoder):
    def __init__(self, image_shape: tuple[int, ...], latent_dim: int, *args):
        super().__init__(image_shape, latent_dim + math.prod(image_shape), *args)

    def forward(self, z: Tensor, known: Known) -> Tensor:
        return super().forward(torch.cat((z, known.image.flatten(1)), dim=1), *known.condition)


class CompletingPrior(Encoder):
    def forward(self, n: int, known: Known) -> tuple[Tensor, Tensor]:
        return super().forward(known.image, *known.condition)


class QuadrantCVAE(CVAE):
    """Completes binary images of which whole quadrants are known.

    In training each image shows none to three of its quadrants, at random. With none this is a
    model of whole images, which `sample` and `elbo(x)` speak of; `elbo(x, seen(x, mask))` and
    `importance_weighted(x, seen(x, mask))` bound log p(hidden | known).

    Args:
        num_classes: K, and the class is a condition as well; 0: it is not. Other arguments as
            `CVAE`.
    """

    Encoder, Decoder, Prior = CompletingEncoder, CompletingDecoder, CompletingPrior

    def __init__(
        self,
        image_shape: tuple[int, ...],
        num_classes: int = 0,
        latent_dim: int = 20,
        width: int = 400,
        lr: float = 1e-3,
        beta: float = 1.0,
        prior: Literal["learned", "standard"] = "learned",
    ):
        super().__init__(image_shape, num_classes, latent_dim, width, "bernoulli", lr, beta, prior)
        _, height, breadth = self.image_shape
        if min(height, breadth) < 2:
            raise ValueError(f"image_shape must be at least 2 pixels a side, got {image_shape}")
        low = torch.arange(height) >= height // 2
        right = torch.arange(breadth) >= breadth // 2
        self.register_buffer("quadrant", 2 * low[:, None] + right, persistent=False)  # (H, W)

    def given(self, n: int, y: Tensor | Known | None) -> tuple[Known]:
        if isinstance(y, Known):
            return (y,)
        nothing = torch.zeros(n, *self.image_shape, device=self.device, dtype=self.dtype)
        return (Known(nothing, super().given(n, y)),)

    def seen(self, x: Tensor, mask: Tensor, y: Tensor | None = None) -> Known:
        """The condition that images x (B, C, H, W) are known where the mask (B, 1, H, W) is 1.

        Raises:
            ValueError: the mask cuts through a quadrant, or a known pixel is grey.
        """
        if mask.shape != (len(x), 1, *self.image_shape[1:]):
            got = tuple(mask.shape)
            raise ValueError(f"mask must be ({len(x)}, 1, H, W) as the images, got {got}")
        known = (mask == 1).to(x)
        ends = known[:, 0, :: known.shape[2] - 1, :: known.shape[3] - 1]
        corners = ends.flatten(1)  # (B, 4), one in each quadrant
        refuse_unless(
            (self.masks(corners) == known).all(),
            lambda: ValueError("mask must show or hide whole quadrants, which is what was trained"),
        )
        image = x * known
        refuse_unless(
            (image.abs() == known).all(),
            lambda: ValueError("x must be binary, -1 or 1, where it is known: set --data.binarise"),
        )
        return Known(image, super().given(len(x), y))

    def masks(self, known: Tensor) -> Tensor:
        """Whether each quadrant is known, (B, 4) in the order of reading, to (B, 1, H, W)."""
        return known[:, None, self.quadrant]

    def likelihood(self, z: Tensor, known: Known) -> Distribution:
        """p(x|z,c), over (B, C, H, W), which is sure of the known pixels: they cost nothing."""
        (logits,) = self.decoder(z, known)
        logits = torch.where(known.image != 0, CERTAIN * known.image, logits)
        return coins(len(self.image_shape), logits=logits)

    def training_step(self, batch, batch_idx) -> Tensor:
        x, y = batch
        order = torch.rand(len(x), 4, device=x.device).argsort(1)
        count = torch.randint(4, (len(x), 1), device=x.device)  # how many each image shows
        seen = self.seen(x, self.masks(order < count), y)
        return super().training_step((x, seen), batch_idx)

    def complete(self, x: Tensor, mask: Tensor, y: Tensor | None = None) -> Tensor:
        """One draw of z, and the mean of p(x|z,c); where the mask is 1, x as it is."""
        x, mask = x.to(self.device, self.dtype), mask.to(self.device)
        seen = self.seen(x, mask, self.labels(len(x), y))
        return self._mean(self.prior(len(x)), seen)
