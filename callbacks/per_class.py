"""Does a conditional model draw what it is asked for? For each class by itself.

The samples of a label are compared with the training images of that label, and a classifier says
of each sample whether it would have given it the label that was asked for. Both have a yardstick
in held-out real images under their own labels.
"""

import math

import torch
from torch import Tensor

from ..metrics.frechet import frechet_distance
from ..metrics.intervals import wilson
from ..metrics.number import Number
from .features import Evidence, Features


def per_class(evidence: Evidence, distance: str) -> dict[str, Number]:
    """The numbers, none where there are no labels to ask for.

    Args:
        distance: What the Frechet distance of these features is called, as "fd/domain".
    """
    train, held_out, generated = evidence.train, evidence.held_out, evidence.generated
    if any(part.labels is None for part in (train, held_out, generated)):
        return {}
    numbers = _distances(train, held_out, generated, evidence.class_names, distance)
    classes = int(train.labels.max()) + 1
    judges = not evidence.extractor.reference and generated.logits is not None
    if judges and generated.logits.shape[1] == classes:  # else it names other things
        numbers["class_agreement"] = agreement(generated.logits, generated.labels)
        held = agreement(held_out.logits, held_out.labels)
        held.note = "held-out real images: what the classifier gets right of them"
        numbers["class_agreement_held_out"] = held
    return numbers


def agreement(logits: Tensor, labels: Tensor) -> Number:
    """The share of images, of those that have a label, that the classifier gives just this one.

    Args:
        logits: float (n, K).
        labels: int64 (n,), -1 where there is none.
    """
    known = labels >= 0
    if not known.any():
        return Number(math.nan, note="no labels")
    right = logits[known].argmax(1) == labels[known]
    share = right.double().mean().item()
    note = "share of samples that the classifier gives the class that was asked for"
    return Number(share, *wilson(share, len(right)), note)


def _distances(
    train: Features,
    held_out: Features,
    generated: Features,
    names: tuple[str, ...],
    distance: str,
) -> dict[str, Number]:
    """The mean over classes of the Frechet distance, of samples and of held-out real images.

    Equal numbers of both in each class, because the distance is biased upwards by about 1 / n.
    Classes with fewer than two images a feature take no part: theirs would be mostly bias.
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
    """Of independent values, each with its interval."""
    values = torch.tensor([number.value for number in numbers], dtype=torch.float64)
    halves = torch.tensor([n.high - n.value for n in numbers], dtype=torch.float64)
    mean, half = values.mean().item(), halves.square().sum().sqrt().item() / len(numbers)
    return Number(mean, max(0.0, mean - half), mean + half)
