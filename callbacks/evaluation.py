"""Base classes of evaluations and pictures, which run at validations and in test."""

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

# Errors that end one evaluation and not the training: unusable inputs, and numerical failures.
NO_ANSWER = (ValueError, ArithmeticError, AssertionError, torch.linalg.LinAlgError)


class Question(Described, L.Callback, ABC):
    """Base of evaluations and pictures: a subclass computes the answer to a question.

    Args:
        every_n_epochs: During fit, run at the validations of every n-th epoch; 0: at none.
        seed: Seed of all random numbers in it.
    """

    required: bool = True  # False: a model without the ability is skipped
    section: Section | None = None  # the last answer

    def __init__(self, every_n_epochs: int, seed: int) -> None:
        super().__init__()
        at_least(0, every_n_epochs=every_n_epochs, seed=seed)
        self.every_n_epochs, self.seed = every_n_epochs, seed

    @property
    def title(self) -> str:
        """The title of the answer."""
        return type(self).__name__.lower()

    @abstractmethod
    def able(self, model: L.LightningModule) -> bool:
        """Whether the model has the abilities that are needed."""

    @abstractmethod
    def answer(self, run: Run, model: L.LightningModule) -> Any:
        """The answer, the same on every rank; None: there is none."""

    def log_answer(self, trainer: L.Trainer, model: L.LightningModule, run: Run, found: Any):
        """Logs the answer `found` to all loggers."""
        if found is not None:
            self.section = found
            publish(trainer, model, found, run.prefix)

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        self.section = None
        forget(trainer, "evidence", "real", "features", "digest", "result")  # of other data

    def on_validation_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if self._due(trainer):
            self._answer_and_log(trainer, pl_module, "val")

    def on_test_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._answer_and_log(trainer, pl_module, "test")

    def _answer_and_log(self, trainer: L.Trainer, model: L.LightningModule, split: str) -> None:
        """Computes the answer with a display of progress, logs it, and keeps it for the report."""
        if not self.able(model):
            return
        run = run_of(trainer, split)
        if why := run.data.unanswerable.get(self.title):
            found = Section(self.title, why, "unsure")
        else:
            kind, lines = type(self).__name__, Lines(together=True)
            with watching(lambda x, part, n: track(trainer, x, f"{kind}: {part}", n, lines)):
                found = self.answer(run, model)
            self.log_answer(trainer, model, run, found)
        if found is not None:
            run.kept["result", self] = found

    def _due(self, trainer: L.Trainer) -> bool:
        """Whether to run at this validation: not in sanity checks, and in every n-th epoch."""
        if trainer.sanity_checking:
            return False
        if trainer.state.fn != "fit":
            return True
        return self.every_n_epochs > 0 and (trainer.current_epoch + 1) % self.every_n_epochs == 0


class Evaluation(Question):
    """Base of the evaluations: a subclass computes a section of the card from the evidence.

        class Brightness(Evaluation):
            def evaluate(self, evidence):
                mean = evidence.generated.images.float().mean().item()
                return Section("brightness", f"mean {mean:.0f}", "unsure", {"mean": Number(mean)})

    It runs at the end of each validation of fit, on few samples, and in validate and test, on many;
    the numbers are logged under their names, in test with the prefix "test/". If the samples are
    not images in [-1, 1], there is a warning and NaN for the numbers during fit, and an error
    otherwise. A callback that monitors a number must have the same `every_n_epochs`.

    Args:
        extractor: "auto" (the classifier "domain" for data with labels, otherwise "instance"),
            "pixels", "inception", any extractor of torch-fidelity by name, or a module from uint8
            images to features.
        num_samples: Number of samples in validate and test, at most ten for each held-out image,
            since the number of held-out images limits the precision.
        num_samples_fit: Number of samples in each validation during fit.
        every_n_epochs: During fit, run at the validations of every n-th epoch; 0: at none.
        seed: Seed of the samples.
        num_real: Largest number of training images, and of held-out images.
    """

    _checked = False  # whether a batch of this training was checked

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
        """The section of the card; evidence and section are the same on every rank."""

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
        self._checked = False
        if stage == "fit" and not has_own("validation_step", pl_module):
            name = type(pl_module).__name__
            rank_zero_warn(
                f"{name} has no validation_step, so Lightning never validates and "
                f"{type(self).__name__} never runs: make_evaluable(model) gives it one"
            )

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx) -> None:
        if not self._checked and self.able(pl_module):
            refuse_batch(trainer, batch)
        self._checked = True

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        forget(trainer, "evidence")  # the samples take memory, and later weights give others

    def on_test_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        forget(trainer, "evidence")

    def answer(self, run: Run, model: L.LightningModule) -> Section | None:
        """The section; None, after a warning, if the samples cannot be evaluated."""
        count = self.num_samples_fit if run.stage == "fit" else self.num_samples
        settings = Settings(self.extractor, count, self.seed, self.num_real)
        evidence = gather_evidence(run, model, settings)
        if evidence is None:
            return None
        try:
            with isolated(self.seed):
                section = self.evaluate(evidence)
        except NO_ANSWER as error:  # for example too few images: other evaluations still run
            run.warn(f"{type(self).__name__} has no answer at step {run.step}: {error}")
            section = Section(self.title, f"Not measured: {error}.", "unsure")
        section.protocol = evidence.protocol | section.protocol
        return section

    def log_answer(self, trainer: L.Trainer, model: L.LightningModule, run: Run, found: Any):
        if found is None or not found.numbers:
            self._log_nan(trainer, model)
        super().log_answer(trainer, model, run, found)

    def _log_nan(self, trainer: L.Trainer, model: L.LightningModule) -> None:
        """Logs NaN for missing numbers: a ModelCheckpoint must not use an earlier value, and
        Lightning ends a training in which the monitored number was never logged."""
        names = [] if self.section is None else list(self.section.numbers)
        monitors = (getattr(part, "monitor", None) for part in trainer.checkpoint_callbacks)
        names += [name for name in monitors if name and name not in trainer.callback_metrics]
        log_numbers(model, dict.fromkeys(names, math.nan))


def make_evaluable(model: L.LightningModule) -> L.LightningModule:
    """Adds empty validation and test steps to a model that has none; returns the model.

    Without them Lightning skips the loops of validation and test, and with them all callbacks.
    Existing steps stay.
    """
    for name in ("validation_step", "test_step"):
        if not has_own(name, model):
            setattr(model, name, _idle)
    return model


def _idle(*batch_and_place: Any) -> None:
    """An empty validation or test step."""
