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

    def disable(self) -> None:  # Lightning, on ranks other than 0
        self._enabled = False

    def enable(self) -> None:
        self._enabled = True

    def get_metrics(self, trainer: L.Trainer, pl_module: L.LightningModule) -> dict:
        metrics = super().get_metrics(trainer, pl_module)
        metrics.pop("v_num", None)
        return metrics

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
        print(f"epoch {trainer.current_epoch + 1}{last}{place}  {values}", flush=True)


def _written(value: object) -> str:
    if not isinstance(value, float):
        return str(value)
    return f"{value:.0f}" if 1e3 <= abs(value) < 1e9 else f"{value:.4g}"
