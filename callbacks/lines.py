"""Progress of a training, on a terminal and where there is none."""

from time import monotonic

import lightning as L
from lightning.pytorch.callbacks import ProgressBar, RichProgressBar
from lightning.pytorch.callbacks.progress.rich_progress import RichProgressBarTheme


class Bar(RichProgressBar):
    """Lightning's bar, with losses in few digits and without the number of the run."""

    def __init__(self):
        super().__init__(leave=False, theme=RichProgressBarTheme(metrics_format=".4g"))

    def get_metrics(self, trainer: L.Trainer, pl_module: L.LightningModule) -> dict:
        metrics = super().get_metrics(trainer, pl_module)
        metrics.pop("v_num", None)  # the run directory says it
        return metrics


class ProgressLines(ProgressBar):
    """One line an epoch, and one a minute in long epochs: for logs, where a bar would be thousands.

    Args:
        seconds: Between two lines of one epoch.
    """

    def __init__(self, seconds: float = 60.0):
        super().__init__()
        self.seconds = seconds
        self._enabled = True
        self._last = monotonic()
        self._began: tuple[float, float] | None = None  # when, and at which share of the training

    def disable(self) -> None:  # Lightning, on ranks other than 0
        self._enabled = False

    def enable(self) -> None:
        self._enabled = True

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
        if not self._enabled:
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
        return f"  {_spoken(seconds)} left" if seconds >= 1 else ""


def _share(trainer: L.Trainer) -> float:
    """How much of the training is done, 0 to 1; 0 where no number says where it ends."""
    loop, shares = trainer.fit_loop.epoch_loop, [0.0]
    if trainer.max_steps > 0:
        shares.append(trainer.global_step / trainer.max_steps)
    if (epochs := trainer.max_epochs or 0) > 0 and 0 < trainer.num_training_batches < float("inf"):
        shares.append((loop.total_batch_idx + 1) / (epochs * trainer.num_training_batches))
    return min(1.0, max(shares))


def _spoken(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def _written(value: object) -> str:
    if not isinstance(value, float):
        return str(value)
    return f"{value:.0f}" if 1e3 <= abs(value) < 1e9 else f"{value:.4g}"
