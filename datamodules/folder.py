"""Any folder of images.

The files are decoded into memory once, at the size that is trained on; nothing is written.
"""

import os
import struct
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from .base import ImageData, check_size, square
from .batches import Images

# What decoders raise for files that are cut short, altered or not images at all.
BROKEN = (OSError, SyntaxError, EOFError, ValueError, struct.error, Image.DecompressionBombError)
SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm"}


def decode(path: Path, size: int, channels: int) -> Tensor:
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
    return square(images, size)[0]


def as_array(image: Image.Image, channels: int) -> np.ndarray:
    """(H, W) or (H, W, 3) bytes of an image of any kind; what shines through is white."""
    if image.mode.startswith("I;16"):
        image = Image.fromarray((np.asarray(image) / 257).round().astype(np.uint8))
    if image.mode in ("I", "F"):
        raise ValueError("32 bits a pixel, which has no one scale")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return np.array(image.convert("RGB" if channels == 3 else "L"))


class ImageFiles:
    """Image files that are decoded when asked for: `files[index]` is an `Images`.

    Args:
        paths: N files.
        labels: int64 (N,)
        size: Pixels a side.
        channels: 3 for colour, 1 for grey.
    """

    def __init__(self, paths: Sequence[Path], labels: Tensor, size: int, channels: int):
        self.paths, self.labels, self.size, self.channels = paths, labels, size, channels

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: Tensor) -> Images:
        images = torch.empty(len(index), self.channels, self.size, self.size, dtype=torch.uint8)

        def place(at: int) -> None:  # straight into its place: all the memory there is
            images[at] = decode(self.paths[index[at]], self.size, self.channels)

        with ThreadPoolExecutor() as pool:  # decoders let go of the interpreter
            for _ in pool.map(place, range(len(index))):
                pass
        return Images(images, self.labels[index])


class ImageFolder(ImageData):
    """The images in a folder and all folders below it, each at image_size, on white.

    If all of them lie in sub-folders of `root`, two or more, the sub-folders are the classes.
    Otherwise the images are unlabelled. Names that begin with a dot are passed over.

    Args:
        root: The folder.
        image_size: Pixels a side, after a central square crop.
        channels: 3 for colour, 1 for grey.
        test_size: Test images: a fraction below 1 of all, or a count. Other arguments as
            `ImageData`.

    Raises:
        ValueError: there is no such folder, or no image in it.
    """

    def __init__(
        self,
        root: str = "data",
        image_size: int = 64,
        channels: int = 3,
        test_size: float = 0.1,
        **kwargs,
    ):
        if image_size < 1:
            raise ValueError(f"image_size must be at least 1 for a folder, got {image_size}")
        if channels not in (1, 3):
            raise ValueError(f"channels must be 3 (colour) or 1 (grey), got {channels}")
        check_size("test_size", test_size)
        folder = Path(root).expanduser()
        self.paths = list_images(folder)
        groups = [path.relative_to(folder).parts[:-1][:1] for path in self.paths]
        names = sorted(set(groups))
        if () in names or len(names) < 2:
            self.labels = torch.full([len(groups)], -1)
        else:
            self.class_names = tuple(name for (name,) in names)
            self.labels = torch.tensor([names.index(group) for group in groups])
        self.raw_shape = (channels, image_size, image_size)
        super().__init__(root, image_size=image_size, **kwargs)
        self.test_size = test_size
        self.name = folder.resolve().name

    def read(self) -> dict[str, ImageFiles]:
        channels, size, _ = self.image_shape
        return {"train": ImageFiles(self.paths, self.labels, size, channels)}


def list_images(folder: Path, argument: str = "root") -> list[Path]:
    """The image files at and below a folder, in the order of their names.

    Args:
        argument: What an error calls the folder.

    Raises:
        ValueError: there is no such folder, or no image in it.
    """
    if not folder.is_dir():
        raise ValueError(
            f"{argument} must be a folder of images, got {folder}, which is not a folder"
        )
    paths = []
    for place, folders, files in os.walk(folder, followlinks=True):
        folders[:] = [name for name in folders if not name.startswith(".")]
        paths += [
            Path(place, name)
            for name in files
            if not name.startswith(".") and Path(name).suffix.lower() in SUFFIXES
        ]
    if not paths:
        raise ValueError(
            f"{argument} must be a folder of images, got {folder}, which has none"
            f" ({', '.join(sorted(SUFFIXES))})"
        )
    return sorted(paths)
