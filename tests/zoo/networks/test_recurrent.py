"""PixelRNN's two models in closed form: every image counted, every dependence differentiated,
every recurrence written out cell by cell, every state that is kept compared with a whole pass."""

import pytest
import torch
from torch import nn

from genzoo.zoo.autoregressive import DiagonalBiLSTM, RowLSTM
from genzoo.zoo.networks.masked import MaskedConv2d
from genzoo.zoo.networks.recurrent import (
    DiagonalCells,
    DiagonalCellsFromRight,
    RowCells,
    skew,
    unskew,
)
from tests.helpers.cell_by_cell import cell_by_cell
from tests.helpers.exact_likelihood import (
    assert_cached_is_naive,
    assert_completion_is_the_sample,
    assert_drawn_as_likely,
    assert_every_open_weight_learns,
    assert_one_pass_is_every_step,
    assert_sums_to_one,
    dependence,
)
from tests.helpers.training import bits, loader, trainer

both = pytest.mark.parametrize("model_class", [RowLSTM, DiagonalBiLSTM])
every = pytest.mark.parametrize("cells", [RowCells, DiagonalCells, DiagonalCellsFromRight])


def small(model_class, shape, levels=2, num_classes=0, layers=1, width=6):
    """An untrained model in double precision whose conditionals are far from uniform."""
    model = model_class(shape, num_classes, levels, width=width, layers=layers).double()
    with torch.no_grad():
        model.network.logits.weight.mul_(20)
    return model


def awake(model) -> None:
    """Sees to it that no ReLU is dead by chance."""
    with torch.no_grad():
        for layer in (model.network.first, model.network.mix):
            layer.weight.mul_(0.2)
            layer.bias.fill_(1)


# The recurrences


def test_skewing_moves_each_row_one_further_and_back():
    x = torch.arange(1, 7).view(1, 1, 2, 3)
    assert skew(x)[0, 0].tolist() == [[1, 2, 3, 0], [0, 4, 5, 6]]
    for shape in ((2, 3, 5, 4), (1, 2, 4, 7), (1, 1, 1, 3), (1, 1, 6, 1)):
        x = torch.rand(shape)
        assert skew(x).shape == (*shape[:3], shape[2] + shape[3] - 1)
        assert torch.equal(unskew(skew(x), shape[3]), x)


@every
@pytest.mark.parametrize("size", [(4, 6), (6, 3), (1, 5), (5, 1)])
def test_lines_at_once_are_the_cells_one_by_one(cells, size):
    layer = cells(3).double()
    gates = torch.randn(2, 12, *size, dtype=torch.float64, requires_grad=True)
    whole, written_out = layer(gates), cell_by_cell(layer, gates)
    torch.testing.assert_close(whole, written_out, rtol=0, atol=1e-14)
    up = torch.randn_like(whole)
    for slopes in zip(
        torch.autograd.grad(whole, (gates, layer.weight), up),
        torch.autograd.grad(written_out, (gates, layer.weight), up),
        strict=True,
    ):
        torch.testing.assert_close(*slopes, rtol=0, atol=1e-13)


@pytest.mark.parametrize(
    ("model_class", "steps"), [(RowLSTM, 7 * 2), (DiagonalBiLSTM, (7 + 5) * 2 * 2)]
)
def test_sequential_steps_are_lines_not_pixels(model_class, steps, monkeypatch):
    """Of an image of 7x5 and 2 layers: rows; or diagonals of 7x6 twice."""
    from genzoo.zoo.networks import recurrent

    calls, cell = [], recurrent.cell
    monkeypatch.setattr(recurrent, "cell", lambda *a: calls.append(a) or cell(*a))
    small(model_class, (1, 7, 5), layers=2).log_prob(bits(3, (1, 7, 5)))
    assert len(calls) == steps


# The likelihood


@both
@pytest.mark.parametrize(
    ("shape", "levels", "num_classes"),
    [((1, 3, 3), 2, 0), ((3, 1, 2), 2, 0), ((3, 2, 1), 2, 3), ((1, 2, 2), 5, 0)],
)
def test_probabilities_of_all_images_sum_to_one(model_class, shape, levels, num_classes):
    assert_sums_to_one(small(model_class, shape, levels, num_classes, layers=2))


