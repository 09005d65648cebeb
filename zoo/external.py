"""Images that come from elsewhere: what another program has drawn, and what another program draws.

The evaluations ask a model for nothing but samples, so these are models enough for them. And real
images of which nobody says which ones a model was trained on, to compare them with.
"""

import math
import os
import zipfile
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO, Any, Literal, NamedTuple

import lightning as L
import numpy as np
import torch
import torch.nn.functional as F
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from ..images import check_images, from_uint8, to_uint8
from ..modes import evaluating
from ..watch import watched

GREY = ("1", "L", "LA", "La", "I;16", "I;16B", "I;16L", "I;16N")  # Pillow's modes
# Under what names others' objects keep the images that they give.
CARRIERS = ("images", "reconstruction", "recon_x", "samples", "sample")
Resize = Literal["none", "bicubic", "bilinear", "area"]


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
        self.order = torch.randperm(self.num_available, generator=torch.Generator().manual_seed(0))
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
        images, labels, sizes = _read(source, image_shape, resize, class_names or ())
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


class RealFolder(L.LightningDataModule):
    """Real images of which nobody says which ones a model was trained on.

        genzoo test --model SampleFolder --model.path DIR --data RealFolder --data.path REAL

    A random half of them is the reference that samples are compared with, the other half stands
    for held-out images, the yardstick. Whether a model has memorised cannot be asked of them, and
    the card says so: for that it takes a DataModule with the images that it was trained on.

    Args:
        path: A folder, .zip or .npz as `SampleFolder` reads it; or the images themselves, as
            `as_images` takes them. At least four.
        seed: Of the halves.
    """

    conditional = False
    class_names = ()

    def __init__(self, path: Any, seed: int = 0) -> None:
        super().__init__()
        if isinstance(path, (str, Path)):
            source = Path(path).expanduser()
            images, labels, _ = _read(source, None, "none")
            self.name = source.resolve().name
        else:
            self.name = "given images"
            images = as_bytes(path, None, self.name)
            labels = torch.full((len(images),), -1)
        if len(images) < 4:
            raise ValueError(f"path must have at least 4 images, got {len(images)} in {self.name}")
        order = torch.randperm(len(images), generator=torch.Generator().manual_seed(seed))
        half = len(images) // 2
        self.image_shape = tuple(images.shape[1:])
        known = labels if (labels >= 0).all() else torch.full_like(labels, -1)
        self.num_classes = len(known[known >= 0].unique())
        self.parts = {
            part: Pictures(images[index], known[index])
            for part, index in (("train", order[:half]), ("test", order[half:]))
        }
        halves = f"a random half of {self.name} as training images, the other half held out"
        self.data_protocol = {"real_images": halves}
        why = f"nobody says which of the images in {self.name} the model was trained on"
        self.unanswerable = {
            "memorisation": f"This cannot be asked: {why}. Give a DataModule with the training "
            "images and others of the same source that were held out.",
            "likelihood": f"This cannot be asked: {why}, so a gap would mean nothing.",
        }

    def split(self, part: str) -> "Pictures":
        """The reference as "train", the other half as "val" and "test"."""
        return self.parts["train" if part == "train" else "test"]

    def test_dataloader(self) -> DataLoader:
        images, labels = self.split("test")
        return DataLoader(TensorDataset(from_uint8(images), labels), batch_size=128)

    val_dataloader = predict_dataloader = test_dataloader


class Pictures(NamedTuple):
    """uint8 (N, C, H, W), and labels int64 (N,), -1 where there are none."""

    images: Tensor
    labels: Tensor


