"""The one pass that serves all evaluation.

Samples are drawn and looked at once, whoever asks: all evaluations of a Trainer with equal
settings get the same `Evidence`. It does not depend on the number of ranks: samples come in
blocks, block i drawn with a seed that is a function of (seed, i) by rank i modulo their number,
and every rank gets all blocks in order. It disturbs nothing: random state and modes are given
back. Features of real images are kept on the disk (`cache.py`).

    real images, generated images -> extractor -> Evidence -> each evaluation's `evaluate`
"""

import math
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import lightning as L
import torch
from lightning.pytorch.utilities import rank_zero_warn
from lightning.pytorch.utilities.model_helpers import is_overridden
from torch import Tensor, nn

from ..checks import at_least
from ..images import check_images, to_uint8
from ..metrics.copies import pool
from ..zoo.module import evaluating
from ..zoo.protocols import Finite, Sampler
from . import cache
from .extractors import Extractor, make_extractor, refuse_unknown, resolve
from .isolation import isolated
from .progress import track
from .question import Question
from .ranks import broadcast, buffers_of_rank_zero, from_all_ranks, from_rank_zero, merge
from .real import (
    Real,
    class_names,
    looks_unscaled,
    real_images,
    refuse_batch,
    refuse_shape_of,
    unanswerable,
)
from .report import Section, log_numbers, publish

BLOCK = 100  # images that are drawn or looked at together; a part of the protocol
USEFUL = 10  # samples for each held-out image, at most: the yardstick decides what can be told
# What ends one question and not the training: input that cannot be measured, and numerical faults.
NO_ANSWER = (ValueError, ArithmeticError, AssertionError, torch.linalg.LinAlgError)


@dataclass
class Features:
    """Images and what an extractor sees of them.

    Args:
        images: uint8 (N, C, H, W); points are float32 (N, D).
        features: float32 (N, d).
        logits: float32 (N, K), where the extractor is a classifier.
        labels: int64 (N,), where there are labels; of samples, those that were asked for.
    """

    images: Tensor
    features: Tensor
    logits: Tensor | None = None
    labels: Tensor | None = None

    def __len__(self) -> int:
        return len(self.images)


@dataclass
class Evidence:
    """All that an evaluation may look at: on the CPU, the same on every rank.

    Args:
        train: What the model was trained on.
        held_out: Of the validation split during fit and validate, of the test split in test.
        generated: What the model draws.
        protocol: What must be known to repeat the numbers.
        through: Gives the same images through another extractor, by its name; None: there is no
            other to be had.
        findings: What one evaluation has to tell those after it, by a word.
    """

    train: Features
    held_out: Features
    generated: Features
    extractor: Extractor
    protocol: dict[str, str | int | float]
    class_names: tuple[str, ...] = ()
    through: "Callable[[str | nn.Module], Evidence] | None" = None
    findings: dict[str, str] = field(default_factory=dict)

    def qualified(self, flag: str, verdict: str) -> tuple[str, str]:
        """A flag and a verdict in the light of what was found before: of samples that are
        near-duplicates of the held-out images nothing can be said by comparing the two, and
        copies look as real and as diverse as what they are copies of."""
        if leak := self.findings.get("leak"):
            return "unsure", f"Void: {leak}, so that comparing the two says nothing."
        if flag == "good" and (copies := self.findings.get("copies")):
            return flag, f"{verdict} But {copies}: see the first answer."
        return flag, verdict


