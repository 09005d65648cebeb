"""Are the codes of its encoder useful? The encoder is frozen, and the decoder is not used.

A linear classifier is trained on codes of a few labelled images, and its accuracy is measured on
held-out images: it is high if classes are linearly separable in the codes. The fewer the labels,
the more the accuracy depends on the codes. Baselines are the same classifier on features that need
no encoder: the pixels, and their principal components and a random projection, both of the codes'
dimension; and on codes of the same encoder before training.

The encoder was trained without labels and without held-out images, like the principal components.
Conditional models whose encoder needs the class are not measured.
"""

import inspect

import lightning as L
import torch
from torch import Tensor

from .. import __version__
from ..checks import at_least
from ..features.probe import TITLE, section_of
from ..images import from_uint8
from ..metrics.probe import baselines, linear_probe
from ..modes import evaluating
from ..protocols import Encoder
from ..report.card import Section
from ..rng import isolated
from ..run import BLOCK, Real, Run, blocks
from .evaluation import Question


def untrained(model: L.LightningModule, seed: int = 0) -> L.LightningModule | None:
    """The untrained model with the same hyper-parameters; None if these do not suffice."""
    signature = inspect.signature(type(model))
    kinds = {parameter.kind for parameter in signature.parameters.values()}
    arguments = {
        name: value
        for name, value in model.hparams.items()
        if name in signature.parameters
        or (inspect.Parameter.VAR_KEYWORD in kinds and not name.startswith("_"))
    }
    try:
        signature.bind(**arguments)
    except TypeError:
        return None
    with isolated(seed):
        return type(model)(**arguments).to(model.device, model.dtype)


class LinearProbe(Question):
    """Accuracy of a linear classifier on codes, for every model with `encode`.

    Logged in test as `test/probe/<labels>`, with `all` for 0, and `.../<baseline>`: `pixels`,
    `pca`, `random_projection` and `untrained`, which is left out if the model's hyper-parameters do
    not suffice to build it. It is a section of the report card. Intervals are for other draws of
    labels and other held-out images.

    Args:
        num_labels: Numbers of labelled images; 0: all. Numbers above that of the training images
            are left out.
        draws: Number of draws of labelled images, for each of these numbers.
        num_images: Largest number of training images, and of held-out images.
        every_n_epochs: During fit, run at the validations of every n-th epoch too; 0: at none.
        seed: Seed of the draws and of the baselines.
    """

    def __init__(
        self,
        num_labels: tuple[int, ...] = (100, 1000, 0),
        draws: int = 5,
        num_images: int = 10_000,
        every_n_epochs: int = 0,
        seed: int = 0,
    ) -> None:
        super().__init__(every_n_epochs, seed)
        if not num_labels or min(num_labels) < 0:
            raise ValueError(f"num_labels must be counts, 0 for all, got {tuple(num_labels)}")
        at_least(2, draws=draws, num_images=num_images)
        self.num_labels, self.draws = tuple(num_labels), draws
        self.num_images = num_images

    def able(self, model: L.LightningModule) -> bool:
        return isinstance(model, Encoder)

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        super().setup(trainer, pl_module, stage)
        if not self.able(pl_module):
            name = type(pl_module).__name__
            raise TypeError(f"LinearProbe needs an encode(x), but {name} has none")

    def answer(self, run: Run, model: L.LightningModule) -> Section:
        try:
            with isolated(self.seed):
                return self._measure(run, model)
        except ValueError as error:  # other evaluations still run
            run.warn(f"LinearProbe has no answer at step {run.step}: {error}")
            return Section(TITLE, f"Not measured: {error}.", "unsure")

    def _measure(self, run: Run, model: L.LightningModule) -> Section:
        limit = 5 * BLOCK if run.trial else self.num_images
        parts = [_labelled(run.real(part, limit), part) for part in ("train", run.split)]
        labels = [part.labels for part in parts]
        features = {"": [_codes(run, model, part.images, self.seed) for part in parts]}
        flat = [_floats(part.images).flatten(1) for part in parts]
        features |= baselines(*flat, features[""][0].shape[1], self.seed)
        if (start := untrained(model, self.seed)) is not None:
            features["untrained"] = [_codes(run, start, part.images, self.seed) for part in parts]
        counts = [count for count in self.num_labels if count < len(labels[0])]

        def measure() -> dict[str, dict[int, Tensor]]:
            return {
                name: {
                    count: linear_probe(
                        *zip(pair, labels, strict=True), count, self.draws, self.seed
                    )
                    for count in counts
                }
                for name, pair in features.items()
            }

        section = section_of(run.from_rank_zero(measure), len(labels[1]))
        section.protocol = {
            "split": run.split,
            "n_train": len(labels[0]),
            "n_held_out": len(labels[1]),
            "code": features[""][0].shape[1],
            "probe": "logistic regression, L2 chosen on a fifth of the labels",
            "step": run.step,
            "genzoo": __version__,
        }
        return section


def _labelled(real: Real, split: str) -> Real:
    known = real.labels >= 0 if real.labels is not None else torch.zeros(0, dtype=torch.bool)
    if not known.any():
        raise ValueError(f"the {split} data must have labels, got none")
    return Real(real.images[known], real.labels[known])


def _floats(images: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    return from_uint8(images, dtype) if images.dtype == torch.uint8 else images.to(dtype)


def _codes(run: Run, model: L.LightningModule, images: Tensor, seed: int) -> Tensor:
    """Codes float32 (N, D) of images; the ranks share the work."""

    def block(i: int, place: slice) -> tuple[Tensor]:
        x = _floats(images[place].to(model.device), model.dtype)
        with isolated(seed, i):  # an encoder may use random numbers
            return (model.encode(x).flatten(1).float().cpu(),)

    with evaluating(model), run.buffers_of_rank_zero(model):
        (codes,) = run.in_blocks(blocks(len(images)), block, "Codes")
    return codes
