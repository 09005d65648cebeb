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

from collections.abc import Callable
from functools import partial

import lightning as L
import torch
from torch import Tensor

from .. import __version__
from ..batches import take, to
from ..checks import at_least
from ..features.likelihood import DRAWS, section_of, tightened
from ..images import from_uint8
from ..metrics.independent import independent
from ..modes import evaluating
from ..protocols import Bounded, Density, Estimated, ImportanceWeighted
from ..report.card import Section
from ..rng import isolated
from ..run import BLOCK, Real, Run, blocks
from .evaluation import Question

WEIGHED = 500  # largest number of images for which this bound is computed


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

    A model whose bound is dear says of how many images it is worth it (`bound_images`), and one
    whose bound is no less than the likelihood that it is exact (`bound_is_exact`).

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
        count = min(count, getattr(model, "bound_images", count))
        with isolated(self.seed):
            held_out = run.real(run.split, count)
            train = run.real("train", len(held_out.images))
            estimated = isinstance(model, Estimated) and not model.tractable
            exact = isinstance(model, Density) and not estimated
            bound = model.log_prob if exact else model.log_prob_ais if estimated else model.elbo
            exact = exact or getattr(model, "bound_is_exact", False)
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


def _levels(model: L.LightningModule, *real: Real) -> int:
    """The number of levels of a pixel: the model's, or 2 for black and white images, or 256."""
    declared = getattr(model, "levels", None)
    if isinstance(declared, int) and 2 <= declared <= 256:
        return declared
    images = [part.images for part in real]
    binary = all(x.dtype == torch.uint8 and ((x == 0) | (x == 255)).all() for x in images)
    return 2 if binary else 256
