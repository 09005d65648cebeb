"""The Vendi score: the number of completely dissimilar images that would be as diverse.

Friedman and Dieng, The Vendi Score: A Diversity Evaluation Metric for Machine Learning, 2022.
https://arxiv.org/abs/2210.02410

With the similarities K_ij of n images, 1 on the diagonal, and the eigenvalues e of K / n,

    VS = exp(-sum_i e_i log e_i)                                                   (eq. 2)

between 1, for copies of one image, and n, for images without any similarity. It needs no reference
images, but depends on n and on the similarity. So samples are compared with as many real images, by
the ratio of the two scores.

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

    >>> f"{vendi_score(torch.ones(5, 5)):.3f}"  # five copies of one image
    '1.000'
    >>> f"{vendi_score(torch.eye(5)):.3f}"  # five dissimilar images
    '5.000'
    """
    n = len(similarity)
    if similarity.ndim != 2 or similarity.shape != (n, n) or not n:
        raise ValueError(f"similarity must be (n, n), got {tuple(similarity.shape)}")
    if not similarity.isfinite().all():
        raise ValueError("similarity must be finite, got NaN or infinity")
    return math.exp(_entropy(similarity.double()))


def _entropy(similarity: Tensor) -> float:
    values = torch.linalg.eigvalsh(similarity / len(similarity))
    return torch.special.entr(values.clamp(min=0)).sum().item()  # rounding may give values below 0


def cosine(x: Tensor) -> Tensor:
    """Cosine similarities of features (n, d), as in the paper, float64 (n, n)."""
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
    """A width for `gaussian` from features (n, d): sqrt(2) times the median distance to the nearest
    other image, over images without a duplicate. Such neighbours then have a similarity of 0.78.
    NaN if all images are equal."""
    distances = nearest(x, x, exclude_self=True)[0][:, 0]
    distances = distances[distances > 0]
    return math.sqrt(2) * distances.median().item() if len(distances) else math.nan


@dataclass
class Varied:
    """Scores of equal numbers of samples and of real images, and the error of their ratio.

    Args:
        samples: Score of the samples.
        real: Score of the real images.
        error: Deviation of the logarithm of their ratio for equal distributions.
        n: Number of images of each kind.
        draws: Number of values that the deviation was computed from.
    """

    samples: float
    real: float
    error: float
    n: int
    draws: int

    def ratio(self, chance: float = 0.05) -> Number:
        """The score of samples over that of real images; `chance` is the interval's error rate."""
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

    The error is that of the ratio for equal distributions: its deviation over random divisions of
    all 2 n images into two halves. (The errors of the delta method and of bootstraps are too small
    here, by up to a factor of two for a hundred images.)

    Args:
        samples: float (n_samples, d), real (n_real, d); n is the least of the two numbers and of
            `most`, and n images of each larger side are drawn.
        width: Width of the Gaussian, see `natural_width`.
        draws: Number of divisions; the time is proportional to it and to n^3.
    """
    n = min(len(samples), len(real), most)
    if n < 2:
        raise ValueError(f"samples and real must be at least 2 images, got {n}")
    generator = torch.Generator().manual_seed(seed)
    both = torch.cat([x[torch.randperm(len(x), generator=generator)[:n]] for x in (samples, real)])
    similarity = gaussian(both, width)
    ours, theirs = (vendi_score(similarity[part][:, part]) for part in (slice(n), slice(n, None)))
    similarity = similarity.float()  # precise enough for an error bar, in half the time
    squares = 0.0
    for _ in range(draws):
        halves = torch.randperm(2 * n, generator=generator).split(n)
        a, b = (_entropy(similarity[part][:, part]) for part in halves)
        squares += (a - b) ** 2  # the mean of the difference is 0, by symmetry
    return Varied(ours, theirs, math.sqrt(squares / draws), n, draws)


def overall(parts: Sequence[Varied]) -> Number:
    """The geometric mean of the ratios of several parts, such as classes, with its interval."""
    logs = [math.log(part.samples / part.real) for part in parts]
    mean = sum(logs) / len(logs)
    error = math.sqrt(sum(part.error**2 for part in parts)) / len(parts)
    reach = student(sum(part.draws for part in parts)) * error
    return Number(math.exp(mean), math.exp(mean - reach), math.exp(mean + reach))
