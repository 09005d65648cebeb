"""How well does it predict unseen data? For models with a likelihood, or a bound of it.

The negative log-likelihood of held-out images in nats, and in bits per pixel and channel,

    bits/dim = -E[log p(x)] / (C H W log 2),

is compared with that of as many training images. An overfitted model predicts training images
better than held-out ones, so the gap between the two is a test of overfitting.

A small gap is not sufficient: an untrained model has none. So the likelihood is also compared with
that of independent pixels, which have the training images' histogram of levels at each pixel
(`metrics/independent.py`).

A bound depends on its slack as well as on the model. If the model has an importance-weighted bound
(Burda et al., 2015, https://arxiv.org/abs/1509.00519), this tighter one is given too, for fewer
images since it needs many draws for each. If the normaliser of a density is an intractable sum, its
estimate gives neither a likelihood nor a bound, which the card says; the gap does not depend on it.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import Literal

import lightning as L
import torch
from torch import Tensor

from .. import __version__
from ..batches import take, to
from ..checks import at_least
from ..images import from_uint8
from ..metrics.independent import independent
from ..metrics.intervals import difference_of, mean_of
from ..metrics.number import Number
from ..modes import evaluating
from ..protocols import Bounded, Density, Estimated, ImportanceWeighted
from ..report.card import Section
from ..rng import isolated
from ..run import BLOCK, Real, Run, blocks
from .evaluation import Question

DRAWS = 50  # draws of the latent for an importance-weighted bound
WEIGHED = 500  # largest number of images for which this bound is computed
WORTH = 0.1  # a good model saves at least this share of the nats of independent pixels
FREE = {True: "independent pixels", False: "independent normal coordinates"}


class Likelihood(Question):
    """Nats and bits per dimension on the test images, and the gap to the training images.

    Logged in test as `test/nats`, or `test/elbo` if the model has only a bound, or `test/nats/ais`
    if its normaliser is estimated by annealed importance sampling; `test/bits_per_dim`,
    `test/bits_per_dim/train`, `test/bits_per_dim/gap`, and `test/bits_per_dim/independent` for
    independent pixels on the same test images. Points have nats only, and are compared with
    independent normal coordinates. The gap is positive if test images have more nats than training
    images. For a model with `importance_weighted` also `test/iw_bound`, from 50 draws of the latent
    for each of at most 500 images, `iw_bound/train` and `iw_bound/gap`, in nats, and
    `bits_per_dim/iw`.

    The verdict is good if test images have significantly less than nine tenths of the nats of
    independent pixels, and hardly more than training images. It is bad if the gap is wide, or if a
    uniform distribution or independent pixels have less; a bound that is worse than independent
    pixels decides nothing.

    The number of levels of a pixel is the model's `levels`; without this attribute it is 2 for
    images that are black and white, and 256 otherwise.

    Args:
        num_images: Largest number of test images, of training images for the gap, and of training
            images for the histograms of independent pixels.
        every_n_epochs: During fit, run at the validations of every n-th epoch too; 0: at none.
        seed: Seed of the draws of a bound.
    """

    def __init__(self, num_images: int = 10_000, every_n_epochs: int = 0, seed: int = 0) -> None:
        super().__init__(every_n_epochs, seed)
        at_least(2, num_images=num_images)
        self.num_images = num_images

    def able(self, model: L.LightningModule) -> bool:
        return isinstance(model, (Density, Bounded))

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        super().setup(trainer, pl_module, stage)
        if self.required and not self.able(pl_module):
            name = type(pl_module).__name__
            raise TypeError(f"Likelihood needs a log_prob(x) or elbo(x), but {name} has neither")

    def answer(self, run: Run, model: L.LightningModule) -> Section:
        count = 2 * BLOCK if run.trial else self.num_images
        with isolated(self.seed):
            held_out = run.real(run.split, count)
            train = run.real("train", len(held_out.images))
            estimated = isinstance(model, Estimated) and not model.tractable
            exact = isinstance(model, Density) and not estimated
            bound = model.log_prob if exact else model.log_prob_ais if estimated else model.elbo
            costs = [self._nats(run, model, bound, real) for real in (held_out, train)]
            levels = _levels(model, held_out, train)
            known = run.real("train", self.num_images)
            free = independent(known.images, held_out.images, levels)
            weighed, weighed_free = [], None
            if isinstance(model, ImportanceWeighted) and not exact:
                bound = partial(model.importance_weighted, samples=DRAWS)
                few = min(len(held_out.images), WEIGHED)
                some = [run.real(part, few) for part in (run.split, "train")]
                weighed = [self._nats(run, model, bound, real) for real in some]
                weighed_free = weighed[0], independent(known.images, some[0].images, levels)
        shape = tuple(held_out.images.shape[1:])
        section = section_of(*costs, shape, exact, estimated, levels, free, weighed_free)
        if weighed:
            section.numbers |= tightened(*weighed, shape)
        section.protocol = {
            "split": run.split,
            "n_held_out": len(costs[0]),
            "n_train": len(costs[1]),
            "n_independent": len(known.images),
            "levels": levels,
            "step": run.step,
            "genzoo": __version__,
        }
        return section

    def _nats(
        self,
        run: Run,
        model: L.LightningModule,
        bound: Callable[..., Tensor],
        real: Real,
    ) -> Tensor:
        """-log p(x) or minus its bound, float64 (N,); the ranks share the work."""
        name = getattr(bound, "func", bound).__name__
        condition = real.given(model)

        def block(i: int, place: slice) -> tuple[Tensor]:
            x = real.images[place].to(model.device)
            x = from_uint8(x, model.dtype) if x.dtype == torch.uint8 else x.to(model.dtype)
            with isolated(self.seed, i):
                nats = -bound(x, *(to(take(y, place), model.device) for y in condition))
            if nats.shape != (len(x),):
                raise ValueError(
                    f"{type(model).__name__}.{name} must give ({len(x)},) nats, "
                    f"got {tuple(nats.shape)}"
                )
            return (nats.double().cpu(),)

        with evaluating(model), run.buffers_of_rank_zero(model):
            (nats,) = run.in_blocks(blocks(len(real.images)), block, "Likelihood")
        return nats


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


def _levels(model: L.LightningModule, *real: Real) -> int:
    """The number of levels of a pixel: the model's, or 2 for black and white images, or 256."""
    declared = getattr(model, "levels", None)
    if isinstance(declared, int) and 2 <= declared <= 256:
        return declared
    images = [part.images for part in real]
    binary = all(x.dtype == torch.uint8 and ((x == 0) | (x == 255)).all() for x in images)
    return 2 if binary else 256


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
