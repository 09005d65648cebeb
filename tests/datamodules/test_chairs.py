"""The renderer against geometry that can be done by hand, and who gets to see which view."""

import math

import pytest
import torch

from genzoo.datamodules import Chairs
from genzoo.datamodules.chairs import AMBIENT, LAMP, TYPES, render

BOX = (-0.5, -0.25, -0.5, 1.0, 0.5, 1.0)  # 1 wide, 0.5 deep, 1 high, around the origin


def view(boxes, azimuth, elevation, size=32):
    (image,) = render(boxes, torch.tensor([float(azimuth)]), torch.tensor([float(elevation)]), size)
    return image[0].int()


@pytest.mark.parametrize(("azimuth", "width"), [(0, 16), (90, 8), (180, 16), (270, 8)])
def test_a_box_from_its_sides_is_a_rectangle(azimuth, width):
    image = view((BOX,), azimuth, 0)
    front = round(255 * (AMBIENT + (1 - AMBIENT) * LAMP[2].item()))
    expected = torch.zeros(32, 32, dtype=torch.int)
    expected[8:24, 16 - width // 2 : 16 + width // 2] = front
    assert torch.equal(image, expected)


@pytest.mark.parametrize("elevation", [10, 30, 60])
def test_from_above_the_top_is_seen(elevation):
    image, e = view((BOX,), 0, elevation, 128), math.radians(elevation)
    light = (LAMP[1] * math.cos(e) + LAMP[2] * math.sin(e)).item()
    top = round(255 * (AMBIENT + (1 - AMBIENT) * light))
    columns = image[:, 64]
    height = 128 / 2  # pixels of a unit
    assert (columns > 0).sum().item() == pytest.approx(
        height * (math.cos(e) + 0.5 * math.sin(e)), abs=2
    )
    assert (columns == top).sum().item() == pytest.approx(height * 0.5 * math.sin(e), abs=2)
    assert columns[: 64 - int(height * 0.5 * math.cos(e)) + 2].max() == top  # above the front


@pytest.mark.parametrize("azimuth", [20, 45, 130, 300])
def test_the_silhouette_of_a_turned_box(azimuth):
    a = math.radians(azimuth)
    width = abs(math.cos(a)) * 1.0 + abs(math.sin(a)) * 0.5
    row = view((BOX,), azimuth, 0, 128)[64] > 0
    assert row.sum().item() == pytest.approx(64 * width, abs=2)


def test_what_is_behind_is_hidden():
    behind = (-0.2, -0.6, -0.2, 0.4, 0.1, 0.4)
    both, alone = (BOX, behind), (BOX,)
    assert torch.equal(view(both, 0, 0), view(alone, 0, 0))
    assert torch.equal(view(both[::-1], 0, 0), view(alone, 0, 0))  # in whatever order
    assert not torch.equal(view(both, 0, 50), view(alone, 0, 50))
    row = view(both, 90, 0)[16] > 0  # from the side both are seen, apart from each other
    assert row[12:20].all() and row[7] and not row[8:12].any()


def test_the_viewer_walks_to_the_left_of_what_is_in_front():
    """From azimuth 90, the thing's front is on the right; its right side, on the left at first."""
    front, right = (-0.1, 0.5, -0.1, 0.2, 0.2, 0.2), (0.5, -0.1, -0.1, 0.2, 0.2, 0.2)

    def column(box, azimuth):
        return (view((box,), azimuth, 20) > 0).any(0).nonzero().float().mean().item()

    assert column(front, 90) > 20 and column(front, 270) < 12
    assert column(right, 0) < 12 and column(right, 180) > 20


@pytest.mark.parametrize("name", TYPES)
def test_things_fit_their_image_and_return_after_a_turn(name):
    azimuth = torch.arange(0, 360, 30).float()
    images = render(TYPES[name], azimuth, torch.full((12,), 20.0))
    assert images.dtype == torch.uint8 and images.shape == (12, 1, 32, 32)
    border = torch.cat((images[..., 0], images[..., -1], images[..., 0, :], images[..., -1, :]), -1)
    assert border.max() == 0 and images.flatten(1).max(1).values.min() > 100
    again = render(TYPES[name], azimuth + 360, torch.full((12,), 20.0))
    assert (images.int() - again.int()).abs().float().mean() < 0.5
    # Left and right are alike, but for the light.
    mirrored = render(TYPES[name], -azimuth, torch.full((12,), 20.0)).flip(3)
    assert ((images > 0) != (mirrored > 0)).float().mean() < 0.02


def test_types_look_different():
    images = [render(boxes, torch.tensor([30.0]), torch.tensor([20.0])) for boxes in TYPES.values()]
    flat = torch.cat(images).flatten(1).float() / 255
    assert (torch.cdist(flat, flat) + 99 * torch.eye(8)).min() > 1.5


def test_held_out_views_are_seen_of_no_type():
    data = Chairs(views=True, azimuths=12, elevations=(15, 35), held_out=0.5, image_size=16)
    splits = {part: data.split(part) for part in ("train", "val", "test")}
    assert [len(split) for split in splits.values()] == [96, 48, 48]
    seen = {}
    for part, split in splits.items():
        by_type = [
            sorted(map(tuple, split.views[split.labels == label].tolist())) for label in range(8)
        ]
        assert all(views == by_type[0] for views in by_type)
        seen[part] = set(by_type[0])
    assert len(set.union(*seen.values())) == sum(map(len, seen.values())) == 24
    other = Chairs(views=True, azimuths=12, elevations=(15, 35), held_out=0.5, seed=1)
    assert set(map(tuple, other.split("test").views.tolist())) != seen["test"]


def test_an_image_is_what_its_condition_says():
    data = Chairs(views=True, azimuths=12, held_out=0.4, image_size=16, batch_size=9)
    boxes = list(TYPES.values())
    for loader in (data.train_dataloader(), data.test_dataloader()):
        x, y = next(iter(loader))
        assert x.dtype == torch.uint8 and y.shape == (9, 3) and y.dtype == torch.float32
        for image, (label, azimuth, elevation) in zip(x, y.tolist(), strict=True):
            assert torch.equal(image[0].int(), view(boxes[int(label)], azimuth, elevation, 16))


def test_models_of_classes_are_told_the_type_alone():
    data = Chairs(azimuths=6, image_size=16, batch_size=9)
    _, y = next(iter(data.train_dataloader()))
    assert y.shape == (9,) and y.dtype == torch.int64
    assert data.image_shape == (1, 16, 16) and data.num_classes == 8 and not data.conditional
    assert torch.equal(data.split("val").labels.unique(), torch.arange(8))


def test_few_views_leave_one_for_each_part():
    data = Chairs(azimuths=1, elevations=(10, 20, 30), held_out=0.9)
    assert [len(data.split(part)) for part in ("train", "val", "test")] == [8, 8, 8]


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"azimuths": 0}, "azimuths must make at least 3 views with the elevations, got 0"),
        ({"elevations": ()}, r"elevations must be between -90 and 90, got \(\)"),
        ({"elevations": (10, 90)}, r"elevations must be between -90 and 90, got \(10, 90\)"),
        ({"held_out": 1.0}, "held_out must be between 0 and 1, got 1.0"),
        ({"image_size": 4}, "image_size must be at least 8 pixels, got 4"),
    ],
)
def test_impossible_settings_are_refused(setting, message):
    with pytest.raises(ValueError, match=message):
        Chairs(**setting)
