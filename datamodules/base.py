"""ImageData: the base class of the DataModules.

Images are kept in memory as uint8, indexed a batch at a time, moved to the device as uint8 (a
quarter of the bytes of floats) and scaled to [-1, 1] there. The split into training, validation and
test images is disjoint and a function of the seed; where a set has official test images, those are
the test images. A checkpoint records the split (`splits.py`), so that an evaluation warns if images
that were trained on are held out.

A new data set is three lines:

    class Mine(ImageData):
        raw_shape, class_names = (3, 32, 32), ("cat", "dog")

        def read(self):
            return {"train": Images(images, labels)}        # "val", "test" too where they exist
"""

import os
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal

import lightning as L
import torch
import torch.nn.functional as F
from torch import Tensor

from ..arguments import Described
from ..batches import with_images
from ..checks import at_least, on_this_machine
from ..conditions import Classes, Condition, Nothing
from ..images import from_uint8
from .augment import Augmented
from .batches import Batches, Images, SemiSupervisedBatches, TrainingBatches, generator, go_on
from .splits import Record, cut

PARTS = ("train", "val", "test")
STAGES = {"fit": ("train", "val"), "validate": ("val",), "test": ("test",), "predict": ("test",)}


def square(images: Tensor, size: int, how: str = "crop") -> Tensor:
    """Images as squares of `size` pixels (bicubic, antialiased).

    >>> square(torch.zeros(2, 3, 40, 60, dtype=torch.uint8), 16).shape
    torch.Size([2, 3, 16, 16])

    Args:
        images: uint8 (N, C, H, W).
        size: Pixels a side. The result is uint8 (N, C, size, size).
        how: "crop" keeps the central square, "pad" adds a white border to the shorter side,
            "stretch" resizes each side by itself.
    """
    height, width = images.shape[-2:]
    if how == "crop":
        side = min(height, width)
        top, left = (height - side) // 2, (width - side) // 2
        images = images[..., top : top + side, left : left + side]
    elif how == "pad":
        side = max(height, width)
        top, left = (side - height) // 2, (side - width) // 2
        border = [left, side - width - left, top, side - height - top]
        images = F.pad(images, border, value=255)
    if tuple(images.shape[-2:]) == (size, size):
        return images
    return F.interpolate(images, size=(size, size), mode="bicubic", antialias=True)


