"""Images in files: folders, zips and arrays."""

import os
import zipfile
import zlib
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO, Any, Literal, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ...checks import on_this_machine
from ...watch import watched
from .forms import GREY, refuse_bits, stacked

Resize = Literal["none", "bicubic", "bilinear", "area"]


def read_images(
    source: Path,
    shape: tuple[int, ...] | None,
    resize: Resize,
    class_names: Sequence[str] = (),
) -> tuple[Tensor, Tensor, str]:
    """Images uint8 (N, C, H, W), labels int64 (N,), and the original sizes of resized images.

    Args:
        source: A folder, .zip or .npz.
        shape: (C, H, W) to which images are resized.
        resize: How images are resized.
        class_names: Names of the classes, by which folders give labels.
    """
    on_this_machine(path=source)
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
    refuse_bits(images, f"the images in {source}")
    others = sorted(size.found - {(size.height, size.width)}) if size is not None else []
    more = f" and {len(others) - 3} more" if len(others) > 3 else ""
    return images, labels, ", ".join(f"{h}x{w}" for h, w in others[:3]) + more


class Size(NamedTuple):
    """The size to which images are resized, how, and the original sizes."""

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
        # A difference of one pixel is rounding; more would distort the images.
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
    from ...datamodules.files import list_images  # decoders are loaded when they are needed
    from ...datamodules.layout import labels

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
    from ...datamodules.files import is_image

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
    return stacked(arrays)


def _decode(opener: Callable[[], IO[bytes]], name: str) -> np.ndarray:
    """Bytes (H, W) of a grey file, (H, W, 3) of one in colour."""
    from PIL import Image, ImageOps

    from ...datamodules.files import BROKEN, as_array

    broken = (*BROKEN, zipfile.BadZipFile, zlib.error, RuntimeError)  # the last: encrypted
    try:
        with opener() as file, Image.open(file) as image:
            return as_array(ImageOps.exif_transpose(image), 1 if image.mode in GREY else 3)
    except broken as error:
        raise ValueError(f"{name} must be a whole image file, got: {error}") from error
