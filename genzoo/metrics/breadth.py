"""Recall and coverage of samples, divided by those of as many held-out images.

    recall     Kynkaanniemi et al., 2019, https://arxiv.org/abs/1904.06991
    coverage   Naeem et al., 2020, https://arxiv.org/abs/2002.09797

Neither is 1 for samples of the data's distribution, and both depend on the numbers of images. So
each statistic is computed twice on the same real images, for n samples and for n held-out images.
The ratio of the two is 1 for equal distributions, for each n and each distribution.

Legend: n images of each kind, d features.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from .intervals import student
from .neighbours import count_below, nearest, squared_distances
from .number import Number

HALVES = 20  # random halves that are drawn for an interval


@dataclass
class Breadth:
    """Recall and coverage for each real image, and the two ratios.

    Args:
        real: Indices of the real images that were used, int64 (n,).
        recalled: Whether the real image lies in the ball of a sample, whose radius is the distance
            to its k-th neighbour among samples, bool (n,).
        recalled_held_out: The same for held-out images in place of samples.
        covered: Number of samples in the ball of the real image, whose radius is the distance to
            its k-th neighbour among real images, int64 (n,).
        covered_held_out: The same for held-out images in place of samples.
        recall: The recall of samples over that of held-out images.
        coverage: The coverage of samples over that of held-out images; coverage is the share of
            balls that are not empty.
    """

    real: Tensor
    recalled: Tensor
    recalled_held_out: Tensor
    covered: Tensor
    covered_held_out: Tensor
    recall: Number
    coverage: Number

    @property
    def missed(self) -> Tensor:
        """Indices of the real images whose ball has held-out images but no sample, int64; those
        with the most held-out images first."""
        empty = ((self.covered == 0) & (self.covered_held_out > 0)).nonzero()[:, 0]
        order = self.covered_held_out[empty].argsort(descending=True, stable=True)
        return self.real[empty[order]]


def breadth(
    real: Tensor,
    samples: Tensor,
    held_out: Tensor,
    k: int = 3,
    k_coverage: int = 5,
    most: int = 2500,
    seed: int = 0,
) -> Breadth:
    """Recall and coverage of samples over those of held-out images, n of each.

    The intervals come from random halves of all three sets, drawn without replacement, whose
    deviation is that of the whole: they include the choice of images in all three sets.

    Args:
        real: float (n_real, d), samples (n_samples, d), held_out (n_held_out, d); n is the least
            of the three numbers and of `most`, and n images of each larger set are drawn.
        k: Rank of the neighbour that gives the radius of recall's balls.
        k_coverage: Rank of the neighbour that gives the radius of coverage's balls.
    """
    least = 2 * (max(k, k_coverage) + 1)
    n = min(len(real), len(samples), len(held_out), most)
    if n < least:
        raise ValueError(f"real, samples and held_out must be at least {least} images, got {n}")
    generator = torch.Generator().manual_seed(seed)

    def draw(count: int, size: int) -> Tensor:
        return torch.randperm(count, generator=generator)[:size].sort().values.to(real.device)

    chosen = draw(len(real), n)
    real = real[chosen]
    samples, held_out = (x[draw(len(x), n)] for x in (samples, held_out))
    wide = nearest(real, real, k_coverage, exclude_self=True)[0][:, -1]
    answers = []
    for x in (samples, held_out):
        reach = nearest(x, x, k, exclude_self=True)[0][:, -1]
        # Recall's balls are those of x, coverage's are those of the real images.
        answers.append(count_below(real, x, reach, inclusive=True) > 0)
        answers.append(_in_balls(x, real, wide))
    whole = torch.stack([answer.double().gt(0).double().mean() for answer in answers])
    halves = []
    within = [_distances(x, x).fill_diagonal_(math.inf) for x in (real, samples, held_out)]
    across = [_distances(real, x) for x in (samples, held_out)]
    for _ in range(HALVES):
        places = [draw(n, n // 2) for _ in range(3)]
        own = [square[part][:, part] for square, part in zip(within, places, strict=True)]
        wide_half = own[0].topk(k_coverage, largest=False).values[:, -1:]
        shares = []
        for i in (1, 2):
            reach = own[i].topk(k, largest=False).values[:, -1]
            block = across[i - 1][places[0]][:, places[i]]
            shares += [(block <= reach).any(1), (block < wide_half).any(1)]
        halves.append(torch.stack([share.double().mean() for share in shares]))
    halves = torch.stack(halves)
    recall, coverage = (_ratio(whole[i::2], halves[:, i::2], n) for i in (0, 1))
    return Breadth(chosen, answers[0], answers[2], answers[1], answers[3], recall, coverage)


def _in_balls(x: Tensor, real: Tensor, radius: Tensor) -> Tensor:
    """Number of points x in the ball around each real image, int64 (n,)."""
    counts = torch.zeros(len(real), dtype=torch.int64, device=real.device)
    for rows, block in squared_distances(real, x):
        counts[rows] = (block < radius[rows, None].float().square()).sum(1)
    # Whether a ball is empty is decided with exact distances.
    inside = nearest(real, x)[0][:, 0] < radius
    return torch.where(inside, counts.clamp(min=1), 0)


def _distances(x: Tensor, y: Tensor) -> Tensor:
    """Squares of distances (n, m) in float32, whose rounding is negligible in an error bar."""
    return torch.cat([block for _, block in squared_distances(x, y)])


def _ratio(whole: Tensor, halves: Tensor, n: int) -> Number:
    """The ratio of a share (first column) to another (second column)."""
    share, yardstick = whole.tolist()
    note = f"{share:.1%} of {n:,} real images; held-out images {yardstick:.1%}"
    if not yardstick or not halves[:, 1].all():
        return Number(math.nan, note=note)
    ratio = share / yardstick
    error = student(HALVES - 1) * (halves[:, 0] / halves[:, 1]).std().item()
    error = max(error, 3 / n / yardstick)  # if no half has any, its deviation is 0
    return Number(ratio, max(0.0, ratio - error), ratio + error, note)
