"""When a question is asked of a model: at validations that count, and in test."""

from abc import ABC, abstractmethod

import lightning as L

from ..checks import at_least
from ..watch import watching
from .progress import Lines, track


class Question(L.Callback, ABC):
    """Base of all that look at a model: a subclass says what is asked.

    Args:
        every_n_epochs: Of fit, at which validations take part; 0: none.
        seed: Of whatever is random in the question.
    """

    required: bool = True  # else a model that cannot be asked is passed over

    def __init__(self, every_n_epochs: int, seed: int) -> None:
        super().__init__()
        at_least(0, every_n_epochs=every_n_epochs, seed=seed)
        self.every_n_epochs, self.seed = every_n_epochs, seed

    @abstractmethod
    def ask(self, trainer: L.Trainer, model: L.LightningModule, split: str) -> None:
        """Asks, with held-out images of the split "val" or "test"."""

    def on_validation_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if self._due(trainer):
            self._ask_in_sight(trainer, pl_module, "val")

    def on_test_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._ask_in_sight(trainer, pl_module, "test")

    def _ask_in_sight(self, trainer: L.Trainer, model: L.LightningModule, split: str) -> None:
        """Asks, and shows how far what takes long is."""
        who, lines = type(self).__name__, Lines(together=True)
        with watching(lambda items, part, n: track(trainer, items, f"{who}: {part}", n, lines)):
            self.ask(trainer, model, split)

    def _due(self, trainer: L.Trainer) -> bool:
        """Whether this validation counts: not sanity checking, nor epochs between."""
        if trainer.sanity_checking:
            return False
        if trainer.state.fn != "fit":
            return True
        return self.every_n_epochs > 0 and (trainer.current_epoch + 1) % self.every_n_epochs == 0
