"""What PixelRNN's two tricks are worth: diagonals at once beside a cell at a time, in training;
states that are kept beside a whole pass for each pixel, in drawing.

`pytest -m benchmark -n 0 -s tests/benchmarks` prints the table.
"""

from time import perf_counter

import pytest
import torch

from genzoo.zoo.autoregressive import DiagonalBiLSTM, RowLSTM
from genzoo.zoo.networks.recurrent import Cells
from tests.helpers.cell_by_cell import cell_by_cell

pytestmark = pytest.mark.benchmark


def seconds(call, times: int = 1) -> float:
    """The least of several, since others may be at work."""
    found = []
    for _ in range(times):
        start = perf_counter()
        call()
        found.append(perf_counter() - start)
    return min(found)


@pytest.mark.parametrize("model_class", [RowLSTM, DiagonalBiLSTM])
def test_lines_at_once_train_several_times_faster(model_class):
    """One step on 16 images of 28x28, two layers: the same loss, the same gradients."""
    model = model_class((1, 28, 28), levels=2, width=16, layers=2).double()
    x = torch.randint(2, (16, 1, 28, 28)) * 2.0 - 1

    def step() -> torch.Tensor:
        model.zero_grad()
        model.bits_per_dim(x).mean().backward()
        return torch.cat([p.grad.flatten() for p in model.parameters()])

    gradient, fast = step(), seconds(step, times=3)
    for cells in model.modules():
        if isinstance(cells, Cells):
            cells.forward = lambda gates, cells=cells: cell_by_cell(cells, gates)
    torch.testing.assert_close(step(), gradient, rtol=0, atol=1e-12)
    slow = seconds(step, times=2)
    print(f"\n{model_class.__name__}: {slow:.2f} s, at once {fast:.2f} s, {slow / fast:.1f} times")
    assert slow > 3 * fast


@pytest.mark.parametrize("model_class", [RowLSTM, DiagonalBiLSTM])
def test_cached_states_draw_many_times_faster(model_class):
    """Two layers of 16 cells, 4 images of 28x28."""
    model = model_class((1, 28, 28), levels=2, width=16, layers=2)
    uniforms = torch.rand(4, 28, 28, 1)
    model.sample(2)  # first calls pay for what libraries set up
    cached = seconds(lambda: model.sample(4, uniforms=uniforms), times=2)
    naive = seconds(lambda: model.sample(4, method="naive", uniforms=uniforms))
    print(
        f"\n{model_class.__name__}: naive {naive:.1f} s, cached {cached:.2f} s, "
        f"{naive / cached:.0f} times"
    )
    assert naive > 10 * cached


@pytest.mark.parametrize("model_class", [RowLSTM, DiagonalBiLSTM])
def test_the_gain_grows_with_the_image(model_class):
    gains = []
    for side in (6, 12, 18):
        model = model_class((1, side, side), levels=2, width=16, layers=2)
        model.sample(2)
        cached = seconds(lambda m=model: m.sample(4), times=3)
        gains.append(seconds(lambda m=model: m.sample(4, method="naive")) / cached)
    print(f"\n{model_class.__name__}: " + ", ".join(f"{gain:.0f} times" for gain in gains))
    assert gains == sorted(gains) and gains[0] > 1
