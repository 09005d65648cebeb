"""The Vendi score: how many wholly different images would be as diverse as these.

Friedman and Dieng, The Vendi Score: A Diversity Evaluation Metric for Machine Learning, 2022.
https://arxiv.org/abs/2210.02410

With the similarities K_ij of n images, 1 on the diagonal, and the eigenvalues e of K / n,

    VS = exp(-sum_i e_i log e_i)                                                   (eq. 2)

between 1, of copies of one image, and n, of images without any likeness. It needs no reference,
but its size means little without one: it depends on n and on what counts as alike. So samples are
scored beside as many real images, and the ratio is what tells.

Legend: n images, d features.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .intervals import student
from .neighbours import nearest, squared_distances
from .number import Number


def vendi_score(similarity: Tensor) -> float:
    """The score of n images by their similarities.

    Args:
        similarity: float (n, n), symmetric, positive semidefinite, 1 on the diagonal.
    """
    n = len(similarity)
    if similarity.ndim != 2 or similarity.shape != (n, n) or not n:
        raise ValueError(f"similarity must be (n, n), got {tuple(similarity.shape)}")
    if not similarity.isfinite().all():
        raise ValueError("similarity must be finite, got NaN or infinity")
    return math.exp(_entropy(similarity.double()))


def _entropy(similarity: Tensor) -> float:
    values = torch.linalg.eigvalsh(similarity / len(similarity))
    return torch.special.entr(values.clamp(min=0)).sum().item()  # rounding goes below 0


def cosine(x: Tensor) -> Tensor:
    """Similarities of features (n, d) by their angles, as the paper compares images, (n, n)."""
    x = torch.nn.functional.normalize(x.double(), dim=1)
    return x @ x.T


def gaussian(x: Tensor, width: float) -> Tensor:
    """Similarities exp(-|x_i - x_j|^2 / (2 width^2)) of features (n, d), float64 (n, n)."""
    if not width > 0:
        raise ValueError(f"width must be above 0, got {width}")
    squares = torch.cat([block for _, block in squared_distances(x, x)])
    squares = (squares + squares.T) / 2
    return squares.fill_diagonal_(0).double().div_(-2 * width**2).exp_()


def natural_width(x: Tensor) -> float:
    """What to call alike, from features (n, d): the median distance to the nearest other one, of
    those that have no duplicate, times the root of 2. Neighbours are then alike by 0.78. NaN
    where all are the same."""
    distances = nearest(x, x, exclude_self=True)[0][:, 0]
    distances = distances[distances > 0]
    return math.sqrt(2) * distances.median().item() if len(distances) else math.nan


@dataclass
class Varied:
    """Scores of as many samples and real images, and what they are to each other.

    Args:
        samples: Score of the samples.
        real: Score of the real images.
        error: Deviation of the logarithm of their ratio for equal distributions.
        n: Images of each kind.
        draws: How many values the deviation was taken of.
    """

    samples: float
    real: float
    error: float
    n: int
    draws: int

    def ratio(self, chance: float = 0.05) -> Number:
        """Samples over real images, with an interval that misses it so often."""
        reach = student(self.draws, 1 - chance) * self.error
        value = self.samples / self.real
        note = f"{self.samples:,.1f} of {self.n:,} samples, {self.real:,.1f} of held-out images"
        return Number(value, value * math.exp(-reach), value * math.exp(reach), note)


def compare_vendi(
    samples: Tensor,
    real: Tensor,
    width: float,
    most: int = 1000,
    draws: int = 10,
    seed: int = 0,
) -> Varied:
    """Scores of samples and of real images, n of each, with Gaussian similarities.

    Its error is what the ratio shows where both are the same: the deviation over random divisions
    of all 2 n into two halves. (The delta method and bootstraps promise too little here, by up to
    a factor of two for a hundred images.)

    Args:
        samples: float (n_samples, d), real (n_real, d); n is the least of the two numbers and
            `most`, of larger sides n are drawn.
        width: Of the Gaussian, see `natural_width`.
        draws: Of such divisions; time goes with their number and with n^3.
    """
    n = min(len(samples), len(real), most)
    if n < 2:
        raise ValueError(f"samples and real must be at least 2 images, got {n}")
    generator = torch.Generator().manual_seed(seed)
    both = torch.cat([x[torch.randperm(len(x), generator=generator)[:n]] for x in (samples, real)])
    similarity = gaussian(both, width)
    ours, theirs = (vendi_score(similarity[part][:, part]) for part in (slice(n), slice(n, None)))
    similarity = similarity.float()  # which an error bar bears, in half the time
    squares = 0.0
    for _ in range(draws):
        halves = torch.randperm(2 * n, generator=generator).split(n)
        a, b = (_entropy(similarity[part][:, part]) for part in halves)
        squares += (a - b) ** 2  # about 0, which is the mean of the difference by symmetry
    return Varied(ours, theirs, math.sqrt(squares / draws), n, draws)


def overall(parts: Sequence[Varied]) -> Number:
    """The geometric mean of the ratios of several parts, as of classes, with its interval."""
    logs = [math.log(part.samples / part.real) for part in parts]
    mean = sum(logs) / len(logs)
    error = math.sqrt(sum(part.error**2 for part in parts)) / len(parts)
    reach = student(sum(part.draws for part in parts)) * error
    return Number(math.exp(mean), math.exp(mean - reach), math.exp(mean + reach))
