"""Questions that are asked of a model: at validations that count, and in test."""

import math
from abc import ABC, abstractmethod
from typing import Any

import lightning as L
import torch
from lightning.pytorch.utilities import rank_zero_warn
from torch import nn

from .._lightning.training import has_own
from ..arguments import Described
from ..checks import at_least
from ..features.evidence import Evidence
from ..features.extractors import refuse_unknown
from ..protocols import Sampler
from ..report.card import Section
from ..rng import isolated
from ..run import Run
from ..watch import Lines, watching
from .evidence import Settings, gather_evidence
from .progress import track
from .publish import log_numbers, publish
from .run import forget, refuse_batch, refuse_shape_of, run_of

# What ends one question and not the training: input that cannot be measured, and numerical faults.
NO_ANSWER = (ValueError, ArithmeticError, AssertionError, torch.linalg.LinAlgError)


class Question(Described, L.Callback, ABC):
    """Base of all that look at a model: a subclass says what is asked.

    Args:
        every_n_epochs: Of fit, at which validations take part; 0: none.
        seed: Of whatever is random in the question.
    """

    required: bool = True  # else a model that cannot be asked is passed over
    section: Section | None = None  # what was found last

    def __init__(self, every_n_epochs: int, seed: int) -> None:
        super().__init__()
        at_least(0, every_n_epochs=every_n_epochs, seed=seed)
        self.every_n_epochs, self.seed = every_n_epochs, seed

    @property
    def title(self) -> str:
        """Of what it finds."""
        return type(self).__name__.lower()

    @abstractmethod
    def able(self, model: L.LightningModule) -> bool:
        """Whether the model can be asked."""

    @abstractmethod
    def ask(self, run: Run, model: L.LightningModule) -> Any:
        """What it finds, on every rank alike."""

    def tell(self, trainer: L.Trainer, model: L.LightningModule, run: Run, found: Any) -> None:
        """Gives what was found to the loggers."""
        if found is not None:
            self.section = found
            publish(trainer, model, found, run.prefix)

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        self.section = None
        forget(trainer, "evidence", "real", "features", "digest", "result")  # of other data

    def on_validation_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if self._due(trainer):
            self._ask_in_sight(trainer, pl_module, "val")

    def on_test_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._ask_in_sight(trainer, pl_module, "test")

    def _ask_in_sight(self, trainer: L.Trainer, model: L.LightningModule, split: str) -> None:
        """Asks, shows how far what takes long is, and keeps what was found for the report."""
        if not self.able(model):
            return
        run = run_of(trainer, split)
        if why := run.data.unanswerable.get(self.title):
            found = Section(self.title, why, "unsure")
        else:
            who, lines = type(self).__name__, Lines(together=True)
            with watching(lambda items, part, n: track(trainer, items, f"{who}: {part}", n, lines)):
                found = self.ask(run, model)
            self.tell(trainer, model, run, found)
        if found is not None:
            run.kept["result", self] = found

    def _due(self, trainer: L.Trainer) -> bool:
        """Whether this validation counts: not sanity checking, nor epochs between."""
        if trainer.sanity_checking:
            return False
        if trainer.state.fn != "fit":
            return True
        return self.every_n_epochs > 0 and (trainer.current_epoch + 1) % self.every_n_epochs == 0


