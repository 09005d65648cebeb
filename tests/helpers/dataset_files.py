"""Small data sets on disk, in the formats of the real ones."""

import gzip
from pathlib import Path

import numpy as np
from PIL import Image

from genzoo.datamodules.folder import decode


def idx(array: np.ndarray) -> bytes:
    """These bytes as an IDX file."""
    header = bytes([0, 0, 8, array.ndim])
    return header + b"".join(n.to_bytes(4, "big") for n in array.shape) + array.tobytes()


def write(path: Path, data: bytes, zipped: bool) -> None:
    if zipped:
        path, data = path.with_name(path.name + ".gz"), gzip.compress(data, compresslevel=1)
    path.write_bytes(data)


def grey(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Random images (N, 28, 28) whose corner pixel is their number, and their labels (N,)."""
    images = np.random.default_rng(count).integers(0, 256, (count, 28, 28), dtype=np.uint8)
    images[:, 0, 0] = np.arange(count) % 256
    return images, (np.arange(count) % 10).astype(np.uint8)


def mnist_layout(
    root: Path, name: str = "MNIST", train: int = 40, test: int = 10, zipped: bool = False
) -> Path:
    """torchvision's root/MNIST/raw with random images; gives that folder."""
    folder = root / name / "raw"
    folder.mkdir(parents=True)
    for prefix, count in (("train", train), ("t10k", test)):
        images, labels = grey(count)
        write(folder / f"{prefix}-images-idx3-ubyte", idx(images), zipped)
        write(folder / f"{prefix}-labels-idx1-ubyte", idx(labels), zipped)
    return folder


def save(path, mode="RGB", color=None, size=(8, 8), **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, color or 0).save(path, **options)


def pixel(path, channels=3, size=8):
    """The colour of an image that has one."""
    colours = decode(path, size, channels).flatten(1).unique(dim=1)
    assert colours.shape[1] == 1
    return colours[:, 0].tolist()
