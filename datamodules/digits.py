"""Digits: 1,797 grey digits of 8x8 pixels, which come with scikit-learn.

The data set for first steps: nothing to download, and a model trains in seconds on a laptop.
Alpaydin and Kaynak, Optical Recognition of Handwritten Digits, 1998.
https://doi.org/10.24432/C50P49
"""

import torch

from .base import ImageData, check_size
from .batches import Images


class Digits(ImageData):
    """1,797 digits, (1, 8, 8), in 10 classes: 1,297 for training, 250 and 250 held out.

    The 17 grey levels 0..16 are scaled to 0..255 and rounded, so that `to_levels(x, 17)` recovers
    them. `root` is not used.

    >>> data = Digits()
    >>> data.image_shape, data.num_classes, len(data.split("train"))
    ((1, 8, 8), 10, 1297)

    Args:
        val_size: Validation images: a fraction below 1, or a count.
        test_size: Test images: a fraction below 1, or a count.
    """

    raw_shape = (1, 8, 8)
    class_names = tuple("0123456789")

    def __init__(self, val_size: float = 250, test_size: float = 250, **kwargs):
        super().__init__(val_size=val_size, **kwargs)
        check_size("test_size", test_size)
        self.test_size = test_size

    def read(self) -> dict[str, Images]:
        from sklearn.datasets import load_digits

        levels, labels = load_digits(return_X_y=True)  # (1797, 64) in 0..16
        images = torch.from_numpy(levels).mul(255 / 16).round().to(torch.uint8).view(-1, 1, 8, 8)
        return {"train": Images(images, torch.from_numpy(labels))}
