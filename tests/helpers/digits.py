"""Scikit-learn's digits, and a small classifier of them that judges what models make of them."""

from functools import cache

import numpy as np
import torch
from sklearn.neighbors import KNeighborsClassifier
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from genzoo.datamodules import Digits
from genzoo.images import from_uint8
from genzoo.metrics.frechet import frechet_distance
from genzoo.zoo.networks import MLP
from tests.helpers.training import fit


def digits() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """1,297 images in [-1, 1] and their labels, then 500 that are held out."""
    train, *others = (Digits().split(part) for part in ("train", "val", "test"))
    unseen = torch.cat([part.images for part in others])
    labels = torch.cat([part.labels for part in others])
    return from_uint8(train.images), train.labels, from_uint8(unseen), labels


@cache
def _judge() -> MLP:
    x, y, unseen, labels = digits()
    with torch.random.fork_rng(), torch.enable_grad():
        torch.manual_seed(0)
        judge = MLP((64, 128, 64, 10))
        optimizer = torch.optim.Adam(judge.parameters(), lr=2e-3)
        for _ in range(600):
            chosen = torch.randint(len(x), (128,))
            seen = x[chosen].flatten(1) + 0.1 * torch.randn(128, 64)
            loss = cross_entropy(judge(seen), y[chosen])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    judge.requires_grad_(False)
    right = (judge(unseen.flatten(1)).argmax(1) == labels).float().mean()
    assert right > 0.97, right
    return judge


def classes(x: Tensor) -> Tensor:
    """(B,), what the judge takes them for."""
    return _judge()(x.flatten(1)).argmax(1)


def distance(x: Tensor, to: Tensor | None = None) -> float:
    """Frechet distance of images to others, to the training images, by the judge's features."""
    *body, _ = _judge()
    to = digits()[0] if to is None else to
    real, made = (nn.Sequential(*body)(images.flatten(1)) for images in (to, x))
    return frechet_distance(real, made).value


def energy_distance(a: Tensor, b: Tensor) -> float:
    """0 for two samples, (n, D) and (m, D), of one law, as both grow."""
    return (
        2 * torch.cdist(a, b).mean() - torch.cdist(a, a).mean() - torch.cdist(b, b).mean()
    ).item()


def inverted(model_class: type, seed: int) -> tuple[float, ...]:
    """Of unseen digits: the share that come back as the same digit; how well latents are found
    again; and how often a neighbour by codes is of the same class, before training and after."""
    x, y, unseen, labels = digits()
    torch.manual_seed(seed)
    model = model_class((1, 8, 8), latent_dim=10, lr=5e-4)

    def neighbour():
        codes = model.encode(x)
        near = KNeighborsClassifier(1).fit(codes / codes.std(0), y)
        return near.score(model.encode(unseen) / codes.std(0), labels)

    before = neighbour()
    fit(model, Digits(batch_size=128), steps=2000, limit_val_batches=0)
    same = (classes(model.reconstruct(unseen)) == labels).float().mean().item()
    z = model.prior(2000)
    pairs = zip(z.T.numpy(), model.encode(model.decode(z)).T.numpy(), strict=True)
    again = float(np.mean([np.corrcoef(a, b)[0, 1] for a, b in pairs]))
    spread = (model.encode(unseen).std(0) - z.std(0)).mean().item()
    return same, again, before, neighbour(), spread
