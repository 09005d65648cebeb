"""Sizes of what a figure shows, and a model whose codes are seen in its images."""

import numpy as np
import torch
from PIL import Image

from tests.helpers.toy_model_and_data import Toy

GUTTER, CELL = 8, 72  # around images of 8x8 that are enlarged eight times


def read(path):
    return torch.from_numpy(np.array(Image.open(path)))


class Coder(Toy):
    """Decodes what it encodes: the mean of each quarter."""

    def prior(self, n):
        return torch.rand(n, 4) * 2 - 1

    def decode(self, z, y=None):
        self.told = y
        return z.view(-1, 1, 2, 2).repeat_interleave(4, 2).repeat_interleave(4, 3).clamp(-1, 1)

    def encode(self, x, y=None):
        return x.unflatten(3, (2, 4)).unflatten(2, (2, 4)).mean((3, 5)).flatten(1)


def by_pillow(images, side):
    """Each channel as a picture of floats, as clean-fid resizes, (B, 3, side, side)."""
    made = []
    for channel in images.expand(-1, 3, -1, -1).flatten(0, 1):
        picture = Image.fromarray(channel.numpy().astype(np.float32))
        made.append(np.asarray(picture.resize((side, side), Image.Resampling.BICUBIC)))
    return torch.from_numpy(np.stack(made)).clip(0, 255).view(len(images), 3, side, side)
