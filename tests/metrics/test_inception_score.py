"""The Inception score: known answers, and agreement with torch-fidelity."""

import pytest
import torch
from torch_fidelity.metric_isc import isc_features_to_metric

from genzoo.metrics.inception_score import inception_score
from tests.helpers.intervals import contains


def test_inception_score_of_perfect_classes_is_their_number():
    logits = 100 * torch.eye(10).repeat(500, 1)
    assert inception_score(logits, splits=1).value == pytest.approx(10)
    ordered = logits[torch.arange(5000) % 10 * 500 % 5000].sort(0).values
    assert inception_score(ordered).value >= 1
    in_order = 100 * torch.eye(10).repeat_interleave(500, 0)
    assert inception_score(in_order).value == pytest.approx(9.91, abs=0.02)  # log K - (K-1)/2n


def test_inception_score_of_a_constant_answer_is_one():
    assert inception_score(torch.randn(1, 10).expand(200, 10)).value == pytest.approx(1)


def test_inception_score_is_torch_fidelitys():
    logits = 3 * torch.randn(1003, 20)
    for splits in (10, 3):
        theirs = isc_features_to_metric(logits, splits=splits)
        ours = inception_score(logits, splits)
        assert ours.value == pytest.approx(theirs["inception_score_mean"], rel=1e-9)
        assert f"{theirs['inception_score_std']:.2g}" in ours.note
        assert contains(ours, ours.value)


def test_inception_score_survives_impossible_classes():
    logits = torch.tensor([[0.0, -1e5, 0.0], [0.0, -1e5, 0.0]]).repeat(50, 1)
    assert inception_score(logits).value == pytest.approx(1)
