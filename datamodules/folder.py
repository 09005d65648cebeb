"""Any folder of images.

The headers of all files are read before the training. Images are decoded once, at the size of the
training, into memory or, if they are too large for it, into a file in a cache folder (`stored.py`).
"""

from pathlib import Path, PurePosixPath
from typing import Any, Literal

import torch
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor

from . import layout
from .base import PARTS, STAGES, ImageData, check_size
from .batches import Images
from .files import BROKEN as BROKEN
from .files import SHOWN, BrokenFiles, ImageFiles, list_images, look
from .files import as_array as as_array
from .files import decode as decode
from .layout import some
from .stored import Bytes, StoredImages, place, store

LARGE = 2**30  # bytes of decoded images from which they are kept on disk, not in memory


class FileData(ImageData):
    """Image files, decoded into memory, or once into a file on disk.

    Args:
        cache: Whether decoded images are kept on disk: "never", "always", or "auto", from 1 GiB
            on. The folder is GENZOO_CACHE, or ~/.cache/genzoo, and may be deleted at any time.
            Binarised images are always in memory.
    """

    def __init__(
        self,
        root: str | None = None,
        cache: Literal["auto", "always", "never"] = "auto",
        **kwargs: Any,
    ):
        super().__init__(root, **kwargs)
        if cache not in ("auto", "always", "never"):
            raise ValueError(f"cache must be auto, always or never, got {cache!r}")
        self.cache = cache
        self._stored: list[tuple[ImageFiles, Bytes]] = []

    def prepare_data(self) -> None:
        if self.trainer is not None:  # one process of each machine writes, the others wait
            self._choose()
            if self._on_disk():
                for source, _ in self._chosen.values():
                    if source is not None:
                        self._bytes(source)

    def _on_disk(self) -> bool:
        if self.cache != "auto" or self.binarise != "none":
            return self.cache == "always" and self.binarise == "none"
        count = sum(len(index) for _, index in self._chosen.values())
        return count * torch.Size(self.image_shape).numel() >= LARGE

    def _take(self, source: ImageFiles, index: Tensor, part: str) -> Images | StoredImages:
        if self._on_disk():
            data = self._bytes(source)
            rows = index[data.whole[index]]
            taken = StoredImages(data, rows, source.labels[rows])
        else:
            taken = super()._take(source, index, part)
        if source.skipped:
            named = some([f"{path} ({reason})" for path, reason in source.skipped.items()], SHOWN)
            rank_zero_warn(f"broken files are left out, {len(source.skipped)}: {named}")
            source.skipped = {}
        return taken

    def _bytes(self, source: ImageFiles) -> Bytes:
        """The stored images of a source, written once even if several splits use it."""
        for known, data in self._stored:
            if known is source:
                return data
        data = store(source)
        for at in (~data.whole).nonzero()[:, 0].tolist():
            source.skipped.setdefault(source.paths[at], "broken")
        self._stored.append((source, data))
        return data


class ImageFolder(FileData):
    """The images in a folder and all folders below it, resized to `image_size`; transparent pixels
    are white.

    Folders train, val (or valid, validation) and test, in upper or lower case, are the parts of the
    data; if val or test is missing, it is taken from train. If all images of a part are in two or
    more sub-folders, these are the classes, in alphabetical order, numbers in numerical order.
    Otherwise the images are unlabelled. Names that begin with a dot are ignored. A hash of its name
    decides whether a file is held out, so adding or removing files does not move others; sizes are
    fractions on average.

    Args:
        root: The folder.
        image_size: Pixels of a side.
        channels: 3 for colour, 1 for grey.
        test_size: Test images: a fraction below 1 of all, or a count.
        on_error: What to do with broken files: "raise" an error that lists them, or "skip" them.

    Raises:
        ValueError: there is no such folder, or no image in it, or the meaning of its sub-folders
            is ambiguous.
    """

    def __init__(
        self,
        root: str = "data",
        image_size: int = 64,
        channels: int = 3,
        test_size: float = 0.1,
        on_error: Literal["raise", "skip"] = "raise",
        **kwargs,
    ):
        if image_size < 1:
            raise ValueError(f"image_size must be at least 1 for a folder, got {image_size}")
        if channels not in (1, 3):
            raise ValueError(f"channels must be 3 (colour) or 1 (grey), got {channels}")
        if on_error not in ("raise", "skip"):
            raise ValueError(f"on_error must be raise or skip, got {on_error!r}")
        check_size("test_size", test_size)
        self.folder, self.on_error = Path(root).expanduser(), on_error
        foreign: list[str] = []
        self.paths = list_images(self.folder, others=foreign)
        names = [PurePosixPath(path.relative_to(self.folder).as_posix()) for path in self.paths]
        self.layout = layout.read(names, root)
        for word in self.layout.words:
            rank_zero_warn(word)
        if foreign:
            rank_zero_warn(
                f"{len(foreign)} images in {root} are of kinds that are not read and are left out: "
                f"{some(foreign, 3)}"
            )
        self.names = [str(name) for name in names]
        self.class_names, self.labels = self.layout.class_names, self.layout.labels
        self.raw_shape = (channels, image_size, image_size)
        super().__init__(root, image_size=image_size, **kwargs)
        self.test_size = test_size
        self.name = self.folder.resolve().name

    def read(self) -> dict[str, ImageFiles]:
        """Raises: BrokenFiles: a header is broken; the error lists all such files."""
        parts = {part: self._files(places) for part, places in self.layout.parts.items()}
        if self.cache == "never" or not all(place(files).is_file() for files in parts.values()):
            found = look(self.paths, self.image_size)
            if found.broken and self.on_error == "raise":
                raise BrokenFiles(found.broken)
            for word in found.words(self.root):
                rank_zero_warn(word)
        return parts

    def setup(self, stage: str | None = None) -> None:
        """Reads all parts before a training, so that it does not fail at its end over a broken
        file."""
        broken = []
        for part in PARTS if stage == "fit" else STAGES.get(stage, PARTS):
            try:
                self.split(part)
            except BrokenFiles as error:
                broken += error.files
        if broken:
            raise BrokenFiles(broken)

    def _share(self) -> dict[str, int]:
        # Loaders are made after the checkpoint was read.
        path = self.trainer and self.trainer.ckpt_path
        if path and not self._compared:
            rank_zero_warn(
                f"{path} does not say which images of {self.name} it was trained on: images may be "
                "held out that were trained on (earlier versions split a folder otherwise)"
            )
            self._compared = True
        return super()._share()

    def _files(self, places: list[int]) -> ImageFiles:
        """The images at these places."""
        paths, names = [self.paths[at] for at in places], [self.names[at] for at in places]
        channels, size, _ = self.image_shape
        return ImageFiles(
            paths,
            self.labels[places],
            size,
            channels,
            self.square,
            names,
            layout.identities(names, map(_size, paths)),
            self.on_error,
        )


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:  # `look` reports why
        return 0
