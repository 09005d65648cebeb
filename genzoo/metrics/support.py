"""Statistics of supports: unions of balls around images, whose radii are neighbour distances.

    precision, recall    Kynkaanniemi et al., 2019, https://arxiv.org/abs/1904.06991
    density, coverage    Naeem et al., 2020, https://arxiv.org/abs/2002.09797
    realism score        Kynkaanniemi et al., 2019, section 5
    rarity score         Han et al., 2022, https://arxiv.org/abs/2206.08549

The values equal prdc's and torch-fidelity's. Beyond them, all four come from one pass over the
neighbours, distances are exact where float32 loses digits by cancellation, memory does not grow
with the number of images, and there are intervals.

Legend: n images, d features; real and generated features are float (n, d).
"""

import math

import torch
from torch import Tensor

from .inputs import features, same_width
from .intervals import student, wilson
from .neighbours import count_below, nearest, squared_distances
from .number import Number

PARTS = 10  # random parts that are drawn for an interval
PART = 2000  # largest number of images in a part: the time grows with its square


def support_shares(
    real: Tensor,
    generated: Tensor,
    k: int = 3,
    k_density: int = 5,
    seed: int = 0,
    balls: Tensor | None = None,
) -> dict[str, Number]:
    """Precision, recall, density and coverage, which use the same neighbours.

    A support is the union of balls around its images, whose radius is the distance to the k-th
    neighbour (to the k_density-th for density and coverage). Precision and recall are not 1 for
    equal distributions: compare them with those of held-out images, in equal numbers.

    The intervals come from random parts of both sides: the deviation between halves, drawn
    without replacement, is that of the whole.

    Args:
        balls: Distances of each real image to its nearest other real images, nearest first,
            (n, max(k, k_density)); None: they are computed.
    """
    values = plain_shares(real, generated, k, k_density, balls)
    errors = _errors(real, generated, k, k_density, seed)
    numbers = {
        "precision": _share(values["precision"], errors[0], len(generated)),
        "recall": _share(values["recall"], errors[1], len(real)),
        "density": _around(values["density"], student(PARTS - 1) * errors[2]),
        "coverage": _share(values["coverage"], errors[3], len(real)),
    }
    expected = expected_coverage(len(real), len(generated), k_density)
    numbers["coverage"].note = f"equal distributions would cover {expected:.3f}"
    return numbers


def precision_recall(
    real: Tensor, generated: Tensor, k: int = 3, seed: int = 0
) -> tuple[Number, Number]:
    """The share of generated images inside the support of real ones, and the share of real images
    inside the support of generated ones; see `support_shares`."""
    shares = support_shares(real, generated, k, k, seed)
    return shares["precision"], shares["recall"]


def density_coverage(
    real: Tensor, generated: Tensor, k: int = 5, seed: int = 0
) -> tuple[Number, Number]:
    """The mean number of real balls that a generated image lies in, over k; and the share of real
    balls that hold a generated image. For equal distributions 1 and `expected_coverage`."""
    shares = support_shares(real, generated, k, k, seed)
    return shares["density"], shares["coverage"]


def expected_coverage(n_real: int, n_generated: int, k: int = 5) -> float:
    """Expected coverage for equal distributions: 1 - prod_i (N - i) / (M + N - i), i = 1..k.

    It is the same for all distributions.

    >>> f"{expected_coverage(1000, 1000):.3f}"  # near 1 - 2^-5
    '0.969'
    """
    missed = math.prod((n_real - i) / (n_generated + n_real - i) for i in range(1, k + 1))
    return 1 - missed


def realism_scores(real: Tensor, generated: Tensor, k: int = 3) -> Tensor:
    """Realism score of each generated image, float64 (m,):

        R(g) = max_r  |r - NN_k(r)| / |g - r|

    over the half of the real images r with the smaller balls, since the ball of an outlier is
    very large. A score of 1 or more means that the image lies within one of these balls; the score
    of a copy of such an r is inf.
    """
    real, generated = features(real, "real", k + 1), features(generated, "generated", 1)
    same_width(real, generated)
    radius = nearest(real, real, k, exclude_self=True)[0][:, -1]
    return realism_from_balls(real, generated, radius)


def realism_from_balls(real: Tensor, generated: Tensor, radius: Tensor) -> Tensor:
    """`realism_scores` from the radii of the real images' balls, (n,)."""
    small = (radius <= radius.median()).nonzero()[:, 0]
    real, radius = real[small], radius[small]
    best = torch.empty(len(generated), dtype=torch.int64, device=real.device)
    squares = radius.square().clamp(min=1e-300).reciprocal().float()
    for rows, block in squared_distances(generated, real):
        best[rows] = block.mul_(squares).argmin(1)
    # float32 was used only to choose the ball.
    distance = (generated.double() - real[best].double()).square().sum(1).sqrt()
    return radius[best] / distance


