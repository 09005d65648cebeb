"""The one pass over images that all evaluations share.

Samples are generated and their features computed once: all evaluations of a run with equal settings
get the same `Evidence`. It does not depend on the number of ranks: rank i modulo their number
generates block i with a seed that is a function of (seed, i), and every rank gets all blocks in
order. Random state and modes are restored afterwards. Features of real images are cached on the
disk (`genzoo/features/cache.py`). This file does not use Lightning's Trainer.

    real images, generated images -> extractor -> Evidence -> each evaluation's `evaluate`
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ..batches import size, take, to
from ..conditions import Classes, asked_of
from ..features import cache
from ..features.evidence import Evidence, Features
from ..features.extractors import Extractor, make_extractor, resolve
from ..images import check_images, looks_unscaled, to_uint8
from ..metrics.copies import pool
from ..modes import evaluating
from ..protocols import Finite, Sampler
from ..rng import isolated
from ..run import BLOCK, Real, Run, Unmeasurable, blocks

# Largest number of samples for each held-out image: held-out images limit the precision.
USEFUL = 10


class Settings(NamedTuple):
    """The settings that evaluations must have in common to share a pass."""

    extractor: str | nn.Module
    num_samples: int
    seed: int
    num_real: int


def gather_evidence(run: Run, model: Sampler, settings: Settings) -> Evidence | None:
    """The evidence for these settings, computed at the first call; None for unusable samples.

    Raises:
        ValueError: outside of fit, for samples that are not images of the data's shape in [-1, 1].
    """
    if run.trial:
        most = {"num_samples": 2 * BLOCK, "num_real": 5 * BLOCK}
        settings = settings._replace(**{k: min(v, getattr(settings, k)) for k, v in most.items()})
    key = ("evidence", run.stage, run.step, run.split, settings)
    if key not in run.kept:
        with isolated(settings.seed):
            run.kept[key] = _make_evidence(run, model, settings)
    return run.kept[key]


def _make_evidence(run: Run, model: Sampler, settings: Settings) -> Evidence | None:
    if isinstance(model, Finite):
        count = min(settings.num_samples, model.num_available)
        settings = settings._replace(num_samples=count)
    train, held_out = (run.real(part, settings.num_real) for part in ("train", run.split))
    useful = max(BLOCK, USEFUL * len(held_out.images))
    settings = settings._replace(num_samples=min(settings.num_samples, useful))
    # A missing extractor must end the evaluation before samples are generated.
    _extractor(run, settings.extractor, train, held_out)
    y = _conditions_to_draw(model, train, held_out, settings)
    labels = y if isinstance(y, Tensor) and isinstance(asked_of(model), Classes) else None
    shape = tuple(train.images.shape[1:])
    samples = draw(run, model, settings.num_samples, shape, y, settings.seed)
    if samples is None:
        return None
    if problem := looks_unscaled(samples, train.images):
        return _refuse(run, f"{_who(model)} {problem}")
    common = {
        "n_train": len(train.images),
        "n_held_out": len(held_out.images),
        "n_generated": len(samples),
        "split": run.split,
        "step": run.step,
        "sample_seed": settings.seed,
        "ema": getattr(model, "ema_decay", 0),
        **({"conditions": f"of {run.split} images"} if y is not None and labels is None else {}),
        **getattr(model, "sample_protocol", {}),
        **run.data.protocol,
        **run.protocol,
    }

    def through(choice: str | nn.Module) -> Evidence:
        extractor = _extractor(run, choice, train, held_out)
        extractor.to(run.device)
        try:
            sides = (
                _real_features(run, extractor, "train", train),
                _real_features(run, extractor, run.split, held_out),
                Features(samples, *extract(run, extractor, samples, "generated"), labels),
            )
        finally:
            extractor.cpu()
        # The validations of a training use one extractor only.
        others = None if run.stage == "fit" else through
        protocol = common | extractor.protocol
        return Evidence(*sides, extractor, protocol, run.data.class_names, others)

    return through(settings.extractor)


def draw(
    run: Run,
    model: Sampler,
    count: int,
    shape: tuple[int, ...],
    y: Any = None,
    seed: int = 0,
) -> Tensor | None:
    """Samples, the same for any number of ranks: uint8 (count, C, H, W), or points (count, D).

    During fit, samples that are not images in [-1, 1] give a warning and None.

    Raises:
        ValueError: outside of fit, for such samples.
    """

    def block(i: int, place: slice) -> tuple[Tensor]:
        n = place.stop - place.start
        with isolated(seed, i):
            if isinstance(model, Finite):
                x = model.sample_at(place.start, n)
            elif y is None:
                x = model.sample(n)
            else:
                x = model.sample(n, to(take(y, place), run.device))
        try:
            return (_checked(x, n, shape, _who(model)),)
        except ValueError as error:
            raise Unmeasurable(str(error)) from error

    try:
        with evaluating(model), run.buffers_of_rank_zero(model):
            (samples,) = run.in_blocks(blocks(count), block, "Samples")
    except Unmeasurable as error:
        return _refuse(run, str(error))
    return samples


def _who(model: Sampler) -> str:
    return f"{type(model).__name__}.sample"


def _refuse(run: Run, problem: str) -> None:
    """Warns of unusable samples during fit, which must not end a training; otherwise raises."""
    if run.stage != "fit":
        raise ValueError(problem)
    run.warn(f"no evaluation at step {run.step}: {problem}")


def extract(
    run: Run, extractor: Extractor, images: Tensor, description: str
) -> tuple[Tensor, Tensor | None]:
    """Features float32 (N, d), and logits (N, K) or None; the ranks share the work."""

    def block(i: int, place: slice) -> tuple[Tensor | None, ...]:
        features = extractor(images[place].to(run.device))
        return tuple(None if x is None else x.float().cpu() for x in features)

    with evaluating(extractor):
        what = f"{extractor.name} of {description} images"
        features, logits = run.in_blocks(blocks(len(images)), block, what)
    return features, logits


def _extractor(run: Run, choice: str | nn.Module, train: Real, held_out: Real) -> Extractor:
    """The extractor, made on rank 0, so that all ranks have the same weights."""
    choice, of = resolve(choice, train.images, train.labels), ""
    if choice in ("domain", "instance"):  # they are trained on the images
        parts = (train,) if choice == "domain" else (train, held_out)
        place = ("digest", *(len(part.images) for part in parts), run.split, choice)
        if place not in run.kept:
            tensors = (x for part in parts for x in part[:2] if x is not None)
            run.kept[place] = cache.digest(*tensors)
        of = run.kept[place]
    key = ("extractor", choice, of)
    if key not in run.kept:
        what = "Classifier of the data" if choice == "domain" else "Space of copies"
        steps = 20 if run.trial else 0

        def make() -> Extractor:
            return make_extractor(
                choice,
                train.images,
                train.labels,
                steps=steps,
                device=run.device,
                track=lambda steps: run.follow(steps, what, len(steps)),
                mixed=lambda: _mixed(train.images, held_out.images),
            )

        given = isinstance(choice, nn.Module)  # every rank has it already
        run.kept[key] = make() if given else run.from_rank_zero(make)
    return run.kept[key]


def _mixed(train: Tensor, held_out: Tensor) -> Tensor:
    """All different real images, in an order that is independent of the split."""
    return torch.cat([train, held_out])[pool(train, held_out).place]


def _real_features(run: Run, extractor: Extractor, part: str, real: Real) -> Features:
    """Features of real images, from memory, or from the disk, or computed."""
    place = ("features", part, len(real.images), extractor)
    if place in run.kept:
        return run.kept[place]
    saved, key = None, ""
    if extractor.lasting and run.rank == 0:
        key = f"features-{cache.digest(extractor.protocol, real.images)}"
        saved = cache.load(key, features=len(real.images))
    if run.from_rank_zero(lambda: saved is not None):
        features = run.broadcast(saved and saved["features"])
        logits = run.broadcast(saved and saved.get("logits"))
    else:
        features, logits = extract(run, extractor, real.images, part)
        if key:
            cache.save(key, {"features": features, "logits": logits})
    run.kept[place] = Features(real.images, features, logits, real.labels)
    return run.kept[place]


def _conditions_to_draw(model: Sampler, train: Real, held_out: Real, settings: Settings) -> Any:
    """Conditions of the samples: labels in the proportions of the training labels, or held-out
    images' conditions of another kind, such as captions. None: the model draws them."""
    count = settings.num_samples
    if isinstance(model, Finite):
        return model.labels_at(0, count)
    condition = asked_of(model)
    random = torch.Generator().manual_seed(settings.seed)
    if condition.from_data:
        for y in held_out.given(model):
            place = torch.arange(count) % size(y)
            return take(y, place[torch.randperm(count, generator=random)])
    if not (classes := condition.num_classes):
        return None
    labels = train.labels
    if labels is None or not (labels >= 0).any() or labels.max() >= classes:
        labels = torch.arange(classes)
    known = labels[labels >= 0].sort().values
    labels = known[((torch.arange(count) + 0.5) * len(known) / count).long()]
    return labels[torch.randperm(count, generator=random)]


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
