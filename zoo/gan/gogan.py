"""GoGAN: Gang of GANs: Generative Adversarial Networks with Maximum Margin Ranking.

Juefei-Xu, Boddeti and Savvides, 2017. https://arxiv.org/abs/1704.04865

A WGAN's critic increases the gap between the scores of data and samples without limit. With a
margin the loss stops at this gap. After the first game its generator G_1 is kept, and another game
starts from its networks: samples of the next generator G_2 should score between data and samples of
G_1 of the same z,

    s(x) >= s(G_2(z)) + eps,    s(G_2(z)) >= s(G_1(z)) + eps,    s(x) >= s(G_1(z)) + 2 eps

and so on, stage by stage. Each inequality is a hinge [.]_+ on pairs, which is 0, with no gradient,
where it holds:

    L_D = E[eps - s(x) + s(G_2(z))]_+ + lambda E[2 eps - s(x) + s(G_1(z))]_+ + gradient penalty
    L_G = -E[s(G_2(z))] + lambda E[eps + s(G_1(z)) - s(G_2(z))]_+

Only the generator descends the hinge of the second inequality: a critic that descends it raises the
scores of samples.

What did not hold: by the paper's theorem, with an optimal critic a stage at least halves the gap
between data and samples. On a ring of Gaussians the second stage left 0.73, 0.66 and 0.65 of it on
three seeds. Its samples were nearer to the data than those of the first (W1 0.28, 0.27 and
0.28 for 0.34, 0.33 and 0.34), but those of one game with a margin, trained as long without halving
the learning rate, were still nearer (0.24, 0.23, 0.25).

Differs from the paper: the assignment of hinges to players, chosen by experiment; the critic has
WGAN-GP's penalty, not clipped weights; the learning rate is halved with each stage.
"""

import copy
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.functional import relu
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from ...checks import at_least
from ...modes import evaluating
from ..adversarial import Batch, Phase, Player
from .wgan import wasserstein
from .wgan_gp import WGANGP


def out_of_order(above: Tensor, below: Tensor, margin: float) -> Tensor:
    """E[margin - above + below]_+ of pairs of scores (B,): 0 if all pairs are apart by the margin.

    >>> out_of_order(torch.tensor([3.0]), torch.tensor([1.0]), margin=1.0)
    tensor(0.)
    """
    return relu(margin - above + below).mean()


class GoGAN(WGANGP):
    """WGAN-GPs with a margin, one after the other, each better than the one before it.

    Args:
        num_stages: Number of games; the last one lasts until training ends.
        stage_steps: Steps of each game.
        margin: The paper's eps, the gap between the scores of data, samples and earlier samples.
        ranking_weight: The paper's lambda, the weight of the hinges with the earlier generator.

    Attributes:
        gang: The generators of the earlier games.
    """

    loss = wasserstein._replace(discriminator=out_of_order)

    def __init__(
        self,
        image_shape: tuple[int, ...],
        num_classes: int = 0,
        num_stages: int = 3,
        stage_steps: int = 2000,
        margin: float = 1.0,
        ranking_weight: float = 1.0,
        **kwargs,
    ):
        super().__init__(image_shape, num_classes, **kwargs)
        at_least(1, num_stages=num_stages, stage_steps=stage_steps)
        if not margin > 0:
            raise ValueError(f"margin must be positive, got {margin}")
        self.num_stages, self.stage_steps = num_stages, stage_steps
        self.margin, self.ranking_weight = margin, ranking_weight
        self.gang = nn.ModuleList(
            copy.deepcopy(self.generator).requires_grad_(False) for _ in range(num_stages - 1)
        )

    # The games

    def phases(self) -> tuple[Phase, ...]:
        games = range(len(self.gang))
        return (
            Phase("game 0", self.stage_steps if self.gang else 0),
            *(Phase(f"game {k + 1}", self.stage_steps, begin=partial(self.keep, k)) for k in games),
        )

    def keep(self, game: int) -> None:
        """Stores the current generator as the one of a game that is over."""
        self.gang[game].load_state_dict(self.generator.state_dict())

    @property
    def stage(self) -> int:
        """The number of the current game, from 0."""
        return self.phase

    def phase_of_older(self, state_dict: dict[str, Tensor], prefix: str) -> tuple[int, int]:
        return int(state_dict.pop(f"{prefix}stage", 0)), 0

    def schedule(self, player: Player, optimizer: Optimizer) -> LambdaLR:
        return LambdaLR(optimizer, partial(self.lr_left, player))

    def lr_left(self, player: Player, move: int) -> float:
        return super().lr_left(player, move) * 0.5**self.stage

    def before(self, z: Tensor, *condition: Tensor) -> tuple[Tensor, ...]:
        """The critic's inputs for samples of the previous game's generator."""
        previous = self.gang[self.stage - 1]
        with evaluating(previous, compiled=True):
            return previous(z, *condition), *condition

    def discriminator_loss(self, batch: Batch) -> Tensor:
        x, *condition = self.conditioned(batch)
        z = self.prior(len(x))
        real, fake = self.real(x, *condition), self.fake(z, *condition)
        above = self.discriminator(*real)
        cost = self.loss.discriminator(above, self.discriminator(*fake), self.margin)
        if self.stage:
            earlier = self.discriminator(*self.before(z, *condition))
            cost = cost + self.ranking_weight * out_of_order(above, earlier, 2 * self.margin)
        return cost + self.penalty(real, fake)

    def generator_loss(self, batch: Batch) -> Tensor:
        x, *condition = self.conditioned(batch)
        z = self.prior(len(x))
        score = self.discriminator(*self.fake(z, *condition))
        cost = self.loss.generator(score)
        if self.stage:
            earlier = self.discriminator(*self.before(z, *condition))
            cost = cost + self.ranking_weight * out_of_order(score, earlier, self.margin)
        return cost

    # What it can do

    def stage_gaps(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """Gaps (stage + 1,) between the mean scores of images (B, C, H, W) and of as many samples
        of each generator, first to last, all of the same z."""
        condition = self.condition.arguments(y)
        z = self.prior(len(x))
        with evaluating(self):
            gang = [*self.gang[: self.stage], self.generator]
            samples = [generator(z, *condition) for generator in gang]
            below = [self.discriminator(x_k, *condition) for x_k in samples]
            above = self.discriminator(*self.real(x, *condition))
            return torch.stack([(above - score).mean() for score in below])
