"""Detection of losses that diverge, with a warning that names them."""

import math

import lightning as L
import torch
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor

# A loss is huge if it is at least GROWN times its value at the first batch (or 1, if that was less)
# at two checks, since sums over pixels start large; or at least HUGE once. Not detected are losses
# that grow less, and, in a resumed training, losses that had grown before.
GROWN, HUGE = 1e6, 1e12


class Losses:
    """The losses of a training, tensors that are read from the GPU only at a check.

    Attributes:
        last: The last loss of each player; "": that of a model without players.
    """

    def __init__(self) -> None:
        self.last: dict[str, Tensor] = {}
        self._first: dict[str, Tensor] = {}
        self._grown: set[str] = set()  # whose loss was huge at the last check
        self._named: set[str] = set()

    def keep_first(self) -> None:
        """Stores the first loss of each player."""
        for name in self.last.keys() - self._first.keys():
            self._first[name] = self.last[name].float().mean()

    def name_lost(self, model: L.LightningModule, last: bool = False) -> None:
        """Warns once about losses that are not finite, and once about huge losses.

        Args:
            model: The model, for the warning.
            last: Whether this is the last check: then a loss that has just grown is named, too.
        """
        if not self.last:
            return
        self.keep_first()  # a subclass with its own on_train_batch_end may have left it out
        pairs = [(self.last[name], self._first[name]) for name in self.last]
        values = torch.stack([loss.float().mean() for pair in pairs for loss in pair]).tolist()
        named = dict(zip(self.last, zip(values[::2], values[1::2], strict=True), strict=True))
        grown = {n for n, (now, first) in named.items() if abs(now) >= GROWN * max(1, abs(first))}
        stays = grown if last else grown & self._grown
        lost = {n: now for n, (now, _) in named.items() if not abs(now) < HUGE or n in stays}
        self._grown = grown
        kinds = {"huge" if math.isfinite(value) else "not finite" for value in lost.values()}
        if kinds <= self._named:
            return
        self._named |= kinds
        words = " and ".join(
            f"the loss of {f'the {n}' if n else f'this {type(model).__name__}'} is {value:.3g}"
            for n, value in lost.items()
        )
        clip = "clip_norm" if hasattr(model, "clip_norm") else "Trainer(gradient_clip_val=...)"
        rank_zero_warn(
            f"step {model.trainer.global_step:,}: {words}: start again, or from an earlier "
            f"checkpoint, with a smaller lr or {clip}, if no image of the data has NaN"
        )
