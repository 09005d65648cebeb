"""CIFAR-10: 60,000 small colour photographs of 10 classes of objects.

Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009.
https://www.cs.toronto.edu/~kriz/learning-features-2009-TR.pdf
"""

from pathlib import Path

import torch

from .base import ImageData
from .batches import Images
from .download import download, find


class CIFAR10(ImageData):
    """50,000 + 10,000 photographs, (3, 32, 32); the 10,000 are the test images.

    Read by torchvision from root/cifar-10-batches-py, the unpacked "python version".

    Args:
        download: Whether torchvision downloads the files if they are missing.
    """

    raw_shape = (3, 32, 32)
    class_names = (
        "airplane",
        "automobile",
        "bird",
        "cat",
        "deer",
        "dog",
        "frog",
        "horse",
        "ship",
        "truck",
    )

    def __init__(self, root: str | None = None, download: bool = False, **kwargs):
        super().__init__(root, **kwargs)
        self.download = download
        self.folder = Path(self.root).expanduser()
        batches = (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch", "batches.meta")
        self.files = [self.folder / "cifar-10-batches-py" / batch for batch in batches]

    def prepare_data(self) -> None:
        if self.download and not all(path.exists() for path in self.files):
            from torchvision import datasets

            download(self.name, self.folder, datasets.CIFAR10)

    def read(self) -> dict[str, Images]:
        from torchvision import datasets

        for path in self.files:
            find(path, self.name)
        parts = {}
        for part in ("train", "test"):
            try:
                data = datasets.CIFAR10(self.folder, train=part == "train")
            except RuntimeError as error:  # torchvision compares checksums before it unpickles
                raise ValueError(
                    f"{self.files[0].parent} must hold the files of CIFAR-10 unaltered,"
                    " got another checksum: delete them and download them again"
                ) from error
            images = torch.from_numpy(data.data).permute(0, 3, 1, 2)  # (N, 3, 32, 32)
            parts[part] = Images(images, torch.tensor(data.targets))
        return parts
