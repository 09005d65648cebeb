"""AdaGAN: Boosting Generative Models.

Tolstikhin, Gelly, Bousquet, Simon-Gabriel and Schoelkopf, 2017. https://arxiv.org/abs/1701.02386

A GAN misses modes. A second GAN is trained on the modes that the first one misses, and the two are
mixed; and so on. Let P be the distribution of the data, Q that of the mixture so far and beta the
share of the new component. The component R that brings (1 - beta) Q + beta R closest to P, in any
f-divergence, is

    dR = [lambda* dP - (1 - beta) dQ]_+ / beta

so that the new mixture is max(lambda* P, (1 - beta) Q). On N data points with ratios r = dQ / dP
each point gets the weight

    w = [lambda* - (1 - beta) r]_+ / (N beta),   lambda* such that the weights sum to 1

Points that the mixture already draws too often have weight 0. The ratio r comes from a classifier
between data and the mixture's samples, r = (1 - D) / D = exp(-score). Each component is any GAN:

    class Boosted(AdaGAN, WGANGP): ...

The baseline is bagging, weights="uniform": as many components of the same size, each trained on all
data.

What did not hold: that on 25 Gaussians on a grid four weak components, boosted, cover more than
four bagged ones by a margin that the seed does not hide. After 600 steps each, samples near 11, 15
and 10 of the centres for 5, 9 and 11 by bagging (seeds 0, 1, 2), W1 0.43, 0.37 and 0.43 for 0.63,
0.46 and 0.41; with averaged generators 12, 7 and 13 for 11, 7 and 10. This did hold: where one
component has collapsed, the next one draws the modes that it misses.

Differs from the paper: within each batch lambda* is solved for and data are drawn by their weights,
so batches should be large; the classifier is kept from component to component.
"""

from typing import Literal

import torch
from torch import Tensor, nn

from ...checks import at_least
from ...modes import evaluating
from ..adversarial import Batch, Phase, Player
from ..networks.kept import Kept
from .gan import GAN, cross_entropy


def boosting_weights(ratio: Tensor, beta: float) -> tuple[Tensor, Tensor]:
    """The weights w (N,), which sum to 1, and lambda*.

    The sum of hinges sum_i [lambda - a_i]_+, a = (1 - beta) r, is the maximum over i of
    i lambda - (a_(1) + ... + a_(i)), the a in ascending order; so where the sum is N beta, lambda
    is the minimum of (N beta + a_(1) + ... + a_(i)) / i.

    >>> boosting_weights(torch.tensor([0.0, 0.0, 4.0, 4.0]), 0.5)[0]  # the missed half alone
    tensor([0.5000, 0.5000, 0.0000, 0.0000], dtype=torch.float64)

    Args:
        ratio: r (N,), density of the mixture over that of the data, 0 or more.
        beta: The new component's share, in (0, 1].
    """
    floor = (1 - beta) * ratio.double()
    counts = torch.arange(1, len(floor) + 1, device=floor.device)
    level = ((len(floor) * beta + floor.sort().values.cumsum(0)) / counts).min()
    weights = (level - floor).clamp(min=0)
    return weights / weights.sum(), level


def smallest(ratio: Tensor, share: float) -> Tensor:
    """The heuristic weights (N,): equal for the share of points with the smallest r, else 0."""
    count = max(1, round(share * len(ratio)))
    weights = torch.zeros_like(ratio, dtype=torch.double)
    weights[ratio.argsort()[:count]] = 1 / count
    return weights


class InTurn(Kept):
    """Networks of which one is used at a time, `turn`."""

    kept = ("turn",)
    turn = 0

    def __init__(self, networks: list[nn.Module]):
        super().__init__()
        self.networks = nn.ModuleList(networks)

    def forward(self, *inputs: Tensor) -> Tensor:
        return self.networks[self.turn](*inputs)


class Mixture(nn.Module):
    """Generators with shares; the last entry of z, in [-1, 1], chooses one of them."""

    def __init__(self, components: list[nn.Module]):
        super().__init__()
        self.components = nn.ModuleList(components)
        self.register_buffer("shares", torch.eye(len(components))[0])

    def forward(self, z: Tensor, *condition: Tensor, shares: Tensor | None = None) -> Tensor:
        shares = self.shares if shares is None else shares
        edges = shares.cumsum(0)
        last = (shares.sign() * torch.arange(len(shares), device=shares.device)).max().long()
        place = (z[:, -1] + 1) / 2 * edges[-1]
        chosen = torch.searchsorted(edges, place.to(edges), right=True).clamp(max=last)
        drawn = []
        for number in chosen.unique():
            its = chosen == number
            drawn.append(self.components[number](z[its, :-1], *(y[its] for y in condition)))
        return torch.cat(drawn)[chosen.argsort(stable=True).argsort()]


