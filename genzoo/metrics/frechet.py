"""Frechet distance between the Gaussians with the features' means and covariances.

    Frechet distance     Heusel et al., 2017, https://arxiv.org/abs/1706.08500 (FID)
    its limit            Chong and Forsyth, 2020, https://arxiv.org/abs/1911.07023

The value equals torch-fidelity's; beyond it, features of any network are taken from memory, and
there are intervals and the limit. All sums are in float64. Each value has a 95 % interval for the
choice of images: for values on other images of the same two sources, in the same numbers. The
interval does not include the bias, which grows as the numbers shrink.

Legend: n images, d features; real and generated features are float (n, d).
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from .inputs import ROWS, features, same_width
from .intervals import NORMAL
from .number import Number


class Moments:
    """Count, mean and scatter matrix of features that come in batches, in float64.

    Each batch is centred by its own mean, so a mean far from zero costs no precision.

    Args:
        n: Number of images.
        mean: Mean (d,); None: no features yet.
        scatter: Sum over images of (x - mean)(x - mean)^T, (d, d).
    """

    def __init__(self, n: int = 0, mean: Tensor | None = None, scatter: Tensor | None = None):
        self.n, self.mean, self.scatter = n, mean, scatter

    @classmethod
    def of(cls, x: Tensor) -> "Moments":
        """Moments of features (n, d)."""
        moments = cls()
        for block in x.split(ROWS):
            moments.update(block)
        return moments

    def update(self, x: Tensor) -> None:
        """Adds a batch of features (B, d)."""
        if not len(x):
            return
        x = x.double()
        mean = x.mean(0)
        x = x - mean
        self.merge(Moments(len(x), mean, x.T @ x))

    def merge(self, other: "Moments") -> None:
        """Adds the features of other moments."""
        if not other.n:
            return
        if not self.n:
            self.n, self.mean, self.scatter = other.n, other.mean, other.scatter
            return
        n = self.n + other.n
        step = other.mean - self.mean
        self.mean = self.mean + step * (other.n / n)
        self.scatter = (
            self.scatter + other.scatter + torch.outer(step, step) * (self.n * other.n / n)
        )
        self.n = n

    @property
    def covariance(self) -> Tensor:
        """The unbiased covariance (d, d)."""
        if self.n < 2:
            raise ValueError(f"a covariance must have at least 2 images, got {self.n}")
        return self.scatter / (self.n - 1)


@dataclass
class Compared:
    """A Frechet distance, and the influence of each image on it.

    Args:
        value: The squared distance.
        on_real: Influence of each real image, float64 (n,): the derivative of the distance by the
            image's weight.
        on_generated: Influence of each generated image, float64 (m,).
        features: Number of features d.
    """

    value: float
    on_real: Tensor
    on_generated: Tensor
    features: int

    @property
    def distance(self) -> Number:
        """The distance with its interval, and a note if there are fewer images than features."""
        n = min(len(self.on_real), len(self.on_generated))
        value = max(0.0, self.value)  # equal sides may be off by rounding
        half = NORMAL * math.sqrt(_error(self.on_real) + _error(self.on_generated))
        note = ""
        if n < self.features:
            note = (
                f"{n:,} images are too few for {self.features:,} features: mostly bias, compare "
                "only equal n"
            )
        return Number(value, max(0.0, value - half), value + half, note)

    def excess_over(self, other: "Compared") -> Number:
        """This distance less another from the same real images.

        At equal numbers of generated images both have about the same bias, which cancels in the
        difference. It is below 0 if the other distance is larger.

        The influence of images from the real images' own distribution is noise only, and has twice
        the variance of the distance (the square of a normal deviation has variance 2 s^4, its
        linearisation at the observed deviation 4 s^4). So half of the other variance is
        subtracted from both.
        """
        ours, theirs = _error(self.on_generated), _error(other.on_generated)
        chance = max(ours, (ours + theirs) / 2) + _error(self.on_real - other.on_real)
        half = NORMAL * math.sqrt(chance)
        value = self.value - other.value
        return Number(value, value - half, value + half)


def _error(influence: Tensor) -> float:
    """The variance of the distance that is due to the choice of these images."""
    return influence.var().item() / len(influence)


def frechet_compared(real: Tensor, generated: Tensor) -> Compared:
    """`frechet_distance` with each image's influence, which has a closed form because the optimal
    map between two Gaussians is linear."""
    real, generated = features(real, "real"), features(generated, "generated")
    same_width(real, generated)
    if max(len(real), len(generated)) < real.shape[1]:
        return _frechet_by_images(real.double(), generated.double())
    return _frechet_by_features(real, generated)


def frechet_distance(real: Tensor, generated: Tensor) -> Number:
    """Squared 2-Wasserstein distance of the Gaussians with the features' means and covariances:

        |m1 - m2|^2 + Tr(S1 + S2 - 2 (S1 S2)^(1/2))          (FID, eq. 6)

    It is biased upwards in proportion to 1 / n, so values for different n are not comparable. The
    interval is the delta method's, from each image's influence.

    >>> x = torch.tensor([[-1.0, 0.0], [1.0, 0.0], [0.0, -1.0], [0.0, 1.0]])
    >>> f"{frechet_distance(x, x + torch.tensor([3.0, 4.0])).value:.4f}"  # |(3, 4)|^2
    '25.0000'
    """
    return frechet_compared(real, generated).distance


def frechet_of_moments(a: Moments, b: Moments) -> float:
    """`frechet_distance` from moments, without the images and so without an interval.

    >>> a = Moments(2, torch.zeros(2).double(), torch.eye(2).double())  # N(0, 1)
    >>> b = Moments(2, torch.zeros(2).double(), 9 * torch.eye(2).double())  # N(0, 9)
    >>> f"{frechet_of_moments(a, b):.4f}"  # 2 (1 - 3)^2
    '8.0000'
    """
    root = _root(a.covariance)
    return _frechet(a, b, _between(root, b)[0])


def frechet_distance_infinity(
    real: Tensor,
    generated: Tensor,
    sizes: int = 15,
    permutations: int = 10,
    seed: int = 0,
) -> Number:
    """The Frechet distance extrapolated to infinitely many generated images.

    FD of the first N images of a permutation is fitted by a + b / N over `sizes` values of N;
    the result is the mean of a over permutations. The bias that is due to the number of real images
    remains. The value may be negative.

    Raises:
        ValueError: if there are fewer generated images than ten times the features, since a line
            in 1 / N does not fit then.
    """
    real, generated = features(real, "real"), features(generated, "generated")
    same_width(real, generated)
    n, d = generated.shape
    if n < 10 * d:
        raise ValueError(f"generated must be at least 10 images per feature, {10 * d}, got {n}")
    counts = torch.linspace(max(5 * d, min(5000, n // 10)), n, sizes).round().long().tolist()
    moments = Moments.of(real)
    root = _root(moments.covariance)
    generator = torch.Generator().manual_seed(seed)
    design = torch.stack([torch.ones(sizes), 1 / torch.tensor(counts)], 1).double()
    limits = []
    for _ in range(permutations):
        order = torch.randperm(n, generator=generator)
        so_far, distances, start = Moments(), [], 0
        for count in counts:
            so_far.merge(Moments.of(generated[order[start:count]]))
            start = count
            spectrum, _ = _between(root, so_far)
            distances.append(_frechet(moments, so_far, spectrum))
        distances = torch.tensor(distances, dtype=torch.float64)
        limits.append(torch.linalg.lstsq(design, distances[:, None]).solution[0, 0])
    limits = torch.stack(limits)
    # To first order the influence of an image is the same as on the plain distance; the variance
    # of the permutations is added.
    plain = _frechet_by_features(real, generated)
    variance = _error(plain.on_real) + _error(plain.on_generated)
    chance = limits.var().item() / permutations if permutations > 1 else 0.0
    half = NORMAL * math.sqrt(variance + chance)
    value = limits.mean().item()
    return Number(value, value - half, value + half)


def _frechet(a: Moments, b: Moments, spectrum: Tensor) -> float:
    """The distance, with `spectrum` the eigenvalues of S1^(1/2) S2 S1^(1/2)."""
    step = a.mean - b.mean
    traces = a.covariance.trace() + b.covariance.trace()
    return (step.dot(step) + traces - 2 * spectrum.sqrt().sum()).item()


def _frechet_by_features(real: Tensor, generated: Tensor) -> Compared:
    """The distance and the influences by d x d matrices."""
    a, b = Moments.of(real), Moments.of(generated)
    values, vectors = _spectrum(a.covariance)
    root = (vectors * values.sqrt()) @ vectors.T
    # The pseudo-inverse: directions without variance have no influence.
    unroot = (vectors * _inverse(values).sqrt()) @ vectors.T
    spectrum, axes = _between(root, b)
    scale = _scale(root, b)
    middle = (axes * spectrum.sqrt()) @ axes.T
    there = unroot @ middle @ unroot  # the map from real to generated, x -> there x
    back = root @ (axes * _inverse(spectrum, scale).sqrt()) @ axes.T @ root
    step = b.mean - a.mean
    influences = []
    for x, moments, linear, sign in ((real, a, there, -1), (generated, b, back, 1)):
        influence = []
        for block in x.split(ROWS):
            y = block.double() - moments.mean
            influence.append((y * (y - y @ linear)).sum(1) + 2 * sign * y @ step)
        influences.append(torch.cat(influence))
    return Compared(_frechet(a, b, spectrum), *influences, real.shape[1])


def _frechet_by_images(real: Tensor, generated: Tensor) -> Compared:
    """The same by n x m matrices: the trace of (S1 S2)^(1/2) is the nuclear norm of X Y^T."""
    x, y = real - real.mean(0), generated - generated.mean(0)
    n, m = len(x) - 1, len(y) - 1
    left, values, right = torch.linalg.svd(x @ y.T / math.sqrt(n * m), full_matrices=False)
    step = generated.mean(0) - real.mean(0)
    traces = x.square().sum() / n + y.square().sum() / m
    value = (step.dot(step) + traces - 2 * values.sum()).item()
    mapped_x = n * (left.square() @ values)  # x . there x for each image
    mapped_y = m * (right.T.square() @ values)
    influence_x = x.square().sum(1) - mapped_x - 2 * x @ step
    influence_y = y.square().sum(1) - mapped_y + 2 * y @ step
    return Compared(value, influence_x, influence_y, real.shape[1])


def _between(root: Tensor, b: Moments) -> tuple[Tensor, Tensor]:
    """Eigenvalues and vectors of S1^(1/2) S2 S1^(1/2), from S1^(1/2)."""
    return _spectrum(root @ b.covariance @ root, _scale(root, b))


def _scale(root: Tensor, b: Moments) -> Tensor:
    """|S1||S2|, to which the rounding error of the product is proportional. The product itself may
    be all rounding error, if the two sides vary in different directions."""
    return root.norm().square() * b.covariance.norm()


def _spectrum(matrix: Tensor, scale: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Eigenvalues and vectors of a covariance; values below 0, from rounding, are set to 0."""
    values, vectors = torch.linalg.eigh((matrix + matrix.T) / 2)
    scale = values[-1].abs() if scale is None else scale
    assert values[0] >= -1e-6 * scale, "a covariance has no negative variances"
    return values.clamp(min=0), vectors


def _root(covariance: Tensor) -> Tensor:
    values, vectors = _spectrum(covariance)
    return (vectors * values.sqrt()) @ vectors.T


def _inverse(values: Tensor, scale: Tensor | None = None) -> Tensor:
    scale = values[-1] if scale is None else scale
    tiny = scale * len(values) * torch.finfo(values.dtype).eps
    return torch.where(values > tiny, 1 / values.clamp(min=1e-300), 0.0)
