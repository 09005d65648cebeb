"""Gaussians whose places are known."""

import math

import pytest
import torch

from genzoo.datamodules import Toy, mode_coverage


def test_the_ring():
    toy = Toy("ring")
    assert toy.image_shape == (2,) and toy.num_classes == 8 and toy.name == "Toy ring"
    assert toy.sigma == pytest.approx(0.05)
    assert torch.allclose(toy.centres.norm(dim=1), torch.ones(8))
    gaps = torch.cdist(toy.centres, toy.centres) + 9 * torch.eye(8)
    nearest = gaps.min(dim=1).values
    assert torch.allclose(nearest, torch.full([8], 2 * math.sin(math.pi / 8)))


def test_the_grid():
    toy = Toy("grid")
    assert toy.num_classes == 25 and toy.sigma == pytest.approx(0.05 / 2.828)
    places = (toy.centres * 2.828).round().int().tolist()
    assert sorted(places) == [[x, y] for x in (-4, -2, 0, 2, 4) for y in (-4, -2, 0, 2, 4)]


@pytest.mark.parametrize("kind", ["ring", "grid"])
def test_points_lie_about_the_centre_that_their_label_names(kind):
    toy = Toy(kind)
    assert [len(toy.split(part)) for part in ("train", "val", "test")] == [40_000, 5_000, 5_000]
    train = toy.split("train")
    assert train.images.dtype == torch.float32
    off = (train.images - toy.centres[train.labels]) / toy.sigma
    assert off.mean(dim=0).abs().max() < 0.02 and (off.std(dim=0) - 1).abs().max() < 0.02
    assert off.norm(dim=1).max() < 6
    share = train.labels.bincount() / len(train)
    assert (share - 1 / toy.num_classes).abs().max() < 0.01


def test_points_are_a_function_of_the_seed_and_served_as_they_are():
    first, second, other = (Toy(seed=seed, num_points=1000) for seed in (3, 3, 4))
    assert torch.equal(first.split("train").images, second.split("train").images)
    assert not torch.equal(first.split("train").images, other.split("train").images)
    x, y = batch = next(iter(first.train_dataloader()))
    assert x.shape == (256, 2) and y.shape == (256,)
    assert first.on_after_batch_transfer(batch, 0)[0] is x


@pytest.mark.parametrize("kind", ["ring", "grid"])
def test_the_data_cover_every_mode(kind):
    toy = Toy(kind)
    modes, quality = mode_coverage(toy.split("train").images, toy.centres, toy.sigma)
    assert modes == toy.num_classes
    assert quality == pytest.approx(1 - math.exp(-4.5), abs=0.002)  # within 3 sigma, in the plane


def test_coverage_counts_modes_and_strays():
    centres = torch.tensor([[0.0, 0.0], [10.0, 0.0], [0.0, 10.0]])
    points = centres[0].repeat(1000, 1)
    assert mode_coverage(points, centres, 1.0) == (1, 1.0)
    points[:500] = 5.0  # far from all
    assert mode_coverage(points, centres, 1.0) == (1, 0.5)
    points[0] = torch.tensor([12.9, 0.0])
    assert mode_coverage(points, centres, 1.0)[0] == 1  # one in a thousand is not a mode
    points[1] = torch.tensor([10.0, -2.9])
    assert mode_coverage(points, centres, 1.0)[0] == 2  # two are
    points[1] = torch.tensor([10.0, -3.1])
    assert mode_coverage(points, centres, 1.0)[0] == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (dict(kind="star"), "kind must be one of ring, grid, got 'star'"),
        (dict(num_points=0), "num_points must be at least 1, got 0"),
        (dict(test_size=-1), "test_size must be a fraction between 0 and 1 or a count, got -1"),
    ],
)
def test_impossible_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        Toy(**arguments)
