"""Images in memory, and batches with a position from which a training can resume.

A DataLoader loads images one by one, in an order that is not saved. Here a batch is one indexing of
a tensor, and training is an endless sequence of batches, epoch after epoch, in an order that is a
function of (seed, epoch): so the position in the data is a number of images. Lightning keeps it in
its checkpoints. A run that was killed or stopped continues with the batches that the uninterrupted
run would have used, or, with other batches or another number of ranks, with the same images.

These loaders are not DataLoaders on purpose: with several ranks Lightning replaces the sampler of
a DataLoader, and pads the shares of validation and test, so that images count twice. There are no
workers: the images are decoded already, and indexing is faster than a queue between processes.
"""

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import lightning as L
import torch
from torch import Tensor

from .._lightning import place_of
from .._lightning.training import (
    batches_begun,
    drop_places,
    loaders_before,
    move_on,
    places_to_load,
)
from ..arguments import Described
from ..rng import generator


@dataclass(frozen=True, eq=False)
class Images:
    """Images with their labels; a subclass may add further data of each image:

        @dataclass(frozen=True, eq=False)
        class Captioned(Images):
            captions: Tensor  # int64 (N, L)

            @property
            def conditions(self):
                return self.captions

    >>> images = Images(torch.zeros(4, 1, 2, 2, dtype=torch.uint8), torch.tensor([0, 1, -1, 1]))
    >>> images[torch.tensor([1, 3])].labels
    tensor([1, 1])

    Args:
        images: uint8 (N, C, H, W); points of a toy are floats (N, 2).
        labels: int64 (N,), -1 for an unlabelled image.
    """

    images: Tensor
    labels: Tensor

    def __post_init__(self) -> None:
        for name, values in self.fields().items():
            if len(values) != len(self):
                raise ValueError(
                    f"{name} must have an entry for each of the {len(self)} images, "
                    f"got {len(values)}"
                )

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: Tensor) -> "Images":
        """Some of the images, with all their data."""
        some = {name: _some(values, index) for name, values in self.fields().items()}
        return dataclasses.replace(self, **some)

    def fields(self) -> dict[str, Any]:
        """All data of the images by name: tensors or arrays (N, ...), or lists of N."""
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}

    @property
    def conditions(self) -> Any:
        """The y of a batch: the labels, or other data; several tensors as a dictionary."""
        return self.labels


def _some(values: Any, index: Tensor) -> Any:
    """The entries of one field that an index (n,) names."""
    if isinstance(values, Tensor):
        return values.index_select(0, index)
    if isinstance(values, (list, tuple)):
        return type(values)(values[i] for i in index.tolist())
    return values[index.numpy()]