class AdaGAN(GAN):
    """A mixture of GANs, each trained on the data that the earlier ones miss.

    A latent has one entry more than the `latent_dim` of the components: the last entry chooses the
    component. A second base class, `class Mine(AdaGAN, WGANGP)`, makes the components such GANs, if
    they differ by the loss, the networks or the gradient penalty.

    Args:
        num_components: The paper's T, the number of GANs.
        stage_steps: Training steps of each component; the last one trains until the end.
        classifier_steps: Batches on which the classifier alone is trained before each component
            but the first.
        beta: The share of each new component, in (0, 1); 0: 1/t, so that all shares are equal.
        weights: Weights of the data: "theory", by lambda*; "topk", equal weights for the images
            that the mixture misses most; "uniform", bagging.
        top_share: Share of the images that get a weight with "topk", in (0, 1].
    """

    def __init__(
        self,
        image_shape: tuple[int, ...],
        num_classes: int = 0,
        num_components: int = 4,
        stage_steps: int = 2000,
        classifier_steps: int = 500,
        beta: float = 0.0,
        weights: Literal["theory", "topk", "uniform"] = "theory",
        top_share: float = 0.5,
        **kwargs,
    ):
        super().__init__(image_shape, num_classes, **kwargs)
        at_least(1, num_components=num_components, stage_steps=stage_steps)
        at_least(1, classifier_steps=classifier_steps)
        if not 0 <= beta < 1:
            raise ValueError(f"beta must be in [0, 1), got {beta}")
        if not 0 < top_share <= 1:
            raise ValueError(f"top_share must be in (0, 1], got {top_share}")
        if weights not in ("theory", "topk", "uniform"):
            raise ValueError(f"weights must be one of theory, topk, uniform, got {weights!r}")
        self.num_components, self.stage_steps = num_components, stage_steps
        self.classifier_steps, self.beta = classifier_steps, beta
        self.weights, self.top_share = weights, top_share
        others = range(num_components - 1)
        self.generator = Mixture([self.generator, *(self.make_generator() for _ in others)])
        more = [self.make_discriminator() for _ in others]
        self.discriminator = InTurn([self.discriminator, *more])
        self.classifier = self.make_discriminator()
        self.latent_dim += 1
        self.average_generator()

    # The games

    @property
    def stage(self) -> int:
        """The number of the component that is trained, from 0."""
        return self.discriminator.turn

    def phases(self) -> tuple[Phase, ...]:
        """The components; before each one but the first the classifier is trained alone."""
        players = tuple(player.name for player in super().players())
        found = [Phase("component 0", self.stage_steps, players, waiting=True)]
        for k in range(1, self.num_components):
            settings = self.classifier_steps, ("classifier",), self.next_stage
            found.append(Phase(f"classifier {k}", *settings, waiting=True))
            found.append(Phase(f"component {k}", self.stage_steps, players, waiting=True))
        return tuple(found)

    def phase_of_older(self, state_dict: dict[str, Tensor], prefix: str) -> tuple[int, int]:
        turn = int(state_dict.get(f"{prefix}discriminator.turn", 0))
        steps = int(state_dict.pop(f"{prefix}lessons", 0))
        learns = turn > 0 and steps < self.classifier_steps
        return 2 * turn - learns, steps * learns

    def next_stage(self) -> None:
        """Freezes the trained components and adds the next one to the mixture."""
        self.discriminator.turn += 1
        self.phase, self.phase_moves = (
            2 * self.stage - 1,
            0,
        )  # also if called by hand
        if self.ema_decay:
            self.generator.load_state_dict(self.ema.module.state_dict())
        share = self.beta or 1 / (self.stage + 1)
        for mixture in (self.generator, self.ema.module) if self.ema_decay else (self.generator,):
            mixture.shares *= 1 - share
            mixture.shares[self.stage].fill_(share)

    def players(self) -> tuple[Player, ...]:
        return Player("classifier", (self.classifier,), self.classifier_loss), *super().players()

    def fake(self, z: Tensor, *condition: Tensor) -> tuple[Tensor, ...]:
        """Samples of the component that is trained."""
        return self.generator.components[self.stage](z[:, :-1], *condition), *condition

    def before(self, z: Tensor, *condition: Tensor) -> tuple[Tensor, ...]:
        """Samples of the mixture without the component that is trained."""
        shares = self.generator.shares.clone()
        shares[self.stage].zero_()
        with evaluating(self.generator):
            return self.generator(z, *condition, shares=shares), *condition

    def classifier_loss(self, batch: Batch) -> Tensor:
        """Cross-entropy of the classifier between data and samples of the mixture."""
        x, *condition = super().conditioned(batch)
        samples = self.before(self.prior(len(x)), *condition)
        return cross_entropy(self.classifier(*self.real(x, *condition)), self.classifier(*samples))

    def conditioned(self, batch: Batch) -> tuple[Tensor, ...]:
        """(x, *condition) that a component is trained on: data drawn by their weights."""
        x, *condition = super().conditioned(batch)
        if self.stage and self.weights != "uniform":
            chosen = self.data_weights(x, *condition).multinomial(len(x), replacement=True)
            x, *condition = x[chosen], *(y[chosen] for y in condition)
        return x, *condition

    # What it can do

    def ratio(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """(B,) estimates of the density of the mixture so far over that of the data."""
        with evaluating(self.classifier):
            return (-self.classifier(*self.real(x, *self.condition.arguments(y)))).exp()

    def data_weights(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """(B,) weights of images for the component that is trained; their sum is 1."""
        ratio = self.ratio(x, y)
        if not self.stage or self.weights == "uniform":
            return torch.full_like(ratio, 1 / len(ratio))
        if self.weights == "topk":
            return smallest(ratio, self.top_share)
        return boosting_weights(ratio, self.beta or 1 / (self.stage + 1))[0]
