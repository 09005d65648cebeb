"""Generators whose truth is known, on three kinds of real images.

An evaluation sees them through hand-made evidence, as it sees a model's samples. What each image
lies near to does not depend on the others, so it is looked up once for a world and kept.
"""

import os
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path

import pytest
import torch
from torch import Tensor

from genzoo.callbacks import Evidence, Features, Memorisation
from genzoo.features.extractors import Domain, Extractor, Instance
from genzoo.features.spaces import Spaces
from genzoo.metrics.copies import Nearest, pool


@dataclass
class World:
    """Real images in three parts: trained on, held out, and fresh ones for honest samples."""

    train: Tensor
    held_out: Tensor
    fresh: Tensor
    labels: tuple[Tensor, Tensor] | None = None  # of training and held-out images
    kept: dict = field(default_factory=dict)

    @cached_property
    def instance(self) -> Extractor:
        both = torch.cat([self.train, self.held_out])
        return Instance(both[pool(self.train, self.held_out).place])

    @cached_property
    def extractor(self) -> Extractor:
        if self.labels is None:
            return self.instance
        return Domain(self.train, self.labels[0])

    def features(self, extractor: Extractor, images: Tensor, key: str = "") -> Features:
        if key and (extractor.name, key) in self.kept:
            return self.kept[extractor.name, key]
        seen = [extractor(block) for block in images.split(500)]
        features = torch.cat([part[0] for part in seen])
        logits = None if seen[0][1] is None else torch.cat([part[1] for part in seen])
        found = Features(images, features, logits)
        if key:
            self.kept[extractor.name, key] = found
        return found

    def evidence(self, samples: Tensor, extractor: Extractor | None = None) -> Evidence:
        extractor = extractor or self.extractor
        train, held_out = (
            self.features(extractor, images, key)
            for images, key in ((self.train, "train"), (self.held_out, "held_out"))
        )
        if self.labels is not None:
            train.labels, held_out.labels = self.labels
        return Evidence(
            train,
            held_out,
            self.features(extractor, samples),
            extractor,
            {"split": "test"},
            through=lambda choice: self.evidence(samples, self.instance),
        )

    def remember(self, monkeypatch) -> None:
        """Each image is looked up once."""
        look, known = Spaces.look, self.kept.setdefault("looks", {})

        def remembered(spaces, images, features, most=None):
            keys = [image.numpy().tobytes() for image in images]
            new = [i for i, key in enumerate(keys) if key not in known]
            if new:
                parts = {name: x[new] for name, x in features.items()}
                found = look(spaces, images[new], parts)
                for place, i in enumerate(new):
                    known[keys[i]] = {
                        name: (near.index[place], near.gap[place]) for name, near in found.items()
                    }
            return {
                name: Nearest(*(torch.stack([known[k][name][i] for k in keys]) for i in (0, 1)))
                for name in known[keys[0]]
            }

        monkeypatch.setattr(Spaces, "look", remembered)

    def mixed(self, copies: Tensor, share: float) -> Tensor:
        """Some copies among honest samples."""
        count = round(share * len(self.fresh))
        return torch.cat([copies[:count], self.fresh[count:]])


def memorisation(world: World, samples: Tensor):
    """The section of samples; real images are looked at once for a world."""
    evaluation = world.kept.setdefault("memorisation", Memorisation())
    return evaluation.evaluate(world.evidence(samples))


def parts(images: Tensor, sizes: tuple[int, int, int], seed: int) -> list[Tensor]:
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(seed))
    return [images[part] for part in order[: sum(sizes)].split(sizes)]


@lru_cache(maxsize=2)
def digits(seed: int) -> World:
    """scikit-learn's, 8x8, whose labels are not looked at."""
    from sklearn.datasets import load_digits

    data = load_digits()
    images = torch.from_numpy((data.images * 15.9375).round().astype("uint8"))[:, None]
    return World(*parts(images, (700, 547, 550), seed))


@lru_cache(maxsize=2)
def clothes(seed: int) -> World:
    """Fashion-MNIST, 3,000 trained on, 1,500 held out, 1,500 fresh ones."""
    from genzoo.datamodules import FashionMNIST

    data = FashionMNIST(_root())
    data.prepare_data()
    given = data.split("train")
    order = torch.randperm(len(given.images), generator=torch.Generator().manual_seed(seed))[:6000]
    images, labels = given.images[order], given.labels[order]
    train, held_out, fresh = images.split((3000, 1500, 1500))
    return World(train, held_out, fresh, (labels[:3000], labels[3000:4500]))


@lru_cache(maxsize=2)
def emoji(seed: int) -> World:
    """Google's in colour at 32x32, unlabelled: 2,000 trained on, 800 held out, 900 fresh ones."""
    return World(*parts(_emoji(), (2000, 800, 900), seed))


@lru_cache(maxsize=1)
def _emoji() -> Tensor:
    import numpy as np
    from PIL import Image

    folder = Path(_root(), "emoji", "emoji-datasource-google", "img", "google", "64")
    files = sorted(folder.glob("*.png"))
    if not files:
        pytest.skip(f"emoji are needed in {folder}")
    images = []
    for file in files:
        with Image.open(file) as image:
            white = Image.new("RGBA", image.size, "white")
            white.alpha_composite(image.convert("RGBA"))
            small = white.convert("RGB").resize((32, 32), Image.Resampling.BOX)
        images.append(torch.from_numpy(np.asarray(small).copy()))
    return torch.stack(images).movedim(-1, 1).contiguous()


def _root() -> str:
    root = os.environ.get("GENZOO_DATA")
    if not root:
        pytest.skip("real data is needed in the folder GENZOO_DATA")
    return root
