"""What every model of the zoo shares, beyond being a LightningModule: a training that can be
killed and resumed to the bit.

The noise of a training step is a function of (seed, rank, batch number). So a resumed run draws
what the unbroken one would have drawn, two ranks never draw the same, and an evaluation in
between disturbs nothing.
"""

import lightning as L
import numpy as np
import torch


class GenerativeModel(L.LightningModule):
    """Base of the zoo's models. Subclasses set `image_shape` (C, H, W) and `num_classes`."""

    image_shape: tuple[int, ...]
    num_classes: int = 0
    noise_seed: int | None = None

    def on_fit_start(self) -> None:
        if self.noise_seed is None:  # else a checkpoint brought it
            self.noise_seed = self.trainer.strategy.broadcast(torch.initial_seed())

    def on_train_batch_start(self, batch, batch_idx) -> None:
        place = self.trainer.fit_loop.epoch_loop.total_batch_idx
        key = (self.noise_seed, self.trainer.global_rank, place)
        torch.manual_seed(int(np.random.SeedSequence(key).generate_state(1, np.uint64)[0] >> 1))

    def on_save_checkpoint(self, checkpoint: dict) -> None:
        checkpoint["noise_seed"] = self.noise_seed

    def on_load_checkpoint(self, checkpoint: dict) -> None:
        self.noise_seed = checkpoint.get("noise_seed")

    # The loops of validation and test are entered by Lightning only where these exist; the
    # callbacks do the work.
    def validation_step(self, batch, batch_idx) -> None:
        """Nothing of its own to measure."""

    def test_step(self, batch, batch_idx) -> None:
        """Nothing of its own to measure."""
