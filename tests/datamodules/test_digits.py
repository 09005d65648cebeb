"""Scikit-learn's digits."""

import torch

from genzoo.datamodules import Digits
from genzoo.images import from_uint8, to_levels


def test_digits_keep_their_17_levels():
    from sklearn.datasets import load_digits

    data = Digits()
    assert [len(data.split(part)) for part in ("train", "val", "test")] == [1297, 250, 250]
    assert data.image_shape == (1, 8, 8) and data.num_classes == 10
    splits = [data.split(part) for part in ("train", "val", "test")]
    images = torch.cat([split.images for split in splits])
    assert images.unique().tolist() == [round(255 * level / 16) for level in range(17)]
    levels = to_levels(from_uint8(images), 17).view(-1, 64)
    labels = torch.cat([split.labels for split in splits])
    ours = sorted(zip(levels.tolist(), labels.tolist(), strict=True))
    pixels, targets = load_digits(return_X_y=True)
    assert ours == sorted(zip(pixels.astype(int).tolist(), targets.tolist(), strict=True))