class Evaluation(Question):
    """Base of the evaluations: a subclass says what it makes of the evidence.

        class Brightness(Evaluation):
            def evaluate(self, evidence):
                mean = evidence.generated.images.float().mean().item()
                return Section("brightness", f"mean {mean:.0f}", "unsure", {"mean": Number(mean)})

    It runs at the end of each validation of fit, on few samples, and in validate and test on
    many; the numbers are logged under their names, in test behind "test/". A model whose samples
    are not images in [-1, 1] is a warning during fit, with NaN for the numbers, and an error
    elsewhere. What monitors a number must have the same `every_n_epochs`.

    Args:
        extractor: "auto" (the classifier "domain" where the data has labels, else "instance"),
            "pixels", "inception", any extractor of torch-fidelity by name, or a module from uint8
            images to features.
        num_samples: Samples in validate and test, at most ten for each held-out image: more would
            tell no more.
        num_samples_fit: Samples in each validation during fit.
        every_n_epochs: Of fit, at which validations take part; 0: none.
        seed: Of the samples.
        num_real: At most so many training images, and held-out images, are used.
    """

    section: Section | None = None
    _seen = False  # whether a batch of this training was

    def __init__(
        self,
        extractor: str | nn.Module = "auto",
        num_samples: int = 10_000,
        num_samples_fit: int = 1_000,
        every_n_epochs: int = 1,
        seed: int = 0,
        num_real: int = 50_000,
    ) -> None:
        super().__init__(every_n_epochs, seed)
        at_least(2, num_samples=num_samples, num_samples_fit=num_samples_fit, num_real=num_real)
        refuse_unknown(extractor)
        self.extractor = extractor
        self.num_samples, self.num_samples_fit = num_samples, num_samples_fit
        self.num_real = num_real

    @abstractmethod
    def evaluate(self, evidence: Evidence) -> Section:
        """What the evidence says. Called on every rank, alike, with gradients off."""

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        _shared(trainer).forget()
        self.section = None
        if self.required and not isinstance(pl_module, Sampler):
            raise TypeError(
                f"{type(self).__name__} compares samples, but {type(pl_module).__name__} "
                "has no sample(n)"
            )
        if isinstance(pl_module, Sampler):
            refuse_shape_of(trainer, pl_module)
        self._seen = False
        if stage == "fit" and not is_overridden("validation_step", pl_module):
            name = type(pl_module).__name__
            rank_zero_warn(
                f"{name} has no validation_step, so Lightning never validates and "
                f"{type(self).__name__} is not asked: make_evaluable(model) gives it one"
            )

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx) -> None:
        if not self._seen and isinstance(pl_module, Sampler):
            refuse_batch(trainer, batch)
        self._seen = True

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        _shared(trainer).passes.clear()  # samples are of these weights, and large

    def on_test_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        _shared(trainer).passes.clear()

    def ask(self, trainer: L.Trainer, model: L.LightningModule, split: str) -> None:
        if not isinstance(model, Sampler):
            return
        name = type(self).__name__.lower()
        if why := unanswerable(trainer, name):
            self.section = Section(name, why, "unsure")
            return
        count = self.num_samples_fit if trainer.state.fn == "fit" else self.num_samples
        settings = Settings(self.extractor, count, self.seed, self.num_real)
        evidence = gather_evidence(trainer, model, split, settings)
        if evidence is None:
            self._log_nothing(trainer, model)
            return
        try:
            with isolated(self.seed):
                section = self.evaluate(evidence)
        except NO_ANSWER as error:  # as of too few images: the other questions are asked still
            name = type(self).__name__
            rank_zero_warn(f"{name} has no answer at step {trainer.global_step}: {error}")
            self._log_nothing(trainer, model)
            section = Section(name.lower(), f"Not measured: {error}.", "unsure")
        section.protocol = evidence.protocol | section.protocol
        self.section = section
        publish(trainer, model, section, "test/" if split == "test" else "")

    def _log_nothing(self, trainer: L.Trainer, model: L.LightningModule) -> None:
        """NaN for what could not be measured: a checkpoint must not take the last value for this
        one, and Lightning ends a training that has no value at all for what is monitored."""
        names = [] if self.section is None else list(self.section.numbers)
        monitors = (getattr(part, "monitor", None) for part in trainer.checkpoint_callbacks)
        names += [name for name in monitors if name and name not in trainer.callback_metrics]
        log_numbers(model, dict.fromkeys(names, math.nan))


def make_evaluable(model: L.LightningModule) -> L.LightningModule:
    """Gives idle validation and test steps to a model that has none.

    Lightning does not enter the loops of validation and test otherwise, and no callback is
    called. Steps that exist stay. Returns the same model.
    """
    for name in ("validation_step", "test_step"):
        if not is_overridden(name, model):
            setattr(model, name, _idle)
    return model


def _idle(*batch_and_place: Any) -> None:
    """A step with nothing of its own to measure."""


# The pass


class Settings(NamedTuple):
    """What two evaluations must agree on to share a pass."""

    extractor: str | nn.Module
    num_samples: int
    seed: int
    num_real: int


@dataclass
class _Shared:
    """What the evaluations of one Trainer have in common."""

    passes: dict[tuple, Evidence | None] = field(default_factory=dict)
    real: dict[tuple, Any] = field(default_factory=dict)  # images and features, for the run
    extractors: dict[tuple, Extractor] = field(default_factory=dict)

    def forget(self) -> None:
        """Another run may bring other data."""
        self.passes.clear()
        self.real.clear()


_of_trainer: "WeakKeyDictionary[L.Trainer, _Shared]" = WeakKeyDictionary()


def _shared(trainer: L.Trainer) -> _Shared:
    return _of_trainer.setdefault(trainer, _Shared())


