"""Does it look real? Distances between the features of real and of generated images.

    Frechet distance     Heusel et al., 2017, https://arxiv.org/abs/1706.08500 (FID)
    its limit            Chong and Forsyth, 2020, https://arxiv.org/abs/1911.07023
    kernel distance      Binkowski et al., 2018, https://arxiv.org/abs/1801.01401 (KID)
    Inception score      Salimans et al., 2016, https://arxiv.org/abs/1606.03498
    precision, recall    Kynkaanniemi et al., 2019, https://arxiv.org/abs/1904.06991
    density, coverage    Naeem et al., 2020, https://arxiv.org/abs/2002.09797

All of it in float64, whatever the features come in. Each value has a 95 % interval for what it
would be on other images of the same two sources in the same numbers: it says nothing of the bias
that grows as the numbers shrink, which is why the report puts held-out real images beside it.

Legend: n images, d features, K classes; real and generated features are float (n, d).
"""

import math

import numpy as np
import torch
from torch import Tensor, nn
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from ..checks import at_least
from ..metrics.intervals import NORMAL, wilson
from ..metrics.neighbours import count_below, nearest, squared_distances
from ..metrics.number import Number
from ..zoo.module import evaluating
from .features import Evaluation, Evidence, Extractor
from .report import Section

ROWS = 8192  # of a block in float64
HALVES = 10  # drawn for an interval
STUDENT = 2.262  # 95 % of Student's distribution with as many values
FIDELITY_SEED = 2020  # torch-fidelity's


# Frechet distance


class Moments:
    """Count, mean and scatter of features that come in batches, in float64.

    Batches are merged by their own means, so a mean far from zero costs no digits.

    Args:
        mean: (d,); None: nothing seen yet.
        scatter: Sum over images of (x - mean)(x - mean)^T, (d, d).
    """

    def __init__(self, n: int = 0, mean: Tensor | None = None, scatter: Tensor | None = None):
        self.n, self.mean, self.scatter = n, mean, scatter

    @classmethod
    def of(cls, x: Tensor) -> "Moments":
        moments = cls()
        for block in x.split(ROWS):
            moments.update(block)
        return moments

    def update(self, x: Tensor) -> None:
        """Takes in a batch (B, d)."""
        if not len(x):
            return
        x = x.double()
        mean = x.mean(0)
        x = x - mean
        self.merge(Moments(len(x), mean, x.T @ x))

    def merge(self, other: "Moments") -> None:
        """Takes in all that another has seen."""
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
        """(d, d), unbiased."""
        if self.n < 2:
            raise ValueError(f"a covariance must have at least 2 images, got {self.n}")
        return self.scatter / (self.n - 1)


def frechet_distance(real: Tensor, generated: Tensor) -> Number:
    """Squared 2-Wasserstein distance of the Gaussians with the features' means and covariances:

        |m1 - m2|^2 + Tr(S1 + S2 - 2 (S1 S2)^(1/2))          (FID, eq. 6)

    It is biased upwards by about 1 / n, so values for different n are not comparable. The
    interval is the delta method's: each image's influence on the distance is known in closed
    form, because the optimal map between two Gaussians is linear.
    """
    real, generated = _features(real, "real"), _features(generated, "generated")
    _same_width(real, generated)
    n, d = min(len(real), len(generated)), real.shape[1]
    if max(len(real), len(generated)) < d:
        value, variance = _frechet_by_images(real.double(), generated.double())
    else:
        value, variance = _frechet_by_features(real, generated)
    value = max(0.0, value)  # equal sides may be off by rounding
    half = NORMAL * math.sqrt(variance)
    note = ""
    if n < d:
        note = f"{n:,} images are too few for {d:,} features: mostly bias, compare only equal n"
    return Number(value, max(0.0, value - half), value + half, note)


def frechet_of_moments(a: Moments, b: Moments) -> float:
    """The same distance where the images themselves are gone."""
    root = _root(a.covariance)
    return _frechet(a, b, _spectrum(root @ b.covariance @ root)[0])


