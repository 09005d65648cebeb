import math

import pytest
import torch

from genzoo.metrics.copying import authentic, copied_by_authenticity, data_copying
from genzoo.metrics.neighbours import nearest


def contains(number, value):
    return number.low <= value <= number.high


def test_data_copying_of_held_out_images_is_null_and_of_one_copied_cell_is_not():
    centres = 12 * torch.eye(3, 8)

    def draw(n):
        return centres[torch.arange(n) % 3] + torch.randn(n, 8)

    train, held_out = draw(3000), draw(900)
    values, cells = [], []
    for _ in range(25):
        number, z = data_copying(train, held_out, draw(300))
        values.append(number.value)
        cells.append(z)
    cells = torch.stack(cells)
    assert 0.6 < cells.std(0).mean() < 1.4  # N(0, 1) in each cell
    # The mean of three cells; held-out images are shared, so a common offset stays.
    assert torch.tensor(values).std() == pytest.approx(1 / math.sqrt(3), abs=0.25)
    assert abs(torch.tensor(values).mean()) < 1.2
    copied = draw(300)
    copied[::3] = train[::3][:100] + 0.01 * torch.randn(100, 8)  # one cell of three
    number, z = data_copying(train, held_out, copied)
    assert z.sort().values[0] < -8 and z.sort().values[1:].min() > -4
    assert number.value < -2 and not contains(number, 0)


def test_cells_too_small_are_not_made():
    number, z = data_copying(torch.randn(200, 4), torch.randn(60, 4), torch.randn(50, 4))
    assert len(z) == 1 and math.isfinite(number.value)
    number, z = data_copying(torch.randn(200, 4), torch.randn(60, 4), torch.randn(15, 4))
    assert math.isnan(number.value) and "too few samples" in number.note


def test_authenticity():
    """On a line with training images at 0, 1, 3 (own neighbours at 1, 1, 2)."""
    train = torch.tensor([[0.0], [1.0], [3.0]])
    radius = nearest(train, train, exclude_self=True)[0][:, 0]
    given = torch.tensor([[-1.5], [0.1], [4.5], [5.5]])
    distances, indices = (part[:, 0] for part in nearest(given, train))
    assert authentic(distances, indices, radius).tolist() == [True, False, False, True]
    half, none = torch.tensor([True, False] * 500), torch.zeros(1000, dtype=torch.bool)
    assert contains(copied_by_authenticity(half, half), 0)
    assert copied_by_authenticity(none, half).value == 1
    third = torch.arange(1000) % 4 == 0
    found = copied_by_authenticity(third, half)
    assert found.value == 0.5 and found.low > 0.4 and found.high < 0.6