class ImageData(Described, L.LightningDataModule, ABC):
    """Images in memory, with a split and loaders.

    A subclass sets `raw_shape` and `class_names` and defines `read`. `image_shape`, `num_classes`,
    `class_names`, `condition` and `name` are known after construction, before data are read.

    Args:
        root: Folder of the data; None: the environment variable GENZOO_DATA, or else `data`.
        batch_size: Images in a batch on each device. In training incomplete batches are dropped.
        image_size: Pixels of a side of the square images; 0 keeps the size of the data.
        binarise: "none"; "threshold" makes a pixel white if it is lighter than 0.5; "static" makes
            it white with its grey value as the probability, drawn once with the seed
            (Salakhutdinov and Murray, 2008, https://doi.org/10.1145/1390156.1390266).
            Both give uint8 images of 0 and 255.
        conditional: Whether the labels, or `own_condition`, are a condition of the model.
        seed: Seed of the split, the order of the epochs and the static binarisation.
        val_size: Validation images: a fraction below 1, or a count. They are taken from the
            training images if the data set has no validation images.
        num_train: Number of training images to use; 0: all. They are the first of the split's
            order: a larger number includes the images of a smaller one, and validation and test
            images do not change.
        labels_per_class: Number of training images of each class that keep their label. A training
            batch then has twice `batch_size` images: unlabelled ones (-1), then as many labelled
            ones (`SemiSupervisedBatches`). 0: all images are labelled.
        square: How images become square: "crop" keeps the central square, "pad"
            adds a white border, "stretch" resizes each side by itself.
        mirror: Whether a random half of the training images is mirrored left to right; evaluations
            use the original images.
        shifts: Maximum number of pixels by which training images are shifted along each side; the
            free border repeats the edge of the image. Evaluations use the original images.
    """

    raw_shape: tuple[int, ...]  # of the images as they are read
    class_names: tuple[str, ...] = ()  # none: unlabelled
    own_condition: Condition | None = None  # the condition, if it is more than the labels
    pad_to: int = 0  # the image_size that is reached by a black border instead of resizing
    test_size: float = 0.1  # as val_size, for sets without test images of their own

    def __init__(
        self,
        root: str | None = None,
        batch_size: int = 128,
        image_size: int = 0,
        binarise: Literal["none", "threshold", "static"] = "none",
        conditional: bool = False,
        seed: int = 0,
        val_size: float = 0.1,
        num_train: int = 0,
        labels_per_class: int = 0,
        square: Literal["crop", "pad", "stretch"] = "crop",
        mirror: bool = False,
        shifts: int = 0,
    ):
        super().__init__()
        at_least(1, batch_size=batch_size)
        if image_size < 0:
            raise ValueError(f"image_size must be 0 or more pixels, got {image_size}")
        if binarise not in ("none", "threshold", "static"):
            raise ValueError(f"binarise must be none, threshold or static, got {binarise!r}")
        at_least(0, seed=seed)
        if num_train < 0:
            raise ValueError(f"num_train must be 0 (all) or more, got {num_train}")
        if conditional and not self.class_names and self.own_condition is None:
            raise ValueError(
                f"conditional must be False for images without labels, got {conditional}"
            )
        at_least(0, labels_per_class=labels_per_class)
        if labels_per_class and not conditional:
            raise ValueError(
                f"conditional must be True with labels_per_class {labels_per_class}, got False: "
                "the model does not see labels otherwise"
            )
        check_size("val_size", val_size)
        if square not in ("crop", "pad", "stretch"):
            raise ValueError(f"square must be crop, pad or stretch, got {square!r}")
        at_least(0, shifts=shifts)
        if (mirror or shifts) and len(self.raw_shape) != 3:
            raise ValueError(f"mirror and shifts must be off for what are no images, got {shifts}")
        self.square, self.mirror, self.shifts = square, mirror, shifts
        root = data_root(root)
        self.root, self.batch_size, self.image_size = root, batch_size, image_size
        self.binarise, self.conditional, self.seed = binarise, conditional, seed
        self.val_size, self.num_train = val_size, num_train
        self.labels_per_class = labels_per_class
        self.name = type(self).__name__
        self.image_shape = self.raw_shape
        if image_size:
            self.image_shape = (self.raw_shape[0], image_size, image_size)
        self._chosen: dict[str, tuple[Any, Tensor]] = {}  # where each split comes from
        self._splits: dict[str, Images] = {}
        self._record: Record | None = None
        self._compared = False

    @property
    def num_classes(self) -> int:
        """Number of classes; 0 for unlabelled images."""
        return len(self.class_names)

    @property
    def condition(self) -> Condition:
        """The condition that a model gets from a batch's y."""
        if not self.conditional:
            return Nothing()
        return self.own_condition or Classes(self.num_classes, self.class_names)

    def __str__(self) -> str:  # Lightning's reads all the data, and knows DataLoaders only
        classes = f"{self.num_classes} classes" if self.num_classes else "unlabelled"
        return f"{self.name}, {tuple(self.image_shape)}, {classes}"

    @abstractmethod
    def read(self) -> Mapping[str, Images]:
        """The official parts of the data: "train", and "val" and "test" if they exist.

        A part is an `Images`, or any object with a length that gives `Images` for a tensor of
        indices, so that only the used images are decoded.
        """

    def setup(self, stage: str | None = None) -> None:
        for part in STAGES.get(stage, PARTS):
            self.split(part)

    def split(self, part: Literal["train", "val", "test"]) -> Images:
        """All images of a split, with their labels, on the CPU; they are read at the first call."""
        if part not in PARTS:
            raise ValueError(f"part must be one of {', '.join(PARTS)}, got {part!r}")
        if part not in self._splits:
            self._choose()
            source, index = self._chosen[part]
            self._splits[part] = self._take(source, index, part)
            self._chosen[part] = None, index  # the memory may go once all splits are taken
        return self._splits[part]

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint records of the data: the split, and a fingerprint."""
        return self._record.state_dict() if self._record else {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Compares the data with those of the checkpoint.

        Raises:
            ValueError: images of the training are held out now.
        """
        self._choose()
        self._compared = True
        self._record.compare(state, self.name)

    def train_dataloader(self) -> Batches:
        """Raises: ValueError: there are fewer training images, or labels, than are asked for."""
        images, share = self.split("train"), self._share()
        whole = self.batch_size * share["world_size"]
        if len(images) < whole:
            raise ValueError(
                f"batch_size must be at most the {len(images) // share['world_size']}"
                f" training images of each rank, got {self.batch_size}:"
                f" --data.batch_size {max(1, len(images) // share['world_size'])}"
            )
        few = self.labels_per_class
        if self.trainer is not None and self.trainer.overfit_batches > 0:  # the same each epoch
            if few:
                raise ValueError(f"labels_per_class must be 0 with overfit_batches, got {few}")
            full = torch.arange(len(images) // whole * whole)
            return Batches(images[full], self.batch_size, **share)
        share["seed"] = self.seed
        loader = (
            SemiSupervisedBatches(images, self.batch_size, few, **share)
            if few
            else TrainingBatches(images, self.batch_size, **share)
        )
        if self.trainer is not None:
            go_on(loader, self.trainer)
        if self.mirror or self.shifts:
            return Augmented(loader, self.mirror, self.shifts)
        return loader

    def val_dataloader(self) -> Batches:
        return Batches(self.split("val"), self.batch_size, **self._share())

    def test_dataloader(self) -> Batches:
        return Batches(self.split("test"), self.batch_size, **self._share())

    def predict_dataloader(self) -> Batches:
        return self.test_dataloader()

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        """Scales uint8 images of a batch to [-1, 1] in the model's dtype; y does not change."""
        dtype = self.trainer.lightning_module.dtype if self.trainer is not None else torch.float32

        def scale(x: Tensor) -> Tensor:
            return from_uint8(x).to(dtype) if x.dtype == torch.uint8 else x

        return with_images(batch, scale)

    def _share(self) -> dict[str, int]:
        if self.trainer is None:
            return {"rank": 0, "world_size": 1}
        return {"rank": self.trainer.global_rank, "world_size": self.trainer.world_size}

    def _choose(self) -> None:
        """Chooses the images of each split, once."""
        if self._chosen:
            return
        if self.trainer is None:  # no Trainer does
            self.prepare_data()
        data = self.read()
        self._chosen = {part: (source, torch.arange(len(source))) for part, source in data.items()}
        held_out = {"test": self.test_size, "val": self.val_size}
        sizes = {part: size for part, size in held_out.items() if part not in data}
        names = getattr(data["train"], "names", None)
        order, held = cut(len(data["train"]), sizes, self.seed, names)
        for part, index in held.items():
            self._chosen[part] = data["train"], index
        if self.num_train > len(order):
            raise ValueError(
                f"num_train must be at most the {len(order)} training images, got {self.num_train}"
            )
        count = self.num_train or len(order)
        self._chosen["train"] = data["train"], order
        self._record = Record.of(self._chosen, self.seed, held_out, count)
        self._chosen["train"] = data["train"], order[:count]

    def _take(self, source: Any, index: Tensor, part: str) -> Images:
        """The images of a split."""
        return self._finish(source[index], part)

    def _finish(self, data: Images, part: str) -> Images:
        images = data.images
        if images.dtype == torch.uint8:
            if self.image_size and self.image_size == self.pad_to:
                margin = (self.pad_to - images.shape[-1]) // 2
                images = F.pad(images, [margin] * 4)
            elif self.image_size:
                images = square(images, self.image_size, self.square)
            if self.binarise == "threshold":
                images = images.gt(127).to(torch.uint8).mul(255)
            elif self.binarise == "static":
                random = generator(f"binarise {part}", self.seed)
                images = torch.cat([bernoulli(chunk, random) for chunk in images.split(4096)])
        if tuple(images.shape[1:]) != tuple(self.image_shape):
            raise ValueError(
                f"raw_shape must be the shape of the images that read() gives,"
                f" {tuple(data.images.shape[1:])}, got {tuple(self.raw_shape)}"
            )
        if len(data) and data.labels.max() >= self.num_classes:
            raise ValueError(
                f"class_names must name every label, got {self.num_classes} names"
                f" and the label {data.labels.max()}"
            )
        return replace(data, images=images.contiguous(), labels=data.labels.long())


def bernoulli(images: Tensor, random: torch.Generator) -> Tensor:
    """Images, uint8, whose pixels are 255 with probability `pixel / 255`, otherwise 0."""
    white = torch.rand(images.shape, generator=random) < images / 255
    return white.to(torch.uint8).mul(255)


def data_root(root: str | None) -> str:
    """The given folder, or GENZOO_DATA, or `data`.

    >>> data_root("my/images")
    'my/images'

    Raises:
        ValueError: it is an address.
    """
    root = root if root is not None else os.environ.get("GENZOO_DATA") or "data"
    on_this_machine(root=root)
    return root


def check_size(name: str, size: float) -> None:
    """Raises: ValueError: the size is neither a fraction nor a count."""
    if not (0 < size < 1 or (size >= 1 and size % 1 == 0)):
        raise ValueError(f"{name} must be a fraction between 0 and 1 or a count, got {size:g}")
