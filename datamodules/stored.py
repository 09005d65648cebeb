"""Images on disk instead of in memory: decoded once into a file of bytes.

The file is in the folder GENZOO_CACHE, or ~/.cache/genzoo, which may be deleted at any time. Its
name is a hash of everything its bytes depend on: the name, the size and the time of the last change
of each image file, and the size and the kind of the images. So it is never out of date, and all
runs and processes share it. It is written atomically.
"""

import hashlib
import json
import os
import shutil
from pathlib import Path
from threading import Lock

import numpy as np
import torch
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor
from tqdm.auto import tqdm

from ..files import whole
from .batches import Images
from .files import BLOCK, BrokenFiles, ImageFiles

LOCK = Lock()  # where no system call reads from a place
VERSION = 1  # of the conversion of files to bytes


def folder() -> Path:
    return Path(os.environ.get("GENZOO_CACHE") or "~/.cache/genzoo").expanduser()


class Bytes:
    """N images of one shape in a file: rows are read when they are used.

    The file holds the images, then a byte for each, 1 if the image is whole. It is read and not
    mapped: a system may map far more around a row than the row, which counts as memory of this
    process, and reading is the faster way as well.

    Args:
        path: The file.
        count: N.
        shape: (C, H, W).
    """

    def __init__(self, path: Path, count: int, shape: tuple[int, ...]):
        self.path, self.count, self.shape = path, count, tuple(shape)
        self.length = int(np.prod(self.shape))  # bytes of an image
        self.file = path.open("rb", buffering=0)
        ends = np.empty(count, dtype=np.uint8)
        self._read(ends, count * self.length)
        self.whole = torch.from_numpy(ends.astype(bool))

    def __reduce__(self):  # another process opens the file itself
        return Bytes, (self.path, self.count, self.shape)

    def take(self, rows: Tensor) -> Tensor:
        """Copies of these images, uint8 (n, C, H, W)."""
        images = torch.empty(len(rows), *self.shape, dtype=torch.uint8)
        places = rows.tolist()
        for image, row in zip(images.view(-1, self.length).numpy(), places, strict=True):
            self._read(image, row * self.length)
        return images

    def _read(self, values: np.ndarray, at: int) -> None:
        """Fills these bytes from a place in the file, whatever other threads and forks read."""
        if hasattr(os, "preadv"):
            read = os.preadv(self.file.fileno(), [values], at)
        else:
            with LOCK:
                self.file.seek(at)
                read = self.file.readinto(values)
        if read != values.size:
            raise OSError(f"the cache file {self.path} was cut short: delete it, and start again")


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
