"""The report card: one page that answers three questions about a trained model.

Has it memorised? Does it look real? Is it as diverse as the data? Each answer has a verdict in
words, numbers with their intervals, and the protocol that is needed to repeat them.
"""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import lightning as L
import numpy as np
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor, nn

from ..protocols import Bounded, Density, Sampler
from ..report.card import Number, Report, Section, spoken, written
from ..report.figures import to_picture
from ..watch import shown, watching
from ..zoo.external import GivenSamples, RealFolder, SampleFolder, Wrapped
from .evaluation import make_evaluable
from .progress import Parts
from .publish import figure_path
from .run import data_name, results

__all__ = ["Number", "Report", "ReportCard", "Section", "evaluations", "spoken", "written"]


class ReportCard(L.Callback):
    """Writes the results of all evaluations of a test as one page.

    It writes `report.html`, `report.md` and `report.json` into the folder of the run
    (`trainer.log_dir`), prints the report, and adds it to the run's summary on W&B. Its place among
    the callbacks does not matter. The evaluations themselves log their numbers and pictures.

    Attributes:
        report: The last report.
        shown: Whether the report is printed.
    """

    report: Report | None = None
    shown: bool = True

    def on_test_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        folder = Path(trainer.log_dir or trainer.default_root_dir)  # must be read on all ranks
        if not trainer.is_global_zero:
            return
        step = trainer.global_step
        report = Report(_model_name(pl_module), data_name(trainer), step)
        for found in results(trainer):
            if isinstance(found, Section):
                report.sections.append(found)
                for name in found.figures:
                    path = figure_path(folder, f"test/{found.title}/{name}", step)
                    report.paths[f"{found.title}/{name}"] = path.relative_to(folder).as_posix()
                continue
            for name, picture in found.items():
                report.figures[name] = to_picture(picture)
                path = figure_path(folder, f"test/{name}", step)
                report.paths[name] = path.relative_to(folder).as_posix()
        report.sections.sort(key=lambda section: section.topic.place)
        report.paths = {k: path for k, path in report.paths.items() if (folder / path).is_file()}
        self.report = report
        rest = ""
        if not trainer.fast_dev_run:
            try:
                report.write(folder / "report.json")
                rest = f"{_near(folder)}/report.md, with the pictures in report.html"
            except OSError as error:
                rank_zero_warn(f"the report could not be written: {error}")
        for logger in trainer.loggers:
            if hasattr(logger, "log_summary"):
                summarise(report, logger)
        if self.shown:
            report.print(rest)


def summarise(report: Report, logger: Any) -> None:
    """Adds flags, verdicts and numbers to the summary of a run on W&B, and a table of numbers."""
    summary: dict[str, Any] = {}
    rows = []
    for section in report.sections:
        summary[f"report/{section.title}"] = section.flag
        summary[f"report/{section.title}/verdict"] = section.verdict
        for name, number in section.numbers.items():
            value, low, high = map(_float, (number.value, number.low, number.high))
            summary[f"test/{name}"] = value
            rows.append([name, value, low, high, number.note])
    logger.log_summary(summary)
    columns = ["number", "value", "low", "high", "note"]
    logger.log_table("report/numbers", columns, rows, step=report.step)


def _model_name(model: L.LightningModule) -> str:
    """The name of the model in a report: external samples have their own."""
    name = getattr(model, "name", None)
    return name if isinstance(name, str) and name else type(model).__name__


def _float(value: Any) -> float | None:
    return None if value is None else float(value)


def _near(folder: Path) -> str:
    """A folder relative to the current one, if it lies within it."""
    here = Path.cwd()
    return str(folder.relative_to(here) if folder.is_relative_to(here) else folder)


def evaluations(**settings: Any) -> list[L.Callback]:
    """All evaluations and pictures, for `Trainer(callbacks=evaluations())`.

    Evaluations whose abilities a model does not have are skipped, such as the likelihood of a model
    that only samples.

    Args:
        settings: Arguments of `Evaluation`: extractor, num_samples, num_samples_fit,
            every_n_epochs, seed, num_real.
    """
    from .diversity import Diversity
    from .filters import Filters
    from .likelihood import Likelihood
    from .memorisation import Memorisation
    from .pictures import Interpolations, Reconstructions, Samples
    from .realism import Realism

    few = {name: settings[name] for name in ("every_n_epochs", "seed") if name in settings}
    callbacks: list[L.Callback] = [
        *(kind(**settings) for kind in (Memorisation, Realism, Diversity)),
        Likelihood(seed=settings.get("seed", 0)),
        *(kind(**few) for kind in (Samples, Interpolations, Reconstructions, Filters)),
    ]
    for callback in callbacks:
        callback.required = False
    return [*callbacks, ReportCard()]