def frechet_distance_infinity(
    real: Tensor,
    generated: Tensor,
    sizes: int = 15,
    permutations: int = 10,
    seed: int = 0,
) -> Number:
    """The Frechet distance extrapolated to infinitely many generated images.

    FD of the first N images of a permutation is fitted by a + b / N over `sizes` values of N;
    the result is the mean a. The real images stay as they are, so their share of the bias
    remains. May be negative.

    Raises:
        ValueError: for fewer generated images than ten times the features, where a line in 1 / N
            does not fit.
    """
    real, generated = _features(real, "real"), _features(generated, "generated")
    _same_width(real, generated)
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
        seen, distances, start = Moments(), [], 0
        for count in counts:
            seen.merge(Moments.of(generated[order[start:count]]))
            start = count
            spectrum, _ = _spectrum(root @ seen.covariance @ root)
            distances.append(_frechet(moments, seen, spectrum))
        distances = torch.tensor(distances, dtype=torch.float64)
        limits.append(torch.linalg.lstsq(design, distances[:, None]).solution[0, 0])
    limits = torch.stack(limits)
    # To first order the images' own influence is that on the plain distance; the choice of
    # permutations comes on top.
    _, variance = _frechet_by_features(real, generated)
    chance = limits.var().item() / permutations if permutations > 1 else 0.0
    half = NORMAL * math.sqrt(variance + chance)
    value = limits.mean().item()
    return Number(value, value - half, value + half)


def _frechet(a: Moments, b: Moments, spectrum: Tensor) -> float:
    """`spectrum` are the eigenvalues of S1^(1/2) S2 S1^(1/2)."""
    step = a.mean - b.mean
    traces = a.covariance.trace() + b.covariance.trace()
    return (step.dot(step) + traces - 2 * spectrum.sqrt().sum()).item()


def _frechet_by_features(real: Tensor, generated: Tensor) -> tuple[float, float]:
    """The distance and its variance, by d x d matrices."""
    a, b = Moments.of(real), Moments.of(generated)
    values, vectors = _spectrum(a.covariance)
    root = (vectors * values.sqrt()) @ vectors.T
    # The pseudo-inverse: what has no variance has no influence.
    unroot = (vectors * _inverse(values).sqrt()) @ vectors.T
    spectrum, axes = _spectrum(root @ b.covariance @ root)
    middle = (axes * spectrum.sqrt()) @ axes.T
    there = unroot @ middle @ unroot  # the map from real to generated, x -> there x
    back = root @ (axes * _inverse(spectrum).sqrt()) @ axes.T @ root
    step = b.mean - a.mean
    variance = 0.0
    for x, moments, linear, sign in ((real, a, there, -1), (generated, b, back, 1)):
        influence = []
        for block in x.split(ROWS):
            y = block.double() - moments.mean
            influence.append((y * (y - y @ linear)).sum(1) + 2 * sign * y @ step)
        variance += torch.cat(influence).var().item() / len(x)
    return _frechet(a, b, spectrum), variance


def _frechet_by_images(real: Tensor, generated: Tensor) -> tuple[float, float]:
    """The same by n x n matrices: the trace of (S1 S2)^(1/2) is the nuclear norm of X Y^T."""
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
    variance = influence_x.var().item() / len(x) + influence_y.var().item() / len(y)
    return value, variance


