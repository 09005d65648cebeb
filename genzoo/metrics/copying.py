"""Two published tests of data-copying.

    C_T             Meehan, Chaudhuri and Dasgupta, 2020, https://arxiv.org/abs/2004.05675
    authenticity    Alaa et al., 2022, https://arxiv.org/abs/2102.08921

Both test whether samples are nearer to training images than held-out images are. Smooth samples,
which are near to all images, give a positive result as well. So compare each statistic with the
same statistic after training and held-out images are exchanged.
"""

import math

import numpy as np
import torch
from torch import Tensor

from .intervals import NORMAL
from .neighbours import nearest
from .number import Number

# C_T


def data_copying(
    train: Tensor, held_out: Tensor, generated: Tensor, cells: int = 3, seed: int = 0
) -> tuple[Number, Tensor]:
    """The C_T test: whether, in each cell of the space, samples are nearer to training images than
    held-out images are.

    Cells come from k-means on at most 64 principal components of the training features; there are
    fewer cells if one would have fewer than 50 held-out or training images. In a cell, Z is the
    normalised Mann-Whitney statistic of distances to the cell's training images; C_T is the mean
    of Z over cells with more than 20 samples, weighted by the number of held-out images. Negative
    values mean copying, positive ones underfitting.

    Returns:
        C_T, and Z of each cell, (cells,), NaN for cells with too few samples.
    """
    from scipy.stats import rankdata
    from sklearn.cluster import KMeans

    train, held_out, generated = _principal(64, train, held_out, generated)
    distinct = len(train[:1000].unique(dim=0))  # constant features give one cell
    for count in range(min(cells, distinct), 0, -1):
        means = KMeans(count, n_init=3, random_state=seed).fit(train.numpy())
        places = [torch.from_numpy(means.predict(x.numpy())) for x in (train, held_out, generated)]
        sizes = [place.bincount(minlength=count) for place in places]
        if min(sizes[0].min(), sizes[1].min()) >= 50:
            break
    z = torch.full((count,), math.nan, dtype=torch.float64)
    for cell in range(count):
        t, p, q = (
            x[place == cell] for x, place in zip((train, held_out, generated), places, strict=True)
        )
        if len(q) <= 20 or not len(p) or not len(t):
            continue
        distances = [nearest(x, t)[0][:, 0].numpy() for x in (p, q)]
        n, m = len(p), len(q)
        ranks = rankdata(np.concatenate(distances))
        u = ranks[n:].sum() - m * (m + 1) / 2  # pairs in which the sample is the farther
        z[cell] = (u - (n * m - 1) / 2) / math.sqrt(n * m * (n + m + 1) / 12)
    weight = sizes[1].double() * ~z.isnan()
    if not weight.sum():
        return Number(math.nan, note="too few samples in every cell"), z
    weight /= weight.sum()
    value = (weight * z.nan_to_num()).sum().item()
    half = NORMAL * weight.square().sum().sqrt().item()
    worst = z[~z.isnan()].min().item()
    note = f"negative is copying; lowest of {count} cells {worst:.3g}"
    return Number(value, value - half, value + half, note), z


def _principal(most: int, reference: Tensor, *others: Tensor) -> list[Tensor]:
    """Projections on the reference's first `most` principal components, float32 (n, <= most)."""
    flat = [x.flatten(1).float().cpu() for x in (reference, *others)]
    if flat[0].shape[1] <= most:
        return flat
    mean = flat[0].mean(0, dtype=torch.float64)
    scatter = sum((y := block.double() - mean).T @ y for block in flat[0].split(8192))
    axes = torch.linalg.eigh(scatter)[1][:, -most:].float()
    return [(x - mean.float()) @ axes for x in flat]


# Authenticity


def authentic(distances: Tensor, indices: Tensor, radius: Tensor) -> Tensor:
    """Whether each image is authentic, bool (n,): farther from its nearest training image than
    this training image is from the nearest other one.

    Args:
        distances, indices: Distance and index of each image's nearest training image, (n,).
        radius: Distance of each training image to its nearest other one, (N,).

    >>> authentic(torch.tensor([0.1, 2.0]), torch.tensor([0, 0]), radius=torch.tensor([1.0]))
    tensor([False,  True])
    """
    return distances > radius[indices]


def copied_by_authenticity(generated: Tensor, held_out: Tensor) -> Number:
    """1 - the share of authentic samples over that of authentic held-out images.

    Args:
        generated, held_out: From `authentic`, bool (n,) and (m,).
    """
    a, b = (x.double().mean().item() for x in (generated, held_out))
    if b == 0:
        return Number(math.nan, note="no held-out image is authentic")
    relative = (1 - a) / (max(a, 0.5 / len(generated)) * len(generated)) + (1 - b) / (
        b * len(held_out)
    )
    factor = math.exp(NORMAL * math.sqrt(relative))
    ratio = a / b
    low, high = 1 - max(ratio, 0.5 / len(generated)) * factor, 1 - ratio / factor
    note = f"authentic: {a:.1%} of samples, {b:.1%} of held-out images"
    return Number(max(0.0, 1 - ratio), max(0.0, low), max(0.0, high), note)
