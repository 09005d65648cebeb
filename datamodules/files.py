"""Image files: which of a folder are images, whether they are whole, and their pixels."""

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

# What decoders raise for files that are cut short, altered or not images at all.
BROKEN = (OSError, SyntaxError, EOFError, ValueError, struct.error, Image.DecompressionBombError)
COMMON = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm"}
# Pillow knows these and cannot decode them, or only with other programs.
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
PASSED_OVER = {"@eaDir", "__MACOSX"}  # thumbnails and notes that servers and systems leave
TINY = 8  # pixels, below which an image says nothing
SHOWN = 20  # broken files that an error names
LOOKED_INTO = 16  # files of 16 bits whose values are looked at
BLOCK = 1024  # files that are decoded at a time


@cache
def suffixes() -> frozenset[str]:
    """Of all image files that Pillow opens; asking it takes a moment."""
    kinds = Image.registered_extensions().items()
    opened = {suffix for suffix, kind in kinds if kind in Image.OPEN and kind not in NOT_PIXELS}
    return frozenset(opened | COMMON)


def is_image(name: str) -> bool:
    """Whether a file is an image, by its name."""
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

    Links are followed, but never back into a folder that one is in.

    Args:
        argument: What an error calls the folder.
        others: Is given the names of image files that are of a kind that Pillow cannot open.

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
            if not (name.startswith(".") or name in PASSED_OVER or _leads_back(place, name))
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
    """One image file as uint8 (channels, size, size): turned upright, on white, square.

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
    """(H, W) or (H, W, 3) bytes of an image of any kind; what shines through is white."""
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
    """Files that are no whole images, all of them in one line.

    Args:
        files: Path and reason.
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
    """What a function gives for each item; decoders let go of the interpreter.

    A block at a time: what waits in a queue takes more memory than the name of a file.
    """
    with ThreadPoolExecutor() as pool:
        for start in range(0, len(items), BLOCK):
            yield from pool.map(call, items[start : start + BLOCK])


@dataclass
class Look:
    """What a look at the headers of files found.

    Attributes:
        broken: Path and reason of each file that cannot be decoded.
        small: Path and (width, height) of images of a few pixels, which are to be larger.
        dark: Images of 16 bits a pixel whose values take 12.
    """

    broken: list[tuple[Path, str]] = field(default_factory=list)
    small: list[tuple[Path, tuple[int, int]]] = field(default_factory=list)
    dark: list[Path] = field(default_factory=list)

    def words(self, root: object) -> Iterator[str]:
        """What should be said about images that are whole and yet odd."""
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
        size: Pixels a side that the images are to have.
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
    if len(dark) == len(deep):  # else some use all their bits, and these are what they are
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
    except BROKEN:  # decoding will say it, with all others
        return False


def _reason(error: Exception) -> str:
    """Without the path, which stands before it."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    text = " ".join(str(error).split())
    return "cannot identify image file" if text.startswith("cannot identify") else text


class ImageFiles:
    """Image files that are decoded when asked for: `files[index]` is an `Images`.

    Args:
        paths: N files.
        labels: int64 (N,)
        size: Pixels a side.
        channels: 3 for colour, 1 for grey.
        how: How they become square, as `square`.
        names: What the split goes by, one for each; None: by their places.
        identities: A number for each file, by its name and size, int64 (N,), or None.
        on_error: What to do with a broken file: "raise", or "skip" to leave it out.
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
        """Raises: BrokenFiles: with all of them."""
        images = torch.empty(len(index), *self.shape, dtype=torch.uint8)
        whole = self.decode_into(images, index)
        if not whole.all():
            images = images[whole]
        return Images(images, self.labels[index[whole]])

    def decode_into(self, images: Tensor, index: Tensor) -> Tensor:
        """Decodes the files of these places; which of them are whole, bool (n,).

        Raises:
            BrokenFiles: with all of them, unless they are to be skipped.
        """
        paths = [self.paths[at] for at in index.tolist()]

        def place(at: int) -> str:  # straight into its place: all the memory there is
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
