"""Evidence made by hand, for evaluations without a model."""

import torch

from genzoo.callbacks import Evidence, Features
from genzoo.features.extractors import Extractor


class Seen(Extractor):
    """A fixed random layer over pixels, and nearest class means as a classifier where given."""

    def __init__(self, means=None, width: int = 16, reference: bool = False):
        super().__init__("toy")
        self.means, self.width, self.reference, self.calls = means, width, reference, 0

    def forward(self, images):
        self.calls += 1
        x = images.flatten(1).float() / 255
        generator = torch.Generator().manual_seed(7)
        weights = torch.randn(x.shape[1], self.width, generator=generator) / x.shape[1] ** 0.5
        features = torch.tanh(2 * x @ weights)
        if self.means is None:
            return features, None
        return features, -20 * torch.cdist(x, self.means).square()


def texture(n: int, seed: int, classes: int = 5, side: int = 12, temperature: float = 0.6):
    """uint8 (n, 1, side, side) and labels: a pattern for each class under much noise, so that no
    two are alike."""
    patterns = torch.rand(classes, side * side, generator=torch.Generator().manual_seed(99))
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(classes, (n,), generator=generator)
    noise = torch.rand(n, side * side, generator=generator)
    x = temperature * patterns[labels] + (1 - temperature) * noise
    return (255 * x).round().byte().view(n, 1, side, side), labels


def pattern_means(classes: int = 5, side: int = 12, temperature: float = 0.6):
    patterns = torch.rand(classes, side * side, generator=torch.Generator().manual_seed(99))
    return temperature * patterns + (1 - temperature) / 2


def evidence(train, held_out, generated, extractor=None, names=(), copies=None):
    """Each an (images, labels) or images alone; `copies` is what "instance" stands for."""
    extractor = extractor or Seen()

    def through(extractor):
        def features(given):
            images, labels = given if isinstance(given, tuple) else (given, None)
            seen = [extractor(block) for block in images.split(500)]
            parts = (None if x[0] is None else torch.cat(x) for x in zip(*seen, strict=True))
            return Features(images, *parts, labels)

        parts = (features(given) for given in (train, held_out, generated))
        others = (lambda choice: through(copies)) if copies else None
        return Evidence(*parts, extractor, {"split": "test"}, names, others)

    return through(extractor)


def smooth_images(n, side=16, channels=1, seed=0):
    """float (n, channels, side, side) in [-1, 1]: a few soft blobs each."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.randn(n, channels, 5, 5, generator=generator)
    x = torch.nn.functional.interpolate(coarse, (side, side), mode="bicubic")
    return (x / 2).clamp(-1, 1)
