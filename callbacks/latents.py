"""Pictures of a latent space: one dimension at a time, all of a plane, images edited there."""

from typing import Any

import lightning as L
import torch
from torch import Tensor

from ..batches import take, to
from ..checks import at_least
from ..conditions import asked_of
from ..images import from_uint8
from ..latent import direction, edit, manifold, traverse
from ..protocols import Decoder, Encoder
from ..report.figures import grid
from ..run import Run
from .pictures import Picture, _bytes, first_conditions

MEASURED = 2_000  # images of a split that are looked at, at most


class Traversals(Picture):
    """A held-out image's latent with one dimension after the other led through the prior.

    Those that change the image most come first: what a model has no use for is below, or left out.

    Args:
        count: Rows, each a dimension.
        steps: Images in a row.
        reach: From -reach to reach standard deviations of the prior.
    """

    name, needs = "traversals", (Encoder, Decoder)

    def __init__(
        self,
        count: int = 10,
        steps: int = 9,
        reach: float = 3.0,
        every_n_epochs: int = 1,
        seed: int = 0,
    ) -> None:
        super().__init__(every_n_epochs, seed)
        at_least(1, count=count)
        at_least(2, steps=steps)
        self.count, self.steps, self.reach = count, steps, reach

    def draw(self, run: Run, model: L.LightningModule) -> Tensor:
        x, _, *condition = _images(run, model, run.split)
        one = [take(y, slice(1)) for y in condition]
        z = model.encode(x[:1], *one)
        walks = traverse(model, z[0], None, self.steps, self.reach, *one)  # (D, steps, C, H, W)
        change = walks.flatten(2).var(dim=1).sum(1)  # (D,)
        first = change.argsort(descending=True)[: self.count]
        rows = [f"z{i}" for i in first.tolist()]
        return grid(_bytes(walks[first].flatten(0, 1), model), self.steps, rows=rows)


class Manifold(Picture):
    """All of a latent plane, evenly by the probability of its prior. For models with 2 latents.

    Args:
        side: Images each way.
        label: Of a conditional model, whose plane it is: a class, or the place of a held-out image
            whose condition it has.
    """

    name, needs = "manifold", (Decoder,)

    def __init__(
        self, side: int = 16, label: int = 0, every_n_epochs: int = 1, seed: int = 0
    ) -> None:
        super().__init__(every_n_epochs, seed)
        at_least(2, side=side)
        self.side, self.label = side, label

    def able(self, model: L.LightningModule) -> bool:
        plane = getattr(model, "latent_dim", None) == 2
        return super().able(model) and (plane or self.required)  # who asked is told why not

    def draw(self, run: Run, model: L.LightningModule) -> Tensor:
        if asked_of(model).num_classes:
            y = torch.tensor([self.label], device=model.device)
        else:
            y = first_conditions(run, model, self.label + 1)
            y = y if y is None else take(y, slice(self.label, self.label + 1))
        return grid(_bytes(manifold(model, self.side, y).flatten(0, 1), model), self.side)


class Edits(Picture):
    """Held-out images of one class, moved step by step in the direction of another.

    On the left the image, then what is decoded at strengths 0 to `reach`, where 1 is the
    difference between the classes' mean codes, measured on training images.

    Args:
        source: The label of the images.
        target: The label they are to get.
        count: Rows, each an image: the first ones, not the best.
        steps: Strengths.
        reach: The last of them.
    """

    name, needs = "edits", (Encoder, Decoder)

    def __init__(
        self,
        source: int,
        target: int,
        count: int = 6,
        steps: int = 8,
        reach: float = 1.5,
        every_n_epochs: int = 1,
        seed: int = 0,
    ) -> None:
        super().__init__(every_n_epochs, seed)
        at_least(1, count=count)
        at_least(2, steps=steps)
        if source == target:
            raise ValueError(f"target must be another label than source, got {target} for both")
        self.source, self.target = source, target
        self.count, self.steps, self.reach = count, steps, reach

    def draw(self, run: Run, model: L.LightningModule) -> Tensor:
        x, labels, *condition = _images(run, model, "train", self.source, self.target)
        along = direction(model, x, labels == self.target, *condition)
        x, _, *condition = _images(run, model, run.split, self.source)
        x, *condition = (take(part, slice(self.count)) for part in (x, *condition))
        strengths = torch.linspace(0, self.reach, self.steps).tolist()
        moved = [edit(model, x, along, strength, *condition) for strength in strengths]
        rows = torch.stack((x, *moved), dim=1)  # (count, 1 + steps, C, H, W)
        return grid(_bytes(rows.flatten(0, 1), model), 1 + self.steps)


def _images(run: Run, model: L.LightningModule, part: str, *labels: int) -> tuple[Any, ...]:
    """Images (B, C, H, W) of these labels (all, if none is given), as the model takes them, their
    labels (B,), and their `*condition`."""
    real = run.real(part, MEASURED)
    images, y, condition = real.images, real.labels, real.given(model)
    if y is None:
        y = images.new_full((len(images),), -1, dtype=torch.int64)
        condition = (y,) if asked_of(model).num_classes else condition
    if labels:
        chosen = torch.isin(y, torch.tensor(labels))
        for label in labels:
            if not (y == label).any():
                raise ValueError(f"label must occur in the {part} data, got {label}")
        images, y, *condition = (take(part, chosen) for part in (images, y, *condition))
    images = from_uint8(images.to(model.device), model.dtype)
    return images, *(to(part, model.device) for part in (y, *condition))
