"""Images that come from elsewhere: what another program has drawn, and what another program draws.

The evaluations ask a model for nothing but samples, so these are models enough for them.
"""

import os
import zipfile
import zlib
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO, Any

import lightning as L
import numpy as np
import torch
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor

from ..images import check_images, from_uint8
from .module import evaluating

GREY = ("1", "L", "LA", "La", "I;16", "I;16B", "I;16L", "I;16N")  # Pillow's modes


class SampleFolder(L.LightningModule):
    """Images that were made elsewhere, to be tested like a model's.

        genzoo test --model SampleFolder --model.path DIR --data FashionMNIST

    Each image is looked at once, in an order that was shuffled once and for all: repeated ones
    would be taken for collisions, and the first of many might be of few classes. Where an
    evaluation wants more than there are, it gets all that there are. Nothing is resized.

    Args:
        path: A folder, with all folders below it; a .zip, which is not unpacked; or an .npz with
            an array `images` (or a single one of any name), uint8 (N, H, W, C), (N, C, H, W) or
            (N, H, W).
        image_shape: (C, H, W) that the images must have; None: what they have.
        num_classes: K, and the images have labels: an array `labels` of the .npz, or folders that
            are called as the data calls its classes, or by their numbers, 0..K-1. 0: unlabelled.
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
        class_names: Sequence[str] | None = None,
    ) -> None:
        super().__init__()
        source = Path(path).expanduser()
        images, labels = (
            _read_npz(source) if source.suffix == ".npz" else _read_files(source, class_names or ())
        )
        self.images = _fitting(images, image_shape, source)  # no buffer: it stays where it is
        self.image_shape, self.num_classes = tuple(self.images.shape[1:]), num_classes
        if num_classes and not ((labels >= 0) & (labels < num_classes)).all():
            got = sorted(set(labels.tolist()))
            named = f"called {', '.join(class_names[:9])} or " if class_names else ""
            raise ValueError(
                f"the images of a conditional model must have labels in 0..{num_classes - 1}, by "
                f"folders {named}of these names or an array `labels` of an .npz, got "
                f"{got[0]}..{got[-1]} (-1: none) in {source}"
            )
        self.labels = labels if num_classes else None
        self.num_available = len(self.images)
        self.order = torch.randperm(self.num_available, generator=torch.Generator().manual_seed(0))
        self.name = source.resolve().name

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


class Wrapped(L.LightningModule):
    """Any generator as a model, for `report_card` and for any Trainer's evaluations.

        Wrapped(lambda n: pipeline(n))                       a callable
        Wrapped(generator, latent_dim=128)                   a module of z from N(0, I), (n, 128)
        Wrapped(generator, latent_dim=(100, 1, 1), low=0)    one whose images are in [0, 1]

    Args:
        generate: From the number n, or with `latent_dim` from latents (n, D), to images
            (n, C, H, W) in [low, high], tensors or arrays. Conditional ones also take labels
            (n,), second.
        image_shape: (C, H, W) that the images must have, (D,) for points; None: unchecked.
        num_classes: K of a conditional generator; 0: unconditional.
        latent_dim: D, or the shape of a latent; None: `generate` draws its own.
        low, high: Black and white, as 0 and 1, or 0 and 255.
    """

    def __init__(
        self,
        generate: Callable[..., Any],
        image_shape: tuple[int, ...] | None = None,
        num_classes: int = 0,
        latent_dim: int | tuple[int, ...] | None = None,
        low: float = -1.0,
        high: float = 1.0,
    ) -> None:
        super().__init__()
        if not callable(generate):
            raise TypeError(f"generate must be callable, got a {type(generate).__name__}")
        if not low < high:
            raise ValueError(f"high must be greater than low, {low}, got {high}")
        self.generate, self.num_classes, self.low, self.high = generate, num_classes, low, high
        self.latent_shape = (latent_dim,) if isinstance(latent_dim, int) else latent_dim
        if image_shape is not None:
            self.image_shape = tuple(image_shape)
        self.name = getattr(generate, "__name__", type(generate).__name__)

    def sample(self, n: int, y: Tensor | None = None) -> Tensor:
        given: list[Any] = [n]
        if self.latent_shape is not None:
            given = [torch.randn(n, *self.latent_shape, device=self.device, dtype=self.dtype)]
        if self.num_classes:
            given.append(
                torch.randint(self.num_classes, (n,), device=self.device) if y is None else y
            )
        with evaluating(self):
            x = torch.as_tensor(self.generate(*given)).to(self.device).float()
        if (self.low, self.high) != (-1, 1):
            x = x.sub(self.low).div((self.high - self.low) / 2).sub(1)
        elif n > 1 and x.ndim == 4 and x.min() >= 0:
            rank_zero_warn(f"the images of {self.name} look as if in [0, 1]: Wrapped(..., low=0)")
        if len(getattr(self, "image_shape", ())) == 3:
            check_images(x, self.image_shape, self.name)
        return x


# Reading


def _read_npz(path: Path) -> tuple[Tensor, Tensor]:
    """Images uint8 (N, C, H, W) and labels int64 (N,), -1 where there are none."""
    try:
        with np.load(path, allow_pickle=False) as file:
            names = [name for name in file.files if name != "labels"]
            if "images" not in names and len(names) != 1:
                raise ValueError(f"no array `images` among {', '.join(names) or 'none'}")
            images = file["images" if "images" in names else names[0]]
            labels = file["labels"] if "labels" in file.files else np.full(len(images), -1)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(f"path must be an .npz of plain arrays, got {path}: {error}") from error
    if images.dtype != np.uint8:
        raise ValueError(f"images must be uint8 in 0..255, got {images.dtype} in {path}")
    if images.ndim == 3:
        images = images[..., None]
    if images.ndim != 4 or not len(images) or not {1, 3} & {images.shape[1], images.shape[-1]}:
        raise ValueError(
            f"images must be (N, H, W, C), (N, C, H, W) or (N, H, W), got {images.shape} in {path}"
        )
    if images.shape[-1] in (1, 3):
        images = np.moveaxis(images, -1, 1)
    if labels.shape != (len(images),) or labels.dtype.kind not in "iu":
        got = f"{labels.dtype} {labels.shape}"
        raise ValueError(f"labels must be ({len(images)},) integers, got {got} in {path}")
    return torch.from_numpy(np.ascontiguousarray(images)), torch.from_numpy(labels).long()


def _read_files(path: Path, class_names: Sequence[str]) -> tuple[Tensor, Tensor]:
    """The same of a folder's or a .zip's image files, in the order of their names."""
    from ..datamodules.files import list_images  # decoders are loaded when they are needed
    from ..datamodules.layout import labels

    if path.is_dir():
        files = list_images(path, "path")
        names = [PurePosixPath(file.relative_to(path).as_posix()) for file in files]
        images = _decode_all(path, names, [partial(open, file, "rb") for file in files])
        return images, labels(names, class_names)
    if not zipfile.is_zipfile(path):
        raise ValueError(f"path must be a folder, a .zip or an .npz of images, got {path}")
    with zipfile.ZipFile(path) as archive:
        names = _images_of(archive.namelist())
        if not names:
            raise ValueError(f"path must be a .zip of images, got {path}, which has none")
        images = _decode_all(path, names, [partial(archive.open, str(name)) for name in names])
        return images, labels(names, class_names)


def _images_of(members: Iterable[str]) -> list[PurePosixPath]:
    from ..datamodules.files import is_image

    names = (PurePosixPath(member) for member in sorted(members) if not member.endswith("/"))
    return [name for name in names if is_image(name.name)]


def _decode_all(
    path: Path, names: list[PurePosixPath], openers: list[Callable[[], IO[bytes]]]
) -> Tensor:
    def place(at: int) -> np.ndarray:
        return _decode(openers[at], f"{path}{os.sep}{names[at]}")

    with ThreadPoolExecutor() as pool:  # decoders let go of the interpreter
        arrays = list(pool.map(place, range(len(names))))
    for name, array in zip(names, arrays, strict=True):
        if array.shape[:2] != arrays[0].shape[:2]:
            sizes = [
                f"{h}x{w} ({n})"
                for n, (h, w, *_) in zip(
                    (names[0], name), (arrays[0].shape, array.shape), strict=True
                )
            ]
            raise ValueError(f"the images in {path} must be of one size, got {' and '.join(sizes)}")
    if any(array.ndim == 3 for array in arrays):  # programs save grey ones of them as grey
        arrays = [np.repeat(a[..., None], 3, 2) if a.ndim == 2 else a for a in arrays]
    images = torch.from_numpy(np.stack(arrays))
    return images[:, None] if images.ndim == 3 else images.movedim(-1, 1)


def _decode(opener: Callable[[], IO[bytes]], name: str) -> np.ndarray:
    """Bytes (H, W) of a grey file, (H, W, 3) of one in colour."""
    from PIL import Image, ImageOps

    from ..datamodules.files import BROKEN, as_array

    broken = (*BROKEN, zipfile.BadZipFile, zlib.error, RuntimeError)  # the last: encrypted
    try:
        with opener() as file, Image.open(file) as image:
            return as_array(ImageOps.exif_transpose(image), 1 if image.mode in GREY else 3)
    except broken as error:
        raise ValueError(f"{name} must be a whole image file, got: {error}") from error


def _fitting(images: Tensor, shape: tuple[int, ...] | None, path: Path) -> Tensor:
    """The images, if they are of this (C, H, W); grey ones may have been saved as colour."""
    if shape is None:
        return images
    if len(shape) != 3:
        raise ValueError(f"image_shape must be (C, H, W), got {tuple(shape)}")
    if shape[0] == 1 and images.shape[1] == 3 and (images == images[:, :1]).all():
        images = images[:, :1]
    found, wanted = (_spoken(size) for size in (images.shape[1:], shape))
    if found != wanted:
        raise ValueError(f"the images in {path} must be like the data, {wanted}, got {found}")
    return images


def _spoken(shape: Iterable[int]) -> str:
    channels, height, width = shape
    return f"{height}x{width} {'grey' if channels == 1 else 'in colour'}"
