"""Image files: finding them in a folder, checking that they are whole, and decoding them."""

import os
import stat
import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from ..checks import on_this_machine
from .base import square
from .batches import Images
from .layout import some

# Exceptions of decoders for files that are truncated, altered or no images.
BROKEN = (OSError, SyntaxError, EOFError, ValueError, struct.error, Image.DecompressionBombError)
COMMON = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm"}
# Formats that Pillow cannot decode, or only with other programs.
NOT_PIXELS = {"BUFR", "EPS", "GRIB", "HDF5", "MPEG", "WMF"}
FOREIGN = {
    ".avif",
    ".heic",
    ".heif",
    ".jxl",
    ".svg",
    ".raw",
    ".dng",
    ".cr2",
    ".cr3",
    ".nef",
    ".arw",
}
IGNORED = {"@eaDir", "__MACOSX"}  # thumbnails and notes of servers and operating systems
TINY = 8  # pixels of a side below which an image has no content
SHOWN = 20  # broken files that an error lists
LOOKED_INTO = 16  # files of 16 bits whose values are checked
BLOCK = 1024  # files that are decoded at a time


@cache
def suffixes() -> frozenset[str]:
    """Suffixes of all image files that Pillow opens; this takes a moment."""
    kinds = Image.registered_extensions().items()
    opened = {suffix for suffix, kind in kinds if kind in Image.OPEN and kind not in NOT_PIXELS}
    return frozenset(opened | COMMON)


def is_image(name: str) -> bool:
    """Whether a file is an image, by its name.

    >>> is_image("a.PNG"), is_image(".a.png"), is_image("a.txt")
    (True, False, False)
    """
    suffix = os.path.splitext(name)[1].lower()
    return not name.startswith(".") and (suffix in COMMON or suffix in suffixes())


def is_foreign(name: str) -> bool:
    """Whether a file is an image of a kind that Pillow does not open here."""
    suffix = os.path.splitext(name)[1].lower()
    return not name.startswith(".") and suffix in FOREIGN and suffix not in suffixes()


def list_images(
    folder: Path, argument: str = "root", others: list[str] | None = None
) -> list[Path]:
    """The image files at and below a folder, in the order of their names.

    Links are followed, except to a folder that contains them.

    Args:
        folder: The folder.
        argument: Name of the folder in errors.
        others: A list to which the names of images that Pillow cannot open are added.

    Raises:
        ValueError: there is no such folder, it or one below cannot be read, or no image is in it.
    """
    on_this_machine(**{argument: folder})
    try:
        kind = folder.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        kind = 0
    except OSError as error:
        raise ValueError(f"{argument} must be a folder that can be read, got {error}") from error
    if not stat.S_ISDIR(kind):
        raise ValueError(
            f"{argument} must be a folder of images, got {folder}, which is not a folder"
        )

    def refuse(error: OSError) -> None:
        raise ValueError(
            f"{argument} must be a folder that can be read, with all below it, got {error}"
        ) from error

    paths = []
    for place, folders, files in os.walk(folder, followlinks=True, onerror=refuse):
        folders[:] = [
            name
            for name in folders
            if not (name.startswith(".") or name in IGNORED or _leads_back(place, name))
        ]
        paths += [Path(place, name) for name in files if is_image(name)]
        if others is not None:
            others += [name for name in files if is_foreign(name)]
    if not paths:
        raise ValueError(
            f"{argument} must be a folder of images, got {folder}, which has none"
            f" ({', '.join(sorted(COMMON))} or what else Pillow opens)"
        )
    return sorted(paths)


def _leads_back(place: str, name: str) -> bool:
    path = os.path.join(place, name)
    if not os.path.islink(path):
        return False
    target, here = os.path.realpath(path), os.path.realpath(place)
    return here == target or here.startswith(target + os.sep)


def decode(path: Path, size: int, channels: int, how: str = "crop") -> Tensor:
    """One image file as uint8 (channels, size, size): rotated upright, on white, square.

    Raises:
        ValueError: the file is not a whole image.
    """
    try:
        with Image.open(path) as file:
            pixels = as_array(ImageOps.exif_transpose(file), channels)
    except BROKEN as error:
        raise ValueError(f"{path} must be a whole image file, got: {error}") from error
    images = torch.from_numpy(pixels).view(1, *pixels.shape[:2], channels).permute(0, 3, 1, 2)
    return square(images, size, how)[0]


def as_array(image: Image.Image, channels: int) -> np.ndarray:
    """An image of any kind as uint8 (H, W) or (H, W, 3); transparent pixels are white."""
    if image.mode.startswith("I;16"):
        image = Image.fromarray((np.asarray(image) / 257).round().astype(np.uint8))
    check_mode(image)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return np.array(image.convert("RGB" if channels == 3 else "L"))


def check_mode(image: Image.Image) -> None:
    if image.mode in ("I", "F"):
        raise ValueError("32 bits a pixel, which has no one scale")


class BrokenFiles(ValueError):
    """An error that lists all files that are no whole images, in one line.

    Args:
        files: Path and reason of each file.
    """

    def __init__(self, files: Iterable[tuple[Path, str]]):
        self.files = list(dict.fromkeys(files))
        if len(self.files) == 1:
            ((path, reason),) = self.files
            text = f"{path} must be a whole image file, got: {reason}"
        else:
            named = some([f"{path} ({reason})" for path, reason in self.files], SHOWN)
            text = f"{len(self.files)} files must be whole image files, got {named}"
        super().__init__(text)


