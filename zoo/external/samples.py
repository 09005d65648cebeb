"""Samples of another program as a model."""

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
    """Given samples as a model, for the evaluations.

        report_card(GivenSamples(images), FashionMNIST("data"))

    Each image is used once, in a fixed random order: repeated images would count as collisions, and
    the first images may be of few classes. If an evaluation asks for more images than there are, it
    gets all of them.

    Args:
        images: Images in a form of `as_images`: an array or a tensor, a list of Pillow's images,
            bytes or floats in [-1, 1], channels first or last.
        image_shape: (C, H, W) that the images must have; None: any.
        labels: Integers (N,), the classes for which the images were drawn; None: unlabelled.
        name: Name of the samples in reports.

    Raises:
        ValueError: these are no images, or of another shape, or seem to be in [0, 1].
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
        """n of the images at random, without repetition.

        Raises:
            ValueError: n is more than the number of images, or labels are asked for.
        """
        if y is not None:
            raise ValueError("y must be None: these images were made before anybody asked")
        self._check(n)
        return self._give(torch.randperm(self.num_available)[:n])

    def sample_at(self, start: int, n: int) -> Tensor:
        """n images from position `start` of the fixed random order, (n, C, H, W)."""
        self._check(start + n)
        return self._give(self.order[start : start + n])

    def labels_at(self, start: int, n: int) -> Tensor | None:
        """The labels (n,) of `sample_at(start, n)`; None: the images are unlabelled."""
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
    """External samples in files.

        genzoo test --model SampleFolder --model.path DIR --data FashionMNIST
        genzoo test --model SampleFolder --model.path DIR --data RealFolder --data.path REAL

    Args:
        path: A folder, with all folders below it; a .zip, which is not unpacked; or an .npz with
            an array `images` (or a single one of any name), uint8 (N, H, W, C), (N, C, H, W) or
            (N, H, W).
        image_shape: (C, H, W) that the images must have; None: any.
        num_classes: K, the number of classes of the labels: an array `labels` of the .npz, or
            folders with the names of the data's classes or with their numbers, 0..K-1. 0: the
            images are unlabelled.
        resize: How images of another size are resized to `image_shape`: "bicubic" and "bilinear"
            with antialiasing, "area" by means. The protocol of every number names it, since it
            changes the numbers. "none": such images are refused.
        class_names: Names of the data's classes; none: classes are numbers.

    Raises:
        ValueError: the path does not exist, or has no image, a broken one, one of another size, or
            colour images where grey ones are expected, or the reverse.
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
    """The images, if they have this shape (C, H, W); grey ones may be saved in colour."""
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
