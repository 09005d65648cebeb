"""Images side by side, points and captions: each in its place."""

import pytest
import torch

from genzoo.report.figures import GAP, grid, scatter, to_picture


def test_a_grid_puts_every_image_in_its_place():
    x = torch.randint(0, 256, (7, 3, 16, 24), dtype=torch.uint8)
    page = grid(x, columns=3, padding=2)
    height, width = 16 * 3, 24 * 3  # enlarged until the longer side has 64 pixels
    assert page.shape == (3 * (height + 2) + 2, 3 * (width + 2) + 2, 3)
    for i in range(7):
        top, left = 2 + i // 3 * (height + 2), 2 + i % 3 * (width + 2)
        cell = page[top : top + height, left : left + width]
        assert torch.equal(cell[::3, ::3], x[i].permute(1, 2, 0))
        assert torch.equal(cell[1::3, 2::3], x[i].permute(1, 2, 0))  # nearest
        page[top : top + height, left : left + width] = GAP
    assert (page == GAP).all()


@pytest.mark.parametrize("side, shown", [(1, 64), (8, 64), (28, 84), (64, 64), (100, 100)])
def test_small_images_are_enlarged_in_whole_steps(side, shown):
    page = grid(torch.zeros(1, 1, side, side, dtype=torch.uint8), padding=0)
    assert page.shape == (shown, shown, 3)


def test_captions_and_rows_are_written_beside_the_images():
    x = torch.zeros(4, 1, 64, 64, dtype=torch.uint8)
    plain, page = grid(x, 2), grid(x, 2, captions=["one", "a caption that is far too long"] * 2)
    assert page.shape == (plain.shape[0] + 28, plain.shape[1], 3)
    under = page[66:80]
    assert (under[:, :66] < 100).any() and (under[:, 66:] < 100).any()
    named = grid(x, 2, rows=["first", "second"])
    assert named.shape[0] == plain.shape[0] and named.shape[1] > plain.shape[1] + 20
    assert torch.equal(named[:, -plain.shape[1] + 2 :], plain[:, 2:])
    assert (named[:66, :20] < 100).any() and (named[66:, :20] < 100).any()


@pytest.mark.parametrize(
    "images", [torch.rand(2, 1, 8, 8), torch.zeros(2, 2, 8, 8).byte(), torch.zeros(2, 8, 8).byte()]
)
def test_a_grid_refuses_what_it_cannot_show(images):
    with pytest.raises(ValueError, match=r"images must be uint8 \(N, C, H, W\), grey or RGB, got"):
        grid(images)


def test_points_are_drawn_where_they_are():
    real = torch.tensor([[-1.0, -1.0], [1.0, 1.0]])
    page = scatter(torch.tensor([[0.8, 0.8], [50.0, float("nan")]]), real, side=100)
    assert page.shape == (100, 100, 3)
    blue = (page[..., 2] > page[..., 0].int() + 60).nonzero().float().mean(0)
    expected = 50 - 0.8 / 1.2 * 50, 50 + 0.8 / 1.2 * 50  # y points up
    assert torch.allclose(blue, torch.tensor(expected), atol=1.5)
    grey = page[round(50 + 50 / 1.2), round(50 - 50 / 1.2)]
    assert grey.max() == grey.min() < 250
    with pytest.raises(ValueError, match=r"points must be points \(n, 2\)"):
        scatter(torch.zeros(3, 3), real)


def test_any_layout_becomes_one():
    x = torch.randint(0, 256, (5, 7, 3), dtype=torch.uint8)
    for given in (x, x.permute(2, 0, 1)):
        assert torch.equal(to_picture(given), x)
    for given in (x[..., 0], x[..., :1], x[None, ..., 0]):
        assert torch.equal(to_picture(given), x[..., :1].expand(-1, -1, 3))
    with pytest.raises(ValueError, match="a picture must be uint8"):
        to_picture(x.float())