def gather_evidence(
    trainer: L.Trainer, model: L.LightningModule, split: str, settings: Settings
) -> Evidence | None:
    """The evidence for these settings, made when first asked for; None where samples are bad.

    Raises:
        ValueError: outside of fit, for samples that are not images of the data's shape in [-1, 1].
    """
    if trainer.fast_dev_run:  # a trial of the code, not of the model
        most = {"num_samples": 2 * BLOCK, "num_real": 5 * BLOCK}
        settings = settings._replace(**{k: min(v, getattr(settings, k)) for k, v in most.items()})
    shared = _shared(trainer)
    key = (trainer.state.fn, trainer.global_step, split, settings)
    if key not in shared.passes:
        with isolated(settings.seed):
            shared.passes[key] = _make_evidence(trainer, model, split, settings)
    return shared.passes[key]


def _make_evidence(
    trainer: L.Trainer, model: L.LightningModule, split: str, settings: Settings
) -> Evidence | None:
    if isinstance(model, Finite):
        count = min(settings.num_samples, model.num_available)
        settings = settings._replace(num_samples=count)
    images = {part: _real(trainer, part, settings.num_real) for part in ("train", split)}
    useful = max(BLOCK, USEFUL * len(images[split].images))
    settings = settings._replace(num_samples=min(settings.num_samples, useful))
    _extractor(trainer, settings.extractor, images, split)  # what cannot be had is said first
    labels = _labels_to_draw(model, images["train"].labels, settings)
    shape = tuple(images["train"].images.shape[1:])
    samples = draw(trainer, model, settings.num_samples, shape, labels, settings.seed)
    if samples is None:
        return None
    if problem := looks_unscaled(samples, images["train"].images):
        return _refuse(trainer, f"{_who(model)} {problem}")
    common = {
        "n_train": len(images["train"].images),
        "n_held_out": len(images[split].images),
        "n_generated": len(samples),
        "split": split,
        "step": trainer.global_step,
        "sample_seed": settings.seed,
        "ema": getattr(model, "ema_decay", 0),
        **getattr(model, "sample_protocol", {}),
        **getattr(trainer.datamodule, "data_protocol", {}),
        "lightning": L.__version__,
    }

    def through(choice: str | nn.Module) -> Evidence:
        extractor = _extractor(trainer, choice, images, split)
        extractor.to(trainer.strategy.root_device)
        try:
            real = (
                _real_features(trainer, extractor, part, images[part]) for part in ("train", split)
            )
            generated = extract(trainer, extractor, samples, "generated")
            sides = (*real, Features(samples, *generated, labels))
        finally:
            extractor.cpu()
        # In the validations of a training one extractor must do.
        others = None if trainer.state.fn == "fit" else through
        return Evidence(
            *sides, extractor, common | extractor.protocol, class_names(trainer), others
        )

    return through(settings.extractor)


def draw(
    trainer: L.Trainer,
    model: L.LightningModule,
    count: int,
    shape: tuple[int, ...],
    labels: Tensor | None = None,
    seed: int = 0,
) -> Tensor | None:
    """Samples, the same for any number of ranks: uint8 (count, C, H, W), or points (count, D).

    During fit samples that are not images in [-1, 1] are a warning and give None.

    Raises:
        ValueError: outside of fit, for such samples.
    """
    who = _who(model)
    sizes = [len(block) for block in torch.arange(count).split(BLOCK)]
    own: dict[int, Tensor] = {}
    problem = ""
    ours = range(trainer.global_rank, len(sizes), trainer.world_size)
    with evaluating(model), buffers_of_rank_zero(trainer, model):
        for i in track(trainer, ours, "Samples", len(ours)):
            with isolated(seed, i):
                if isinstance(model, Finite):
                    x = model.sample_at(i * BLOCK, sizes[i])
                elif labels is None:
                    x = model.sample(sizes[i])
                else:
                    y = labels[i * BLOCK : i * BLOCK + sizes[i]]
                    x = model.sample(sizes[i], y.to(model.device))
            try:
                own[i] = _checked(x, sizes[i], shape, who)
            except ValueError as error:
                problem = str(error)
                break
    problem = next(filter(None, from_all_ranks(trainer, problem)), "")
    return _refuse(trainer, problem) if problem else merge(trainer, own, sizes)


def _who(model: L.LightningModule) -> str:
    return f"{type(model).__name__}.sample"


def _refuse(trainer: L.Trainer, problem: str) -> None:
    """Bad samples do not end a training: during fit they are a warning, else a ValueError."""
    if trainer.state.fn != "fit":
        raise ValueError(problem)
    rank_zero_warn(f"no evaluation at step {trainer.global_step}: {problem}")


