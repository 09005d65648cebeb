"""CVAE: Learning Structured Output Representation using Deep Conditional Generative Models.

Sohn, Lee and Yan, 2015.
https://papers.nips.cc/paper/5775-learning-structured-output-representation-using-deep-conditional-generative-models

All networks of a VAE have a condition c, and the prior is learned, too:

    log p(x|c) >= E_q(z|x,c)[log p(x|z,c)] - KL(q(z|x,c) || p(z|c))         (eq. 4)

z need not contain the information in c, so the bound rises by the information of c about x. Here c
is the class (`CVAE`), or some quadrants of the image, and x is the rest (`QuadrantCVAE`, sec. 5.1).
The latter is the main case of the paper: a network that maps c to the probability of each hidden
pixel treats the pixels as independent and predicts a blur; with z it predicts one of several sharp
images.

With p(z|c) = N(0, I), `prior="standard"`, this is model M2 of Kingma et al., 2014
(https://arxiv.org/abs/1406.5298). The latents of `prior` and `encode` are standardised by the
mean and the standard deviations of p(z|c), so that they are N(0, I) for every c; no divergence
changes.

Differs from the paper, which writes x for the condition and y for the output: there is no first
prediction of a deterministic network (its recurrent connection), and one network is trained for any
number of known quadrants.
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

CERTAIN = 1e3  # a logit whose probability is 1 in floating point


class ClassPrior(nn.Embedding):
    """Mean and log-variance (n, D) of p(z|y) for each class: a table, at first of N(0, I)."""

    def __init__(self, image_shape: tuple[int, ...], latent_dim: int, num_classes: int, width: int):
        super().__init__(max(num_classes, 1), 2 * latent_dim)

    def reset_parameters(self) -> None:
        nn.init.zeros_(self.weight)

    def forward(self, n: int, *condition: Tensor) -> tuple[Tensor, Tensor]:
        one = torch.zeros(n, dtype=torch.long, device=self.weight.device)
        mean, log_variance = super().forward(*(condition or (one,))).chunk(2, dim=1)
        return mean, log_variance


class CVAE(VAE):
    """A VAE of which all networks, the prior included, have the class as a condition.

    Args:
        num_classes: K, the number of classes; 0: there is no condition, and the prior is one
            learned Gaussian.
        prior: Distribution of z: "learned", p(z|c) of the paper, or "standard", N(0, I).
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
        """Means (B, D) of the posterior of images, standardised by the prior p(z|c)."""
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
    """A condition: the known pixels of binary images, and their classes."""

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

    In training none to three quadrants of each image are known, at random. With none this is a
    model of whole images, the one of `sample` and `elbo(x)`; `elbo(x, known(x, mask))` and
    `importance_weighted(x, known(x, mask))` are bounds of log p(hidden | known).

    Args:
        num_classes: K, the number of classes, which are a further condition; 0: the known quadrants
            are the only condition.
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

    def known(self, x: Tensor, mask: Tensor, y: Tensor | None = None) -> Known:
        """The condition of the pixels of images x (B, C, H, W) where the mask (B, 1, H, W) is 1.

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

    def seen(self, x: Tensor, mask: Tensor, y: Tensor | None = None) -> Known:
        """The earlier name of `known`."""
        return self.known(x, mask, y)

    def masks(self, known: Tensor) -> Tensor:
        """Masks (B, 1, H, W) from whether each quadrant is known, (B, 4), in reading order."""
        return known[:, None, self.quadrant]

    def likelihood(self, z: Tensor, known: Known) -> Distribution:
        """p(x|z,c), over (B, C, H, W), in which known pixels are certain and cost 0 nats."""
        (logits,) = self.decoder(z, known)
        logits = torch.where(known.image != 0, CERTAIN * known.image, logits)
        return coins(len(self.image_shape), logits=logits)

    def training_step(self, batch, batch_idx) -> Tensor:
        x, y = batch
        order = torch.rand(len(x), 4, device=x.device).argsort(1)
        count = torch.randint(4, (len(x), 1), device=x.device)  # of known quadrants
        known = self.known(x, self.masks(order < count), y)
        return super().training_step((x, known), batch_idx)

    def complete(self, x: Tensor, mask: Tensor, y: Tensor | None = None) -> Tensor:
        """Images x, completed by the mean of p(x|z,c) for one draw of z; x where the mask is 1."""
        x, mask = x.to(self.device, self.dtype), mask.to(self.device)
        known = self.known(x, mask, self.labels(len(x), y))
        return self._mean(self.prior(len(x)), known)
