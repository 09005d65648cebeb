"""Small data sets on disk, in the formats of the real ones."""

import gzip
from pathlib import Path

import numpy as np


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
