"""How well does it predict unseen data? For models that have a likelihood, or a bound of it.

The average cost of held-out images in nats, and per pixel and channel in bits,

    bits/dim = -E[log p(x)] / (C H W log 2),

beside that of as many training images. What the model has learned by heart it predicts better
than it predicts the rest, so the gap between the two is the oldest test of overfitting.

A bound says as much of its slack as of the model. Where importance weights can tighten it
(Burda et al., 2015, https://arxiv.org/abs/1509.00519), the tighter one stands beside it, by
fewer images because it takes many draws for each. Where the normaliser of a density is too large to
sum, its estimate gives neither a likelihood nor a bound, and is called so; the gap needs none.
"""

import math
from collections.abc import Callable
from functools import partial

import lightning as L
import torch
from torch import Tensor

from .. import __version__
from ..checks import at_least
from ..images import from_uint8
from ..metrics.intervals import NORMAL
from ..metrics.number import Number
from ..zoo.module import evaluating
from ..zoo.protocols import Bounded, Density, Estimated, ImportanceWeighted
from .features import BLOCK
from .isolation import isolated
from .progress import track
from .question import Question
from .ranks import buffers_of_rank_zero, merge
from .real import Real, real_images
from .report import Section, publish

DRAWS = 50  # of the latent for an importance-weighted bound
WEIGHED = 500  # images that it is computed of, at most


class Likelihood(Question):
    """Nats and bits per dimension on the test images, and the gap to the training images.

    Logged in test as `test/nats`, or `test/elbo` where the model has only a bound, or
    `test/nats/ais` where its normaliser was estimated by annealed importance sampling,
    `test/bits_per_dim`, `test/bits_per_dim/train` and `test/bits_per_dim/gap`. Points have nats
    only, and `nats/gap`. The gap is positive where training images are cheaper. Of a model with
    `importance_weighted` also `test/iw_bound`, by 50 draws of the latent for each of at most 500
    images, `iw_bound/train` and `iw_bound/gap`, in nats, and `bits_per_dim/iw`.

    Args:
        num_images: At most so many test images, and as many training images.
        every_n_epochs: Of fit, at which validations take part too; 0: none.
        seed: Of the draws that a bound needs.
    """

    section: Section | None = None

    def __init__(self, num_images: int = 10_000, every_n_epochs: int = 0, seed: int = 0) -> None:
        super().__init__(every_n_epochs, seed)
        at_least(2, num_images=num_images)
        self.num_images = num_images

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        self.section = None
        if self.required and not isinstance(pl_module, (Density, Bounded)):
            name = type(pl_module).__name__
            raise TypeError(f"Likelihood needs a log_prob(x) or elbo(x), but {name} has neither")

    def ask(self, trainer: L.Trainer, model: L.LightningModule, split: str) -> None:
        if not isinstance(model, (Density, Bounded)):
            return
        count = 2 * BLOCK if trainer.fast_dev_run else self.num_images
        with isolated(self.seed):
            held_out = real_images(trainer, split, count)
            train = real_images(trainer, "train", len(held_out.images))
            estimated = isinstance(model, Estimated) and not model.tractable
            exact = isinstance(model, Density) and not estimated
            ask = model.log_prob if exact else model.log_prob_ais if estimated else model.elbo
            costs = [self._nats(trainer, model, ask, real) for real in (held_out, train)]
            weighed = []
            if isinstance(model, ImportanceWeighted) and not exact:
                ask = partial(model.importance_weighted, samples=DRAWS)
                few = min(len(held_out.images), WEIGHED)
                some = [real_images(trainer, part, few) for part in (split, "train")]
                weighed = [self._nats(trainer, model, ask, real) for real in some]
        shape = tuple(held_out.images.shape[1:])
        levels = getattr(model, "levels", 256)
        self.section = judge(*costs, shape, exact, estimated, levels)
        if weighed:
            self.section.numbers |= tightened(*weighed, shape)
        self.section.protocol = {
            "split": split,
            "n_held_out": len(costs[0]),
            "n_train": len(costs[1]),
            "levels": levels,
            "step": trainer.global_step,
            "genzoo": __version__,
        }
        publish(trainer, model, self.section, "test/" if split == "test" else "")

    def _nats(
        self,
        trainer: L.Trainer,
        model: L.LightningModule,
        ask: Callable[..., Tensor],
        real: Real,
    ) -> Tensor:
        """-log p(x) or minus its bound, float64 (N,), the work shared among the ranks."""
        name = getattr(ask, "func", ask).__name__
        told = getattr(model, "num_classes", 0) and real.labels is not None
        sizes = [len(block) for block in real.images.split(BLOCK)]
        ours = range(trainer.global_rank, len(sizes), trainer.world_size)
        own = {}
        with evaluating(model), buffers_of_rank_zero(trainer, model):
            for i in track(trainer, ours, "Likelihood", len(ours)):
                place = slice(i * BLOCK, i * BLOCK + sizes[i])
                x = real.images[place].to(model.device)
                x = from_uint8(x, model.dtype) if x.dtype == torch.uint8 else x.to(model.dtype)
                with isolated(self.seed, i):
                    y = real.labels[place].to(model.device) if told else None
                    nats = -(ask(x) if y is None else ask(x, y))
                if nats.shape != (len(x),):
                    raise ValueError(
                        f"{type(model).__name__}.{name} must give ({len(x)},) nats, "
                        f"got {tuple(nats.shape)}"
                    )
                own[i] = nats.double().cpu()
        return merge(trainer, own, sizes)


