"""Games of several phases: who moves in each, for how long, and what is done when it begins.

The number of the current one is Python's while a game is played, and stands in the checkpoint: a
GPU is never asked for it, and a training that goes on is in the phase that it was in.
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
        name: What is done in it.
        steps: How long it lasts, in moves of the game's last player, or, where that one does not
            move, of the phase's own last player. 0: until training ends.
        players: Names of those who move; None: all.
        begin: What is done once, when it begins: grow, freeze, copy.
        waiting: Whether the others wait, with a loss of 0 and rates that go on falling; else they
            have left, and nothing is said of them.
    """

    name: str
    steps: int = 0
    players: tuple[str, ...] | None = None
    begin: Callable[[], None] | None = None
    waiting: bool = False


class Phased(Stored):
    """What a game knows of its phases; before its other base classes.

    Attributes:
        phase: The number of the current one, from 0.
        phase_moves: Moves that were made in it, where the game's last player makes none.
    """

    phase = 0
    phase_moves = 0

    def phases(self) -> tuple[Phase, ...]:
        """All of them, in their order; none: the game is one, and does not change."""
        return ()

    def moves_in_phase(self, name: str) -> bool:
        """Whether a player moves now."""
        phases = self.phases()
        return not phases or _moves(phases[self.phase], name)

    def waits_in_phase(self) -> bool:
        """Whether those who do not move wait, and have not left."""
        return self.phases()[self.phase].waiting

    def begin_phases(self, step: int, last: str) -> None:
        """Begins all phases that are due at a step of the game.

        Args:
            last: The name of the game's last player, whose moves are the steps.
        """
        phases = self.phases()
        while self.phase + 1 < len(phases) and _moves(phases[self.phase], last):
            if step < sum(p.steps for p in phases[: self.phase + 1] if _moves(p, last)):
                return
            self._begin_next(phases)

    def count_in_phase(self, name: str, last: str) -> None:
        """Counts a player's move, and begins the next phase after the last of this one.

        Only where the game's last player does not move: else steps count, between two batches.
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
        """The phase that a game in which all steps count is in at a step, and the share of it that
        is over, in [0, 1); 0 in the last one."""
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
        if self.phases() and f"{prefix}phase" not in state_dict:  # a file of before there were any
            numbers = self.phase_of_older(state_dict, prefix)
            for name, number in zip(_NUMBERS, numbers, strict=True):
                state_dict[prefix + name] = torch.tensor(number)

    def phase_of_older(self, state_dict: dict[str, Tensor], prefix: str) -> tuple[int, int]:
        """`phase` and `phase_moves` of a file that does not have them; 0, from where a training
        that goes on finds its own by its steps."""
        return 0, 0


_NUMBERS = ("phase", "phase_moves")


def _moves(phase: Phase, name: str) -> bool:
    return phase.players is None or name in phase.players