def rarity_scores(real: Tensor, generated: Tensor, k: int = 3) -> Tensor:
    """Rarity score of each generated image, float64 (m,): the radius of the smallest real ball that
    holds it, since balls are large where real images are sparse. NaN for images in no ball, which
    lie outside the support.
    """
    real, generated = features(real, "real", k + 1), features(generated, "generated", 1)
    same_width(real, generated)
    radius = nearest(real, real, k, exclude_self=True)[0][:, -1]
    return rarity_from_balls(real, generated, radius)


def rarity_from_balls(real: Tensor, generated: Tensor, radius: Tensor) -> Tensor:
    """`rarity_scores` from the radii of the real images' balls, (n,)."""
    order = radius.argsort()  # then the first ball that holds an image is the smallest
    squares = radius[order].square().float()
    scores = torch.full((len(generated),), torch.nan, dtype=torch.float64, device=real.device)
    for rows, block in squared_distances(generated, real[order]):
        held, first = (block <= squares).max(1)
        scores[rows] = torch.where(held, radius[order][first], torch.nan)
    return scores


def distance_to_nearest(real: Tensor, generated: Tensor, k: int = 5) -> Tensor:
    """Distance of each real image to the nearest generated one, float64 (n,), in units of the
    distance to its k-th neighbour among the real images. Coverage is the share of values below 1.
    """
    real, generated = features(real, "real", k + 1), features(generated, "generated", 1)
    same_width(real, generated)
    radius = nearest(real, real, k, exclude_self=True)[0][:, -1]
    return nearest(real, generated)[0][:, 0] / radius.clamp(min=1e-300)


def plain_shares(
    real: Tensor, generated: Tensor, k: int, k_density: int, balls: Tensor | None = None
) -> dict[str, float]:
    """`support_shares` without intervals."""
    most = max(k, k_density)  # number of neighbours that each image needs on its own side
    real = features(real, "real", most + 1)
    generated = features(generated, "generated", most + 1)
    same_width(real, generated)
    balls = nearest(real, real, most, exclude_self=True)[0] if balls is None else balls
    radius, radius_density = balls[:, k - 1], balls[:, k_density - 1]
    radius_generated = nearest(generated, generated, k, exclude_self=True)[0][:, -1]
    shares = {
        "precision": count_below(generated, real, radius, inclusive=True) > 0,
        "recall": count_below(real, generated, radius_generated, inclusive=True) > 0,
        "density": count_below(generated, real, radius_density).double() / k_density,
        "coverage": nearest(real, generated)[0][:, 0] < radius_density,
    }
    return {name: share.double().mean().item() for name, share in shares.items()}


def _errors(real: Tensor, generated: Tensor, k: int, k_density: int, seed: int) -> list[float]:
    """Standard errors of the four: deviations over ten random parts, drawn without replacement.

    The deviation between halves is the error of the whole; the one between smaller parts, of m of n
    images, is larger by sqrt(n / m - 1). float32 distances are precise enough for an error bar.
    """
    generator = torch.Generator().manual_seed(seed)
    least = max(k, k_density) + 1
    shares, scales = [], []
    for x in (real, generated):
        m = max(least, min(len(x) // 2, PART))
        scales.append(max(1.0, len(x) / m - 1))
    for _ in range(PARTS):
        parts = []
        for x in (real, generated):
            drawn = torch.randperm(len(x), generator=generator)
            parts.append(x[drawn[: max(least, min(len(x) // 2, PART))].to(x.device)])
        shares.append(_roughly(*parts, k, k_density))
    return (torch.tensor(shares).double().std(0) / math.sqrt(min(scales))).tolist()


def _roughly(real: Tensor, generated: Tensor, k: int, k_density: int) -> list[float]:
    """The four statistics in float32, for few images."""
    radii = []
    for x, most in ((real, max(k, k_density)), (generated, k)):
        radius = []
        for rows, block in squared_distances(x, x):
            block.diagonal(rows.start).fill_(torch.inf)
            radius.append(block.topk(most, largest=False).values)
        radii.append(torch.cat(radius))
    real_ball, wide = radii[0][:, k - 1, None], radii[0][:, k_density - 1, None]
    inside = torch.zeros(len(generated), dtype=torch.bool, device=real.device)
    recalled = held = covered = 0
    for rows, block in squared_distances(real, generated):
        inside |= (block <= real_ball[rows]).any(0)
        dense = block < wide[rows]
        recalled += int((block <= radii[1][:, k - 1]).any(1).sum())
        held += int(dense.sum())
        covered += int(dense.any(1).sum())
    n, m = len(real), len(generated)
    return [inside.double().mean().item(), recalled / n, held / (m * k_density), covered / n]


def _around(value: float, half: float) -> Number:
    return Number(value, max(0.0, value - half), value + half)


def _share(value: float, error: float, n: int) -> Number:
    """A share whose interval is at least that of n independent trials: parts have no deviation at
    a share of 0 or 1."""
    low, high = wilson(value, n)
    half = student(PARTS - 1) * error
    return Number(value, max(0.0, min(low, value - half)), min(1.0, max(high, value + half)))
