"""Losses that run away: looked at now and then, and named."""

import math

import lightning as L
import torch
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor

# A loss is huge from GROWN times what it was at the first batch, or 1 if that was less, where it
# stays so; sums over pixels begin large. From HUGE on it is so at once. Missed: one that grows by
# less, and in a training that goes on, one that had grown before.
GROWN, HUGE = 1e6, 1e12


class Losses:
    """The losses of a training, each a tensor that no GPU is asked for until it is looked at.

    Attributes:
        last: Of each player; "": of a model without any.
    """

    def __init__(self) -> None:
        self.last: dict[str, Tensor] = {}
        self._first: dict[str, Tensor] = {}
        self._grown: set[str] = set()  # whose loss was huge when it was last looked at
        self._said: set[str] = set()

    def keep_first(self) -> None:
        """Remembers those that have come for the first time."""
        for name in self.last.keys() - self._first.keys():
            self._first[name] = self.last[name].float().mean()

    def name_lost(self, model: L.LightningModule, last: bool = False) -> None:
        """Says once which losses are not finite, and once which are huge.

        Args:
            last: Whether no other look follows: one that has just grown is said, too.
        """
        if not self.last:
            return
        pairs = [(self.last[name], self._first[name]) for name in self.last]
        values = torch.stack([loss.float().mean() for pair in pairs for loss in pair]).tolist()
        named = dict(zip(self.last, zip(values[::2], values[1::2], strict=True), strict=True))
        grown = {n for n, (now, first) in named.items() if abs(now) >= GROWN * max(1, abs(first))}
        stays = grown if last else grown & self._grown
        lost = {n: now for n, (now, _) in named.items() if not abs(now) < HUGE or n in stays}
        self._grown = grown
        kinds = {"huge" if math.isfinite(value) else "not finite" for value in lost.values()}
        if kinds <= self._said:
            return
        self._said |= kinds
        said = " and ".join(
            f"the loss of {f'the {n}' if n else f'this {type(model).__name__}'} is {value:.3g}"
            for n, value in lost.items()
        )
        clip = "clip_norm" if hasattr(model, "clip_norm") else "Trainer(gradient_clip_val=...)"
        rank_zero_warn(
            f"step {model.trainer.global_step:,}: {said}: start again, or from an earlier "
            f"checkpoint, with a smaller lr or {clip}, if no image of the data has NaN"
        )
