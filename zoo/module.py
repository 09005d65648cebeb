"""What every model of the zoo shares, beyond being a LightningModule: a training that can be
killed and resumed to the bit.

The noise of a training step is a function of (seed, rank, batch number). So a resumed run draws
what the unbroken one would have drawn, two ranks never draw the same, and an evaluation in
between disturbs nothing.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import lightning as L
import numpy as np
import torch
from lightning.pytorch.trainer.states import TrainerStatus
from torch import Tensor, nn

from ..checks import look, put_off, refuse_unless

LOOK_EVERY = 100  # batches: how late at most a GPU's answer to a check is looked at


class GenerativeModel(L.LightningModule):
    """Base of the zoo's models.

    Attributes:
        image_shape: (C, H, W), or (D,) for points.
        num_classes: K of a class-conditional model; 0: unconditional.
    """

    image_shape: tuple[int, ...]
    num_classes: int = 0
    noise_seed: int | None = None
    _looked_at_labels = False

    def on_fit_start(self) -> None:
        if self.noise_seed is None:  # else a checkpoint brought it
            self.noise_seed = self.trainer.strategy.broadcast(torch.initial_seed())
        self._looked_at_labels = False

    def on_train_batch_start(self, batch, batch_idx) -> None:
        if not self._looked_at_labels:
            self.check_labels(batch)
            self._looked_at_labels = True
        state = self.trainer.state  # which says so where a step ends in an error
        put_off(lambda: state.status == TrainerStatus.RUNNING)
        place = self.trainer.fit_loop.epoch_loop.total_batch_idx
        key = (self.noise_seed, self.trainer.global_rank, place)
        seed = int(np.random.SeedSequence(key).generate_state(1, np.uint64)[0] >> 1)
        if self.device.type == "cpu":
            torch.default_generator.manual_seed(seed)  # the other asks for every device
        else:
            torch.manual_seed(seed)

    def on_train_batch_end(self, outputs, batch, batch_idx) -> None:
        put_off(bool)
        if (batch_idx + 1) % LOOK_EVERY == 0:
            look()

    def on_train_epoch_end(self) -> None:
        look()

    def log_number(self, name: str, value: float) -> None:
        """Logs a number that the host knows; the GPU is not waited for, as `log` would."""
        self.log(name, torch.full((), float(value), device=self.device))

    def check_labels(self, batch) -> None:
        """Refuses a first batch that no class stands for, before a network fails over it."""
        if self.num_classes:
            x, y = batch
            self.labels(len(x), y)

    def on_save_checkpoint(self, checkpoint: dict) -> None:
        checkpoint["noise_seed"] = self.noise_seed
        # So that the file alone is enough to draw from.
        checkpoint["class_path"] = f"{type(self).__module__}.{type(self).__qualname__}"

    def on_load_checkpoint(self, checkpoint: dict) -> None:
        self.noise_seed = checkpoint.get("noise_seed")

    # Lightning enters the loops of validation and test only where these exist; the callbacks do
    # the work.
    def validation_step(self, batch, batch_idx) -> None:
        """Nothing of its own to measure."""

    def test_step(self, batch, batch_idx) -> None:
        """Nothing of its own to measure."""

    def labels(self, n: int, y: Tensor | None = None) -> Tensor | None:
        """The labels to draw n images of: those asked for, checked, or at random, or None.

        Raises:
            ValueError: y is not (n,) in 0..num_classes-1, or the model is unconditional.
        """
        if not self.num_classes:
            if y is not None:
                raise ValueError(f"y must be None: this {type(self).__name__} is unconditional")
            return None
        if y is None:
            return torch.randint(self.num_classes, (n,), device=self.device)
        y = torch.as_tensor(y, device=self.device)
        if y.shape != (n,) or y.is_floating_point():
            raise ValueError(f"y must be ({n},) integers, got {tuple(y.shape)} {y.dtype}")
        if n:
            least, most = y.min(), y.max()
            refuse_unless(
                (least >= 0) & (most < self.num_classes),
                lambda: ValueError(
                    f"y must be in 0..{self.num_classes - 1}, got {least.item()}..{most.item()}"
                ),
            )
        return y


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Evaluation mode without gradients; each part's own mode comes back afterwards."""
    modes = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        with torch.no_grad(), eager(module):
            yield
    finally:
        for part, training in modes:
            part.training = training


@contextmanager
def eager(module: nn.Module) -> Iterator[None]:
    """Networks that torch.compile replaced run as they were written.

    Looking at a model is not worth another compilation, and a penalty on a gradient cannot be
    compiled: it descends a second derivative.
    """
    compiled = [(part, call) for part in module.modules() if (call := part._compiled_call_impl)]
    for part, _ in compiled:
        part._compiled_call_impl = None
    try:
        yield
    finally:
        for part, call in compiled:
            part._compiled_call_impl = call