# A report card in one call, for notebooks and scripts


def report_card(
    model: Any,
    data: Any,
    folder: str | Path | None = None,
    progress: bool = True,
    **settings: Any,
) -> Report:
    """Tests a model on the data's test images, and returns the report: `report_card(...).print()`.

        report_card(model, FashionMNIST("data"))          a model
        report_card(generate, FashionMNIST("data"))       a function of n that gives n images
        report_card("drawn", FashionMNIST("data"))        images in a folder, .zip or .npz
        report_card("drawn", "real")                      against images in another

    The numbers equal those of `Trainer(callbacks=evaluations()).test(make_evaluable(model), data)`
    and of `genzoo test`. The model's modes and weights and the random state stay unchanged.

    Args:
        model: Any LightningModule with `sample(n)`, or with `sample(n, y)` and `num_classes`; a
            function of n, as `genzoo.zoo.Wrapped`, which takes generators of latents too; a path,
            as `genzoo.zoo.SampleFolder`; or images, as `genzoo.zoo.GivenSamples`.
        data: A LightningDataModule with the images that the model was trained on and held-out
            images. Or a path or images, as `genzoo.zoo.RealFolder`: then the training images are
            unknown, and the card says which questions have no answer.
        folder: Folder for report.html, report.md, report.json and the pictures; None: they are
            not written, and the report has its pictures in `figures` only.
        progress: Whether loops of more than two seconds show their progress: a bar on a terminal
            and in a notebook, lines in a log.
        settings: Arguments of `evaluations`.

    Raises:
        TypeError: if the model neither samples nor has a likelihood.
        ValueError: if its samples are not images of the data's shape in [-1, 1].
    """
    with watching(shown) if progress else nullcontext():
        data = _data(data)
        model = _model(model, data)
    refuse_unable(model)
    *callbacks, card = evaluations(**settings)
    assert isinstance(card, ReportCard)
    card.shown = False
    with TemporaryDirectory() as passing, _quiet():
        trainer = L.Trainer(
            devices=1,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=progress,
            enable_model_summary=False,
            default_root_dir=folder or passing,
            callbacks=[*callbacks, card, *([Parts()] if progress else [])],
        )
        trainer.test(make_evaluable(model), data, verbose=False)
    if folder is None:
        card.report.paths = {}
    return card.report


def refuse_unable(model: L.LightningModule, *others: type) -> None:
    """Refuses a model that no evaluation of the report card can be computed for.

    Args:
        others: Further abilities that suffice.

    Raises:
        TypeError: if it neither samples nor has a likelihood.
    """
    if not isinstance(model, (Sampler, Density, Bounded, *others)):
        raise TypeError(
            f"a report card compares samples, but {type(model).__name__} has no sample(n), nor a "
            "log_prob(x) or elbo(x)"
        )


def _data(data: Any) -> L.LightningDataModule:
    if isinstance(data, L.LightningDataModule):
        return data
    if isinstance(data, (str, Path, Tensor, np.ndarray, list, tuple)):
        return RealFolder(data)
    raise TypeError(
        "data must be a LightningDataModule, or the path of real images or these themselves, got a "
        f"{type(data).__name__}"
    )


def _model(model: Any, data: L.LightningDataModule) -> L.LightningModule:
    shape = getattr(data, "image_shape", None)
    if isinstance(model, L.LightningModule):
        return model
    if isinstance(model, (str, Path)):
        return SampleFolder(str(model), shape)
    if isinstance(model, (Tensor, np.ndarray, list, tuple)):
        return GivenSamples(model, shape)
    if isinstance(model, nn.Module):
        name = type(model).__name__
        raise TypeError(
            f"report_card must know the inputs of {name}: Wrapped(model, latent_dim=...) for a "
            "module of latents, or a function of n"
        )
    if callable(model):
        return Wrapped(model, shape)
    raise TypeError(
        "model must be a LightningModule with sample(n), a function of n, a path or images, got a "
        f"{type(model).__name__}"
    )


@contextmanager
def _quiet() -> Iterator[None]:
    """Hides Lightning's list of devices and its advice on loaders, but no other warnings."""
    logger = logging.getLogger("lightning.pytorch")
    before = logger.level
    logger.setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings():
            for start in (
                "The '.*_dataloader' does not have many workers",
                "`isinstance\\(treespec",
            ):
                warnings.filterwarnings("ignore", message=f"\\s*{start}")
            yield
    finally:
        logger.setLevel(before)
