"""The batches of a model: reading those of any loader, and checking the first ones."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, IterableDataset

from .. import batches
from ..conditions import Classes, Nothing
from ..images import check_images, from_uint8, refuse_from_zero

ENOUGH = 8  # images from which a range of [0, 1] is detected; a single one may be light


class Inputs:
    """Mixin for a model that reads and checks batches."""

    _looked_at, _lowest, _highest = 0, float("inf"), -float("inf")  # images, and their values

    def unpack(self, batch: Any) -> tuple[Tensor, Any]:
        """(x, y) of any loader's batch, the input of all steps; bytes are scaled to [-1, 1].

        Without labels, y is -1 for each image. A model with other batches overrides this method
        and `check_data`.
        """
        x, y = batches.unpack(batch)
        x = from_uint8(x).to(self.dtype) if x.dtype == torch.uint8 else x
        x = x.to(self.dtype) if x.is_floating_point() else x
        if y is None:
            if (known := self.num_classes or self.learnt_classes) and self.trainer.training:
                raise ValueError(
                    f"batches must be (x, y) with labels y for a {type(self).__name__} of "
                    f"{known} classes, got images alone"
                )
            if self.condition.from_data:
                raise ValueError(
                    f"batches must be (x, y) with y {self.condition.form(len(x))} for this "
                    f"{type(self).__name__}, got images alone"
                )
            y = torch.full((len(x),), -1, device=x.device)
        if self.condition.from_data:
            return x, self.condition.read(y, self.dtype)
        if isinstance(y, Tensor) and y.ndim == 1 and not y.is_floating_point():
            y = y.long()
        return x, y

    def conditioned(self, batch: Any) -> tuple[Any, ...]:
        """(x, *condition) of a batch: images, and y if the model has a condition."""
        x, y = batch
        return x, *self.condition.arguments(y)

    def _keep_conditions(self, batch: Any) -> None:
        """Keeps the first conditions of the training, for `sample(n)`."""
        kept = 0 if self.bank is None else batches.size(self.bank)
        if kept < self.bank_size:
            rows = batches.take(batch[1], slice(self.bank_size - kept))
            rows = batches.to(rows, "cpu")
            self.bank = batches.join([rows] if self.bank is None else [self.bank, rows])

    def check_data(self, batch) -> None:
        """Refuses first batches with which training would fail silently."""
        x, _ = batch
        shape, who = getattr(self, "_image_shape", None), "the training data"
        self._looked_at += len(x)
        if shape is None:
            return
        if x.shape[1:] != shape:
            wanted = ", ".join(map(str, shape))
            raise ValueError(
                f"{who} must be (B, {wanted}), got {tuple(x.shape)}{_instead(x, shape)}"
            )
        if len(shape) == 1:
            if not torch.isfinite(x).all():
                raise ValueError(f"{who} must be finite points, got NaN or infinity")
            return
        check_images(x, shape, who)
        self._lowest = min(self._lowest, x.min().item())
        self._highest = max(self._highest, x.max().item())
        # A constant image has no range.
        if self._looked_at >= ENOUGH and self._lowest < self._highest:
            refuse_from_zero(self._lowest, who)

    def _refuse_lone_images(self, batch) -> None:
        """Refuses batches of one image if a layer normalises over the batch; also as the last batch
        of an epoch, where the training would fail."""
        if not any(isinstance(m, nn.BatchNorm1d) and m.training for m in self.modules()):
            return
        if len(batch[0]) == 1:
            got = "1: a larger batch_size"
        elif self._last_batch() == 1:
            got = "1 in the last: drop_last=True"
        else:
            return
        raise ValueError(
            "batches must have at least 2 images where a network has batch normalisation, "
            f"got {got} in the DataLoader mends it"
        )

    def _last_batch(self) -> int:
        """Images in the last batch of an epoch; 0 if it is unknown, or if the training ends
        before."""
        loader, batches = self.trainer.train_dataloader, self.trainer.num_training_batches
        if not isinstance(loader, DataLoader) or isinstance(loader.dataset, IterableDataset):
            return 0
        if not loader.batch_size or loader.drop_last or batches < len(loader):
            return 0
        if 0 <= self.trainer.max_steps < batches:
            return 0
        return len(loader.sampler) % loader.batch_size or loader.batch_size

    def check_labels(self, batch) -> None:
        """Refuses a first batch whose y is not the condition, before a network fails."""
        x, y = batch
        if self.learnt_classes and not self.num_classes:
            Classes(self.learnt_classes).check(y, len(x), withheld=True)
        elif self.condition != Nothing():
            self.condition.check(y, len(x))


def _instead(x: Tensor, shape: tuple[int, ...]) -> str:
    """A remedy for images of another shape, if there is an obvious one."""
    if len(shape) != 3:
        return ""
    channels, *sides = shape
    if x.shape[1:] == (*sides, channels):
        return ": x.permute(0, 3, 1, 2) puts the channels first"
    if channels == 1 and x.shape[1:] == tuple(sides):
        return ": x[:, None] gives them a channel"
    if x.ndim == 4:
        return f": resize them, or give the model image_shape={tuple(x.shape[1:])}"
    return ""
