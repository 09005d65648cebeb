"""Each class compared with itself."""

import math

import pytest
import torch

from genzoo.callbacks import (
    Realism,
)
from genzoo.features.per_class import agreement, per_class
from genzoo.metrics.frechet import frechet_distance
from tests.helpers.evidence import Seen, evidence, pattern_means, texture


def conditional(generated, names=("a", "b", "c", "d", "e")):
    seen = Seen(pattern_means())
    return evidence(texture(2000, 0), texture(600, 1), generated, seen, names)


def test_each_class_is_compared_with_itself():
    x, y = texture(700, 2)
    right = per_class(conditional((x, y)), "fd/toy")
    wrong = per_class(conditional((x, (y + 1) % 5)), "fd/toy")
    assert right["fd/toy_per_class"].value < 2 * right["fd/toy_per_class_held_out"].value
    assert wrong["fd/toy_per_class"].low > 10 * right["fd/toy_per_class"].high
    assert right["class_agreement"].value > 0.95 and wrong["class_agreement"].value < 0.05
    floor = right["class_agreement_held_out"]
    assert floor.low < right["class_agreement"].value and floor.low > 0.95


def test_the_mean_is_that_of_the_classes():
    given = conditional(texture(700, 2))
    distances, halves = [], []
    for label in range(5):
        real, held, drawn = (
            part.features[part.labels == label]
            for part in (given.train, given.held_out, given.generated)
        )
        number = frechet_distance(real, drawn[: len(held)])
        distances.append(number.value)
        halves.append(number.high - number.value)
    found = per_class(given, "fd/toy")["fd/toy_per_class"]
    assert found.value == pytest.approx(sum(distances) / 5)
    assert found.high - found.value == pytest.approx(math.hypot(*halves) / 5)
    assert "mean of 5 classes" in found.note and "biased" in found.note


def test_the_worst_class_is_named():
    x, y = texture(700, 2)
    x[y == 3] = 255 - x[y == 3]
    assert "worst: d," in per_class(conditional((x, y)), "fd")["fd_per_class"].note
    assert "worst: class 3," in per_class(conditional((x, y), ()), "fd")["fd_per_class"].note


def test_classes_of_few_images_take_no_part():
    x, y = texture(700, 2)
    few = (y == 1).nonzero()[31:, 0]  # 32 = twice the features
    keep = torch.ones(len(y), dtype=torch.bool)
    keep[few] = False
    given = conditional((x[keep], y[keep]))
    assert "mean of 4 classes" in per_class(given, "fd")["fd_per_class"].note
    assert set(per_class(conditional((x[:60], y[:60])), "fd")) == {
        "class_agreement",
        "class_agreement_held_out",
    }


def test_the_interval_is_wilsons():
    logits = torch.eye(2)[torch.tensor([0] * 8 + [1] * 3)]
    share = agreement(logits, torch.tensor([0] * 10 + [-1]))
    assert share.value == 0.8
    assert (share.low, share.high) == pytest.approx((0.4902, 0.9433), abs=2e-4)


def test_only_where_labels_were_asked_for():
    assert per_class(conditional(texture(700, 2)[0]), "fd") == {}
    unlabelled = evidence(texture(700, 0)[0], texture(600, 1), texture(700, 2))
    assert per_class(unlabelled, "fd") == {}
    numbers = per_class(evidence(texture(2000, 0), texture(600, 1), texture(700, 2)), "fd/toy")
    assert set(numbers) == {"fd/toy_per_class", "fd/toy_per_class_held_out"}  # no classifier


def test_realism_tells_it():
    section = Realism().evaluate(conditional(texture(700, 2)))
    assert {"fd/toy_per_class", "fd/toy_per_class_held_out", "class_agreement"} <= set(
        section.numbers
    )
