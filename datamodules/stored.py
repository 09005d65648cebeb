"""Images on disk instead of in memory: decoded once into a file of bytes, which is mapped.

The file is in the folder GENZOO_CACHE, or ~/.cache/genzoo, which may be deleted at any time. Its
name is a hash of everything its bytes depend on: the name, the size and the time of the last change
of each image file, and the size and the kind of the images. So it is never out of date, and all
runs and processes share it. It is written atomically.
"""

import hashlib
import json
import mmap
import os
import shutil
import warnings
from pathlib import Path

import numpy as np
import torch
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor
from tqdm.auto import tqdm

from ..files import whole
from .batches import Images
from .files import BLOCK, BrokenFiles, ImageFiles

AROUND = 2**16  # bytes that Linux maps around each read
HELD = 2**26  # mapped bytes of this process before they are released
VERSION = 1  # of the conversion of files to bytes


def folder() -> Path:
    return Path(os.environ.get("GENZOO_CACHE") or "~/.cache/genzoo").expanduser()


class Bytes:
    """N images of one shape in a mapped file: rows are read when they are used.

    The file holds the images, then a byte for each, 1 if the image is whole.

    Args:
        path: The file.
        count: N.
        shape: (C, H, W).
    """

    def __init__(self, path: Path, count: int, shape: tuple[int, ...]):
        self.path, self.count, self.shape = path, count, tuple(shape)
        with path.open("rb") as file:
            self.map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        values = np.frombuffer(self.map, dtype=np.uint8)
        self.whole = torch.from_numpy(values[-count:].astype(bool))
        with warnings.catch_warnings():  # only `take` reads it, nothing writes
            warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
            self._images = torch.from_numpy(values[:-count]).view(count, *self.shape)
        self._read = 0

    def __reduce__(self):  # another process maps the file itself
        return Bytes, (self.path, self.count, self.shape)

    def take(self, rows: Tensor) -> Tensor:
        """Copies of these images, uint8 (n, C, H, W)."""
        images = self._images.index_select(0, rows)
        # Pages that were read count as memory of this process until they are released.
        self._read += len(rows) * (AROUND + images[0].numel() if len(rows) else 0)
        if self._read > HELD and hasattr(mmap, "MADV_DONTNEED"):
            self.map.madvise(mmap.MADV_DONTNEED)
            self._read = 0
        return images


class StoredImages:
    """Some of the images of a file of bytes, with the interface of `Images`, without memory.

    Args:
        data: All images.
        rows: Indices of the images, int64 (n,).
        labels: Labels of these images, int64 (n,).
    """

    def __init__(self, data: Bytes, rows: Tensor, labels: Tensor):
        self.data, self.rows, self.labels = data, rows, labels

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: Tensor) -> Images:
        return Images(self.data.take(self.rows[index]), self.labels[index])

    def take(self, index: Tensor) -> Images:
        """The images of these indices, in memory."""
        return self[index]

    @property
    def images(self) -> Tensor:
        """All images, in memory."""
        return self.data.take(self.rows)

    @property
    def conditions(self) -> Tensor:
        return self.labels


def store(files: ImageFiles) -> Bytes:
    """The stored images of files; the file of bytes is written if it does not exist.

    Raises:
        BrokenFiles: files are broken, and broken files are not skipped.
        OSError: the folder cannot be written, or has too little space.
    """
    path = place(files)
    count, shape = len(files), files.shape
    length = count * (int(np.prod(shape)) + 1)
    if path.is_file() and path.stat().st_size != length:
        rank_zero_warn(f"the cache file {path} was cut short and is made again")
        path.unlink()
    if not path.is_file():
        _write(path, files, length)
    data = Bytes(path, count, shape)
    if files.on_error == "raise" and not data.whole.all():
        broken = (~data.whole).nonzero()[:, 0].tolist()
        raise BrokenFiles((files.paths[at], "broken") for at in broken)
    return data


def _write(path: Path, files: ImageFiles, length: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(path.parent).free
    if free < length:
        raise OSError(
            f"GENZOO_CACHE must be a folder with {length / 1e9:.1f} GB left for decoded images, "
            f"got {path.parent} with {free / 1e9:.1f}; --data.cache never keeps them in memory"
        )
    read, broken = [], []
    with whole(path) as file, tqdm(total=len(files), unit="image", disable=None) as bar:
        for index in torch.arange(len(files)).split(BLOCK):
            images = torch.zeros(len(index), *files.shape, dtype=torch.uint8)
            try:
                read.append(files.decode_into(images, index))
            except BrokenFiles as error:  # all files are decoded before the error is raised
                broken += error.files
            if not broken:
                file.write(images.numpy().data)
            bar.update(len(index))
        if broken:
            raise BrokenFiles(broken)
        file.write(torch.cat(read).to(torch.uint8).numpy().data)


def place(files: ImageFiles) -> Path:
    """The path of the file of bytes of these images."""
    sha = hashlib.sha256(json.dumps([VERSION, files.shape, files.how]).encode())
    for path, name in zip(files.paths, files.names or files.paths, strict=True):
        try:
            found = path.stat()
            facts = f"\0{found.st_size} {found.st_mtime_ns}\0"
        except FileNotFoundError:  # a dangling link: reported as broken by `look`
            facts = "\0\0"
        sha.update(os.fsencode(str(name)) + facts.encode())
    return folder() / f"images-{sha.hexdigest()}.bytes"
