"""Feature likelihood divergence: how likely held-out images are under the samples.

Jiralerspong et al., 2023, https://arxiv.org/abs/2302.04440. Each of n samples y_j is the centre of
a normal distribution with a width of its own,

    p(x) = 1/n sum_j N(x; y_j, s_j^2 I),

and the widths maximise the likelihood of the training images. A sample that is a copy gets a width
near 0, and then adds almost no density at held-out images. So copies lower the likelihood of
held-out images, as do samples that are unrealistic or too similar. The divergence is

    FLD = 100 (L(samples) - L(training images)),    L = -1/d mean_x log p(x) over held-out x,

where the centres of the second mixture are half of the training images, and its widths are fitted
to the other half. It is near 0 for new real images, and lower is better.

Legend: n images, d features; all features are float (n, d).
"""

import math
from collections.abc import Iterable

import torch
from torch import Tensor

from ..checks import at_least
from .inputs import features, same_width
from .intervals import NORMAL
from .number import Number

STEPS, RATE = 50, 0.5  # steps and learning rate of Adam, from the authors' code
BROAD = 0.9  # factor of the distances to the training images' mean, in the fit only
BLOCK = 2**22  # distances in a block
KNOWN = 2**26  # largest number of distances that are kept in memory


def feature_likelihood_divergence(
    train: Tensor, held_out: Tensor, generated: Tensor, seed: int = 0, most: int = 10_000
) -> Number:
    """FLD, with an interval for the choice of held-out images.

    Args:
        train: Features of the training images, to which the widths are fitted.
        seed: Seed of the random choice of images.
        most: Largest number of training images and of samples; more are subsampled, since the
            time grows with the product of the two.
    """
    at_least(4, most=most)
    parts = [
        features(x, name, least)
        for x, name, least in (
            (train, "train", 4),
            (held_out, "held_out", 2),
            (generated, "generated", 2),
        )
    ]
    for other in parts[1:]:
        same_width(parts[0], other)
    mean, deviation = parts[1].double().mean(0), parts[1].double().std(0)
    alive = deviation > 0
    if not alive.any():
        raise ValueError("held_out must vary in at least one feature, got constant ones")
    train, held_out, generated = (
        ((x - mean) / deviation)[:, alive].float() for x in map(Tensor.double, parts)
    )
    generator = torch.Generator().manual_seed(seed)
    train, generated = (_some(x, most, generator) for x in (train, generated))
    half = min(len(generated), len(train) // 2)
    order = torch.randperm(len(train), generator=generator)
    centres, others = train[order[:half]], train[order[half:]]
    ours = _costs(held_out, generated, _fit(generated, train))
    theirs = _costs(held_out, centres, _fit(centres, others))
    difference = 100 * (ours - theirs).double()
    value = difference.mean().item()
    error = NORMAL * difference.std().item() / math.sqrt(len(difference))
    note = f"{len(generated):,} samples against {half:,} training images"
    return Number(value, value - error, value + error, note)


def _some(x: Tensor, most: int, generator: torch.Generator) -> Tensor:
    return x[torch.randperm(len(x), generator=generator)[:most]] if len(x) > most else x


def _fit(centres: Tensor, train: Tensor) -> Tensor:
    """log s_j^2 (n,) that maximise the likelihood of the training images.

    The fit has one more component, around the training images' mean: without it an image that is
    far from all centres would widen all of them.
    """
    d = train.shape[1]
    rows = max(1, BLOCK // len(centres))
    # Distances are the same in every step; computing them costs more than all the rest.
    known = len(train) * len(centres) <= KNOWN
    kept = [_squares(block, centres) for block in train.split(rows)] if known else []

    def all_squares() -> Iterable[Tensor]:
        return kept or (_squares(block, centres) for block in train.split(rows))

    nearest = torch.full((len(centres),), torch.inf)
    for squares in all_squares():
        nearest = torch.minimum(nearest, squares.amin(0))
    widths = torch.nn.Parameter(((nearest + 1e-3) / d).log())
    broad = torch.nn.Parameter(torch.zeros(()))
    adam = torch.optim.Adam([widths, broad], lr=RATE)
    away = BROAD**2 * (train - train.mean(0)).square().sum(1)
    for _ in range(STEPS):
        slopes = torch.zeros_like(widths), torch.zeros_like(broad)
        with torch.no_grad():
            for squares, far in zip(all_squares(), away[:, None].split(rows), strict=True):
                excess = squares / widths.exp()
                logs = excess.add(_constant(widths, d)).mul_(-0.5).sub_(math.log(len(centres)))
                share = torch.cat([logs, _logs(far, broad, d)], 1).softmax(1)
                # d log N / d log s^2 = (|x - y|^2 / s^2 - d) / 2
                slopes[0].sub_(excess.sub_(d).mul_(share[:, :-1]).sum(0) / 2)
                slopes[1].sub_((share[:, -1:] * (far / broad.exp() - d)).sum() / 2)
        for parameter, slope in zip((widths, broad), slopes, strict=True):
            parameter.grad = slope / (len(train) * d)
        adam.step()
        with torch.no_grad():
            widths.clamp_(-40, 20)
    return widths.detach()


def _costs(x: Tensor, centres: Tensor, widths: Tensor) -> Tensor:
    """-1/d log p(x) of images x, (n,)."""
    d = x.shape[1]
    costs = [
        math.log(len(centres)) - _logs(_squares(block, centres), widths, d).logsumexp(1)
        for block in x.split(max(1, BLOCK // len(centres)))
    ]
    return torch.cat(costs) / d


def _logs(squares: Tensor, widths: Tensor, d: int) -> Tensor:
    """log N(x; y, s^2 I) from |x - y|^2 and log s^2."""
    return -0.5 * (squares / widths.exp() + _constant(widths, d))


def _constant(widths: Tensor, d: int) -> Tensor:
    return d * (widths + math.log(2 * math.pi))


def _squares(x: Tensor, y: Tensor) -> Tensor:
    """|x - y|^2 by subtraction: the rounding of a product would exceed the width of a copy."""
    return torch.cdist(x, y, compute_mode="donot_use_mm_for_euclid_dist").square()
