"""Games of several phases: the players that move in each, its length, and an action at its start.

The number of the current phase is a Python number, which is saved in checkpoints: the GPU is never
read for it, and a resumed training continues in the same phase.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from .._torch import Stored


@dataclass(frozen=True)
class Phase:
    """A part of a game.

    Args:
        name: Name of the phase.
        steps: Length in steps of the game's last player, or, if this player does not move, of the
            last player of the phase. 0: until training ends.
        players: Names of the players that move; None: all.
        begin: A function that is called once at the start: to grow, freeze or copy networks.
        waiting: Whether the other players wait, with a loss of 0 and falling learning rates;
            False: they have left, and are not logged.
    """

    name: str
    steps: int = 0
    players: tuple[str, ...] | None = None
    begin: Callable[[], None] | None = None
    waiting: bool = False


class Phased(Stored):
    """Mixin for a game with phases; it comes before other base classes.

    Attributes:
        phase: The number of the current phase, from 0.
        phase_moves: Steps in this phase, if the game's last player does not move in it.
    """

    phase = 0
    phase_moves = 0

    def phases(self) -> tuple[Phase, ...]:
        """All phases in their order; none: the game does not change."""
        return ()

    def moves_in_phase(self, name: str) -> bool:
        """Whether a player moves in the current phase."""
        phases = self.phases()
        return not phases or _moves(phases[self.phase], name)

    def waits_in_phase(self) -> bool:
        """Whether players that do not move wait, and have not left."""
        return self.phases()[self.phase].waiting

    def begin_phases(self, step: int, last: str) -> None:
        """Begins all phases that are due at a step of the game.

        Args:
            step: The step.
            last: Name of the game's last player, whose moves are the steps.
        """
        phases = self.phases()
        while self.phase + 1 < len(phases) and _moves(phases[self.phase], last):
            if step < sum(p.steps for p in phases[: self.phase + 1] if _moves(p, last)):
                return
            self._begin_next(phases)

    def count_in_phase(self, name: str, last: str) -> None:
        """Counts a player's step, and begins the next phase after the last step of this one.

        This applies only if the game's last player does not move; otherwise `begin_phases` does.
        """
        phases = self.phases()
        if not phases or _moves(phases[self.phase], last) or name != phases[self.phase].players[-1]:
            return
        self.phase_moves += 1
        if self.phase_moves >= phases[self.phase].steps and self.phase + 1 < len(phases):
            self._begin_next(phases)

    def _begin_next(self, phases: tuple[Phase, ...]) -> None:
        self.phase, self.phase_moves = self.phase + 1, 0
        if (begin := phases[self.phase].begin) is not None:
            begin()

    def phase_at(self, step: int) -> tuple[int, float]:
        """The number of the phase at a step of a game, and the share of it that is over, in [0, 1);
        0 in the last phase."""
        phases, begun = self.phases(), 0
        for number, phase in enumerate(phases[:-1]):
            if step < begun + phase.steps:
                return number, (step - begun) / phase.steps
            begun += phase.steps
        return len(phases) - 1, 0.0

    # In files

    def stored(self) -> dict[str, Tensor]:
        found = super().stored()
        if self.phases():
            found |= {name: torch.tensor(getattr(self, name)) for name in _NUMBERS}
        return found

    def restore(self, name: str, value: Tensor) -> None:
        if name in _NUMBERS:
            setattr(self, name, int(value))
        else:
            super().restore(name, value)

    def before_loading(self, state_dict: dict[str, Tensor], prefix: str) -> None:
        super().before_loading(state_dict, prefix)
        if self.phases() and f"{prefix}phase" not in state_dict:  # an older file
            numbers = self.phase_of_older(state_dict, prefix)
            for name, number in zip(_NUMBERS, numbers, strict=True):
                state_dict[prefix + name] = torch.tensor(number)

    def phase_of_older(self, state_dict: dict[str, Tensor], prefix: str) -> tuple[int, int]:
        """`phase` and `phase_moves` of a file without them; from 0 a resumed training finds its
        phase by its steps."""
        return 0, 0


_NUMBERS = ("phase", "phase_moves")


def _moves(phase: Phase, name: str) -> bool:
    return phase.players is None or name in phase.players
