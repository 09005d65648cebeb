"""Samples that another program has drawn, as a model."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import lightning as L
import torch
from torch import Tensor

from ...images import from_uint8
from ...rng import shuffled
from .forms import as_bytes
from .reading import Resize, read_images


class GivenSamples(L.LightningModule):
    """Images that were drawn before anybody asked, to be tested like a model's.

        report_card(GivenSamples(images), FashionMNIST("data"))

    Each is looked at once, in an order that was shuffled once and for all: repeated ones would be
    taken for collisions, and the first of many might be of few classes. Where an evaluation wants
    more than there are, it gets all that there are.

    Args:
        images: What `as_images` takes: an array or a tensor, a list of Pillow's images, bytes or
            floats in [-1, 1], channels first or last.
        image_shape: (C, H, W) that the images must have; None: what they have.
        labels: Integers (N,), the classes that they were asked for; None: unlabelled.
        name: What a report calls them.

    Raises:
        ValueError: they are no images, or not of this shape, or look as if in [0, 1].
    """

    def __init__(
        self,
        images: Any,
        image_shape: tuple[int, ...] | None = None,
        labels: Any = None,
        name: str = "given samples",
    ) -> None:
        super().__init__()
        images = as_bytes(images, image_shape, name)
        if labels is not None:
            labels = torch.as_tensor(labels).long()
            if labels.shape != (len(images),) or (labels < 0).any():
                got = tuple(labels.shape)
                raise ValueError(f"labels must be ({len(images)},) and 0 or more, got {got}")
        classes = 0 if labels is None else int(labels.max()) + 1
        self._keep(_fitting(images, image_shape, name), labels, classes, name)

    def _keep(self, images: Tensor, labels: Tensor | None, num_classes: int, name: str) -> None:
        self.images = images  # no buffer: it stays where it is
        self.image_shape, self.num_classes = tuple(images.shape[1:]), num_classes
        self.labels = labels if num_classes else None
        self.num_available = len(images)
        self.order = shuffled(self.num_available)
        self.name = name
        self.sample_protocol: dict[str, str] = {}  # what was done to them before

    def sample(self, n: int, y: Tensor | None = None) -> Tensor:
        """Some of the images at random, none of them twice.

        Raises:
            ValueError: n is more than there are, or labels are asked for.
        """
        if y is not None:
            raise ValueError("y must be None: these images were made before anybody asked")
        self._check(n)
        return self._give(torch.randperm(self.num_available)[:n])

    def sample_at(self, start: int, n: int) -> Tensor:
        self._check(start + n)
        return self._give(self.order[start : start + n])

    def labels_at(self, start: int, n: int) -> Tensor | None:
        self._check(start + n)
        return None if self.labels is None else self.labels[self.order[start : start + n]]

    def _give(self, index: Tensor) -> Tensor:
        return from_uint8(self.images[index].to(self.device), self.dtype)

    def _check(self, n: int) -> None:
        if n > self.num_available:
            raise ValueError(
                f"n must be at most {self.num_available}, the number of images in {self.name}, "
                f"none of which is given twice, got {n}"
            )


class SampleFolder(GivenSamples):
    """Images that were made elsewhere, in files.

        genzoo test --model SampleFolder --model.path DIR --data FashionMNIST
        genzoo test --model SampleFolder --model.path DIR --data RealFolder --data.path REAL

    Args:
        path: A folder, with all folders below it; a .zip, which is not unpacked; or an .npz with
            an array `images` (or a single one of any name), uint8 (N, H, W, C), (N, C, H, W) or
            (N, H, W).
        image_shape: (C, H, W) that the images must have; None: what they have.
        num_classes: K, and the images have labels: an array `labels` of the .npz, or folders that
            are called as the data calls its classes, or by their numbers, 0..K-1. 0: unlabelled.
        resize: How images of another height and width are brought to `image_shape`: "bicubic" and
            "bilinear" with antialiasing, "area" by means. It stands in the protocol of every
            number, because it changes them. "none": such images are refused.
        class_names: What the data calls its classes; none: they go by their numbers.

    Raises:
        ValueError: there is nothing at the path, no image in it, a broken one, or one of another
            size, or in colour where grey is asked for, or the reverse.
    """

    def __init__(
        self,
        path: str,
        image_shape: tuple[int, ...] | None = None,
        num_classes: int = 0,
        resize: Resize = "none",
        class_names: Sequence[str] | None = None,
    ) -> None:
        L.LightningModule.__init__(self)
        source = Path(path).expanduser()
        images, labels, sizes = read_images(source, image_shape, resize, class_names or ())
        if num_classes and not ((labels >= 0) & (labels < num_classes)).all():
            got = sorted(set(labels.tolist()))
            named = f"called {', '.join(class_names[:9])} or " if class_names else ""
            raise ValueError(
                f"the images of a conditional model must have labels in 0..{num_classes - 1}, by "
                f"folders {named}of these names or an array `labels` of an .npz, got "
                f"{got[0]}..{got[-1]} (-1: none) in {source}"
            )
        self._keep(
            _fitting(images, image_shape, source), labels, num_classes, source.resolve().name
        )
        if sizes:
            self.sample_protocol = {"samples_resized": f"{resize}, from {sizes}"}


def _fitting(images: Tensor, shape: tuple[int, ...] | None, path: Any) -> Tensor:
    """The images, if they are of this (C, H, W); grey ones may have been saved as colour."""
    if shape is None:
        return images
    if len(shape) != 3:
        raise ValueError(f"image_shape must be (C, H, W), got {tuple(shape)}")
    if shape[0] == 1 and images.shape[1] == 3 and (images == images[:, :1]).all():
        images = images[:, :1]
    found, wanted = (_spoken(size) for size in (images.shape[1:], shape))
    if found != wanted:
        same = shape[0] == images.shape[1]
        hint = " (resize: bicubic, bilinear or area)" if same else ""
        raise ValueError(f"the images in {path} must be like the data, {wanted}, got {found}{hint}")
    return images


def _spoken(shape: Iterable[int]) -> str:
    channels, height, width = shape
    return f"{height}x{width} {'grey' if channels == 1 else 'in colour'}"