class Wrapped(L.LightningModule):
    """Any generator as a model, for `report_card` and for any Trainer's evaluations.

        Wrapped(lambda n: pipeline(batch_size=n))            a callable
        Wrapped(generator, latent_dim=128)                   a module of z from N(0, I), (n, 128)
        Wrapped(generator, latent_dim=(100, 1, 1), low=0)    one whose images are in [0, 1]

    Args:
        generate: From the number n, or with `latent_dim` from latents (n, D), to n images, in any
            form that `as_images` takes; floats in [low, high], bytes in 0..255. Conditional ones
            also take labels (n,), second.
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
        shape = getattr(self, "image_shape", None)
        with evaluating(self):
            x = as_images(self.generate(*given), shape, self.name).to(self.device)
        declared = (self.low, self.high) != (-1, 1)
        if declared:
            x = x.float().sub(self.low).div((self.high - self.low) / 2).sub(1)
        elif x.dtype == torch.uint8:
            _refuse_bits(x, f"the images of {self.name}")
            x = from_uint8(x)
        x = x.float()
        if n > 1 and x.ndim == 4 and not declared and x.min() >= 0:
            rank_zero_warn(f"the images of {self.name} look as if in [0, 1]: Wrapped(..., low=0)")
        if shape is not None and len(shape) == 3:
            check_images(x, shape, self.name)
        return x


# What others give


def as_images(given: Any, shape: tuple[int, ...] | None = None, who: str = "images") -> Tensor:
    """Images as a tensor uint8 or float (n, C, H, W), in the range that they came in.

    Takes tensors and arrays (n, C, H, W), (n, H, W, C) and (n, H, W); Pillow's images, and lists
    of them or of single images; any of these as the first of a tuple; and objects and dictionaries
    that have them as `images`, `reconstruction`, `samples` or `sample`. Points (n, D) stay.

    Args:
        shape: (C, H, W) that they should have, where it is known: it tells which axis is which.
        who: What an error calls the giver.

    Raises:
        TypeError: nothing of the kind was given.
        ValueError: these are images of several sizes, or numbers that are neither bytes nor floats.
    """
    if isinstance(given, (Tensor, np.ndarray)):
        return _channels_first(_numbers(given, who), shape)
    if hasattr(given, "getbands"):  # Pillow's, which need not be installed
        return as_images([given], shape, who)
    if isinstance(given, (list, tuple)) and len(given):
        first = given[0]
        if hasattr(first, "getbands"):
            return _of_pillow(given, who)
        arrays = [x for x in given if isinstance(x, (Tensor, np.ndarray))]
        alike = len(arrays) == len(given) and len({tuple(x.shape) for x in arrays}) == 1
        if isinstance(given, tuple) and (len(given) == 1 or not alike or first.ndim != 3):
            return as_images(first, shape, who)  # beside it are labels, codes or the like
        if len(arrays) == len(given) and {x.ndim for x in arrays} <= {2, 3, 4}:
            tensors = [_numbers(x, who) for x in arrays]
            batches = first.ndim == 4
            if len({(x.shape[batches:], x.dtype) for x in tensors}) > 1:
                got = " and ".join(sorted({str(tuple(x.shape)) for x in tensors}))
                raise ValueError(f"{who} must give images of one size and kind, got {got}")
            return _channels_first((torch.cat if batches else torch.stack)(tensors), shape)
        if len(given) == 1:
            return as_images(first, shape, who)
    for name in CARRIERS:
        found = given.get(name) if isinstance(given, Mapping) else getattr(given, name, None)
        if found is not None and not callable(found):
            return as_images(found, shape, who)
    raise TypeError(
        f"{who} must give images: a tensor, an array, a list of Pillow's images or an object that "
        f"has them as `images`, got a {type(given).__name__}"
    )


def as_bytes(given: Any, shape: tuple[int, ...] | None, who: str) -> Tensor:
    """The same as uint8 (n, C, H, W), of bytes or of floats in [-1, 1].

    Raises:
        ValueError: floats are not in [-1, 1], or look as if in [0, 1].
    """
    x = as_images(given, shape, who)
    if x.dtype == torch.uint8:
        _refuse_bits(x, who)
        return x
    check_images(x, tuple(x.shape[1:]), who)
    if len(x) and x.min() >= 0:
        raise ValueError(
            f"{who} must be images in [-1, 1] or uint8, got floats with a minimum of "
            f"{x.min().item():g}, which look as if in [0, 1]: scale them by 2 x - 1"
        )
    return to_uint8(x).cpu()


def _refuse_bits(images: Tensor, who: Any) -> None:
    if len(images) > 1 and images.max() == 1:
        raise ValueError(
            f"{who} must have bytes in 0..255, got no more than 0 and 1, all but black: multiply "
            "them by 255"
        )


def _numbers(x: Any, who: str) -> Tensor:
    x = torch.as_tensor(np.ascontiguousarray(x) if isinstance(x, np.ndarray) else x).detach()
    if x.dtype == torch.bool:
        return x.byte() * 255
    if x.dtype != torch.uint8 and not x.is_floating_point():
        if len(x) and not 0 <= x.min() <= x.max() <= 255:
            got = f"{x.dtype} in {x.min().item()}..{x.max().item()}"
            raise ValueError(f"{who} must give bytes in 0..255 or floats, got {got}")
        return x.byte()
    return x


def _channels_first(x: Tensor, shape: tuple[int, ...] | None) -> Tensor:
    """(n, C, H, W) of that, of (n, H, W, C), of (n, H, W), or of flat ones where it is known."""
    if x.ndim == 3:
        return x[:, None]
    if x.ndim == 2 and shape is not None and len(shape) == 3 and x.shape[1] == math.prod(shape):
        return x.unflatten(1, shape)
    if x.ndim != 4:
        return x
    first, last = tuple(x.shape[1:]), (x.shape[3], *x.shape[1:3])
    if shape is not None and len(shape) == 3 and tuple(shape) in (first, last):
        return x if tuple(shape) == first else x.movedim(-1, 1).contiguous()
    if x.shape[1] not in (1, 3) and x.shape[-1] in (1, 3):
        return x.movedim(-1, 1).contiguous()
    return x


def _of_pillow(images: Iterable[Any], who: str) -> Tensor:
    from ..datamodules.folder import as_array

    arrays = [as_array(image, 1 if image.mode in GREY else 3) for image in images]
    if len(sizes := {array.shape[:2] for array in arrays}) > 1:
        got = " and ".join(f"{h}x{w}" for h, w in sorted(sizes))
        raise ValueError(f"{who} must give images of one size, got {got}")
    return _stacked(arrays)


def _stacked(arrays: list[np.ndarray]) -> Tensor:
    """Bytes (H, W) and (H, W, 3) to (N, C, H, W); all in colour if one is."""
    if any(array.ndim == 3 for array in arrays):  # programs save grey ones of them as grey
        arrays = [np.repeat(a[..., None], 3, 2) if a.ndim == 2 else a for a in arrays]
    images = torch.from_numpy(np.stack(arrays))
    return images[:, None] if images.ndim == 3 else images.movedim(-1, 1)


# Reading


def _read(
    source: Path,
    shape: tuple[int, ...] | None,
    resize: Resize,
    class_names: Sequence[str] = (),
) -> tuple[Tensor, Tensor, str]:
    """Images uint8 (N, C, H, W), labels int64 (N,), and what sizes they had if they were resized.

    Args:
        shape: (C, H, W) that they are resized to.
    """
    if resize not in ("none", "bicubic", "bilinear", "area"):
        raise ValueError(f"resize must be none, bicubic, bilinear or area, got {resize!r}")
    if resize == "none":
        size = None
    elif shape is None or len(shape) != 3:
        raise ValueError(f"resize must be none without an image_shape (C, H, W), got {resize!r}")
    else:
        size = Size(*shape[1:], resize, set())
    if source.suffix == ".npz":
        images, labels = _read_npz(source)
        if size is not None:
            images = size.of(images, source)
    else:
        images, labels = _read_files(source, size, class_names)
    _refuse_bits(images, f"the images in {source}")
    others = sorted(size.found - {(size.height, size.width)}) if size is not None else []
    more = f" and {len(others) - 3} more" if len(others) > 3 else ""
    return images, labels, ", ".join(f"{h}x{w}" for h, w in others[:3]) + more


class Size(NamedTuple):
    """What images are brought to, how, and what sizes they had."""

    height: int
    width: int
    how: Resize
    found: set[tuple[int, int]]

    def of(self, images: Tensor, who: Any) -> Tensor:
        """uint8 (N, C, h, w) to (N, C, height, width)."""
        height, width = images.shape[-2:]
        self.found.add((height, width))
        if (height, width) == (self.height, self.width):
            return images
        # A pixel more or less of one side is rounding; more would squeeze what is to be seen.
        if abs(height * self.width - width * self.height) > max(self.height, self.width):
            raise ValueError(
                f"{who} must have the sides of {self.height}x{self.width} to be resized, "
                f"got {height}x{width}: crop it"
            )
        size = (self.height, self.width)
        if self.how == "area":
            return F.interpolate(images.float(), size, mode="area").round().byte()
        return F.interpolate(images, size, mode=self.how, antialias=True)

    def of_array(self, array: np.ndarray, who: str) -> np.ndarray:
        """Bytes (h, w) or (h, w, 3)."""
        grey = array.ndim == 2
        image = torch.from_numpy(array)[None, None] if grey else torch.from_numpy(array)[None]
        image = self.of(image if grey else image.movedim(-1, 1), who)
        return image[0, 0].numpy() if grey else image[0].movedim(0, -1).numpy()


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
        raise ValueError(
            f"images must be uint8 in 0..255, got {images.dtype} in {path}: of floats in [0, 1] "
            "save (255 * x).round().astype('uint8'), of [-1, 1] the same of (x + 1) / 2"
        )
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


def _read_files(path: Path, size: Size | None, class_names: Sequence[str]) -> tuple[Tensor, Tensor]:
    """The same of a folder's or a .zip's image files, in the order of their names; resized."""
    from ..datamodules.files import list_images  # decoders are loaded when they are needed
    from ..datamodules.layout import labels

    if path.is_dir():
        files = list_images(path, "path")
        names = [PurePosixPath(file.relative_to(path).as_posix()) for file in files]
        images = _decode_all(path, names, [partial(open, file, "rb") for file in files], size)
        return images, labels(names, class_names)
    if not zipfile.is_zipfile(path):
        raise ValueError(f"path must be a folder, a .zip or an .npz of images, got {path}")
    with zipfile.ZipFile(path) as archive:
        names = _images_of(archive.namelist())
        if not names:
            raise ValueError(f"path must be a .zip of images, got {path}, which has none")
        openers = [partial(archive.open, str(name)) for name in names]
        return _decode_all(path, names, openers, size), labels(names, class_names)


def _images_of(members: Iterable[str]) -> list[PurePosixPath]:
    from ..datamodules.files import is_image

    names = (PurePosixPath(member) for member in sorted(members) if not member.endswith("/"))
    return [name for name in names if is_image(name.name)]


def _decode_all(
    path: Path,
    names: list[PurePosixPath],
    openers: list[Callable[[], IO[bytes]]],
    size: Size | None,
) -> Tensor:
    def place(at: int) -> np.ndarray:
        name = f"{path}{os.sep}{names[at]}"
        array = _decode(openers[at], name)
        return array if size is None else size.of_array(array, name)

    with ThreadPoolExecutor() as pool:  # decoders let go of the interpreter
        reading = pool.map(place, range(len(names)))
        arrays = list(watched(reading, f"images in {path.name}", len(names)))
    for name, array in zip(names, arrays, strict=True):
        if array.shape[:2] != arrays[0].shape[:2]:
            sizes = [
                f"{h}x{w} ({n})"
                for n, (h, w, *_) in zip(
                    (names[0], name), (arrays[0].shape, array.shape), strict=True
                )
            ]
            raise ValueError(f"the images in {path} must be of one size, got {' and '.join(sizes)}")
    return _stacked(arrays)


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
