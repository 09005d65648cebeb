"""Progress of long loops, next to Lightning's bars, and of trainings in logs."""

from collections.abc import Iterable, Iterator
from time import monotonic
from typing import TypeVar

import lightning as L
from lightning.pytorch.callbacks import ProgressBar, RichProgressBar, TQDMProgressBar
from lightning.pytorch.callbacks.progress.rich_progress import RichProgressBarTheme

from .._lightning import place_of
from ..watch import SILENT, Lines, shown

Item = TypeVar("Item")


def track(
    trainer: L.Trainer,
    iterable: Iterable[Item],
    description: str,
    total: int,
    lines: Lines | None = None,
) -> Iterator[Item]:
    """The items of the iterable, with a display of progress and of the time left.

    Loops of more than two seconds are shown: by a task in Lightning's `RichProgressBar` while it is
    live; with other bars by a temporary bar, on a terminal and in a notebook; otherwise in lines.
    With `TQDMProgressBar` there is always a temporary bar, from the beginning. Nothing is shown if
    the Trainer shows no bar, or on ranks other than 0.

    Args:
        lines: The lines of the work of which this loop is a step; None: it is its own work.
    """
    lines = lines or Lines()
    bar = trainer.progress_bar_callback if trainer.is_global_zero else None
    live = (
        isinstance(bar, RichProgressBar)
        and bar.progress is not None
        and bar.progress.live.is_started
    )
    if bar is None or not getattr(bar, "is_enabled", True):
        yield from iterable
    elif live:
        live_bar = bar.progress.console.is_terminal or bar.progress.console.is_jupyter
        task = bar.progress.add_task(description, total=total, visible=False)
        late = monotonic() + SILENT
        try:
            for item in iterable if live_bar else lines(iterable, description, total):
                yield item
                bar.progress.update(task, advance=1, visible=monotonic() >= late)
        finally:
            bar.progress.remove_task(task)
    elif isinstance(bar, TQDMProgressBar):
        from tqdm.auto import tqdm

        yield from tqdm(iterable, description, total, leave=False)
    else:
        yield from shown(iterable, description, total, lines)


class Parts(ProgressBar):
    """A progress bar that shows loops of evaluations (`track`), but not batches."""

    def __init__(self) -> None:
        super().__init__()
        self.is_enabled = True

    def disable(self) -> None:  # Lightning, on ranks other than 0
        self.is_enabled = False

    def enable(self) -> None:
        self.is_enabled = True


# Progress of a training


class Bar(RichProgressBar):
    """Lightning's bar, with losses in four digits and without the version of the run."""

    def __init__(self):
        super().__init__(leave=False, theme=RichProgressBarTheme(metrics_format=".4g"))

    def get_metrics(self, trainer: L.Trainer, pl_module: L.LightningModule) -> dict:
        metrics = super().get_metrics(trainer, pl_module)
        metrics.pop("v_num", None)  # the run directory has it
        return metrics


class ProgressLines(ProgressBar):
    """Prints a line each epoch, and each minute in long epochs: for logs, where a bar would print
    thousands of lines.

    Args:
        seconds: Seconds between two lines of one epoch.
    """

    def __init__(self, seconds: float = 60.0):
        super().__init__()
        self.seconds = seconds
        self.is_enabled = True
        self._last = monotonic()
        self._began: tuple[float, float] | None = None  # time, and share of the training

    def disable(self) -> None:  # Lightning, on ranks other than 0
        self.is_enabled = False

    def enable(self) -> None:
        self.is_enabled = True

    def get_metrics(self, trainer: L.Trainer, pl_module: L.LightningModule) -> dict:
        metrics = super().get_metrics(trainer, pl_module)
        metrics.pop("v_num", None)
        return metrics

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._began = monotonic(), _share(trainer)

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx) -> None:
        if monotonic() - self._last >= self.seconds:
            total = trainer.num_training_batches
            self._line(trainer, pl_module, f" batch {batch_idx + 1}/{total}")

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._line(trainer, pl_module)

    def _line(self, trainer: L.Trainer, pl_module: L.LightningModule, place: str = "") -> None:
        self._last = monotonic()
        if not self.is_enabled:
            return
        last = f"/{trainer.max_epochs}" if (trainer.max_epochs or 0) > 0 else ""
        metrics = self.get_metrics(trainer, pl_module)
        values = "  ".join(f"{name} {_written(value)}" for name, value in metrics.items())
        line = f"epoch {trainer.current_epoch + 1}{last}{place}  {values}{self._left(trainer)}"
        print(line, flush=True)

    def _left(self, trainer: L.Trainer) -> str:
        if self._began is None or not _share(trainer) > self._began[1]:
            return ""
        since, share = self._began
        seconds = (monotonic() - since) * (1 - _share(trainer)) / (_share(trainer) - share)
        return f"  {_time_left(seconds)} left" if seconds >= 1 else ""


def _share(trainer: L.Trainer) -> float:
    """The share of the training that is done, 0 to 1; 0 if its length is unknown."""
    shares = [0.0]
    if trainer.max_steps > 0:
        shares.append(trainer.global_step / trainer.max_steps)
    if (epochs := trainer.max_epochs or 0) > 0 and 0 < trainer.num_training_batches < float("inf"):
        shares.append((place_of(trainer) + 1) / (epochs * trainer.num_training_batches))
    return min(1.0, max(shares))


def _time_left(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def _written(value: object) -> str:
    if not isinstance(value, float):
        return str(value)
    return f"{value:.0f}" if 1e3 <= abs(value) < 1e9 else f"{value:.4g}"
