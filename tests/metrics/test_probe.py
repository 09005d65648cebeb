"""A linear classifier on features whose worth is known."""

import math

import pytest
import torch

from genzoo.metrics.probe import baselines, linear_probe


def blobs(n: int, apart: float, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Three Gaussians of unit variance on the plane, in a space of ten dimensions."""
    generator = torch.Generator().manual_seed(seed)
    y = torch.arange(n) % 3
    x = torch.randn(n, 10, generator=generator)
    turn = 2 * math.pi * y / 3
    x[:, :2] += apart * torch.stack((turn.cos(), turn.sin()), dim=1)
    return x, y


def test_accuracy_comes_near_the_best_there_is():
    """Of two Gaussians at a distance d the best rule is right with chance Phi(d / 2)."""
    (x, y), (x_test, y_test) = blobs(6000, 1.5), blobs(6000, 1.5, seed=1)
    two, two_test = y < 2, y_test < 2
    found = linear_probe((x[two], y[two]), (x_test[two_test], y_test[two_test]))
    best = torch.special.ndtr(torch.tensor(1.5 * math.sqrt(3) / 2)).item()
    assert found.shape == (1,)  # all labels: one draw
    assert found.item() == pytest.approx(best, abs=0.015)


def test_chance_where_there_is_nothing_to_see():
    found = linear_probe(blobs(600, 0.0), blobs(3000, 0.0, seed=1), 60)
    assert found.mean().item() == pytest.approx(1 / 3, abs=0.04)


def test_more_labels_are_better_and_draws_differ():
    train, test = blobs(900, 2.0), blobs(3000, 2.0, seed=1)
    few, many = (linear_probe(train, test, count, draws=6) for count in (9, 300))
    assert few.shape == (6,) and few.std() > many.std() > 0
    assert few.mean() + 0.03 < many.mean()
    assert torch.equal(few, linear_probe(train, test, 9, draws=6))
    assert not torch.equal(few, linear_probe(train, test, 9, draws=6, seed=1))


def test_scale_and_place_of_features_do_not_matter():
    (x, y), (x_test, y_test) = blobs(300, 2.0), blobs(300, 2.0, seed=1)
    found = linear_probe((x, y), (x_test, y_test), 30)
    moved = linear_probe((1000 * x + 5000, y), (1000 * x_test + 5000, y_test), 30)
    torch.testing.assert_close(found, moved, atol=0.01, rtol=0)


def test_rare_classes_are_among_few_labels():
    """Two of each class, though one has but 2 of 400 images: without one, it could not be right."""
    x, y = blobs(400, 30.0)
    y = torch.where(y == 2, 1, y)
    x[:2], y[:2] = 30.0, 2
    test = (x[:2], y[:2])
    assert linear_probe((x, y), test, 6, draws=5).tolist() == [1.0] * 5


@pytest.mark.parametrize("count", [5, 301])
def test_impossible_counts_of_labels_are_refused(count):
    span = "from 6, two of each class, to 300, all"
    with pytest.raises(ValueError, match=f"num_labels must be {span}, got {count}"):
        linear_probe(blobs(300, 1.0), blobs(30, 1.0), count)


def test_one_class_is_none():
    with pytest.raises(ValueError, match="train must have labels of at least 2 classes, got 1"):
        linear_probe((torch.randn(9, 2), torch.zeros(9)), (torch.randn(9, 2), torch.zeros(9)))


def test_principal_components_keep_the_most():
    x = torch.randn(500, 6) * torch.tensor([1.0, 5.0, 0.1, 3.0, 0.2, 0.3])
    found = baselines(x, x[:50], size=2)
    train, test = found["pca"]
    variance = train.var(0).sum() / x.var(0).sum()
    best = torch.linalg.eigvalsh(x.T.cov())[-2:].sum() / x.var(0).sum()
    assert variance.item() == pytest.approx(best.item(), rel=1e-4)
    torch.testing.assert_close(test, train[:50])
    for name, size in (("pixels", 6), ("pca", 2), ("random_projection", 2)):
        assert [part.shape for part in found[name]] == [(500, size), (50, size)]
    assert not torch.equal(found["pca"][0], found["random_projection"][0])
