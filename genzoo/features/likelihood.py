"""What the costs of held-out and training images say of a density: the section of a card."""

import math
from typing import Literal

from torch import Tensor

from ..metrics.intervals import difference_of, mean_of
from ..metrics.number import Number
from ..report.card import Section

DRAWS = 50  # draws of the latent for an importance-weighted bound
WORTH = 0.1  # a good model saves at least this share of the nats of independent pixels
FREE = {True: "independent pixels", False: "independent normal coordinates"}


def section_of(
    held_out: Tensor,
    train: Tensor,
    shape: tuple[int, ...],
    exact: bool,
    estimated: bool = False,
    levels: int = 256,
    free: Tensor | None = None,
    tighter: tuple[Tensor, Tensor] | None = None,
) -> Section:
    """The section from the costs, -log p(x) in nats, (N,) of held-out and of training images.

    Args:
        shape: (C, H, W), or (D,) for points, whose density has no bits.
        exact: Whether the costs are of likelihoods, not of bounds.
        estimated: Whether they are neither, since their normaliser is an estimate.
        levels: Number of levels of a pixel; a uniform distribution costs its logarithm.
        free: Costs of the held-out images under independent pixels, (N,); None: unknown, and the
            verdict is never good.
        tighter: Costs of some held-out images (M,) by a tighter bound, and under independent
            pixels.
    """
    nats, gap = mean_of(held_out), difference_of(held_out, train)
    kind = "exact" if exact else "an estimate" if estimated else "a lower bound"
    numbers: dict[str, Number] = {}
    if exact:
        numbers["nats"] = Number(*nats, note="-log p(x) of an image that was held out")
    elif estimated:
        note = "held out, log Z estimated: tends to be too low; interval for the choice of images"
        numbers["nats/ais"] = Number(*nats, note=note)
    else:
        low, high = -nats[2], -nats[1]
        numbers["elbo"] = Number(-nats[0], low, high, "a lower bound of log p(x), held out")
    pixels = len(shape) == 3
    if pixels:
        unit, per = "bits_per_dim", math.prod(shape) * math.log(2)
        numbers[unit] = Number(*(v / per for v in nats), note=f"held out, {kind}")
    else:
        unit, per = "nats", 1.0
    trained = mean_of(train)
    numbers[f"{unit}/train"] = Number(*(v / per for v in trained), note="training images")
    value, low, high = (v / per for v in gap)
    numbers[f"{unit}/gap"] = Number(value, low, high, "held out minus training")
    if free is not None:
        note = f"the same held-out images under {FREE[pixels]}"
        numbers[f"{unit}/independent"] = Number(*(v / per for v in mean_of(free)), note=note)
    words = unit.replace("_per_", "/").replace("bits/dim", "bits per dimension")
    about = "about " if estimated else "" if exact else "at most "
    cost = f"held-out images cost {about}{nats[0] / per:.4g} {words}"
    if free is not None:
        cost = f"{cost}, {FREE[pixels]} {free.mean().item() / per:.4g}"
    cost = f"{cost}, training images {trained[0] / per:.4g}"
    share = value / max(abs(trained[0] / per), 1e-12)
    apart = f"a gap of {value:.2g} ({share:.1%}), more than chance"
    if low <= 0:
        share, apart = 0.0, "held-out and training images differ by no more than chance"
    guess = math.log2(levels)
    if not math.isfinite(nats[0] + trained[0]):
        flag, verdict = "bad", f"Not at all: {cost}: the likelihood is not finite."
    elif pixels and nats[1] / per > guess:
        flag = "bad"
        verdict = f"Worse than a guess: {cost}; a uniform guess costs {guess:.3g}."
    elif share > 0.1:
        flag, verdict = "bad", f"Far worse than on its training images: {cost}: {apart}."
    elif free is None:
        flag, verdict = "unsure", f"There is nothing to compare with: {cost}; {apart}."
    else:
        costs = [(held_out, free)] + ([tighter] if tighter else [])
        how, flag = _level(costs, pixels, exact or estimated)
        flag = "unsure" if flag == "good" and share > 0.02 else flag
        verdict = f"{how}: {cost}; {apart}."
    return Section("likelihood", verdict, flag, numbers)


def _level(
    costs: list[tuple[Tensor, Tensor]], pixels: bool, known: bool
) -> tuple[str, Literal["good", "bad", "unsure"]]:
    """The comparison of the model's costs with those of independent pixels, as a phrase and a flag.

    Args:
        costs: Costs of the same images (N,) by the model and by independent pixels; a pair for each
            of two bounds.
        known: Whether they are likelihoods, not bounds.
    """
    # Differences of pairs: the two costs of an image are correlated.
    over = [mean_of(ours - theirs) for ours, theirs in costs]
    others = FREE[pixels]
    if all(low > 0 for _, low, _ in over):
        if known:
            return f"Worse than {others}", "bad"
        return f"Its bound is worse than {others}", "unsure"
    if not any(high < 0 for _, _, high in over):
        return f"No better than {others}, as far as {len(costs[0][0]):,} images tell", "unsure"
    # The costs of points may be negative, and have no shares.
    if pixels and not any(
        -high >= WORTH * theirs.mean()
        for (_, _, high), (_, theirs) in zip(over, costs, strict=True)
    ):
        return f"Little better than {others}", "unsure"
    return f"Better than {others}", "good"


def tightened(held_out: Tensor, train: Tensor, shape: tuple[int, ...]) -> dict[str, Number]:
    """The numbers of the importance-weighted bound. Arguments as `section_of`."""
    cost, low, high = mean_of(held_out)
    trained = mean_of(train)
    note = f"importance-weighted: {DRAWS} draws each, {len(held_out)} images, held out"
    numbers = {
        "iw_bound": Number(-cost, -high, -low, note),
        "iw_bound/train": Number(
            -trained[0], -trained[2], -trained[1], f"{len(train)} training images"
        ),
        "iw_bound/gap": Number(*difference_of(held_out, train), "nats, held out minus training"),
    }
    if len(shape) == 3:
        per = math.prod(shape) * math.log(2)
        bits = (v / per for v in (cost, low, high))
        numbers["bits_per_dim/iw"] = Number(*bits, note="by the importance-weighted bound")
    return numbers
