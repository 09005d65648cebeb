"""Statistics by class: whether the samples of a conditional model fit their condition.

The samples of a label are compared with the training images of that label, and a classifier
predicts the label of each sample. Both are also computed for held-out images with their own
labels.
"""

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor

from ..metrics.frechet import frechet_distance
from ..metrics.intervals import wilson
from ..metrics.number import Number
from ..metrics.support import plain_shares
from .evidence import Evidence, Features

LEAST_OF_CLASS, MOST_OF_CLASS = 30, 1000  # bounds of the number of images for a class's support


def per_class(evidence: Evidence, distance: str) -> dict[str, Number]:
    """The Frechet distance by class and the class agreement; empty without labels.

    Args:
        distance: Name of the Frechet distance of these features, such as "fd/domain".
    """
    train, held_out, generated = evidence.train, evidence.held_out, evidence.generated
    if any(part.labels is None for part in (train, held_out, generated)):
        return {}
    numbers = _distances(train, held_out, generated, evidence.class_names, distance)
    classes = int(train.labels.max()) + 1
    classifies = not evidence.extractor.reference and generated.logits is not None
    if classifies and generated.logits.shape[1] == classes:  # otherwise its classes are others
        numbers["class_agreement"] = agreement(generated.logits, generated.labels)
        held = agreement(held_out.logits, held_out.labels)
        held.note = "held-out real images: the accuracy of the classifier"
        numbers["class_agreement_held_out"] = held
    return numbers


def agreement(logits: Tensor, labels: Tensor) -> Number:
    """The share of labelled images whose label the classifier predicts.

    Args:
        logits: float (n, K).
        labels: int64 (n,), -1 for unlabelled images.
    """
    known = labels >= 0
    if not known.any():
        return Number(math.nan, note="no labels")
    right = logits[known].argmax(1) == labels[known]
    share = right.double().mean().item()
    note = "share of samples whose condition is the class that the classifier predicts"
    return Number(share, *wilson(share, len(right)), note)


def _distances(
    train: Features,
    held_out: Features,
    generated: Features,
    names: tuple[str, ...],
    distance: str,
) -> dict[str, Number]:
    """The mean over classes of the Frechet distance, for samples and for held-out images.

    In each class both have the same number of images, since the distance is biased upwards in
    proportion to 1 / n. Classes with fewer than two images per feature are left out: their
    distances would be mostly bias.
    """
    least = 2 * train.features.shape[1]
    found: dict[int, tuple[Number, Number]] = {}
    counts = []
    for label in generated.labels.unique().tolist():
        real, *others = (
            part.features[part.labels == label] for part in (train, held_out, generated)
        )
        count = min(map(len, others))
        if min(count, len(real)) >= least:
            held, drawn = (frechet_distance(real, other[:count]) for other in others)
            found[label] = drawn, held
            counts.append(count)
    if not found:
        return {}
    worst = max(found, key=lambda label: found[label][0].value - found[label][1].value)
    name = names[worst] if worst < len(names) else f"class {worst}"
    drawn, held = (_mean([pair[side] for pair in found.values()]) for side in (0, 1))
    span = f"{min(counts):,}" if min(counts) == max(counts) else f"{min(counts):,}-{max(counts):,}"
    drawn.note = (
        f"mean of {len(found)} classes, {span} images each (biased upwards, as the held-out row); "
        f"worst: {name}, {found[worst][0].value:.3g} (held-out {found[worst][1].value:.3g})"
    )
    held.note = "held-out real images under their own labels"
    return {f"{distance}_per_class": drawn, f"{distance}_per_class_held_out": held}


def _mean(numbers: list[Number]) -> Number:
    """The mean of independent values, with its interval from theirs."""
    values = torch.tensor([number.value for number in numbers], dtype=torch.float64)
    halves = torch.tensor([n.high - n.value for n in numbers], dtype=torch.float64)
    mean, half = values.mean().item(), halves.square().sum().sqrt().item() / len(numbers)
    return Number(mean, max(0.0, mean - half), mean + half)


@dataclass
class Supports:
    """Precision and recall by class, and a phrase of the verdict about the worst class."""

    numbers: dict[str, Number] = field(default_factory=dict)
    worst: str = ""


def class_supports(evidence: Evidence, held_out: Features, generated: Features) -> Supports:
    """Precision and recall within each class, of its samples and its training images.

    Classes are the conditions of the samples; for an unconditional model they are the predictions
    of the data's classifier for all three kinds of images. In each class all three kinds have the
    same number of images.
    """
    parts = evidence.train, held_out, generated
    labels = [part.labels for part in parts]
    if labels[2] is None:
        train = evidence.train
        if train.labels is None or train.logits is None or evidence.extractor.reference:
            return Supports()
        if train.logits.shape[1] != int(train.labels.max()) + 1:  # its classes are others
            return Supports()
        labels = [part.logits.argmax(1) for part in parts]
    if any(part is None for part in labels):
        return Supports()
    found: dict[int, dict[str, tuple[Number, Number]]] = {}
    counts = []
    for label in labels[2][labels[2] >= 0].unique().tolist():
        real, held, drawn = (
            part.features[of == label] for part, of in zip(parts, labels, strict=True)
        )
        count = min(len(real), len(held), len(drawn), MOST_OF_CLASS)
        if count < LEAST_OF_CLASS:
            continue
        pairs = (_shares(real[:count], x[:count]) for x in (drawn, held))
        ours, theirs = pairs
        found[label] = {kind: (ours[kind], theirs[kind]) for kind in ours}
        counts.append(count)
    if not found:
        return Supports()
    numbers, gaps = {}, []
    span = f"{min(counts):,}" if min(counts) == max(counts) else f"{min(counts):,}-{max(counts):,}"
    for kind in ("precision", "recall"):
        each = {label: pair[kind] for label, pair in found.items()}
        worst = min(each, key=lambda label: each[label][0].value - each[label][1].value)
        ours, theirs = each[worst]
        drawn, held = (_mean([pair[side] for pair in each.values()]) for side in (0, 1))
        name = _called(evidence, worst)
        beside = f"{ours.value:.2f} (held-out {theirs.value:.2f})"
        drawn.note = f"mean of {len(each)} classes, {span} images each; worst: {name}, {beside}"
        if len(each) <= 20:
            drawn.note += "; " + ", ".join(
                f"{_called(evidence, c)} {pair[0].value:.2f}" for c, pair in each.items()
            )
        held.note = "held-out real images"
        numbers |= {f"{kind}_per_class": drawn, f"{kind}_per_class_held_out": held}
        if ours.high < theirs.low:
            gaps.append((ours.value - theirs.value, name, kind, ours.value, theirs.value))
    if not gaps:
        return Supports(numbers)
    _, name, kind, ours, theirs = min(gaps)
    worst_class = f"; worst is {name}, with a {kind} of {ours:.0%} (held-out images: {theirs:.0%})"
    return Supports(numbers, worst_class)


def _shares(real: Tensor, other: Tensor) -> dict[str, Number]:
    """Precision and recall, with intervals as for independent images."""
    shares = plain_shares(real, other, 3, 3)
    return {
        kind: Number(shares[kind], *wilson(shares[kind], len(real)))
        for kind in ("precision", "recall")
    }


def _called(evidence: Evidence, label: int) -> str:
    names = evidence.class_names
    return str(names[label]) if label < len(names) else f"class {label}"
