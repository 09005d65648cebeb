"""Supports: where images lie among others, by balls around each that reach to its neighbours.

    precision, recall    Kynkaanniemi et al., 2019, https://arxiv.org/abs/1904.06991
    density, coverage    Naeem et al., 2020, https://arxiv.org/abs/2002.09797
    realism score        Kynkaanniemi et al., 2019, section 5
    rarity score         Han et al., 2022, https://arxiv.org/abs/2206.08549

Legend: n images, d features; real and generated features are float (n, d).
"""

import math

import torch
from torch import Tensor

from .inputs import features, same_width
from .intervals import wilson
from .neighbours import count_below, nearest, squared_distances
from .number import Number

HALVES = 10  # drawn for an interval
STUDENT = 2.262  # 95 % of Student's distribution with as many values


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


def realism_scores(real: Tensor, generated: Tensor, k: int = 3) -> Tensor:
    """How real each generated image is, float64 (m,):

        R(g) = max_r  |r - NN_k(r)| / |g - r|

    over the half of the real images r with the smaller balls, as a ball around an outlier would
    hold anything. At 1 or more the image lies within such a ball. A copy of one of
    them has inf.
    """
    real, generated = features(real, "real", k + 1), features(generated, "generated", 1)
    same_width(real, generated)
    radius = nearest(real, real, k, exclude_self=True)[0][:, -1]
    return _realism_scores(real, generated, radius)


def _realism_scores(real: Tensor, generated: Tensor, radius: Tensor) -> Tensor:
    """From the radii of the real images' balls, (n,)."""
    small = (radius <= radius.median()).nonzero()[:, 0]
    real, radius = real[small], radius[small]
    best = torch.empty(len(generated), dtype=torch.int64, device=real.device)
    squares = radius.square().clamp(min=1e-300).reciprocal().float()
    for rows, block in squared_distances(generated, real):
        best[rows] = block.mul_(squares).argmin(1)
    # Only which ball it is was found in float32.
    distance = (generated.double() - real[best].double()).square().sum(1).sqrt()
    return radius[best] / distance


def rarity_scores(real: Tensor, generated: Tensor, k: int = 3) -> Tensor:
    """How rare each generated image is, float64 (m,): the radius of the smallest real ball that
    holds it, as balls are large where real images are few. NaN for those in no ball, which are
    not real.
    """
    real, generated = features(real, "real", k + 1), features(generated, "generated", 1)
    same_width(real, generated)
    radius = nearest(real, real, k, exclude_self=True)[0][:, -1]
    return _rarity_scores(real, generated, radius)


def _rarity_scores(real: Tensor, generated: Tensor, radius: Tensor) -> Tensor:
    order = radius.argsort()  # then the first ball that holds an image is the smallest
    squares = radius[order].square().float()
    scores = torch.full((len(generated),), torch.nan, dtype=torch.float64, device=real.device)
    for rows, block in squared_distances(generated, real[order]):
        held, first = (block <= squares).max(1)
        scores[rows] = torch.where(held, radius[order][first], torch.nan)
    return scores


def distance_to_nearest(real: Tensor, generated: Tensor, k: int = 5) -> Tensor:
    """How far each real image is from the nearest generated one, in radii of its ball, which
    reaches to its k-th neighbour among the real ones, float64 (n,). Coverage counts those below 1.
    """
    real, generated = features(real, "real", k + 1), features(generated, "generated", 1)
    same_width(real, generated)
    radius = nearest(real, real, k, exclude_self=True)[0][:, -1]
    return nearest(real, generated)[0][:, 0] / radius.clamp(min=1e-300)


def _support_shares(real: Tensor, generated: Tensor, k: int, k_density: int) -> dict[str, float]:
    most = max(k, k_density)  # neighbours that each image must have on its own side
    real = features(real, "real", most + 1)
    generated = features(generated, "generated", most + 1)
    same_width(real, generated)
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