def extract(
    trainer: L.Trainer, extractor: Extractor, images: Tensor, description: str
) -> tuple[Tensor, Tensor | None]:
    """Features float32 (N, d) and logits (N, K) or None, the work shared among the ranks."""
    device = trainer.strategy.root_device
    blocks = images.split(BLOCK)
    sizes = [len(block) for block in blocks]
    features: dict[int, Tensor] = {}
    logits: dict[int, Tensor] = {}
    ours = range(trainer.global_rank, len(sizes), trainer.world_size)
    with evaluating(extractor):
        for i in track(trainer, ours, f"{extractor.name} of {description} images", len(ours)):
            seen, answer = extractor(blocks[i].to(device))
            features[i] = seen.float().cpu()
            if answer is not None:
                logits[i] = answer.float().cpu()
    answers = any(from_all_ranks(trainer, bool(logits)))
    return merge(trainer, features, sizes), merge(trainer, logits, sizes) if answers else None


def _real(trainer: L.Trainer, split: str, limit: int) -> Real:
    real = _shared(trainer).real
    key = (split, limit)
    if key not in real:
        real[key] = real_images(trainer, split, limit)
    return real[key]


def _extractor(
    trainer: L.Trainer, choice: str | nn.Module, images: dict[str, Real], split: str
) -> Extractor:
    """Made on rank 0, so that all ranks judge by the same weights."""
    train = images["train"]
    shared, choice = _shared(trainer), resolve(choice, *train)
    extractors, of = shared.extractors, ""
    if choice in ("domain", "instance"):  # they are made of the images
        parts = (train,) if choice == "domain" else (train, images[split])
        place = ("digest", *(len(part.images) for part in parts), split, choice)
        if place not in shared.real:
            tensors = (x for part in parts for x in part if x is not None)
            shared.real[place] = cache.digest(*tensors)
        of = shared.real[place]
    key = (choice, of)
    if key not in extractors:
        what = "Classifier of the data" if choice == "domain" else "Space of copies"
        steps = 20 if trainer.fast_dev_run else 0

        def make() -> Extractor:
            def follow(steps: range):
                return track(trainer, steps, what, len(steps))

            device = trainer.strategy.root_device
            mixed = partial(_mixed, train.images, images[split].images)
            return make_extractor(
                choice, *train, steps=steps, device=device, track=follow, mixed=mixed
            )

        given = isinstance(choice, nn.Module)  # every rank has it already
        extractors[key] = make() if given else from_rank_zero(trainer, make)
    return extractors[key]


def _mixed(train: Tensor, held_out: Tensor) -> Tensor:
    """All real images, each once, in an order that tells nothing of who was trained on."""
    return torch.cat([train, held_out])[pool(train, held_out).place]


def _real_features(trainer: L.Trainer, extractor: Extractor, split: str, images: Real) -> Features:
    """Looked up in memory, then on the disk, then made."""
    memory = _shared(trainer).real
    place = (split, len(images.images), id(extractor))
    if place in memory:
        return memory[place]
    saved, key = None, ""
    if extractor.lasting and trainer.is_global_zero:
        key = f"features-{cache.digest(extractor.protocol, images.images)}"
        saved = cache.load(key, features=len(images.images))
    if from_rank_zero(trainer, lambda: saved is not None):
        features = broadcast(trainer, saved and saved["features"])
        logits = broadcast(trainer, saved and saved.get("logits"))
    else:
        features, logits = extract(trainer, extractor, images.images, split)
        if key:
            cache.save(key, {"features": features, "logits": logits})
    memory[place] = Features(images.images, features, logits, images.labels)
    return memory[place]


def _labels_to_draw(
    model: L.LightningModule, train: Tensor | None, settings: Settings
) -> Tensor | None:
    """Labels for a conditional model, in the proportions of the training labels; else None."""
    if isinstance(model, Finite):
        return model.labels_at(0, settings.num_samples)
    classes = getattr(model, "num_classes", 0)
    if not classes:
        return None
    if train is None or not (train >= 0).any() or train.max() >= classes:
        train = torch.arange(classes)
    known = train[train >= 0].sort().values
    count = settings.num_samples
    labels = known[((torch.arange(count) + 0.5) * len(known) / count).long()]
    order = torch.randperm(count, generator=torch.Generator().manual_seed(settings.seed))
    return labels[order]


def _checked(x: Any, count: int, shape: tuple[int, ...], who: str) -> Tensor:
    if not isinstance(x, Tensor) or len(x) != count:
        got = f"{len(x)}" if isinstance(x, Tensor) else f"a {type(x).__name__}"
        raise ValueError(f"{who}({count}) must give {count} images, got {got}")
    if len(shape) == 3:
        check_images(x, shape, who)
        return to_uint8(x).cpu()
    if tuple(x.shape[1:]) != shape or not torch.isfinite(x).all():
        raise ValueError(f"{who} must give finite points (n, {shape[0]}), got {tuple(x.shape)}")
    return x.float().cpu()
