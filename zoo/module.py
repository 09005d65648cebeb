"""What every model of the zoo shares, beyond being a LightningModule: a training that can be
killed and resumed to the bit.

The noise of a training step is a function of (seed, rank, batch number). So a resumed run draws
what the unbroken one would have drawn, two ranks never draw the same, and an evaluation in
between disturbs nothing.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import wraps
from itertools import zip_longest

import lightning as L
import numpy as np
import torch
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor, nn


class GenerativeModel(L.LightningModule):
    """Base of the zoo's models.

    Attributes:
        image_shape: (C, H, W), or (D,) for points.
        num_classes: K of a class-conditional model; 0: unconditional.
        class_names: What the data called them, of a model from a checkpoint.
    """

    image_shape: tuple[int, ...]
    num_classes: int = 0
    class_names: tuple[str, ...] = ()

    def __init_subclass__(cls, **kwargs) -> None:
        super().__init_subclass__(**kwargs)
        if "sample" in vars(cls):
            cls.sample = _counted(cls.sample)

    noise_seed: int | None = None
    _looked_at_labels = False

    def on_fit_start(self) -> None:
        self._choose_noise()
        self._looked_at_labels = False

    def _choose_noise(self) -> None:
        if self.noise_seed is None:  # else a checkpoint brought it
            self.noise_seed = self.trainer.strategy.broadcast(torch.initial_seed())

    def on_train_batch_start(self, batch, batch_idx) -> None:
        self._choose_noise()  # Lightning's Tuner trains before `on_fit_start`
        if not self._looked_at_labels:
            self.check_labels(batch)
            self._looked_at_labels = True
        place = self.trainer.fit_loop.epoch_loop.total_batch_idx
        key = (self.noise_seed, self.trainer.global_rank, place)
        seed = int(np.random.SeedSequence(key).generate_state(1, np.uint64)[0] >> 1)
        if self.device.type == "cpu":
            torch.default_generator.manual_seed(seed)  # the other asks for every device
        else:
            torch.manual_seed(seed)

    def check_labels(self, batch) -> None:
        """Refuses a first batch that no class stands for, before a network fails over it."""
        if self.num_classes:
            x, y = batch
            self.labels(len(x), y)

    def on_save_checkpoint(self, checkpoint: dict) -> None:
        if self._trainer is not None:
            keep_place(self._trainer, checkpoint)
        checkpoint["noise_seed"] = self.noise_seed
        # So that the file alone is enough to draw from.
        checkpoint["class_path"] = f"{type(self).__module__}.{type(self).__qualname__}"
        data = self._trainer and getattr(self._trainer, "datamodule", None)
        checkpoint["class_names"] = list(getattr(data, "class_names", self.class_names))

    def on_load_checkpoint(self, checkpoint: dict) -> None:
        """Raises: ValueError: the data has other classes than those that the model knows."""
        self.noise_seed = checkpoint.get("noise_seed")
        if self._trainer is not None and self._trainer.state.fn == "fit":
            self._keep_rates(checkpoint.get("hyper_parameters", {}))
        self.class_names = tuple(checkpoint.get("class_names", ()))
        data = self._trainer and getattr(self._trainer, "datamodule", None)
        names = tuple(getattr(data, "class_names", ()))
        if self.num_classes and self.class_names and names and names != self.class_names:
            at = next(i for i, (a, b) in enumerate(zip_longest(names, self.class_names)) if a != b)
            now, then = (some[at] if at < len(some) else None for some in (names, self.class_names))
            raise ValueError(
                f"class_names must be those of the checkpoint, in their order: "
                f"class {at} was {then!r}, got {now!r}"
            )

    def _keep_rates(self, made: dict) -> None:
        """The optimizers go on with the rates of the checkpoint, so the model says these too."""
        for name, value in made.items():
            ours = self.hparams.get(name, value)
            if name.split("_")[-1] not in ("lr", "betas") or listed(ours) == listed(value):
                continue
            rank_zero_warn(
                f"{name} {ours} has no effect: a training that goes on keeps the optimizers of its "
                f"checkpoint, with {name} {value}. To start from its weights alone: init_from"
            )
            self.hparams[name] = value
            if hasattr(self, name):
                setattr(self, name, value)

    # Lightning enters the loops of validation and test only where these exist; the callbacks do
    # the work.
    def validation_step(self, batch, batch_idx) -> None:
        """Nothing of its own to measure."""

    def test_step(self, batch, batch_idx) -> None:
        """Nothing of its own to measure."""

    def on_validation_end(self) -> None:
        # The axis of this validation's numbers. It would stay, and name later checkpoints.
        self.trainer.callback_metrics.pop("step", None)

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
        if n and not 0 <= y.min() <= y.max() < self.num_classes:
            got = f"{y.min().item()}..{y.max().item()}"
            raise ValueError(f"y must be in 0..{self.num_classes - 1}, got {got}")
        return y


def _counted(sample):
    """A model's `sample(n, ...)` that refuses what is no number of images."""

    @wraps(sample)
    def checked(self, n, *args, **kwargs):
        if not hasattr(n, "__index__") or n < 0:
            raise ValueError(f"n must be a whole number of images, 0 or more, got {n}")
        return sample(self, n, *args, **kwargs)

    return checked


def listed(value):
    """A tuple as the list that it comes back as from a file."""
    return list(value) if isinstance(value, tuple) else value


def keep_place(trainer: L.Trainer, checkpoint: dict) -> None:
    """Makes a checkpoint say of its epoch what is true: open after a batch, over after its last.

    Where a limit ends the training inside an epoch, Lightning says that the epoch is over, and a
    longer training would go on with a new one; what is saved after the last batch it takes for
    open, and then counts one epoch too few. Both would end, save and validate elsewhere than a
    training that was never stopped.
    """
    loop = trainer.fit_loop.epoch_loop
    batches, place = loop.batch_progress, checkpoint["loops"]["fit_loop"]
    epoch = place["epoch_progress"]
    if not 0 < batches.current.ready == batches.current.processed:
        return  # nothing was trained, or a step is being taken
    if batches.is_last_batch:
        for counts in ("total", "current"):
            batch = place["epoch_loop.batch_progress"][counts]
            if counts == "total" and batch["completed"] < batch["processed"]:
                place["epoch_loop.state_dict"]["_batches_that_stepped"] += 1
            batch["completed"] = batch["processed"]
            epoch[counts]["processed"] = epoch[counts]["ready"]
        return
    for counts in epoch.values():
        for event in ("processed", "completed"):
            counts[event] = min(counts[event], counts["ready"] - 1)
    checkpoint["epoch"] = trainer.fit_loop.epoch_progress.current.ready - 1


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
