"""Pictures of a latent space: traversals of dimensions, a plane, and edits of images."""

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

MEASURED = 2_000  # largest number of images of a split that are encoded


class Traversals(Picture):
    """Decoded images of a held-out image's latent, each of whose dimensions is varied in a row.

    Dimensions that change the image most come first; unused ones are last, or left out.

    Args:
        count: Rows, each a dimension.
        steps: Images in a row.
        reach: Range of a dimension, from -reach to reach standard deviations of the prior.
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
    """Decoded images of a grid in a two-dimensional latent space, at quantiles of the prior.

    Args:
        side: Images in a row and in a column.
        label: Condition for a conditional model: a class, or the index of the held-out image with
            this condition.
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
        return super().able(model) and (plane or self.required)  # the user gets an error

    def draw(self, run: Run, model: L.LightningModule) -> Tensor:
        if asked_of(model).num_classes:
            y = torch.tensor([self.label], device=model.device)
        else:
            y = first_conditions(run, model, self.label + 1)
            y = y if y is None else take(y, slice(self.label, self.label + 1))
        return grid(_bytes(manifold(model, self.side, y).flatten(0, 1), model), self.side)


class Edits(Picture):
    """Held-out images of one class, edited step by step in the direction of another.

    Each row has the image, then decoded images at strengths 0 to `reach`, where strength 1 adds
    the difference between the classes' mean codes on training images.

    Args:
        source: Label of the images.
        target: Label in whose direction they are edited.
        count: Rows, each for one of the first images, which are not selected.
        steps: Number of strengths.
        reach: The largest strength.
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
    """Images (B, C, H, W) in [-1, 1] with these labels (all images if none is given), their labels
    (B,), and their `*condition`."""
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
