"""Classes by name: shares that undo confusion, and who is missing."""

import math

import pytest
import torch

from genzoo.metrics.classes import class_shares, effective_classes, missing_classes


def test_class_shares_undo_confusion():
    """A classifier that takes 0 for 1 in a third of cases, and nobody draws 1."""
    torch.manual_seed(1)
    table = torch.tensor([[2 / 3, 1 / 3, 0.0], [0.1, 0.9, 0.0], [0.0, 0.0, 1.0]])

    def answers(labels):
        said = torch.multinomial(table[labels], 1)[:, 0]
        return torch.nn.functional.one_hot(said, 3).float()

    known = torch.arange(3000) % 3
    drawn = torch.arange(2000) % 2 * 2  # 0 and 2
    shares = class_shares(answers(drawn))
    assert shares[1] > 0.14
    undone = class_shares(answers(drawn), (answers(known), known))
    torch.testing.assert_close(undone, torch.tensor([0.5, 0, 0.5]).double(), rtol=0, atol=0.03)
    few = class_shares(answers(drawn), (answers(known[:30]), known[:30]))
    assert few[1] > 0.14  # ten of each tell too little


def test_effective_classes():
    assert effective_classes(torch.full((10,), 0.1).double()) == pytest.approx(10)
    assert effective_classes(torch.tensor([1.0, 0, 0]).double()) == pytest.approx(1)


def test_missing_needs_evidence():
    even = torch.full((10,), 0.1).double()
    none = torch.tensor([0.0] + [1 / 9] * 9).double()
    assert missing_classes(none, even, 1000) == [0]
    assert missing_classes(none, even, 10) == []
    rare = torch.tensor([0.03] + [0.97 / 9] * 9).double()
    assert missing_classes(rare, even, 10_000) == []
    for i in range(50):
        generator = torch.Generator().manual_seed(i)
        labels = torch.randint(10, (150,), generator=generator)
        assert missing_classes(labels.bincount(minlength=10) / 150, even, 150) == []


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: class_shares(torch.zeros(0, 3)), r"logits must be \(n, K\) and not empty"),
        (lambda: class_shares(torch.full((9, 3), math.nan)), "logits must be finite"),
        (
            lambda: class_shares(torch.zeros(9, 3), (torch.zeros(9, 3), torch.full((9,), 3))),
            r"labels must be in 0\.\.2, got 3\.\.3",
        ),
    ],
)
def test_bad_logits_are_one_clear_line(call, message):
    with pytest.raises(ValueError, match=message):
        call()
