"""Throughput of a training."""

from time import perf_counter

import lightning as L
from lightning.pytorch.callbacks import Callback
from torch import Tensor


class Throughput(Callback):
    """Logs "images/s" of training: over all ranks, with loading of data, without validation."""

    def __init__(self) -> None:
        super().__init__()
        self._restart()

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._restart()  # a resumed training may start within an epoch

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._restart()

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._restart()

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx) -> None:
        while not isinstance(batch, Tensor):  # the images come first
            if not isinstance(batch, (list, tuple)) or not batch:
                return  # another form of batch
            batch = batch[0]
        self._images += len(batch) * trainer.world_size
        rate = self._images / (perf_counter() - self._since)
        pl_module.log("images/s", rate, prog_bar=True, batch_size=1)
        if (batch_idx + 1) % trainer.log_every_n_steps == 0:
            self._restart()

    def _restart(self) -> None:
        self._images, self._since = 0, perf_counter()
