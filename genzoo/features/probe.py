"""What accuracies of a linear classifier on codes say of an encoder: the section of a card."""

import math

from torch import Tensor

from ..metrics.intervals import NORMAL
from ..metrics.number import Number
from ..report.card import Section

TITLE = "use of the codes"
BASELINES = {
    "pixels": "the pixels themselves",
    "pca": "principal components, of the codes' dimension",
    "random_projection": "a random projection, of the codes' dimension",
    "untrained": "codes before training",
}


def section_of(right: dict[str, dict[int, Tensor]], num_test: int) -> Section:
    """The section from accuracies (draws,) by number of labels, of the codes, "", and of baselines.

    Raises:
        ValueError: if there are no accuracies, since there were too few labels.
    """
    if not right[""]:
        raise ValueError("num_labels must be fewer than the labelled training images")
    numbers = {}
    for name, found in right.items():
        for count, accuracies in found.items():
            mean = accuracies.mean().item()
            variance = mean * (1 - mean) / num_test
            note = BASELINES.get(name, "accuracy on held-out images")
            if len(accuracies) > 1:
                sd = accuracies.std().item()
                variance += sd**2 / len(accuracies)
                note = f"{note}; sd {sd:.2g} over {len(accuracies)} draws of labels"
            half = NORMAL * math.sqrt(variance)
            key = "/".join(filter(None, ("probe", str(count or "all"), name)))
            numbers[key] = Number(mean, max(mean - half, 0), min(mean + half, 1), note)
    # The numbers of the codes come before those of baselines.
    numbers = dict(sorted(numbers.items(), key=lambda item: item[0].count("/")))
    few = min(right[""], key=lambda count: count or math.inf)
    share = {name: found[few].mean().item() for name, found in right.items()}
    own, others = share.pop(""), share
    cost = f"With {few or 'all'} labels the accuracy of a linear classifier on codes is {own:.1%}"
    spoken = ", ".join(f"{name.replace('_', ' ')} {value:.1%}" for name, value in others.items())
    if own <= max(value for name, value in others.items() if name not in ("pixels", "pca")):
        flag, answer = "bad", "No: training has added nothing"
    elif own < max(others["pixels"], others["pca"]) - 0.02:
        flag, answer = "unsure", "They are less useful than the pixels"
    else:
        flag, answer = "good", "Yes"
    return Section(TITLE, f"{answer}. {cost} ({spoken}).", flag, numbers)
