"""Kernel distance: the squared maximum mean discrepancy of features, unbiased.

Binkowski et al., 2018, https://arxiv.org/abs/1801.01401 (KID); `cmmd` has another kernel.

With random subsets the value equals torch-fidelity's; beyond it there are the value of all pairs
and intervals. Sums are in float64. Intervals hold 95 %, for values on other images of the same two
sources.

Legend: n images, d features; real and generated features are float (n, d).
"""

import math

import numpy as np
import torch
from torch import Tensor

from .inputs import FIDELITY_SEED, ROWS, features, same_width
from .intervals import NORMAL
from .number import Number

ELEMENTS = 2**20  # entries of one block of kernel values, which fits in a core's cache


def kernel_distance(real: Tensor, generated: Tensor) -> Number:
    """Squared maximum mean discrepancy with the kernel (x.y / d + 1)^3, unbiased, over all pairs.

    The interval is the delete-one jackknife's. The value may be negative if the two distributions
    are nearly equal.

    >>> real, generated = torch.ones(3, 1), torch.zeros(3, 1)
    >>> kernel_distance(real, generated).value  # 2^3 + 1^3 - 2 * 1^3
    7.0
    """
    return _kernel_distance(real, generated, torch.float64)


def _kernel_distance(real: Tensor, generated: Tensor, dtype: torch.dtype) -> Number:
    real, generated = features(real, "real", 3), features(generated, "generated", 3)
    same_width(real, generated)
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


def cmmd(real: Tensor, generated: Tensor, width: float = 10.0, scale: float = 1000.0) -> Number:
    """Squared maximum mean discrepancy with the kernel exp(-|x - y|^2 / (2 width^2)), times scale
    (Jayasumana et al., 2023, https://arxiv.org/abs/2401.09603), over all pairs, including each
    image with itself: so it is biased upwards by about scale / (n width^2), and never below 0.

    The published protocol computes it on CLIP's embeddings of unit length. The interval is the
    delete-one jackknife's.
    """
    real, generated = features(real, "real"), features(generated, "generated")
    same_width(real, generated)
    n, m = len(real), len(generated)
    within_real, within_generated = (_rbf_sums(x, x, width)[0] for x in (real, generated))
    across_real, across_generated = _rbf_sums(real, generated, width)
    a, b, c = (part.sum() for part in (within_real, within_generated, across_real))

    def discrepancy(a: Tensor, n: int, b: Tensor, m: int, c: Tensor) -> Tensor:
        return scale * (a / n**2 + b / m**2 - 2 * c / (n * m))

    value = discrepancy(a, n, b, m, c).item()
    without_real = discrepancy(a - 2 * within_real + 1, n - 1, b, m, c - across_real)
    without_generated = discrepancy(a, n, b - 2 * within_generated + 1, m - 1, c - across_generated)
    half = NORMAL * math.sqrt(sum(_jackknife(w) for w in (without_real, without_generated)))
    return Number(value, max(0.0, value - half), value + half)


def _jackknife(without: Tensor) -> float:
    """Variance of a statistic from its values (n,) without each image."""
    n = len(without)
    return (n - 1) / n * (without - without.mean()).square().sum().item()


def _rbf_sums(x: Tensor, y: Tensor, width: float) -> tuple[Tensor, Tensor]:
    """Sums of exp(-|x_i - y_j|^2 / (2 width^2)) over j and over i, float64 (n,) and (m,)."""
    rows, columns = (torch.zeros(len(z), dtype=torch.float64, device=x.device) for z in (x, y))
    step = max(1, ELEMENTS // ROWS)
    for left in range(0, len(y), ROWS):
        wide = y[left : left + ROWS].double()
        norms = wide.square().sum(1)
        for top in range(0, len(x), step):
            q = x[top : top + step].double()
            squares = torch.addmm(q.square().sum(1)[:, None] + norms, q, wide.T, alpha=-2)
            kernel = squares.clamp_(min=0).mul_(-0.5 / width**2).exp_()
            rows[top : top + step] += kernel.sum(1)
            columns[left : left + ROWS] += kernel.sum(0)
    return rows, columns


def kernel_distance_of_subsets(
    real: Tensor,
    generated: Tensor,
    subsets: int = 100,
    size: int = 1000,
    seed: int = FIDELITY_SEED,
) -> Number:
    """The published protocol: the mean over random subsets of `size` images of each side, or of
    all images if there are fewer. The subsets are those of torch-fidelity.

    The interval is that of the mean, from the jackknife over all images and the variance of the
    subsets; the deviation between subsets, which papers report, is not a standard error.
    """
    real, generated = features(real, "real", 3), features(generated, "generated", 3)
    same_width(real, generated)
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
    """Sums of k(x_i, y_j) over j and over i, float64 (n,) and (m,), with kernels in `dtype`.
    Without y: of x with itself, without the diagonal."""
    other = x if y is None else y
    rows, columns = (torch.zeros(len(z), dtype=torch.float64, device=x.device) for z in (x, other))
    step = max(1, ELEMENTS // ROWS)
    for left in range(0, len(other), ROWS):
        wide = other[left : left + ROWS].to(dtype)
        for top in range(0, len(x) if y is not None else left + len(wide), step):
            q = x[top : top + step].to(dtype)
            # Of x with itself only the upper triangle is computed; the lower is its transpose.
            first = max(0, top - left) if y is None else 0
            kernel = torch.addmm(q.new_ones(()), q, wide[first:].T, alpha=1 / x.shape[1])
            kernel = (kernel * kernel).mul_(kernel)
            rows[top : top + step] += kernel.sum(1)
            if y is not None:
                columns[left : left + ROWS] += kernel.sum(0)
            else:
                after = max(left + first, top + len(q))
                rows[after : left + ROWS] += kernel[:, after - left - first :].sum(0)
    if y is not None:
        return rows, columns
    for top in range(0, len(x), ROWS):
        norms = x[top : top + ROWS].to(dtype).square().sum(1)
        rows[top : top + ROWS] -= (norms.double() / x.shape[1] + 1) ** 3
    return rows, rows
