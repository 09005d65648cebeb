"""InfoGAN: Interpretable Representation Learning by Information Maximizing Generative Adversarial
Nets.

Chen, Duan, Houthooft, Schulman, Sutskever and Abbeel, 2016. https://arxiv.org/abs/1606.03657

A generator may use its noise in an entangled way. Some of its inputs are codes c that samples
should
reveal: the mutual information of codes and samples is at least

    L_I(G, Q) = E[log Q(c | G(z, c))] + H(c)  <=  I(c; G(z, c))             (eq. 4, 5)

with Q a head on the discriminator's features, and equality where Q is the true posterior. Added to
the game,

    min_{G, Q} max_D  V(D, G) - lambda L_I(G, Q),                           (eq. 6)

it makes the codes represent the largest differences of samples, such as the class, without labels.
For a categorical code the bound is at most H(c) = log K, and is reached.

What did not hold: that the ten values of a code agree with the classes of more than 0.55 of real
digits. After 800 steps on 8x8 digits the agreement was 0.39 to 0.46, and about the same, 0.37 to
0.42, for a code without the information term; on samples it was 0.64 to 0.78, and 0.16 to 0.17.
Samples may show a code by features that real images lack, and the noise then changes little.

Differs from the paper: the discriminator's features, too, descend -lambda L_I of its samples (as
in the authors' code). Q is a Gaussian of deviation 1 for continuous codes, which makes their term
half a squared error. Networks as in `GAN` or as `network` says.
"""

import math
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, one_hot

from ...modes import evaluating
from ..adversarial import Batch, Player
from ..gan.gan import GAN
from ..networks import MLP, Heads


class Codes(NamedTuple):
    """Predictions of Q for images: log-probabilities (B, K) of each categorical code, and means
    (B, continuous) of the continuous codes."""

    categorical: tuple[Tensor, ...]
    continuous: Tensor


