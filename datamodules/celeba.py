"""CelebA: 202,599 photographs of 10,177 celebrities, with 40 attributes.

Liu, Luo, Wang and Tang, Deep Learning Face Attributes in the Wild, 2015.
https://arxiv.org/abs/1411.7766
"""

from pathlib import Path
from typing import Literal

import torch

from .download import download, find
from .files import ImageFiles
from .folder import FileData

# fmt: off
ATTRIBUTES = (
    "5_o_Clock_Shadow", "Arched_Eyebrows", "Attractive", "Bags_Under_Eyes", "Bald", "Bangs",
    "Big_Lips", "Big_Nose", "Black_Hair", "Blond_Hair", "Blurry", "Brown_Hair", "Bushy_Eyebrows",
    "Chubby", "Double_Chin", "Eyeglasses", "Goatee", "Gray_Hair", "Heavy_Makeup",
    "High_Cheekbones", "Male", "Mouth_Slightly_Open", "Mustache", "Narrow_Eyes", "No_Beard",
    "Oval_Face", "Pale_Skin", "Pointy_Nose", "Receding_Hairline", "Rosy_Cheeks", "Sideburns",
    "Smiling", "Straight_Hair", "Wavy_Hair", "Wearing_Earrings", "Wearing_Hat",
    "Wearing_Lipstick", "Wearing_Necklace", "Wearing_Necktie", "Young",
)
# fmt: on


class CelebA(FileData):
    """Aligned faces, (3, image_size, image_size), in the official three parts of different people.

    The aligned photographs of 178x218 are cropped to their central 178x178 and resized. At 64
    pixels the 162,770 training images take 2 GB and some minutes to decode; `num_train` limits
    both, and from 1 GiB on they are decoded once into a file in a cache folder. Read from
    root/celeba, torchvision's layout.

    Args:
        attribute: One of the 40 `ATTRIBUTES`, which is the label, 1 where it holds; "": no labels.
        image_size: Pixels of a side, at least 1.
        download: Whether torchvision downloads the files if they are missing; it needs `gdown`.
    """

    def __init__(
        self,
        root: str | None = None,
        attribute: str = "",
        batch_size: int = 128,
        image_size: int = 64,
        conditional: bool = False,
        seed: int = 0,
        num_train: int = 0,
        download: bool = False,
        mirror: bool = False,
        shifts: int = 0,
        cache: Literal["auto", "always", "never"] = "auto",
    ):
        if image_size < 1:
            raise ValueError(f"image_size must be at least 1 for CelebA, got {image_size}")
        if attribute:
            if attribute not in ATTRIBUTES:
                raise ValueError(
                    f"attribute must be one of {', '.join(ATTRIBUTES)}, got {attribute!r}"
                )
            self.class_names = (f"not {attribute}", attribute)
        self.raw_shape = (3, image_size, image_size)
        super().__init__(
            root,
            cache,
            batch_size=batch_size,
            image_size=image_size,
            conditional=conditional,
            seed=seed,
            num_train=num_train,
            mirror=mirror,
            shifts=shifts,
        )
        self.attribute, self.download = attribute, download
        self.folder = Path(self.root).expanduser()
        names = ("img_align_celeba", "list_eval_partition.txt", "list_attr_celeba.txt")
        self.files = [self.folder / "celeba" / name for name in names]

    def prepare_data(self) -> None:
        if self.download and not all(path.exists() for path in self.files):
            from torchvision import datasets

            download(self.name, self.folder, datasets.CelebA)
        super().prepare_data()

    def read(self) -> dict[str, ImageFiles]:
        images, partition, attributes = (find(path, self.name) for path in self.files)
        # The number of images, the names of the attributes, then a line for each image.
        header, *rows = (line.split() for line in attributes.read_text().splitlines()[1:])
        if tuple(header) != ATTRIBUTES:
            raise ValueError(f"{attributes} must begin with a count and the 40 names of attributes")
        labels = dict.fromkeys((name for name, *_ in rows), -1)
        if self.attribute:
            column = 1 + ATTRIBUTES.index(self.attribute)
            labels = {row[0]: int(row[column] == "1") for row in rows}
        names = {"0": [], "1": [], "2": []}
        for line in partition.read_text().splitlines():
            name, part = line.split()
            names[part].append(name)
        return {
            part: ImageFiles(
                [images / name for name in chosen],
                torch.tensor([labels[name] for name in chosen]),
                self.image_size,
                channels=3,
            )
            for part, chosen in zip(("train", "val", "test"), names.values(), strict=True)
        }
