"""PixelRNN's two models in closed form: every image counted, every dependence differentiated,
every recurrence written out cell by cell, every state that is kept compared with a whole pass."""

from itertools import product
from math import prod

import pytest
import torch
from torch import nn
from torch.autograd.functional import jacobian

from genzoo.images import from_levels, to_levels
from genzoo.zoo.autoregressive import DiagonalBiLSTM, RowLSTM
from genzoo.zoo.autoregressive.conditionals import Levels
from genzoo.zoo.networks.masked import MaskedConv2d, caching
from genzoo.zoo.networks.recurrent import (
    DiagonalCells,
    DiagonalCellsFromRight,
    RowCells,
    skew,
    unskew,
)
from tests.toys import bits, loader, trainer
from tests.zoo.cells import cell_by_cell

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


def dependence(model, y=None) -> torch.Tensor:
    """Whether (i, j, c) of the output depends on (i, j, c) of the input, in the drawing order."""
    awake(model)
    x = torch.rand(1, *model.image_shape, dtype=torch.float64) * 2 - 1

    def outputs(x):  # (values,): a level's logit for each, in order
        return model.network(x, y).unflatten(1, (model.image_shape[0], -1))[0, :, 0].movedim(0, -1)

    j = jacobian(outputs, x)[:, :, :, 0].permute(0, 1, 2, 4, 5, 3)
    values = prod(model.image_shape)
    return j.reshape(values, values) != 0


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
    model = small(model_class, shape, levels, num_classes, layers=2)
    values = torch.tensor(list(product(range(levels), repeat=prod(shape))))
    x = from_levels(values.view(-1, *shape), levels, torch.float64)
    for label in range(max(1, num_classes)):
        with torch.no_grad():
            p = model.log_prob(x, torch.full((len(x),), label) if num_classes else None).exp()
        assert abs(p.sum().item() - 1) < 1e-10
        assert p.max() > 3 / len(x)  # not merely uniform


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
    depends = dependence(model)
    assert not depends.triu().any()
    assert depends.any()


@both
def test_colours_of_a_pixel_see_the_colours_before_them(model_class):
    table = dependence(small(model_class, (3, 2, 2), levels=4)).view(4, 3, 4, 3)
    for pixel in range(4):
        assert table[pixel, :, pixel].tolist() == [[0, 0, 0], [1, 0, 0], [1, 1, 0]]


@both
def test_gradient_reaches_every_weight_that_is_not_masked_away(model_class):
    model = small(model_class, (3, 6, 6), levels=4, num_classes=2, layers=2)
    awake(model)
    x, y = torch.rand(16, 3, 6, 6) * 2 - 1, torch.arange(16) % 2
    model.bits_per_dim(x, y).mean().backward()
    masks = {f"{name}.weight": m.mask for name, m in model.named_modules() if hasattr(m, "mask")}
    for name, parameter in model.named_parameters():
        moved = parameter.grad != 0
        if name in masks:
            assert not moved[masks[name] == 0].any(), name
            moved = moved[masks[name] == 1]
        assert moved.all(), name


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
    model = small(model_class, shape, levels, num_classes, layers)
    c, h, w = shape
    uniforms = torch.rand(4, h, w, c, dtype=torch.float64)
    y = torch.arange(4) % num_classes if num_classes else None
    cached = model.sample(4, y, uniforms=uniforms)
    assert torch.equal(cached, model.sample(4, y, method="naive", uniforms=uniforms))
    assert len(cached.unique()) > 1 and not torch.equal(cached[0], cached[1])
    assert torch.equal(model.sample(4, y, uniforms=uniforms), cached)  # nothing is left over


@both
@cases
@pytest.mark.parametrize(("dtype", "error"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
def test_cached_logits_are_those_of_one_pass(
    model_class, shape, levels, num_classes, layers, dtype, error
):
    model = model_class(shape, num_classes, levels, width=8, layers=layers).to(dtype)
    x = from_levels(torch.randint(levels, (3, *shape)), levels, dtype)
    y = torch.arange(3) % num_classes if num_classes else None
    with torch.no_grad():
        whole = model.conditionals(x, y).logits
        with caching(model, shape[2] + model.margin) as place:
            for place.row in range(shape[1]):
                for place.column in range(shape[2] + model.margin):
                    seen = x.clone()  # what is not drawn yet holds anything at all
                    drawn = place.row * shape[2] + min(place.column, shape[2] - 1) + 1
                    seen.flatten(2)[:, :, drawn:] = 9.0
                    here = model.conditionals(seen, y).logits[:, :, 0, 0]
                    if place.column < shape[2]:
                        difference = here - whole[:, :, place.row, place.column]
                        assert difference.abs().max() < error
        assert torch.equal(model.conditionals(x, y).logits, whole)  # the states are gone


@both
def test_probabilities_of_what_was_drawn_make_its_likelihood(model_class):
    model = small(model_class, (3, 3, 4), levels=5)
    drawn = []

    def overhear(conditionals, u):
        level = draw(conditionals, u)
        drawn.append(conditionals.log_prob(level))
        return level

    draw = Levels.icdf
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Levels, "icdf", overhear)
        x = model.sample(6)
    assert len(drawn) == 36
    assert torch.allclose(torch.stack(drawn).sum(0), model.log_prob(x), atol=1e-10)


@both
@pytest.mark.parametrize("method", ["cached", "naive"])
def test_completion_is_the_sample_with_the_same_beginning(model_class, method):
    model = small(model_class, (3, 4, 5), levels=4, num_classes=2)
    uniforms, y = torch.rand(6, 4, 5, 3, dtype=torch.float64), torch.arange(6) % 2
    x = model.sample(6, y, uniforms=uniforms)
    mask = (torch.arange(20) < 11).view(1, 1, 4, 5).expand(6, -1, -1, -1).clone()
    mask[0] = False  # not all images know equally much
    holes = torch.where(mask.bool(), x, torch.rand_like(x) * 2 - 1)
    assert torch.equal(model.complete(holes, mask, y, method, uniforms), x)
    everywhere = torch.ones_like(mask)
    assert torch.equal(model.complete(holes, everywhere, y, method, uniforms), holes)
    assert torch.equal(to_levels(x, 4), to_levels(x.clamp(-1, 1), 4))


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
