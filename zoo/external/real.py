"""Real images to compare samples with, if the training images of a model are unknown."""

from pathlib import Path
from typing import Any, NamedTuple

import lightning as L
import torch
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from ...images import from_uint8
from ...rng import shuffled
from .forms import as_bytes
from .reading import read_images


class RealFolder(L.LightningDataModule):
    """Real images, if it is unknown which of them are training images of a model.

        genzoo test --model SampleFolder --model.path DIR --data RealFolder --data.path REAL

    A random half is the reference for samples, the other half takes the place of held-out images.
    Memorisation cannot be measured with such data, and the card says so: it needs a DataModule with
    the training images of the model.

    Args:
        path: A folder, .zip or .npz as for `SampleFolder`; or the images themselves, in a form of
            `as_images`. At least four images.
        seed: Seed of the halves.
    """

    conditional = False
    class_names = ()

    def __init__(self, path: Any, seed: int = 0) -> None:
        super().__init__()
        if isinstance(path, (str, Path)):
            source = Path(path).expanduser()
            images, labels, _ = read_images(source, None, "none")
            self.name = source.resolve().name
        else:
            self.name = "given images"
            images = as_bytes(path, None, self.name)
            labels = torch.full((len(images),), -1)
        if len(images) < 4:
            raise ValueError(f"path must have at least 4 images, got {len(images)} in {self.name}")
        order = shuffled(len(images), seed)
        half = len(images) // 2
        self.image_shape = tuple(images.shape[1:])
        known = labels if (labels >= 0).all() else torch.full_like(labels, -1)
        self.num_classes = len(known[known >= 0].unique())
        self.parts = {
            part: Pictures(images[index], known[index])
            for part, index in (("train", order[:half]), ("test", order[half:]))
        }
        halves = f"a random half of {self.name} as training images, the other half held out"
        self.data_protocol = {"real_images": halves}
        why = f"nobody says which of the images in {self.name} the model was trained on"
        self.unanswerable = {
            "memorisation": f"This cannot be asked: {why}. Give a DataModule with the training "
            "images and others of the same source that were held out.",
            "likelihood": f"This cannot be asked: {why}, so a gap would mean nothing.",
        }

    def split(self, part: str) -> "Pictures":
        """The reference as "train", the other half as "val" and "test"."""
        return self.parts["train" if part == "train" else "test"]

    def test_dataloader(self) -> DataLoader:
        images, labels = self.split("test")
        return DataLoader(TensorDataset(from_uint8(images), labels), batch_size=128)

    val_dataloader = predict_dataloader = test_dataloader


class Pictures(NamedTuple):
    """uint8 (N, C, H, W), and labels int64 (N,), -1 where there are none."""

    images: Tensor
    labels: Tensor
