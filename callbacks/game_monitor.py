"""Detects failures in a game between generator and discriminator during training.

Losses do not show failures, since each depends on an opponent that changes. These numbers do:

    game/told_apart   how often the discriminator scores an image above a sample (area under the
                      ROC curve): 1 always, 0.5 at chance, for scores on any scale
    game/gradient     the norm of the generator's last gradient
    game/offset       how far the mean sample is from the mean image
    game/spread       mean distance between samples, over that between images
    game/swing        distance of the mean sample from that of the last measurement

Distances of means are in standard deviations of the data: the root of the pixels' summed
variances. All measurements use the same latents, so that a swing is due to the generator alone.

The failures are those of Goodfellow's tutorial (https://arxiv.org/abs/1701.00160, sec. 5) and of
Arjovsky and Bottou, 2017 (https://arxiv.org/abs/1701.04862). The thresholds are our own, from runs
that were made to fail.
"""

from collections import deque
from collections.abc import Mapping
from typing import Any

import lightning as L
import torch
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor, nn

from ..batches import take
from ..conditions import asked_of
from ..modes import evaluating
from ..protocols import Sampler, Scorer
from ..rng import isolated

SHOWN = ("told_apart", "gradient", "offset", "spread", "swing")
ADVICE = {
    "discriminator too good": "the generator has hardly a gradient left; a loss that does not "
    "saturate, fewer d_steps, r1, spectral_norm or augment give it one",
    "discriminator too bad": "it cannot tell samples from data that differ in their very mean; a "
    "larger lr or more d_steps for it, a wider network, or less that holds it back",
    "collapse": "samples are nearly all alike; a smaller lr, more d_steps, or a loss that looks at "
    "several samples (ImprovedGAN, WGANGP) may bring the others back",
    "oscillation": "samples move without arriving; a smaller lr, r1, or ema_decay, which averages "
    "the circle, may settle it",
}


def told_apart(real: Tensor, fake: Tensor) -> float:
    """The share of pairs in which the real score is the higher one, ties counting half.

    Args:
        real: Scores (n,).
        fake: Scores (m,).
    """
    higher = (real[:, None] > fake).double() + (real[:, None] == fake).double() / 2
    return higher.mean().item()


def spread(x: Tensor) -> Tensor:
    """The mean distance between two different rows of (n, d)."""
    return torch.pdist(x).mean()


