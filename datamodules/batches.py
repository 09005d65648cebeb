"""Images in memory, and batches of them whose place can be found again.

A DataLoader fetches images one by one, in an order that nobody can recall. Here a batch is one
indexing of a tensor and training is one endless row of batches, an epoch after another, each in an
order that is a function of (seed, epoch): so the place in the data is a number of images. Lightning
keeps it in its checkpoints, and a run that was killed or stopped goes on with the batches that the
unbroken run would have seen, or, with other batches or another number of ranks, with the images.

These loaders are not DataLoaders on purpose: Lightning exchanges the sampler of a DataLoader when
there are several ranks, and pads the shares of validation and test, so that images count twice.
There are no workers either: the images are decoded already, and one indexing is faster than a
queue between processes.
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
    """Images with their labels; a subclass may add what else is known of each image:

        @dataclass(frozen=True, eq=False)
        class Captioned(Images):
            captions: Tensor  # int64 (N, L)

            @property
            def conditions(self):
                return self.captions

    Args:
        images: uint8 (N, C, H, W); points of a toy are floats (N, 2).
        labels: int64 (N,), -1 where unlabelled.
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
        """Some of the images, with all that is known of them."""
        some = {name: _some(values, index) for name, values in self.fields().items()}
        return dataclasses.replace(self, **some)

    def fields(self) -> dict[str, Any]:
        """What there is of each image, by name: tensors or arrays (N, ...), or lists of N."""
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}

    @property
    def conditions(self) -> Any:
        """What a batch carries as y: the labels, or more than them, tensors by name if several."""
        return self.labels


def _some(values: Any, index: Tensor) -> Any:
    """The entries of one field that an index (n,) names."""
    if isinstance(values, Tensor):
        return values.index_select(0, index)
    if isinstance(values, (list, tuple)):
        return type(values)(values[i] for i in index.tolist())
    return values[index.numpy()]


class Batches(Described):
    """One rank's share of all images, in order, each image once over the ranks.

    Shares and last batches may be smaller than others: nothing is repeated, nothing left out.

    Args:
        data: What to go through.
        batch_size: Images a batch and rank.
        rank: This process's number.
        world_size: How many processes share the images.
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
    """Full batches without end, in a new order each epoch, with a place to resume from.

    Going through it gives the batches of one epoch's length, from where it was left. Every rank has
    as many; what does not fill a batch is dropped, other images each epoch. The batches of all
    ranks together do not depend on the number of ranks.

    Args:
        seed: The order is a function of this and the epoch.
    """

    def __init__(
        self, data: Images, batch_size: int, rank: int = 0, world_size: int = 1, seed: int = 0
    ):
        super().__init__(data, batch_size, rank, world_size)
        self.seed = seed
        self.given = 0  # batches handed out, over all epochs
        self.epoch = 0
        self.used = 0  # images of this epoch that all ranks together were given

    def state_dict(self) -> dict[str, int]:
        return {"batches": self.given, "epoch": self.epoch, "images": self.used}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Goes on after the images that were used; older checkpoints have the batches only."""
        self.given = state["batches"]
        epoch, step = divmod(self.given, len(self))
        self.epoch = state.get("epoch", epoch)
        self.used = state.get("images", step * self.whole)
        self._finish_epoch()

    @property
    def whole(self) -> int:
        """Images a step, over all ranks."""
        return self.batch_size * self.world_size

    @property
    def left(self) -> int:
        """Batches that are to come in this epoch."""
        return (len(self.data) - self.used) // self.whole

    def __len__(self) -> int:
        return len(self.data) // self.whole

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        # Lightning's idea of the epoch is not asked: it calls an epoch over when max_steps ends it.
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
    """Sets a new loader to the place of the training: that of its checkpoint or of the last loader.

    Lightning keeps a loader's place but forgets it where an epoch has just ended. Where batches
    are of another size than those of the checkpoint, its epoch is as far as the images are.
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
    """Batches twice as large: images without their labels, then as many labelled ones.

    The former are those of `TrainingBatches`, all with the label -1. The latter are drawn with
    replacement from the few that keep their label, the first of each class (Salimans et al., 2016,
    sec. 5, https://arxiv.org/abs/1606.03498: a step sees as many labelled images as others).

    Args:
        labels_per_class: How many keep their label.

    Attributes:
        labelled: (K * labels_per_class,) their places in the data.

    Raises:
        ValueError: a class has fewer images.
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
