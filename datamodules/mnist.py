"""MNIST and Fashion-MNIST: 70,000 grey images of 28x28 pixels in 10 classes each.

LeCun, Bottou, Bengio and Haffner, Gradient-Based Learning Applied to Document Recognition, 1998.
https://doi.org/10.1109/5.726791
Xiao, Rasul and Vollgraf, Fashion-MNIST, 2017. https://arxiv.org/abs/1708.07747

The files are IDX files, plain or gzipped; nothing is written into their folder.
"""

import gzip
import math
import zlib
from pathlib import Path

import torch
from torch import Tensor

from .base import ImageData, check_size
from .batches import Images
from .download import download, find, on_disk


def read_idx(path: Path) -> Tensor:
    """The bytes of an IDX file, uint8 in the shape that its header gives.

    The header is two zeros, 8 for bytes, the number of dimensions, then each in four bytes.

    Raises:
        ValueError: the file is no IDX file, or too short or too long.
    """
    try:
        data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise ValueError(f"{path} must be a whole gzip file, got: {error}") from error
    if data[:3] != b"\0\0\x08" or len(data) < 4 + 4 * data[3]:
        raise ValueError(f"{path} must be an IDX file of bytes, got one that begins {data[:4]!r}")
    start = 4 + 4 * data[3]
    shape = [int.from_bytes(data[at : at + 4], "big") for at in range(4, start, 4)]
    if len(data) - start != math.prod(shape):
        raise ValueError(
            f"{path} must hold the {math.prod(shape)} bytes that its header promises,"
            f" got {len(data) - start}"
        )
    return torch.frombuffer(bytearray(data), dtype=torch.uint8)[start:].view(shape)


def read_pair(images_path: Path, labels_path: Path) -> Images:
    """The 28x28 images of one IDX file with the labels of another."""
    images, labels = read_idx(images_path), read_idx(labels_path)
    if images.ndim != 3 or images.shape[1:] != (28, 28):
        raise ValueError(f"{images_path} must hold images of 28x28, got {tuple(images.shape)}")
    if labels.shape != images.shape[:1]:
        raise ValueError(f"{labels_path} must hold {len(images)} labels, got {tuple(labels.shape)}")
    return Images(images[:, None], labels.long())


class MNIST(ImageData):
    """60,000 + 10,000 handwritten digits, (1, 28, 28); the 10,000 are the test images.

    They are read from root/MNIST/raw, torchvision's layout; the files may be gzipped. With an
    image_size of 32 the images are not resized but padded by two black pixels on each side, as
    LeNet's input is.

    Args:
        download: Whether torchvision downloads the files if they are missing.
    """

    raw_shape = (1, 28, 28)
    class_names = tuple("0123456789")
    pad_to = 32
    source = "MNIST"  # torchvision's name, of its class and of the folder

    def __init__(self, root: str | None = None, download: bool = False, **kwargs):
        super().__init__(root, **kwargs)
        self.download = download
        self.folder = Path(self.root).expanduser()
        raw = self.folder / self.source / "raw"
        self.files = {
            part: (raw / f"{prefix}-images-idx3-ubyte", raw / f"{prefix}-labels-idx1-ubyte")
            for part, prefix in (("train", "train"), ("test", "t10k"))
        }

    def prepare_data(self) -> None:
        if self.download and not all(
            on_disk(path) for pair in self.files.values() for path in pair
        ):
            import torchvision.datasets

            dataset = getattr(torchvision.datasets, self.source)
            download(self.name, self.folder, dataset)

    def read(self) -> dict[str, Images]:
        return {
            part: read_pair(*(find(path, self.name) for path in pair))
            for part, pair in self.files.items()
        }


class FashionMNIST(MNIST):
    """60,000 + 10,000 articles of clothing, (1, 28, 28): harder than digits in the same format.

    They are read from root/FashionMNIST/raw, in the layout of `MNIST`.
    """

    class_names = (
        "T-shirt/top",
        "Trouser",
        "Pullover",
        "Dress",
        "Coat",
        "Sandal",
        "Shirt",
        "Sneaker",
        "Bag",
        "Ankle boot",
    )
    source = "FashionMNIST"


class MNIST10k(ImageData):
    """10,000 handwritten digits, (1, 28, 28): 8,000 for training, 1,000 and 1,000 held out.

    These are the first 10,000 *training* digits of MNIST, in another order, so numbers that are
    measured on them are no MNIST test numbers. They are read from root/MNIST10k, images-idx3-ubyte
    and labels-idx1-ubyte, plain or gzipped. An image_size of 32 is reached as in `MNIST`.

    Args:
        test_size: Test images: a fraction below 1 of all, or a count.
    """

    raw_shape = (1, 28, 28)
    class_names = tuple("0123456789")
    pad_to = 32

    def __init__(self, root: str | None = None, test_size: float = 0.1, **kwargs):
        super().__init__(root, **kwargs)
        check_size("test_size", test_size)
        self.test_size = test_size
        folder = Path(self.root).expanduser() / "MNIST10k"
        self.files = (folder / "images-idx3-ubyte", folder / "labels-idx1-ubyte")

    def read(self) -> dict[str, Images]:
        return {"train": read_pair(*(find(path, self.name, hint="") for path in self.files))}