class Evaluation(Question):
    """Base of the evaluations: a subclass says what it makes of the evidence.

        class Brightness(Evaluation):
            def evaluate(self, evidence):
                mean = evidence.generated.images.float().mean().item()
                return Section("brightness", f"mean {mean:.0f}", "unsure", {"mean": Number(mean)})

    It runs at the end of each validation of fit, on few samples, and in validate and test on
    many; the numbers are logged under their names, in test behind "test/". A model whose samples
    are not images in [-1, 1] is a warning during fit, with NaN for the numbers, and an error
    elsewhere. What monitors a number must have the same `every_n_epochs`.

    Args:
        extractor: "auto" (the classifier "domain" where the data has labels, else "instance"),
            "pixels", "inception", any extractor of torch-fidelity by name, or a module from uint8
            images to features.
        num_samples: Samples in validate and test, at most ten for each held-out image: more would
            tell no more.
        num_samples_fit: Samples in each validation during fit.
        every_n_epochs: Of fit, at which validations take part; 0: none.
        seed: Of the samples.
        num_real: At most so many training images, and held-out images, are used.
    """

    _seen = False  # whether a batch of this training was

    def __init__(
        self,
        extractor: str | nn.Module = "auto",
        num_samples: int = 10_000,
        num_samples_fit: int = 1_000,
        every_n_epochs: int = 1,
        seed: int = 0,
        num_real: int = 50_000,
    ) -> None:
        super().__init__(every_n_epochs, seed)
        refuse_unknown(extractor)
        at_least(2, num_samples=num_samples, num_samples_fit=num_samples_fit, num_real=num_real)
        self.extractor = extractor
        self.num_samples, self.num_samples_fit = num_samples, num_samples_fit
        self.num_real = num_real

    @abstractmethod
    def evaluate(self, evidence: Evidence) -> Section:
        """What the evidence says. Called on every rank, alike, with gradients off."""

    def able(self, model: L.LightningModule) -> bool:
        return isinstance(model, Sampler)

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        super().setup(trainer, pl_module, stage)
        if self.required and not self.able(pl_module):
            raise TypeError(
                f"{type(self).__name__} compares samples, but {type(pl_module).__name__} "
                "has no sample(n)"
            )
        if self.able(pl_module):
            refuse_shape_of(trainer, pl_module)
        self._seen = False
        if stage == "fit" and not has_own("validation_step", pl_module):
            name = type(pl_module).__name__
            rank_zero_warn(
                f"{name} has no validation_step, so Lightning never validates and "
                f"{type(self).__name__} is not asked: make_evaluable(model) gives it one"
            )

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx) -> None:
        if not self._seen and self.able(pl_module):
            refuse_batch(trainer, batch)
        self._seen = True

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        forget(trainer, "evidence")  # samples are of these weights, and large

    def on_test_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        forget(trainer, "evidence")

    def ask(self, run: Run, model: L.LightningModule) -> Section | None:
        """The section; None where samples are bad, which is said."""
        count = self.num_samples_fit if run.stage == "fit" else self.num_samples
        settings = Settings(self.extractor, count, self.seed, self.num_real)
        evidence = gather_evidence(run, model, settings)
        if evidence is None:
            return None
        try:
            with isolated(self.seed):
                section = self.evaluate(evidence)
        except NO_ANSWER as error:  # as of too few images: the other questions are asked still
            run.warn(f"{type(self).__name__} has no answer at step {run.step}: {error}")
            section = Section(self.title, f"Not measured: {error}.", "unsure")
        section.protocol = evidence.protocol | section.protocol
        return section

    def tell(self, trainer: L.Trainer, model: L.LightningModule, run: Run, found: Any) -> None:
        if found is None or not found.numbers:
            self._log_nothing(trainer, model)
        super().tell(trainer, model, run, found)

    def _log_nothing(self, trainer: L.Trainer, model: L.LightningModule) -> None:
        """NaN for what could not be measured: a checkpoint must not take the last value for this
        one, and Lightning ends a training that has no value at all for what is monitored."""
        names = [] if self.section is None else list(self.section.numbers)
        monitors = (getattr(part, "monitor", None) for part in trainer.checkpoint_callbacks)
        names += [name for name in monitors if name and name not in trainer.callback_metrics]
        log_numbers(model, dict.fromkeys(names, math.nan))


def make_evaluable(model: L.LightningModule) -> L.LightningModule:
    """Gives idle validation and test steps to a model that has none.

    Lightning does not enter the loops of validation and test otherwise, and no callback is
    called. Steps that exist stay. Returns the same model.
    """
    for name in ("validation_step", "test_step"):
        if not has_own(name, model):
            setattr(model, name, _idle)
    return model


def _idle(*batch_and_place: Any) -> None:
    """A step with nothing of its own to measure."""