def _spectrum(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """Eigenvalues and vectors of a covariance, where rounding may leave values below 0."""
    values, vectors = torch.linalg.eigh((matrix + matrix.T) / 2)
    assert values[0] >= -1e-6 * values[-1].abs(), "a covariance has no negative variances"
    return values.clamp(min=0), vectors


def _root(covariance: Tensor) -> Tensor:
    values, vectors = _spectrum(covariance)
    return (vectors * values.sqrt()) @ vectors.T


def _inverse(values: Tensor) -> Tensor:
    tiny = values[-1] * len(values) * torch.finfo(values.dtype).eps
    return torch.where(values > tiny, 1 / values.clamp(min=1e-300), 0.0)


# Kernel distance


def kernel_distance(real: Tensor, generated: Tensor) -> Number:
    """Squared maximum mean discrepancy with the kernel (x.y / d + 1)^3, unbiased, of all pairs.

    The interval is the delete-one jackknife's. Near equality values may be negative.
    """
    return _kernel_distance(real, generated, torch.float64)


def _kernel_distance(real: Tensor, generated: Tensor, dtype: torch.dtype) -> Number:
    real, generated = _features(real, "real", 3), _features(generated, "generated", 3)
    _same_width(real, generated)
    n, m = len(real), len(generated)
    within_real, within_generated = (_kernel_sums(x, dtype=dtype)[0] for x in (real, generated))
    across_real, across_generated = _kernel_sums(real, generated, dtype)
    a, b, c = (part.sum() for part in (within_real, within_generated, across_real))

    def discrepancy(a: Tensor, n: int, b: Tensor, m: int, c: Tensor) -> Tensor:
        return a / (n * (n - 1)) + b / (m * (m - 1)) - 2 * c / (n * m)

    value = discrepancy(a, n, b, m, c).item()
    without_real = discrepancy(a - 2 * within_real, n - 1, b, m, c - across_real)
    without_generated = discrepancy(a, n, b - 2 * within_generated, m - 1, c - across_generated)
    variance = sum(
        (len(w) - 1) / len(w) * (w - w.mean()).square().sum().item()
        for w in (without_real, without_generated)
    )
    half = NORMAL * math.sqrt(variance)
    return Number(value, value - half, value + half)


def kernel_distance_of_subsets(
    real: Tensor,
    generated: Tensor,
    subsets: int = 100,
    size: int = 1000,
    seed: int = FIDELITY_SEED,
) -> Number:
    """The published protocol: the mean over random subsets of `size` images of each, or of all
    where there are fewer. Draws the subsets that torch-fidelity draws.

    The interval is that of the mean, from the jackknife over all images and the chance of the
    subsets; the deviation between subsets, which papers print, is no standard error.
    """
    real, generated = _features(real, "real", 3), _features(generated, "generated", 3)
    _same_width(real, generated)
    whole = _kernel_distance(real, generated, torch.float32)  # for its interval alone
    count = min(size, len(real), len(generated))
    draw = np.random.RandomState(seed)
    values = []
    for _ in range(subsets):
        y = generated[draw.choice(len(generated), count, replace=False)]
        x = real[draw.choice(len(real), count, replace=False)]
        within = _kernel_sums(x)[0].sum() + _kernel_sums(y)[0].sum()
        across = _kernel_sums(x, y)[0].sum()
        values.append((within / (count * (count - 1)) - 2 * across / count**2).item())
    value = float(np.mean(values))
    half = math.hypot(whole.high - whole.value, NORMAL * np.std(values) / math.sqrt(subsets))
    note = f"{subsets} subsets of {count:,}, deviation between them {np.std(values):.2g}"
    return Number(value, value - half, value + half, note)


def _kernel_sums(
    x: Tensor, y: Tensor | None = None, dtype: torch.dtype = torch.float64
) -> tuple[Tensor, Tensor]:
    """Sums of k(x_i, y_j) over j and over i, float64 (n,) and (m,), of kernels in `dtype`. Without
    y of x with itself, less its diagonal."""
    other = x if y is None else y
    rows, columns = (torch.zeros(len(z), dtype=torch.float64, device=x.device) for z in (x, other))
    step = max(1, 2**24 // ROWS)  # 128 MiB a block
    for top in range(0, len(x), step):
        q = x[top : top + step].to(dtype)
        for left in range(0, len(other), ROWS):
            r = other[left : left + ROWS].to(dtype)
            kernel = torch.addmm(q.new_ones(()), q, r.T, alpha=1 / x.shape[1])
            kernel = (kernel * kernel).mul_(kernel)
            rows[top : top + step] += kernel.sum(1)
            if y is not None:
                columns[left : left + ROWS] += kernel.sum(0)
        if y is None:
            rows[top : top + step] -= (q.square().sum(1) / x.shape[1] + 1) ** 3
    return rows, rows if y is None else columns


# Inception score


def inception_score(logits: Tensor, splits: int = 10, seed: int = FIDELITY_SEED) -> Number:
    """exp of the mean divergence of the class probabilities from their mean, over splits.

    The images are shuffled first as torch-fidelity does it: sorted ones would score 1 in each
    split. The interval is Student's over the splits; the deviation in the note is theirs too.

    Args:
        logits: float (n, K).
    """
    logits = _features(logits, "logits", splits).double()
    n = len(logits)
    order = np.random.RandomState(seed).permutation(n)
    log_p = logits[torch.from_numpy(order).to(logits.device)].log_softmax(1)
    scores = []
    for i in range(splits):
        part = log_p[i * n // splits : (i + 1) * n // splits]
        marginal = part.exp().mean(0)
        divergence = torch.special.xlogy(marginal, marginal).sum()
        scores.append(((part.exp() * part).sum(1).mean() - divergence).exp().item())
    value, deviation = float(np.mean(scores)), float(np.std(scores))
    note = f"{splits} splits of {n // splits:,}, deviation between them {deviation:.2g}"
    if splits < 2:
        return Number(value, note=note)
    half = _student(splits - 1) * deviation / math.sqrt(splits - 1)
    return Number(value, max(1.0, value - half), value + half, note)


def _student(freedom: int) -> float:
    from scipy.stats import t

    return float(t.ppf(0.975, freedom))


# Precision, recall, density, coverage


def support_shares(
    real: Tensor, generated: Tensor, k: int = 3, k_density: int = 5, seed: int = 0
) -> dict[str, Number]:
    """Precision, recall, density and coverage, which share their neighbours.

    A support is the union of balls around its images, each reaching to the k-th neighbour (of
    density and coverage to the k_density-th). For equal distributions precision and recall are
    not 1: compare with held-out images at the same numbers.

    The intervals come from random halves of both sides: the deviation between halves, drawn
    without return, is that of the whole.
    """
    values = _support_shares(real, generated, k, k_density)
    errors = _errors_by_halves(real, generated, k, k_density, seed)
    numbers = {
        "precision": _share(values["precision"], errors[0], len(generated)),
        "recall": _share(values["recall"], errors[1], len(real)),
        "density": _around(values["density"], STUDENT * errors[2]),
        "coverage": _share(values["coverage"], errors[3], len(real)),
    }
    expected = expected_coverage(len(real), len(generated), k_density)
    numbers["coverage"].note = f"equal distributions would cover {expected:.3f}"
    return numbers


def precision_recall(
    real: Tensor, generated: Tensor, k: int = 3, seed: int = 0
) -> tuple[Number, Number]:
    """The share of generated images within the real ones' support, and the reverse; see
    `support_shares`."""
    shares = support_shares(real, generated, k, k, seed)
    return shares["precision"], shares["recall"]


def density_coverage(
    real: Tensor, generated: Tensor, k: int = 5, seed: int = 0
) -> tuple[Number, Number]:
    """How many real balls a generated image lies in, over k; and the share of real balls with a
    generated image inside. For equal distributions 1 and `expected_coverage`."""
    shares = support_shares(real, generated, k, k, seed)
    return shares["density"], shares["coverage"]


def expected_coverage(n_real: int, n_generated: int, k: int = 5) -> float:
    """Of equal distributions, whatever they are: 1 - prod_i (N - i) / (M + N - i), i = 1..k."""
    missed = math.prod((n_real - i) / (n_generated + n_real - i) for i in range(1, k + 1))
    return 1 - missed


def _support_shares(real: Tensor, generated: Tensor, k: int, k_density: int) -> dict[str, float]:
    most = max(k, k_density)  # neighbours that each image must have on its own side
    real, generated = _features(real, "real", most + 1), _features(generated, "generated", most + 1)
    _same_width(real, generated)
    balls = nearest(real, real, most, exclude_self=True)[0]
    radius, radius_density = balls[:, k - 1], balls[:, k_density - 1]
    radius_generated = nearest(generated, generated, k, exclude_self=True)[0][:, -1]
    shares = {
        "precision": count_below(generated, real, radius, inclusive=True) > 0,
        "recall": count_below(real, generated, radius_generated, inclusive=True) > 0,
        "density": count_below(generated, real, radius_density).double() / k_density,
        "coverage": nearest(real, generated)[0][:, 0] < radius_density,
    }
    return {name: share.double().mean().item() for name, share in shares.items()}


def _errors_by_halves(
    real: Tensor, generated: Tensor, k: int, k_density: int, seed: int
) -> list[float]:
    """Standard errors of the four: the deviation over ten random halves, drawn without return.

    All halves are taken from the same blocks of distances, in float32, which an error bar bears.
    """
    generator = torch.Generator().manual_seed(seed)
    most, device = max(k, k_density), real.device

    def half(n: int) -> Tensor:
        drawn = torch.randperm(n, generator=generator)[: max(most + 1, n // 2)]
        return drawn.sort().values.to(device)

    halves = [(half(len(real)), half(len(generated))) for _ in range(HALVES)]
    radii = []  # of each half's real and generated balls, squared, nearest first
    for side, x in enumerate((real, generated)):
        radii.append([torch.empty(len(half[side]), most, device=device) for half in halves])
        for rows, block in squared_distances(x, x):
            block.diagonal(rows.start).fill_(torch.inf)
            for half, radius in zip(halves, radii[side], strict=True):
                place, here = _within(half[side], rows)
                part = block[here][:, half[side]]
                radius[place] = part.topk(most, largest=False).values
    inside = [torch.zeros(len(half[1]), dtype=torch.bool, device=device) for half in halves]
    # How many are recalled, how often balls hold generated images, how many are covered.
    totals = torch.zeros(HALVES, 3, dtype=torch.float64, device=device)
    for rows, block in squared_distances(real, generated):
        for i, half in enumerate(halves):
            place, here = _within(half[0], rows)
            part = block[here][:, half[1]]
            radius, wide = radii[0][i][place, k - 1, None], radii[0][i][place, k_density - 1, None]
            inside[i] |= (part <= radius).any(0)
            dense = part < wide
            totals[i, 0] += (part <= radii[1][i][:, k - 1]).any(1).sum()
            totals[i, 1] += dense.sum()
            totals[i, 2] += dense.any(1).sum()
    n, m = (len(part) for part in halves[0])
    precise = torch.stack([part.double().mean() for part in inside])[:, None]
    shares = torch.cat([precise, totals / totals.new_tensor([n, m * k_density, n])], 1)
    return shares.std(0).tolist()


def _within(places: Tensor, rows: slice) -> tuple[slice, Tensor]:
    """Which of the sorted places lie in these rows, and where in them."""
    low, high = torch.searchsorted(places, places.new_tensor([rows.start, rows.stop])).tolist()
    return slice(low, high), places[low:high] - rows.start


def _around(value: float, half: float) -> Number:
    return Number(value, max(0.0, value - half), value + half)


def _share(value: float, error: float, n: int) -> Number:
    """A share whose interval is at least that of n independent answers: a half has no deviation
    where all answers are alike."""
    low, high = wilson(value, n)
    half = STUDENT * error
    return Number(value, max(0.0, min(low, value - half)), min(1.0, max(high, value + half)))


def _features(x: Tensor, name: str, least: int = 2) -> Tensor:
    """Checks what would otherwise become a number that means nothing."""
    if x.ndim != 2 or not x.is_floating_point():
        raise ValueError(f"{name} must be float features (n, d), got {x.dtype} {tuple(x.shape)}")
    if len(x) < least or not x.shape[1]:
        raise ValueError(f"{name} must be at least {least} images, got {tuple(x.shape)}")
    if not all(block.isfinite().all() for block in x.split(ROWS)):
        raise ValueError(f"{name} must be finite, got NaN or infinity")
    return x


def _same_width(real: Tensor, generated: Tensor) -> None:
    if real.shape[1] != generated.shape[1]:
        raise ValueError(
            "generated must have as many features as real, "
            f"got {generated.shape[1]} and {real.shape[1]}"
        )


# The same for anybody's loop


class FrechetDistance(Metric):
    """`frechet_distance` of images or features that come in batches; a (d, d) state each.

    Args:
        num_features: d.
        extractor: From uint8 images (B, C, H, W) to features (B, d), or to features and logits.
            None: `update` is given features.
    """

    full_state_update = True
    higher_is_better = False

    def __init__(self, num_features: int, extractor: nn.Module | None = None, **kwargs):
        super().__init__(**kwargs)
        self.extractor = extractor
        for side in ("real", "generated"):
            zeros = torch.zeros(num_features, num_features, dtype=torch.float64)
            self.add_state(f"{side}_n", torch.tensor(0), dist_reduce_fx=None)
            self.add_state(f"{side}_mean", zeros[0].clone(), dist_reduce_fx=None)
            self.add_state(f"{side}_scatter", zeros, dist_reduce_fx=None)

    def update(self, images_or_features: Tensor, real: bool) -> None:
        features = _features(_extracted(self.extractor, images_or_features)[0], "features", 1)
        side = "real" if real else "generated"
        width = self.real_mean.shape[-1]
        if features.shape[1] != width:
            raise ValueError(f"each image must be {width} features, got {features.shape[1]}")
        moments = self._moments(side)
        moments.update(features)
        setattr(self, f"{side}_n", torch.tensor(moments.n, device=features.device))
        setattr(self, f"{side}_mean", moments.mean)
        setattr(self, f"{side}_scatter", moments.scatter)

    def compute(self) -> Tensor:
        value = frechet_of_moments(self._moments("real"), self._moments("generated"))
        return torch.tensor(value, dtype=torch.float64, device=self.real_mean.device)

    def _moments(self, side: str) -> Moments:
        """Of this rank, or after synchronisation of all: then states have a first axis of ranks."""
        states = [getattr(self, f"{side}_{name}") for name in ("n", "mean", "scatter")]
        if states[0].ndim == 0:
            states = [state[None] for state in states]
        total = Moments()
        for n, mean, scatter in zip(*states, strict=True):
            total.merge(Moments(int(n), mean, scatter))
        return total


class _Collected(Metric):
    """Keeps the features of both sides; subclasses compute."""

    full_state_update = True

    def __init__(self, extractor: nn.Module | None = None, **kwargs):
        super().__init__(**kwargs)
        self.extractor = extractor
        self.add_state("real", [], dist_reduce_fx="cat")
        self.add_state("generated", [], dist_reduce_fx="cat")

    def update(self, images_or_features: Tensor, real: bool) -> None:
        features, _ = _extracted(self.extractor, images_or_features)
        (self.real if real else self.generated).append(_features(features, "features", 1))

    def _sides(self) -> tuple[Tensor, Tensor]:
        for name in ("real", "generated"):
            if not len(getattr(self, name)):
                raise ValueError(f"{type(self).__name__} must be given {name} images, got none")
        return dim_zero_cat(self.real), dim_zero_cat(self.generated)


class KernelDistance(_Collected):
    """`kernel_distance` of images or features that come in batches.

    Args:
        extractor: As in `FrechetDistance`.
    """

    higher_is_better = False

    def compute(self) -> Tensor:
        real, generated = self._sides()
        value = kernel_distance(real, generated).value
        return torch.tensor(value, dtype=torch.float64, device=real.device)


class PrecisionRecall(_Collected):
    """`precision_recall`, a dict of the two.

    Args:
        extractor: As in `FrechetDistance`.
        k: Neighbours that a ball reaches to.
    """

    higher_is_better = True

    def __init__(self, extractor: nn.Module | None = None, k: int = 3, **kwargs):
        super().__init__(extractor, **kwargs)
        self.k = k

    def compute(self) -> dict[str, Tensor]:
        real, generated = self._sides()
        shares = _support_shares(real, generated, self.k, self.k)
        return _scalars(real, precision=shares["precision"], recall=shares["recall"])


class DensityCoverage(_Collected):
    """`density_coverage`, a dict of the two.

    Args:
        extractor: As in `FrechetDistance`.
        k: Neighbours that a ball reaches to.
    """

    higher_is_better = True

    def __init__(self, extractor: nn.Module | None = None, k: int = 5, **kwargs):
        super().__init__(extractor, **kwargs)
        self.k = k

    def compute(self) -> dict[str, Tensor]:
        real, generated = self._sides()
        shares = _support_shares(real, generated, self.k, self.k)
        return _scalars(real, density=shares["density"], coverage=shares["coverage"])


class InceptionScore(Metric):
    """`inception_score` of images or logits that come in batches.

    The images are put in an order of their own before they are split, so that neither the
    batches nor the number of ranks matter; the splits are therefore others than
    `inception_score` of the same logits would draw.

    Args:
        extractor: From uint8 images to (features, logits). None: `update` is given logits.
        splits: Number of splits.
        seed: Of the shuffle.
    """

    full_state_update = True
    higher_is_better = True

    def __init__(
        self,
        extractor: nn.Module | None = None,
        splits: int = 10,
        seed: int = FIDELITY_SEED,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.extractor, self.splits, self.seed = extractor, splits, seed
        self.add_state("logits", [], dist_reduce_fx="cat")

    def update(self, images_or_logits: Tensor, real: bool = False) -> None:
        """Real images have no part in this score and are passed over."""
        if real:
            return
        _, logits = _extracted(self.extractor, images_or_logits)
        if logits is None:
            raise ValueError("extractor must give (features, logits) for InceptionScore, got one")
        self.logits.append(_features(logits, "logits", 1))

    def compute(self) -> Tensor:
        if not len(self.logits):
            raise ValueError("InceptionScore must be given images, got none")
        logits = dim_zero_cat(self.logits)
        order = np.lexsort(logits.cpu().numpy().T)
        score = inception_score(logits[torch.from_numpy(order)], self.splits, self.seed)
        return torch.tensor(score.value, dtype=torch.float64, device=logits.device)


def _extracted(extractor: nn.Module | None, given: Tensor) -> tuple[Tensor, Tensor | None]:
    """Features and logits; without an extractor what is given stands for both."""
    if extractor is None:
        return given, given
    with torch.no_grad():
        seen = extractor(given)
    return seen if isinstance(seen, tuple) else (seen, None)


def _scalars(like: Tensor, **values: float) -> dict[str, Tensor]:
    return {
        name: torch.tensor(value, dtype=torch.float64, device=like.device)
        for name, value in values.items()
    }


# The evaluation


class Realism(Evaluation):
    """Compares the features of samples with those of training images.

    Logs the Frechet distance and its limit for many images, the kernel distance, the Inception
    score where the extractor has logits, precision, recall, density and coverage. They are
    called `fid`, `kid` and `inception_score` if the extractor is the published one, and
    `fd/<extractor>`, `kd/<extractor>`, `is/<extractor>` otherwise. Training images are the
    reference of all.

    Two more rows make the numbers readable: held-out real images in place of the samples, which
    nothing beats but by chance (`<name>_held_out`), and images whose pixels are drawn each from
    the training images' values at its place, independently (`fd/<extractor>_independent`).

    Of a conditional model also the mean over classes of the distance between the samples of a
    class and its training images (`<name>_per_class`), and the share of samples to which the
    classifier gives the class that was asked for (`class_agreement`): see `per_class.py`.

    The verdict goes by the root of the Frechet distance, which is a distance as on a map: what
    share of the way from independent pixels to held-out real images the samples have come, at
    equal numbers (`way_to_real`). It is good when the interval lies above 0.9 and bad when it
    lies below 0.75. For scale, held-out Fashion-MNIST under the classifier "domain" (2,000
    images): untouched 0.98, noise of 2 % of the range 0.96, of 5 % 0.89, of 10 % 0.74; blur of
    half a pixel 0.94, of one pixel 0.75; one class of ten left out 0.84; a Gaussian of 50
    principal components 0.42.

    Args:
        most: At most so many images of each kind take part in all but the Frechet distance: the
            time of the others grows with the square. Other arguments as `Evaluation`.
    """

    GOOD, BAD = 0.9, 0.75

    def __init__(self, *args, most: int = 10_000, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        at_least(10, num_samples=self.num_samples, num_samples_fit=self.num_samples_fit, most=most)
        self.most = most
        self._known: tuple = ()

    def evaluate(self, evidence: Evidence) -> Section:
        from .per_class import per_class  # which computes with this file's functions

        generated, held_out = evidence.generated, evidence.held_out
        fd = _names(evidence.extractor)[0]
        n = min(len(generated), len(held_out))
        numbers = self._compare(evidence, generated.features, generated.logits)
        rows = self._yardstick(evidence, n)
        floor, ceiling = rows[f"{fd}_held_out"], rows[f"{fd}_independent"]
        if len(generated) == n:
            equal = numbers[fd]
        else:
            equal = frechet_distance(evidence.train.features, generated.features[:n])
        way = way_to_real(equal, floor, ceiling)
        numbers = {"way_to_real": way} | numbers | rows | per_class(evidence, fd)
        flag = "unsure"
        if way.low is not None and way.low >= self.GOOD:
            flag = "good"
        elif way.high is not None and way.high < self.BAD:
            flag = "bad"
        verdict = _verdict(way, equal, floor, ceiling, numbers, fd, n)
        order = sorted(numbers, key=_rank)
        protocol = {"reference": "train", "n_equal": n, "n_most": self.most}
        numbers = {name: numbers[name] for name in order}
        return Section("realism", verdict, flag, numbers, protocol=protocol)

    def _yardstick(self, evidence: Evidence, n: int) -> dict[str, Number]:
        """The rows of n held-out and of independent images, made once for the same real images."""
        train, held_out = evidence.train.features, evidence.held_out.features
        if self._known and self._known[:3] == (id(train), id(held_out), n):
            return self._known[-1]
        fd = _names(evidence.extractor)[0]
        generator = torch.Generator().manual_seed(self.seed)
        chosen = torch.randperm(len(held_out), generator=generator)[:n]
        logits = evidence.held_out.logits
        logits = None if logits is None else logits[chosen]
        rows = self._compare(evidence, held_out[chosen], logits)
        rows = {f"{name}_held_out": number for name, number in rows.items()}
        pixels = independent_pixels(evidence.train.images, min(n, 1000), generator)
        with evaluating(evidence.extractor):
            blocks = [evidence.extractor(block)[0].float() for block in pixels.split(100)]
        rows[f"{fd}_independent"] = frechet_distance(train, torch.cat(blocks))
        rows[f"{fd}_independent"].note = "independent pixels: the other end of the scale"
        # The tensors are kept, so that their ids stay theirs.
        self._known = (id(train), id(held_out), n, train, held_out, rows)
        return rows

    def _compare(
        self, evidence: Evidence, features: Tensor, logits: Tensor | None
    ) -> dict[str, Number]:
        fd, kd, score = _names(evidence.extractor)
        train = evidence.train.features
        numbers = {fd: frechet_distance(train, features)}
        d, n = train.shape[1], len(features)
        if n >= 10 * d and d <= 512:  # above, a hundred and fifty spectra take many minutes
            numbers[f"{fd}_infinity"] = frechet_distance_infinity(train, features, seed=self.seed)
        some = features[: self.most]
        generator = torch.Generator().manual_seed(self.seed)
        order = torch.randperm(len(train), generator=generator)
        real = train[order[: self.most]]
        if evidence.extractor.reference:
            numbers[kd] = kernel_distance_of_subsets(real, some)
        else:
            numbers[kd] = kernel_distance(real, some)
        if logits is not None:
            numbers[score] = inception_score(logits, splits=10 if n >= 100 else 1)
        real = train[order[: len(some)]]
        return numbers | support_shares(real, some)


def way_to_real(distance: Number, floor: Number, ceiling: Number) -> Number:
    """The share of the way from `ceiling` (0) to `floor` (1), in roots of Frechet distances.

    Without an interval where the two ends are too close for anything to lie between them.
    """

    def share(value: float) -> float:
        ends = math.sqrt(max(0.0, ceiling.value)), math.sqrt(max(0.0, floor.value))
        return (ends[0] - math.sqrt(max(0.0, value))) / (ends[0] - ends[1])

    if ceiling.value <= 2 * floor.value:
        return Number(math.nan, note="held-out images look like independent pixels here")
    return Number(share(distance.value), share(distance.high), share(distance.low))


def independent_pixels(images: Tensor, n: int, generator: torch.Generator) -> Tensor:
    """n images whose every pixel is that of a training image of its own choice."""
    flat = images.flatten(1)
    choice = torch.randint(len(flat), (n, flat.shape[1]), generator=generator)
    return flat.gather(0, choice).view(n, *images.shape[1:])


def _names(extractor: Extractor) -> tuple[str, str, str]:
    """Published names are for the published protocol alone."""
    if extractor.reference:
        return "fid", "kid", "inception_score"
    return tuple(f"{kind}/{extractor.name}" for kind in ("fd", "kd", "is"))


def _rank(name: str) -> str:
    """Each number together with its yardsticks, in the order of the measures."""
    kinds = ("way", "fid", "fd/", "kid", "kd/", "inc", "is/", "pre", "rec", "den", "cov", "cla")
    return f"{kinds.index(name[:3]):02}{name}"


def _verdict(
    way: Number,
    equal: Number,
    floor: Number,
    ceiling: Number,
    numbers: dict[str, Number],
    fd: str,
    n: int,
) -> str:
    precise, of_real = numbers["precision"].value, numbers["precision_held_out"].value
    if math.isnan(way.value):
        return (
            f"These features do not tell real images from independent pixels ({fd} "
            f"{floor.value:.3g} and {ceiling.value:.3g}): choose another extractor."
        )
    if way.value <= 0:
        how = "The samples are no nearer to real images than independent pixels are"
    else:
        how = (
            f"The samples have come {min(way.value, 1):.0%} of the way from independent pixels to "
            "held-out real images"
        )
    return (
        f"{how}: {fd} {equal.value:.3g} between {ceiling.value:.3g} and {floor.value:.3g} at "
        f"{n:,} images; {precise:.0%} of them lie among real ones (held-out images: {of_real:.0%})."
    )