class GameMonitor(L.Callback):
    """Measures a game every few steps, logs the numbers, and warns of a failure with advice.

    Models without `score(x)` and a `generator` are skipped, and so are batches other than (x, y)
    with at least two images. The training is unchanged, to the bit.

    Args:
        every_n_steps: Steps of the generator between two measurements.
        count: Number of samples, and of images of the batch, in a measurement.
        patience: Number of measurements in a row that must show a failure before a warning.

    Attributes:
        named: Failures that it warned of, each with its step, in order.
    """

    TOO_GOOD, STARVED, STILL = 0.99, 0.01, 0.03  # accuracy; gradient over the largest; swing
    TOO_BAD, OFFSET = 0.6, 0.5
    COLLAPSED = 0.2  # share of the data's spread
    RESTLESS, IDLE = 0.8, 1 / 3  # mean swing; distance from first to last over the sum of swings

    def __init__(self, every_n_steps: int = 100, count: int = 128, patience: int = 4) -> None:
        super().__init__()
        settings = (("every_n_steps", every_n_steps, 1), ("count", count, 2))
        for name, value, least in (*settings, ("patience", patience, 1)):
            if value < least:
                raise ValueError(f"{name} must be at least {least}, got {value}")
        self.every_n_steps, self.count, self.patience = every_n_steps, count, patience
        self.named: list[tuple[str, int]] = []
        self._looks: deque[dict[str, Any]] = deque(maxlen=max(patience, 6) + 1)
        self._largest, self._lasting = 0.0, set()

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx) -> None:
        generator = getattr(pl_module, "generator", None)
        able = isinstance(pl_module, Scorer) and isinstance(pl_module, Sampler)
        if not able or not isinstance(generator, nn.Module):
            return
        step = trainer.global_step
        if step == 0 or step % self.every_n_steps:
            return
        if self._looks and self._looks[-1]["step"] == step:
            return  # only the discriminator was trained since
        pair = isinstance(batch, (list, tuple)) and len(batch) == 2
        kinds = (Tensor, Mapping)
        if not pair or not all(isinstance(part, kinds) for part in batch) or len(batch[0]) < 2:
            return  # another form of batch
        look = self._look(pl_module, generator, batch)
        for name in SHOWN:
            if name in look:
                pl_module.log(f"game/{name}", look[name], batch_size=1, sync_dist=True)
        self._looks.append(look | {"step": step})
        self._name_failures(step)

    def _look(self, model: L.LightningModule, generator: nn.Module, batch: Any) -> dict[str, Any]:
        x, y = (take(part, slice(self.count)) for part in batch)
        condition = asked_of(model).arguments(y)
        gradients = [p.grad.norm() for p in generator.parameters() if p.grad is not None]
        gradient = torch.stack(gradients).norm().item() if gradients else 0.0
        with isolated(0), evaluating(model):
            samples = model.sample(len(x), *condition)
            scores = (model.score(images, *condition) for images in (x, samples))
            apart = told_apart(*scores)
        data, fake = x.flatten(1).float(), samples.flatten(1).float()
        unit = data.var(0).sum().sqrt()
        mean = fake.mean(0)
        look = {
            "told_apart": apart,
            "gradient": gradient,
            "offset": ((mean - data.mean(0)).norm() / unit).item(),
            "spread": (spread(fake) / spread(data)).item(),
            "mean": mean,
            "unit": unit,
        }
        if self._looks:
            look["swing"] = self._way(self._looks[-1], look)
        self._largest = max(self._largest, gradient)
        return look

    def _way(self, before: dict[str, Any], after: dict[str, Any]) -> float:
        return ((after["mean"] - before["mean"]).norm() / after["unit"]).item()

    def failures(self) -> set[str]:
        """The failures that all of the last measurements show."""
        recent = list(self._looks)[-self.patience :]
        if len(recent) < self.patience:
            return set()
        shown = [self._shown(look) for look in recent]
        found = set.intersection(*shown)
        if "discriminator too good" in found:
            found.discard("collapse")  # the samples were never diverse
        if len(self._looks) == self._looks.maxlen:
            first, *others = self._looks
            length = sum(look["swing"] for look in others)
            progress = self._way(first, others[-1])
            if length > self.RESTLESS * len(others) and progress < self.IDLE * length:
                found.add("oscillation")
        return found

    def _shown(self, look: dict[str, Any]) -> set[str]:
        """The failures that one measurement shows."""
        starved = look["gradient"] < self.STARVED * self._largest
        still = look.get("swing", 0.0) < self.STILL and look["offset"] > self.OFFSET
        shown = {
            "discriminator too good": look["told_apart"] > self.TOO_GOOD and (starved or still),
            "discriminator too bad": look["told_apart"] < self.TOO_BAD
            and look["offset"] > self.OFFSET,
            "collapse": look["spread"] < self.COLLAPSED,
        }
        return {failure for failure, does in shown.items() if does}

    def _name_failures(self, step: int) -> None:
        found = self.failures()
        for failure in sorted(found - self._lasting):
            self.named.append((failure, step))
            last = self._looks[-1]
            numbers = ", ".join(f"{name} {last[name]:.2g}" for name in SHOWN if name in last)
            rank_zero_warn(f"step {step:,}: {failure} ({numbers}): {ADVICE[failure]}")
        self._lasting = found

    def state_dict(self) -> dict[str, Any]:
        return {"largest": self._largest}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._largest = state_dict["largest"]
