"""Augmentation of training images, on uint8: images are mirrored and shifted at random.

The random numbers are a function of the seed and the position in the data, so a resumed run uses
the same images as an uninterrupted one, on any number of ranks.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from .batches import TrainingBatches, generator


class Augmented:
    """Training batches whose images are mirrored and shifted at random.

    Args:
        loader: The batches, and their position.
        mirror: Whether a random half of the images is mirrored left to right.
        shifts: Maximum number of pixels by which an image is shifted along each side; the free
            border repeats the edge of the image.
    """

    def __init__(self, loader: TrainingBatches, mirror: bool = False, shifts: int = 0):
        self.loader, self.mirror, self.shifts = loader, mirror, shifts

    def __len__(self) -> int:
        return len(self.loader)

    def state_dict(self) -> dict[str, Any]:
        return self.loader.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.loader.load_state_dict(state)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        loader = self.loader
        for x, y in loader:
            place = (loader.seed, *loader.state_dict().values())
            random = generator("augment", *place)
            # Drawn for all ranks together, each takes its share.
            shape = (len(x) * loader.world_size, 3)
            drawn = torch.rand(shape, generator=random)[loader.rank :: loader.world_size]
            yield self.augment(x, drawn), y

    def augment(self, x: Tensor, drawn: Tensor) -> Tensor:
        """Images (B, C, H, W) of any dtype, mirrored and shifted by random numbers (B, 3) in [0,
        1)."""
        if self.mirror:
            x = torch.where(drawn[:, 0, None, None, None] < 0.5, x.flip(-1), x)
        if self.shifts:
            down, right = (drawn[:, 1:] * (2 * self.shifts + 1)).long().sub(self.shifts).unbind(1)
            height, width = x.shape[-2:]
            rows = (torch.arange(height) + down[:, None]).clamp(0, height - 1)  # (B, H)
            columns = (torch.arange(width) + right[:, None]).clamp(0, width - 1)  # (B, W)
            batch = torch.arange(len(x))[:, None, None]
            # Channels come last of an index that is broken by a slice.
            x = x[batch, :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2).contiguous()
        return x
