"""Games of players that move in turn: the mechanism of all adversarial models.

A player has a name, modules whose parameters it trains, and a loss that it descends. A model lists
its players and defines their losses; turns, step counts, clipping, schedules and ranks are here.

Steps are counted as papers count them: `trainer.global_step`, `max_steps`, the names of
checkpoints and the axis of the loggers all count moves of the *last* player, the generator.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from lightning.pytorch.callbacks import WeightAveraging
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler

from .._lightning import place_of
from .._lightning.training import allow_unused, saves_by_time, saves_every
from ..checks import decay_rates
from .base import GenerativeModel
from .phases import Phase as Phase
from .phases import Phased

Batch = Sequence[Tensor]


@dataclass(frozen=True)
class Player:
    """A player of a game.

    Args:
        name: Name of the player; its loss is logged as loss/<name>.
        modules: Modules whose parameters the player trains; two players may train the same one.
        loss: The loss that it descends, a function of the batch.
        every: The player moves at every k-th batch.
        moves: Number of its steps at such a batch.
        clip_norm: Maximum norm of its gradient; 0: no clipping.
        lr: Its learning rate; None: that of the game.
        regularised: Whether R1 is added to its loss, if the game uses R1.
    """

    name: str
    modules: tuple[nn.Module, ...]
    loss: Callable[[Batch], Tensor]
    every: int = 1
    moves: int = 1
    clip_norm: float = 0.0
    lr: float | None = None
    regularised: bool = False

    def parameters(self) -> list[nn.Parameter]:
        """The trainable parameters of its modules, each once."""
        both = dict.fromkeys(p for module in self.modules for p in module.parameters())
        return [parameter for parameter in both if parameter.requires_grad]


class Adversarial(Phased, GenerativeModel):
    """Base class of games. A subclass defines the players; steps are moves of the last player.

    During a turn only the parameters of the moving player require gradients, so no loss needs
    `detach`.

    Args:
        lr: Adam's learning rate of every player without its own.
        betas: Adam's decay rates.
    """

    automatic_optimization = False
    decay_steps: float = 0  # all rates fall to 0 until this step; 0: they are constant
    decay_start: float = 0  # the step from which they fall

    def __init__(self, lr: float, betas: tuple[float, float]):
        super().__init__()
        self.lr = lr
        self.betas = decay_rates(betas)

    def players(self) -> tuple[Player, ...]:
        """The players, in the order of their turns."""
        return ()

    def optimizer(self, player: Player) -> Optimizer:
        """The optimizer of a player: Adam, unless a model overrides this."""
        return torch.optim.Adam(player.parameters(), lr=self.lr_of(player), betas=self.betas)

    def lr_of(self, player: Player) -> float:
        """The initial learning rate of a player."""
        return self.lr if player.lr is None else player.lr

    def schedule(self, player: Player, optimizer: Optimizer) -> LRScheduler | None:
        """The schedule of a player's learning rate, in moves of the player; None: constant."""
        return LambdaLR(optimizer, partial(self.lr_left, player)) if self.decay_steps else None

    def lr_left(self, player: Player, move: int) -> float:
        """The factor of a player's learning rate at one of its moves, counted from 0."""
        if not self.decay_steps:
            return 1.0
        last = self.players()[-1]
        step = move * (last.moves / last.every) / (player.moves / player.every)  # of the game
        fall = self.decay_steps - self.decay_start
        return min(1, max(0, self.decay_steps / fall - step / fall))

    def configure_optimizers(self):
        players = self.players()
        optimizers = [self.optimizer(player) for player in players]
        schedules = [self.schedule(*pair) for pair in zip(players, optimizers, strict=True)]
        self._schedules = schedules
        named = zip(players, schedules, strict=True)
        return optimizers, [{"scheduler": s, "name": f"lr/{p.name}"} for p, s in named if s]

    def training_step(self, batch: Batch, batch_idx: int) -> None:
        players = self.players()
        turn = place_of(self.trainer) + 1  # batch_idx starts again
        # A wrapped optimizer counts towards trainer.global_step, a plain one does not.
        *optimizers, _ = _listed(self.optimizers(use_pl_optimizer=False))
        optimizers.append(_listed(self.optimizers())[-1])
        for player, optimizer, schedule in zip(players, optimizers, self._schedules, strict=True):
            if turn % player.every or self._has_left(player):
                continue
            for _ in range(player.moves):
                if player is players[-1] and self.trainer.global_step == self.trainer.max_steps:
                    break  # several moves a turn must not overshoot
                if self.moves_in_phase(player.name):
                    loss = self.move(player, optimizer, batch)
                    self.count_in_phase(player.name, players[-1].name)
                else:
                    loss = torch.zeros((), device=self.device)  # it waits
                if schedule is not None:
                    schedule.step()
            self.losses.last[player.name] = loss
            self.log(f"loss/{player.name}", loss, prog_bar=True)
        self._log_axis()

    def _has_left(self, player: Player) -> bool:
        return not self.moves_in_phase(player.name) and not self.waits_in_phase()

    def move(self, player: Player, optimizer: Optimizer, batch: Batch) -> Tensor:
        """One step of a player; returns its loss before the step."""
        with self.toggled_optimizer(optimizer):
            loss = player.loss(batch)
            optimizer.zero_grad(set_to_none=True)
            self.manual_backward(loss)
            if player.clip_norm:
                nn.utils.clip_grad_norm_(player.parameters(), player.clip_norm)
            optimizer.step()
        return loss.detach()

    def configure_callbacks(self):
        """No callbacks; this is called before Lightning refuses these settings without a remedy."""
        trainer = self.trainer
        if trainer.state.fn == "fit" and trainer.gradient_clip_val:
            raise ValueError(
                "gradient_clip_val must be None where players move in turn, got "
                f"{trainer.gradient_clip_val}: a player has its own clip_norm"
            )
        if trainer.state.fn == "fit" and trainer.accumulate_grad_batches != 1:
            raise ValueError(
                "accumulate_grad_batches must be 1 where players move in turn, got "
                f"{trainer.accumulate_grad_batches}: give the data a larger batch_size (and to "
                "clip, a player its clip_norm)"
            )
        return super().configure_callbacks()

    def setup(self, stage: str) -> None:
        if stage == "fit":
            self._refuse_what_would_fail_silently()
            allow_unused(self.trainer.strategy)  # each turn uses some of the parameters

    def _refuse_what_would_fail_silently(self) -> None:
        trainer = self.trainer
        if trainer.precision not in ("32-true", "64-true", "bf16-mixed"):
            why = "one loss scale cannot serve several players"
            if trainer.precision == "bf16-true":
                why = "small steps are lost in weights of 8 bits"
            raise ValueError(
                "precision must be 32-true, 64-true or bf16-mixed where players move in turn, "
                f"got {trainer.precision}: {why}"
            )
        for callback in trainer.checkpoint_callbacks:
            if saves_by_time(callback):
                raise ValueError(
                    "train_time_interval must be None where players move in turn (Lightning "
                    "would never save): use every_n_train_steps or every_n_epochs"
                )
            every = saves_every(callback)
            if (moves := self.players()[-1].moves) and every % moves:
                raise ValueError(
                    f"every_n_train_steps must be a multiple of the {moves} steps that are "
                    f"taken a batch (others would never be saved), got {every}"
                )
        if any(isinstance(callback, WeightAveraging) for callback in trainer.callbacks):
            raise ValueError(
                "WeightAveraging must not be used where players move in turn (evaluation would "
                "see the raw weights): give the model an ema_decay"
            )

    def on_train_batch_start(self, batch, batch_idx) -> None:
        super().on_train_batch_start(batch, batch_idx)
        if self.phases():
            self.begin_phases(self.trainer.global_step, self.players()[-1].name)
        self._share_buffers()

    def on_validation_start(self) -> None:
        self._share_buffers()

    def on_test_start(self) -> None:
        self._share_buffers()

    def on_train_end(self) -> None:
        super().on_train_end()
        self._share_buffers()

    def on_validation_epoch_end(self) -> None:
        if self.trainer.state.fn == "fit" and not self.trainer.sanity_checking:
            self._log_axis()

    def _log_axis(self) -> None:
        # The key "step" sets the x axis of all loggers, which would be batches.
        self.log_number("step", self.trainer.global_step)

    def _share_buffers(self) -> None:
        # DDP does this before each forward, but under manual optimization only once.
        if self.trainer.world_size > 1:
            for buffer in self.buffers():
                torch.distributed.broadcast(buffer, src=0)


def _listed(optimizers):
    return optimizers if isinstance(optimizers, list) else [optimizers]
