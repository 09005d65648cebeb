"""The report card: one page that answers three questions about a trained model.

Has it memorised? Does it look real? Is it as diverse as the data? Each with a verdict in words,
the numbers behind it with their intervals, and the protocol without which they mean nothing.
"""

from pathlib import Path
from typing import Any

import lightning as L
from lightning.pytorch.utilities import rank_zero_warn

from .card import QUESTIONS, Number, Report, Section, spoken, written
from .figures import figure_path, log_figure, to_picture
from .real import data_name
from .wandb import SafeWandbLogger

__all__ = ["Number", "Report", "ReportCard", "Section", "evaluations", "spoken", "written"]


def publish(
    trainer: L.Trainer, pl_module: L.LightningModule, section: Section, prefix: str = ""
) -> None:
    """Gives numbers and figures to all loggers. Must be called on all ranks, with equal numbers."""
    values = {f"{prefix}{name}": number.value for name, number in section.numbers.items()}
    log_numbers(pl_module, values)
    pl_module.log("step", float(trainer.global_step))  # the axis that figures have
    for name, figure in section.figures.items():
        log_figure(trainer, f"{prefix}{section.title}/{name}", figure)


def log_numbers(pl_module: L.LightningModule, values: dict[str, float]) -> None:
    """Logs values that are the same on all ranks."""
    for name, value in values.items():
        # The greatest of equal values is exact, their mean not quite.
        pl_module.log(name, float(value), batch_size=1, sync_dist=True, reduce_fx="max")


class ReportCard(L.Callback):
    """Gathers what all evaluations of the Trainer found in a test, and writes one page of it.

    `report.html`, `report.md` and `report.json` in the folder of the run (`trainer.log_dir`), the
    terminal, and the run summary of W&B. Its place among the callbacks does not matter. Numbers
    and pictures reach the loggers by themselves.

    Attributes:
        report: The last one.
        shown: Whether it is printed.
    """

    report: Report | None = None
    shown: bool = True

    def on_test_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        folder = Path(trainer.log_dir or trainer.default_root_dir)  # asks all ranks
        if not trainer.is_global_zero:
            return
        step = trainer.global_step
        report = Report(_model_name(pl_module), data_name(trainer), step)
        for callback in trainer.callbacks:
            if isinstance(section := getattr(callback, "section", None), Section):
                report.sections.append(section)
                for name in section.figures:
                    path = figure_path(folder, f"test/{section.title}/{name}", step)
                    report.paths[f"{section.title}/{name}"] = path.relative_to(folder).as_posix()
            for name, picture in getattr(callback, "figures", {}).items():
                report.figures[name] = to_picture(picture)
                path = figure_path(folder, f"test/{name}", step)
                report.paths[name] = path.relative_to(folder).as_posix()
        order = [*QUESTIONS]
        report.sections.sort(key=lambda s: order.index(s.title) if s.title in order else 99)
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
            if isinstance(logger, SafeWandbLogger):
                summarise(report, logger)
        if self.shown:
            report.print(rest)


def summarise(report: Report, logger: SafeWandbLogger) -> None:
    """Flags, verdicts and numbers for the summary of a run on W&B, and all numbers as a table."""
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
    """What a report calls the model: images from elsewhere have a name of their own."""
    name = getattr(model, "name", None)
    return name if isinstance(name, str) and name else type(model).__name__


def _float(value: Any) -> float | None:
    return None if value is None else float(value)


def _near(folder: Path) -> str:
    """A folder as one would type it here."""
    here = Path.cwd()
    return str(folder.relative_to(here) if folder.is_relative_to(here) else folder)


def evaluations(**settings: Any) -> list[L.Callback]:
    """All that can be asked of a model, for `Trainer(callbacks=evaluations())`.

    What a model cannot be asked is passed over: one that only samples has no likelihood.

    Args:
        settings: Those of `Evaluation`: extractor, num_samples, num_samples_fit,
            every_n_epochs, seed, num_real.
    """
    from .diversity import Diversity
    from .filters import Filters
    from .likelihood import Likelihood
    from .memorisation import Memorisation
    from .realism import Realism
    from .samples import Interpolations, Reconstructions, Samples

    few = {name: settings[name] for name in ("every_n_epochs", "seed") if name in settings}
    callbacks: list[L.Callback] = [
        *(kind(**settings) for kind in (Memorisation, Realism, Diversity)),
        Likelihood(seed=settings.get("seed", 0)),
        *(kind(**few) for kind in (Samples, Interpolations, Reconstructions, Filters)),
    ]
    for callback in callbacks:
        callback.required = False
    return [*callbacks, ReportCard()]
