"""A picture of the weights of hidden units."""

import lightning as L
import torch
from torch import Tensor

from ..protocols import Filtering
from ..report.figures import grid
from ..run import Run
from .pictures import Grid


def shaded(filters: Tensor) -> Tensor:
    """Weights (n, C, H, W) as uint8 images: 0 is grey, and each unit's largest weight is white
    or black."""
    largest = filters.abs().amax((1, 2, 3), keepdim=True).clamp(min=1e-12)
    return (filters.float() / largest).mul(127).add(128).round().to(torch.uint8)


class Filters(Grid):
    """The weights between hidden units and pixels; units with the largest norms come first.

    Args:
        count: Largest number of units.
        columns: Images in a row.
    """

    name, needs = "filters", (Filtering,)

    def draw(self, run: Run, model: L.LightningModule) -> Tensor:
        filters = model.filters()
        heaviest = filters.flatten(1).norm(dim=1).argsort(descending=True)[: self.count]
        return grid(shaded(filters[heaviest]), self.columns)