@both
def test_a_class_changes_the_likelihood(model_class):
    model = small(model_class, (1, 5, 5), num_classes=3)
    x = -torch.ones(3, 1, 5, 5, dtype=torch.float64)
    by_class = model.log_prob(x, torch.arange(3))
    assert (by_class[:, None] - by_class).abs().fill_diagonal_(1).min() > 1e-3


# What depends on what


@both
@pytest.mark.parametrize("shape", [(1, 5, 6), (3, 3, 4), (2, 4, 3)])
@pytest.mark.parametrize("width", [6, 8])  # 8 cells for 3 colours: uneven parts
def test_strictly_causal_whatever_the_weights(model_class, shape, width):
    model = small(model_class, shape, levels=3, layers=2, width=width)
    for layer in model.modules():
        if isinstance(layer, MaskedConv2d):
            nn.init.uniform_(layer.weight, -0.3, 0.3)  # as if every weight had been moved
    awake(model)
    depends = dependence(model)
    assert not depends.triu().any()
    assert depends.any()


@both
def test_colours_of_a_pixel_see_the_colours_before_them(model_class):
    model = small(model_class, (3, 2, 2), levels=4)
    awake(model)
    table = dependence(model).view(4, 3, 4, 3)
    for pixel in range(4):
        assert table[pixel, :, pixel].tolist() == [[0, 0, 0], [1, 0, 0], [1, 1, 0]]


@both
def test_gradient_reaches_every_weight_that_is_not_masked_away(model_class):
    model = small(model_class, (3, 6, 6), levels=4, num_classes=2, layers=2)
    awake(model)
    assert_every_open_weight_learns(model)


# Drawing


CASES = [  # image_shape, levels, num_classes, layers
    ((1, 6, 8), 2, 0, 3),
    ((1, 8, 5), 256, 0, 1),
    ((3, 5, 4), 7, 0, 2),
    ((3, 4, 5), 4, 5, 2),
    ((2, 1, 8), 3, 0, 2),
    ((1, 8, 1), 3, 2, 2),
]
cases = pytest.mark.parametrize(("shape", "levels", "num_classes", "layers"), CASES)


@both
@cases
def test_cached_and_naive_draw_the_same_images(model_class, shape, levels, num_classes, layers):
    assert_cached_is_naive(small(model_class, shape, levels, num_classes, layers))


@both
@cases
@pytest.mark.parametrize(("dtype", "error"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
def test_cached_logits_are_those_of_one_pass(
    model_class, shape, levels, num_classes, layers, dtype, error
):
    model = model_class(shape, num_classes, levels, width=8, layers=layers).to(dtype)
    assert_one_pass_is_every_step(model, error)


@both
def test_probabilities_of_what_was_drawn_make_its_likelihood(model_class):
    assert_drawn_as_likely(small(model_class, (3, 3, 4), levels=5))


@both
@pytest.mark.parametrize("method", ["cached", "naive"])
def test_completion_is_the_sample_with_the_same_beginning(model_class, method):
    model = small(model_class, (3, 4, 5), levels=4, num_classes=2)
    assert_completion_is_the_sample(model, 11, method)


# Around it


@both
@pytest.mark.parametrize(
    ("own", "trainers", "length"),
    [(1e-3, None, 1e-3), (0.0, None, None), (1e-3, 2e-3, 2e-3), (1e-3, 0, None)],
)
def test_gradients_are_clipped_unless_the_trainer_knows_better(model_class, own, trainers, length):
    found = []

    class Overheard(model_class):
        def on_before_zero_grad(self, optimizer):
            slopes = [p.grad.norm() for p in self.parameters() if p.grad is not None]
            if slopes:
                found.append(torch.stack(slopes).norm().item())

    model = Overheard((1, 8, 8), levels=2, width=4, layers=1, clip_norm=own)
    trainer(max_steps=3, gradient_clip_val=trainers).fit(model, loader(bits(24)))
    assert found and min(found) > 0
    if length is None:
        assert min(found) > 2e-3
    else:
        assert found == pytest.approx([length] * len(found), rel=1e-3)


@both
def test_too_few_cells_for_the_colours_are_refused(model_class):
    with pytest.raises(
        ValueError, match="channels must be at least one for each of 3, got 4 and 2"
    ):
        model_class((3, 4, 4), levels=2, width=2)