class Batches(Described):
    """One rank's share of all images, in order; over all ranks each image comes once.

    Shares and last batches may be smaller than others: no image is repeated or left out.

    >>> data = Images(torch.zeros(5, 1, 2, 2, dtype=torch.uint8), torch.arange(5))
    >>> [y.tolist() for x, y in Batches(data, batch_size=2)]
    [[0, 1], [2, 3], [4]]
    >>> [y.tolist() for x, y in Batches(data, batch_size=2, rank=1, world_size=2)]
    [[1, 3]]

    Args:
        data: The images.
        batch_size: Images in a batch on each rank.
        rank: Number of this process.
        world_size: Number of processes that share the images.
    """

    def __init__(self, data: Images, batch_size: int, rank: int = 0, world_size: int = 1):
        self.data, self.batch_size, self.rank, self.world_size = data, batch_size, rank, world_size

    def __len__(self) -> int:
        return -(-len(range(self.rank, len(self.data), self.world_size)) // self.batch_size)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        share = torch.arange(self.rank, len(self.data), self.world_size)
        for index in share.split(self.batch_size):
            yield self._batch(index)

    def _batch(self, index: Tensor) -> tuple[Tensor, Tensor]:
        batch = self.data[index]
        return batch.images, batch.conditions


class TrainingBatches(Batches):
    """Full batches in a new order each epoch, with a position to resume from.

    An iteration gives as many batches as an epoch has, from the current position. All ranks have
    the same number. An incomplete batch is dropped, with other images in each epoch. The batches of
    all ranks together do not depend on the number of ranks.

    Args:
        seed: Seed of the order, which is a function of seed and epoch.
    """

    def __init__(
        self, data: Images, batch_size: int, rank: int = 0, world_size: int = 1, seed: int = 0
    ):
        super().__init__(data, batch_size, rank, world_size)
        self.seed = seed
        self.given = 0  # batches given, over all epochs
        self.epoch = 0
        self.used = 0  # images of this epoch given to all ranks together

    def state_dict(self) -> dict[str, int]:
        """The position: batches given, the epoch, and the images of it that were given."""
        return {"batches": self.given, "epoch": self.epoch, "images": self.used}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Sets the position; older checkpoints have the number of batches only."""
        self.given = state["batches"]
        epoch, step = divmod(self.given, len(self))
        self.epoch = state.get("epoch", epoch)
        self.used = state.get("images", step * self.whole)
        self._finish_epoch()

    @property
    def whole(self) -> int:
        """Images in a step over all ranks."""
        return self.batch_size * self.world_size

    @property
    def left(self) -> int:
        """Remaining batches of this epoch."""
        return (len(self.data) - self.used) // self.whole

    def __len__(self) -> int:
        return len(self.data) // self.whole

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        # Lightning's epoch is not used: it ends an epoch where max_steps ends the training.
        ordered = None
        for _ in range(len(self)):
            if self.epoch != ordered:
                random = generator("order", self.seed, self.epoch)
                order, ordered = torch.randperm(len(self.data), generator=random), self.epoch
            place, self.used = self.used, self.used + self.whole
            self._finish_epoch()
            self.given += 1
            yield self._batch(order[place + self.rank : place + self.whole : self.world_size])

    def _finish_epoch(self) -> None:
        if self.left <= 0:  # what does not fill a batch is dropped
            self.epoch, self.used = self.epoch + 1, 0


def go_on(loader: TrainingBatches, trainer: L.Trainer) -> None:
    """Sets a new loader to the position of the training: of its checkpoint or of the last loader.

    Lightning keeps the position of a loader, but not at the end of an epoch. If the batch size is
    not that of the checkpoint, the position in the epoch is given by the number of images.
    """
    before = loaders_before(trainer)
    if len(before) == 1 and isinstance(before[0], TrainingBatches):  # it is made anew each epoch
        loader.load_state_dict(before[0].state_dict())
        return
    places = places_to_load(trainer)
    if len(places) == 1 and "images" in places[0]:
        loader.load_state_dict(places[0])
        begun, used = batches_begun(trainer), places[0]["images"]
        if trainer.limit_train_batches == 1.0 and begun * loader.whole != used > 0:
            left = max(0, len(loader.data) - used) // loader.whole
            move_on(trainer, len(loader) - left - begun, over=left == 0)
        drop_places(trainer)
    else:
        loader.load_state_dict({"batches": place_of(trainer) + 1})


class SemiSupervisedBatches(TrainingBatches):
    """Batches of twice the size: unlabelled images, then as many labelled ones.

    The unlabelled images are those of `TrainingBatches`, all with the label -1. The labelled ones
    are drawn with replacement from the first images of each class, which keep their label (Salimans
    et al., 2016, https://arxiv.org/abs/1606.03498, sec. 5: a step uses as many labelled images as
    unlabelled ones).

    Args:
        labels_per_class: Number of images of each class that keep their label.

    Attributes:
        labelled: Indices of the labelled images, (K * labels_per_class,).

    Raises:
        ValueError: a class has fewer images than `labels_per_class`.
    """

    def __init__(self, data: Images, batch_size: int, labels_per_class: int, **kwargs: int):
        super().__init__(data, batch_size, **kwargs)
        counts = data.labels[data.labels >= 0].bincount()
        if not len(counts) or counts.min() < labels_per_class:
            fewest = counts.min().item() if len(counts) else 0
            raise ValueError(
                f"labels_per_class must be at most the {fewest} training images of the rarest "
                f"class, got {labels_per_class}"
            )
        places = [(data.labels == k).nonzero()[:labels_per_class, 0] for k in range(len(counts))]
        self.labelled = torch.cat(places)

    def _batch(self, index: Tensor) -> tuple[Tensor, Tensor]:
        x, y = super()._batch(index)
        random = generator("labelled", self.seed, self.given)
        whole = len(index) * self.world_size
        drawn = torch.randint(len(self.labelled), (whole,), generator=random)
        few = self.data[self.labelled[drawn[self.rank :: self.world_size]]]
        return torch.cat([x, few.images]), torch.cat([torch.full_like(y, -1), few.labels])