class InfoGAN(GAN):
    """A GAN with codes in its latent that can be predicted from its samples.

    The latent is (noise, one-hot categorical codes, continuous codes), in this order.

    Args:
        latent_dim: Entries of the noise, uniform on [-1, 1], without the codes.
        categorical: Number of values of each categorical code; its distribution is uniform.
        continuous: Number of continuous codes, uniform on [-1, 1].
        info_weight: The paper's lambda, the weight of the information.
        continuous_weight: Factor of lambda for continuous codes.
        lr: Adam's learning rate of the discriminator.
        g_lr: Adam's learning rate of the generator; None: `lr`.
    """

    def __init__(
        self,
        image_shape: tuple[int, ...],
        num_classes: int = 0,
        latent_dim: int = 62,
        categorical: tuple[int, ...] = (10,),
        continuous: int = 2,
        info_weight: float = 1.0,
        continuous_weight: float = 0.1,
        lr: float = 2e-4,
        g_lr: float | None = 1e-3,
        **kwargs,
    ):
        if continuous < 0 or any(k < 2 for k in categorical) or not (categorical or continuous):
            raise ValueError(
                "categorical must be numbers of at least 2 values, continuous at least 0, and one "
                f"code be there, got {tuple(categorical)} and {continuous}"
            )
        self.sizes = (*categorical, continuous)
        entries = latent_dim + sum(self.sizes)
        super().__init__(image_shape, num_classes, latent_dim=entries, lr=lr, g_lr=g_lr, **kwargs)
        self.noise_dim = latent_dim
        self.info_weight, self.continuous_weight = info_weight, continuous_weight
        self.discriminator = self.regularisation.wrap(Heads(self.discriminator))
        self.q = MLP((self.discriminator.num_features, 128, sum(self.sizes)), slope=0.1)

    # The game

    def players(self) -> tuple[Player, ...]:
        return tuple(replace(p, modules=(*p.modules, self.q)) for p in super().players())

    def discriminator_loss(self, batch: Batch) -> Tensor:
        x, *condition = self.conditioned(batch)
        z = self.prior(len(x))
        real, fake = self.real(x, *condition), self.fake(z, *condition)
        of_real, of_fake = self.discriminator.outputs(*real), self.discriminator.outputs(*fake)
        game = self.loss.discriminator(of_real["score"], of_fake["score"])
        return game + self.missing_information(of_fake["features"], z) + self.penalty(real, fake)

    def generator_loss(self, batch: Batch) -> Tensor:
        x, *condition = self.conditioned(batch)
        z = self.prior(len(x))
        outputs = self.discriminator.outputs(*self.fake(z, *condition))
        return self.loss.generator(outputs["score"]) + self.missing_information(
            outputs["features"], z
        )

    def missing_information(self, features: Tensor, z: Tensor) -> Tensor:
        """lambda E[-log Q(c | G(z, c))]: information about the codes in z that Q does not find."""
        nats, square = self._missed(self._codes(features), z)
        return self.info_weight * (nats.sum() + self.continuous_weight * square.sum() / 2)

    def _codes(self, features: Tensor) -> Codes:
        *logits, means = self.q(features).split(self.sizes, dim=1)
        return Codes(tuple(part.log_softmax(dim=1) for part in logits), means)

    def _missed(self, codes: Codes, z: Tensor) -> tuple[Tensor, Tensor]:
        """Nats of each categorical code and the mean squared error of each continuous one."""
        *chosen, c = z[:, self.noise_dim :].split(self.sizes, dim=1)
        pairs = zip(codes.categorical, chosen, strict=True)
        nats = [cross_entropy(logits, hot.argmax(dim=1)) for logits, hot in pairs]
        return torch.stack(nats) if nats else z.new_zeros(0), (codes.continuous - c).square().mean(
            0
        )

    # What it can do

    def prior(self, n: int) -> Tensor:
        uniform = super().prior(n)
        noise, codes = uniform[:, : self.noise_dim], uniform[:, self.noise_dim :]
        *_, continuous = codes.split(self.sizes, dim=1)
        chosen = [torch.randint(k, (n,), device=self.device) for k in self.sizes[:-1]]
        hot = [one_hot(c, k).to(noise) for c, k in zip(chosen, self.sizes, strict=False)]
        return torch.cat((noise, *hot, continuous), dim=1)

    def codes(self, x: Tensor, y: Tensor | None = None) -> Codes:
        """Predictions of Q for images (B, C, H, W), samples or data."""
        with evaluating(self):
            inputs = self.real(x, *self.condition.arguments(y))
            return self._codes(self.discriminator.features(*inputs))

    def information(self, n: int = 1000) -> Tensor:
        """Nats (codes,) of information in n samples about each code: the lower bound L_I.

        For continuous codes Q is a Gaussian with the standard deviation that fits best.
        """
        with evaluating(self):
            z = self.prior(n)
            fake = self.fake(z, *self.to_draw(n))
            nats, square = self._missed(self._codes(self.discriminator.features(*fake)), z)
        entropies = torch.tensor([math.log(k) for k in self.sizes[:-1]], device=z.device)
        known = math.log(2) - 0.5 * (2 * math.pi * math.e * square).log()
        return torch.cat((entropies - nats, known))

    def traverse(
        self, z: Tensor, code: int, steps: int = 9, reach: float = 1.0, y: Tensor | None = None
    ) -> Tensor:
        """Images of latents z (n, D), in which one code takes several values.

        Args:
            z: The latents.
            code: Number of the code, the categorical codes first. A categorical code takes each
                value once, a continuous code `steps` values from -reach to reach.
            steps: Values of a continuous code.
            reach: Largest value of a continuous code.
            y: Condition of each latent; None: the model is unconditional.

        Returns:
            (n, steps, C, H, W) in [-1, 1].
        """
        ways, first = self.sizes[:-1], self.noise_dim
        if not 0 <= code < len(ways) + self.sizes[-1]:
            raise ValueError(f"code must be in 0..{len(ways) + self.sizes[-1] - 1}, got {code}")
        if code < len(ways):
            values = torch.eye(ways[code], dtype=z.dtype, device=z.device)
            first += sum(ways[:code])
        else:
            values = torch.linspace(-reach, reach, steps).to(z)[:, None]
            first += sum(ways) + code - len(ways)
        walks = z[:, None].repeat(1, len(values), 1)
        walks[..., first : first + values.shape[1]] = values
        condition = (part.repeat_interleave(len(values)) for part in self.condition.arguments(y))
        return self.decode(walks.flatten(0, 1), *condition).unflatten(0, walks.shape[:2])
