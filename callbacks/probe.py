"""Is what it has learned of use? The decoder is thrown away and the encoder is frozen.

A linear classifier is trained on codes of a few labelled images and asked for the classes of
held-out ones: what it gets right, the codes must lay open. The fewer the labels, the more depends
on the codes. An accuracy by itself says little of the encoder, so the same classifier is asked on
what anybody has without it: the pixels, their principal components and a random projection of
them, both as many as the code has numbers, and codes of the same encoder before training.

The encoder was trained on images without labels, as the principal components have, and no
held-out image. A conditional model that needs the class to encode is not asked.
"""

import inspect
import math

import lightning as L
import torch
from torch import Tensor

from .. import __version__
from ..checks import at_least
from ..images import from_uint8
from ..metrics.intervals import NORMAL
from ..metrics.number import Number
from ..metrics.probe import baselines, linear_probe
from ..modes import evaluating
from ..protocols import Encoder
from ..report.card import Section
from ..rng import isolated
from ..run import BLOCK, Real, Run, blocks
from .evaluation import Question

BASELINES = {
    "pixels": "the pixels themselves",
    "pca": "principal components, as many as the code has numbers",
    "random_projection": "as many random sums of the pixels",
    "untrained": "codes before training",
}


def untrained(model: L.LightningModule, seed: int = 0) -> L.LightningModule | None:
    """The same model at the start of a training, where its hyper-parameters say how it was made."""
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
    """How well a linear classifier does on codes, for every model with `encode`.

    Logged in test as `test/probe/<labels>`, where 0 reads `all`, and `.../<baseline>`: `pixels`,
    `pca`, `random_projection` and `untrained`, which is left out where a model cannot be made
    anew. With the report card it has a section of its own. Intervals are for other draws of labels
    and other held-out images.

    Args:
        num_labels: Labelled images; 0: all. Counts that the training images do not reach are left
            out.
        draws: Of labelled images, of each count.
        num_images: At most so many training images, and so many held-out ones.
        every_n_epochs: During fit, run at the validations of every n-th epoch too; 0: at none.
        seed: Of the draws and of what is random in the baselines.
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

    def ask(self, run: Run, model: L.LightningModule) -> Section:
        try:
            with isolated(self.seed):
                return self._measure(run, model)
        except ValueError as error:  # the other questions are asked still
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


TITLE = "use of the codes"


def section_of(right: dict[str, dict[int, Tensor]], num_test: int) -> Section:
    """What accuracies (draws,) of the codes, "", and of baselines say, by counts of labels.

    Raises:
        ValueError: nothing was measured, since there are not enough labels.
    """
    if not right[""]:
        raise ValueError("num_labels must be fewer than the labelled training images")
    numbers = {}
    for name, found in right.items():
        for count, accuracies in found.items():
            mean = accuracies.mean().item()
            variance = mean * (1 - mean) / num_test
            note = BASELINES.get(name, "share of held-out images that is classified right")
            if len(accuracies) > 1:
                sd = accuracies.std().item()
                variance += sd**2 / len(accuracies)
                note = f"{note}; sd {sd:.2g} over {len(accuracies)} draws of labels"
            half = NORMAL * math.sqrt(variance)
            key = "/".join(filter(None, ("probe", str(count or "all"), name)))
            numbers[key] = Number(mean, max(mean - half, 0), min(mean + half, 1), note)
    # The codes' own numbers come first, on the terminal too.
    numbers = dict(sorted(numbers.items(), key=lambda item: item[0].count("/")))
    few = min(right[""], key=lambda count: count or math.inf)
    share = {name: found[few].mean().item() for name, found in right.items()}
    own, others = share.pop(""), share
    cost = f"With {few or 'all'} labels a linear classifier is right on {own:.1%} by the codes"
    spoken = ", ".join(f"{name.replace('_', ' ')} {value:.1%}" for name, value in others.items())
    if own <= max(value for name, value in others.items() if name not in ("pixels", "pca")):
        flag, says = "bad", "No: training has added nothing"
    elif own < max(others["pixels"], others["pca"]) - 0.02:
        flag, says = "unsure", "Less than the pixels are"
    else:
        flag, says = "good", "Yes"
    return Section(TITLE, f"{says}. {cost} ({spoken}).", flag, numbers)


def _labelled(real: Real, split: str) -> Real:
    known = real.labels >= 0 if real.labels is not None else torch.zeros(0, dtype=torch.bool)
    if not known.any():
        raise ValueError(f"the {split} data must have labels, got none")
    return Real(real.images[known], real.labels[known])


def _floats(images: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    return from_uint8(images, dtype) if images.dtype == torch.uint8 else images.to(dtype)


def _codes(run: Run, model: L.LightningModule, images: Tensor, seed: int) -> Tensor:
    """float32 (N, D), the work shared among the ranks."""

    def block(i: int, place: slice) -> tuple[Tensor]:
        x = _floats(images[place].to(model.device), model.dtype)
        with isolated(seed, i):  # an encoder may draw
            return (model.encode(x).flatten(1).float().cpu(),)

    with evaluating(model), run.buffers_of_rank_zero(model):
        (codes,) = run.in_blocks(blocks(len(images)), block, "Codes")
    return codes