def judge(
    held_out: Tensor,
    train: Tensor,
    shape: tuple[int, ...],
    exact: bool,
    estimated: bool = False,
    levels: int = 256,
) -> Section:
    """What the costs in nats, (N,) of held-out and of training images, say.

    Args:
        shape: (C, H, W), or (D,) for points, whose density has no bits.
        exact: Whether the costs are likelihoods, not bounds.
        estimated: Whether they are neither, as their normaliser is an estimate.
        levels: Of a pixel: one who knows nothing pays their logarithm.
    """
    nats, gap = _mean(held_out), _difference(held_out, train)
    kind = "exact" if exact else "an estimate" if estimated else "a lower bound"
    numbers: dict[str, Number] = {}
    if exact:
        numbers["nats"] = Number(*nats, note="-log p(x) of an image that was held out")
    elif estimated:
        note = "held out, log Z estimated: rather too few nats; the interval knows of images only"
        numbers["nats/ais"] = Number(*nats, note=note)
    else:
        low, high = -nats[2], -nats[1]
        numbers["elbo"] = Number(-nats[0], low, high, "a lower bound of log p(x), held out")
    if len(shape) == 3:
        unit, per = "bits_per_dim", math.prod(shape) * math.log(2)
        numbers[unit] = Number(*(v / per for v in nats), note=f"held out, {kind}")
    else:
        unit, per = "nats", 1.0
    seen = _mean(train)
    numbers[f"{unit}/train"] = Number(*(v / per for v in seen), note="training images")
    value, low, high = (v / per for v in gap)
    numbers[f"{unit}/gap"] = Number(value, low, high, "held out minus training")
    words = unit.replace("_per_", "/").replace("bits/dim", "bits per dimension")
    about = "about " if estimated else ""
    cost = f"Held-out images cost {about}{nats[0] / per:.4g} {words}"
    cost = f"{cost}, training images {seen[0] / per:.4g}"
    if not all(map(math.isfinite, (*nats, *seen))):
        verdict, flag = f"{cost}: the likelihood is not finite.", "bad"
    elif len(shape) == 3 and nats[1] / per > math.log2(levels):
        guess = f"{math.log2(levels):.3g}"
        verdict, flag = f"{cost}; one who knows nothing pays {guess}.", "bad"
    elif low <= 0:
        verdict = f"{cost}: no more than chance lies between them."
        flag = "good"
    else:
        share = value / max(abs(seen[0] / per), 1e-12)
        verdict = f"{cost}: a gap of {value:.2g} ({share:.1%}), more than chance."
        flag = "bad" if share > 0.1 else "unsure" if share > 0.02 else "good"
    return Section("likelihood", verdict, flag, numbers)


def tightened(held_out: Tensor, train: Tensor, shape: tuple[int, ...]) -> dict[str, Number]:
    """The numbers of the importance-weighted bound. Arguments as `judge`."""
    cost, low, high = _mean(held_out)
    seen = _mean(train)
    note = f"importance-weighted: {DRAWS} draws each, {len(held_out)} images, held out"
    numbers = {
        "iw_bound": Number(-cost, -high, -low, note),
        "iw_bound/train": Number(-seen[0], -seen[2], -seen[1], f"{len(train)} training images"),
        "iw_bound/gap": Number(*_difference(held_out, train), "nats, held out minus training"),
    }
    if len(shape) == 3:
        per = math.prod(shape) * math.log(2)
        bits = (v / per for v in (cost, low, high))
        numbers["bits_per_dim/iw"] = Number(*bits, note="by the importance-weighted bound")
    return numbers


def _mean(x: Tensor) -> tuple[float, float, float]:
    mean, half = x.mean().item(), NORMAL * (x.var() / len(x)).sqrt().item()
    return mean, mean - half, mean + half


def _difference(a: Tensor, b: Tensor) -> tuple[float, float, float]:
    mean = (a.mean() - b.mean()).item()
    half = NORMAL * (a.var() / len(a) + b.var() / len(b)).sqrt().item()
    return mean, mean - half, mean + half
