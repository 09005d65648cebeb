"""Copies with known changes: what is planted to see what a test of copies notices."""

import pytest
import torch

from genzoo.metrics.alterations import blurred, kinds, plant, transformed
from tests.helpers.evidence import smooth_images


def test_transformed_by_known_amounts():
    x = torch.zeros(1, 1, 9, 9)
    x[0, 0, 4, 6] = 1.0
    right = transformed(x, right=1 / 9)
    assert right[0, 0, 4, 7] == pytest.approx(1, abs=1e-5)
    down = transformed(x, down=2 / 9)
    assert down[0, 0, 6, 6] == pytest.approx(1, abs=1e-5)
    assert transformed(x, mirror=1.0)[0, 0, 4, 2] == pytest.approx(1, abs=1e-5)
    assert transformed(x, turn=90.0)[0, 0, :, 4].max() == pytest.approx(1, abs=1e-4)
    assert torch.allclose(transformed(x), x, atol=1e-6)


def test_blurred_keeps_the_mean_and_spreads():
    x = torch.zeros(2, 1, 21, 21)
    x[:, 0, 10, 10] = 1.0
    y = blurred(x, torch.tensor([0.5, 2.0]))
    assert torch.allclose(y.sum((1, 2, 3)), torch.ones(2), atol=1e-4)
    place = torch.arange(21.0) - 10
    spread = (y[1, 0].sum(0) * place.square()).sum()
    assert spread == pytest.approx(4, rel=0.05)


@pytest.mark.parametrize("kind", kinds(28))
def test_planted_copies_are_altered_and_recognisable(kind):
    from genzoo.images import to_uint8

    x = to_uint8(smooth_images(50, side=28))
    generator = torch.Generator().manual_seed(0)
    y = plant(x, kind, generator)
    assert y.dtype == torch.uint8 and y.shape == x.shape
    changed = (y != x).flatten(1).any(1)
    assert changed.any() != (kind == "unchanged")
    if kind == "shifted":
        assert changed.float().mean() > 0.9
    if kind not in ("mirrored", "unchanged"):
        distance = (y.float() - x.float()).square().mean((1, 2, 3)).sqrt()
        other = (y.float() - x.roll(1, 0).float()).square().mean((1, 2, 3)).sqrt()
        assert (distance < other).float().mean() > 0.9