def in_threads(call: Callable[[Any], Any], items: Sequence[Any]) -> Iterator[Any]:
    """Results of a function for each item, computed in threads; decoders release the interpreter.

    Items are processed in blocks, since a waiting item takes more memory than the name of a file.
    """
    with ThreadPoolExecutor() as pool:
        for start in range(0, len(items), BLOCK):
            yield from pool.map(call, items[start : start + BLOCK])


@dataclass
class Look:
    """Findings in the headers of files.

    Attributes:
        broken: Path and reason of each file that cannot be decoded.
        small: Path and (width, height) of images of a few pixels.
        dark: Images of 16 bits a pixel whose values use 12.
    """

    broken: list[tuple[Path, str]] = field(default_factory=list)
    small: list[tuple[Path, tuple[int, int]]] = field(default_factory=list)
    dark: list[Path] = field(default_factory=list)

    def words(self, root: object) -> Iterator[str]:
        """Warnings about images that are whole but unusual."""
        if self.small:
            named = some([f"{path.name}, {w}x{h}" for path, (w, h) in self.small], 3)
            yield f"images in {root} have less than {TINY} pixels a side: {named}"
        if self.dark:
            named = some([path.name for path in self.dark], 3)
            yield (
                f"images in {root} have 16 bits a pixel and values of 12, at most 4095 of 65535, "
                f"so they are nearly black: multiply them by 16 ({named})"
            )


def look(paths: Sequence[Path], size: int) -> Look:
    """Opens each file and reads its header.

    Args:
        size: Pixels of a side of the images in training.
    """
    found = Look()
    deep: list[Path] = []
    for path, (shape, mode, reason) in zip(paths, in_threads(_header, paths), strict=True):
        if reason:
            found.broken.append((path, reason))
        elif min(shape) < min(TINY, size):
            found.small.append((path, shape))
        if mode.startswith("I;16") and len(deep) < LOOKED_INTO:
            deep.append(path)
    dark = [path for path in deep if _is_dark(path)]
    if len(dark) == len(deep):  # otherwise some images use all bits
        found.dark = dark
    return found


def _header(path: Path) -> tuple[tuple[int, int], str, str]:
    """(width, height), mode and what is wrong, or "", of one file."""
    try:
        if not path.stat().st_size:
            return (0, 0), "", "an empty file"
        with Image.open(path) as file:
            check_mode(file)
            return file.size, file.mode, ""
    except BROKEN as error:
        return (0, 0), "", _reason(error)


def _is_dark(path: Path) -> bool:
    try:
        with Image.open(path) as file:
            return bool(np.asarray(file).max() < 2**12)
    except BROKEN:  # decoding reports it, with all others
        return False


def _reason(error: Exception) -> str:
    """The reason of an error, without the path."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    text = " ".join(str(error).split())
    return "cannot identify image file" if text.startswith("cannot identify") else text


class ImageFiles:
    """Image files that are decoded when they are indexed: `files[index]` is an `Images`.

    Args:
        paths: N files.
        labels: int64 (N,).
        size: Pixels of a side.
        channels: 3 for colour, 1 for grey.
        how: How images become square: an option of `square`.
        names: A name for each file, by which they are split; None: they are split by index.
        identities: A number for each file, by its name and size, int64 (N,), or None.
        on_error: What to do with a broken file: "raise" an error, or "skip" it.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        labels: Tensor,
        size: int,
        channels: int,
        how: str = "crop",
        names: Sequence[str] | None = None,
        identities: Tensor | None = None,
        on_error: Literal["raise", "skip"] = "raise",
    ):
        self.paths, self.labels, self.size, self.channels = paths, labels, size, channels
        self.how, self.names, self.identities, self.on_error = how, names, identities, on_error
        self.skipped: dict[Path, str] = {}  # with the reason

    @property
    def shape(self) -> tuple[int, int, int]:
        return self.channels, self.size, self.size

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: Tensor) -> Images:
        """Raises: BrokenFiles: files are broken; the error lists all of them."""
        images = torch.empty(len(index), *self.shape, dtype=torch.uint8)
        whole = self.decode_into(images, index)
        if not whole.all():
            images = images[whole]
        return Images(images, self.labels[index[whole]])

    def decode_into(self, images: Tensor, index: Tensor) -> Tensor:
        """Decodes the files of an index (n,) into `images`; returns which of them are whole, bool
        (n,).

        Raises:
            BrokenFiles: files are broken, and `on_error` is "raise".
        """
        paths = [self.paths[at] for at in index.tolist()]

        def place(at: int) -> str:  # in place, without further memory
            try:
                images[at] = decode(paths[at], self.size, self.channels, self.how)
            except ValueError as error:
                return _reason(error.__cause__ or error)
            return ""

        reasons = list(in_threads(place, range(len(paths))))
        broken = {path: reason for path, reason in zip(paths, reasons, strict=True) if reason}
        if broken and self.on_error == "raise":
            raise BrokenFiles(broken.items())
        self.skipped.update(broken)
        return torch.tensor([not reason for reason in reasons], dtype=torch.bool)
