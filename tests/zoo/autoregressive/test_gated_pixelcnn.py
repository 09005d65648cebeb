"""Gated PixelCNN in closed form, and what it sees and is told that PixelCNN does not."""

import pytest
import torch
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits, relu

from genzoo.datamodules import Digits
from genzoo.features.classifier import train_classifier
from genzoo.images import from_uint8
from genzoo.modes import evaluating
from genzoo.protocols import Completer, Density, Sampler
from genzoo.zoo.autoregressive import GatedPixelCNN
from genzoo.zoo.networks.gated import GatedLayer, GatedStack, VerticalConv2d
from genzoo.zoo.networks.masked import MaskedConv2d, caching
from tests.helpers.exact_likelihood import (
    assert_cached_is_naive,
    assert_completion_is_the_sample,
    assert_drawn_as_likely,
    assert_one_pass_is_every_step,
    assert_sums_to_one,
    chi_square,
    dependence,
    dependence_after_training,
)
from tests.helpers.tiny import Tiny

TINY = Tiny(GatedPixelCNN, {"levels": 2, "width": 4, "layers": 3}, {Sampler, Density, Completer})


def small(shape, levels=2, num_classes=0, layers=3, width=9, **settings) -> GatedPixelCNN:
    """An untrained model in double precision whose conditionals are far from uniform."""
    sizes = {"width": width, "layers": layers, **settings}
    model = GatedPixelCNN(shape, num_classes, levels, **sizes).double()
    with torch.no_grad():
        model.network.logits.weight.mul_(20)
    return model


# The likelihood


@pytest.mark.parametrize(
    ("shape", "levels", "num_classes"),
    [((1, 3, 3), 2, 0), ((3, 1, 2), 2, 0), ((3, 2, 1), 2, 3), ((1, 2, 2), 5, 0)],
)
def test_probabilities_of_all_images_sum_to_one(shape, levels, num_classes):
    assert_sums_to_one(small(shape, levels, num_classes))


def test_the_gate_of_a_class_is_equation_4():
    """Where there is nothing to see, the layer says tanh(V_f h) . sigmoid(V_g h)."""
    layer = GatedLayer(4, 4, 3, "B", condition=3)
    h = torch.eye(3)[:, :, None, None]
    zeros = torch.zeros(3, 4, 5, 5)
    with torch.no_grad():
        for part in layer.modules():
            if getattr(part, "bias", None) is not None:
                part.bias.zero_()
        v, _ = layer(zeros, zeros, h)
    v_f, v_g = layer.vertical.condition.weight[:8, :, 0, 0].detach().split(4)  # (4, K) each
    expected = (v_f.tanh() * v_g.sigmoid()).T[:, :, None, None].expand(-1, -1, 5, 5)
    torch.testing.assert_close(v, expected)


def test_a_label_withheld_is_no_class():
    model = small((1, 4, 4), num_classes=3, label_dropout=0.5)
    x = torch.randint(2, (5, 1, 4, 4)).double() * 2 - 1
    with evaluating(model):
        none = model.log_prob(x)
        assert torch.equal(model.log_prob(x, torch.full((5,), -1)), none)
        mixed = model.log_prob(x, torch.tensor([0, -1, 1, 2, -1]))
        assert torch.equal(mixed[[1, 4]], none[[1, 4]])
        assert ((mixed - none)[[0, 2, 3]].abs() > 1e-3).all()
    with pytest.raises(ValueError, match="y must be in 0..2, got"):
        model.log_prob(x, torch.tensor([0, 1, 2, 3, -1]))


def test_labels_are_withheld_as_often_as_said():
    model = small((1, 2, 2), num_classes=3, label_dropout=0.25)
    x, y = torch.zeros(4000, 1, 2, 2), torch.arange(4000) % 3
    (given,) = model.train().given(x, y)
    assert torch.equal(given[given >= 0], y[given >= 0])
    assert (given == -1).float().mean().item() == pytest.approx(0.25, abs=0.03)
    assert torch.equal(*model.eval().given(x, y), y)


# What depends on what


@pytest.mark.parametrize("shape", [(1, 5, 6), (3, 3, 4), (2, 4, 3), (1, 1, 5), (3, 5, 1)])
@pytest.mark.parametrize("width", [8, 9])  # 8 features for 3 colours: uneven parts
def test_depends_on_all_that_comes_before_and_on_nothing_else(shape, width):
    networks = [dependence(small(shape, levels=3, width=width)) for _ in range(8)]
    depends = torch.stack(networks).any(0)  # in one alone a rectifier may be dead by chance
    assert torch.equal(depends, torch.ones_like(depends).tril(-1))


def test_the_optimizer_brings_no_masked_weight_back():
    model = small((3, 3, 3), levels=3, num_classes=2)
    assert not dependence_after_training(model).triu().any()


def test_two_stacks_have_no_blind_spot():
    """Seven 3x3 layers at (8, 5) of 11x11: PixelCNN's masks see 72 of 93 earlier pixels."""
    stack = GatedStack(1, 4, layers=7, first_kernel_size=3).double()
    x = torch.rand(1, 1, 11, 11, dtype=torch.float64, requires_grad=True)
    stack(x)[0, :, 8, 5].sum().backward()
    seen = (x.grad[0, 0] != 0).flatten()
    assert seen[: 8 * 11 + 5].all() and not seen[8 * 11 + 5 :].any()
    assert seen.sum() == 93


# Drawing


CASES = [  # image_shape, levels, num_classes, layers
    ((1, 7, 9), 3, 0, 3),
    ((1, 9, 5), 256, 0, 1),
    ((3, 5, 4), 7, 0, 2),
    ((3, 4, 6), 4, 5, 3),
    ((2, 1, 8), 3, 0, 2),
    ((1, 8, 1), 3, 2, 4),
]


@pytest.mark.parametrize(("shape", "levels", "num_classes", "layers"), CASES)
def test_cached_and_naive_draw_the_same_images(shape, levels, num_classes, layers):
    assert_cached_is_naive(small(shape, levels, num_classes, layers))


@pytest.mark.parametrize(("shape", "levels", "num_classes", "layers"), CASES)
def test_cached_probabilities_are_those_of_one_pass(shape, levels, num_classes, layers):
    model = GatedPixelCNN(shape, num_classes, levels, width=16, layers=layers)
    assert_one_pass_is_every_step(model)


@pytest.mark.parametrize("kernel_size", [3, 5])
def test_a_map_of_conditions_is_heeded_where_it_lies(kernel_size):
    stack = GatedStack(1, 6, 3, kernel_size, condition=2).double()
    x, s = torch.rand(2, 1, 5, 6).double(), torch.rand(2, 2, 5, 6).double().requires_grad_()
    whole = stack(x, s)
    (slope,) = torch.autograd.grad(whole[0, :, 2, 3].sum(), s)
    assert (slope[0, :, 2, 3] != 0).all() and not slope[0, :, 3:].any() and not slope[1].any()
    everywhere = stack(x, s[:, :, :1, :1])
    torch.testing.assert_close(everywhere, stack(x, s[:, :, :1, :1].expand(-1, -1, 5, 6)))
    with torch.no_grad(), caching(stack, 6) as place:
        for place.row in range(5):
            for place.column in range(6):
                here = stack(x, s)[:, :, 0, 0]
                assert torch.allclose(here, whole[:, :, place.row, place.column], atol=1e-12)


def test_probabilities_of_what_was_drawn_make_its_likelihood():
    assert_drawn_as_likely(small((3, 3, 4), levels=5))


def test_samples_are_as_frequent_as_their_probability():
    assert chi_square(small((1, 2, 2))) < 37.7  # 15 degrees of freedom, p = 0.001


@pytest.mark.parametrize("method", ["cached", "naive"])
def test_completion_is_the_sample_with_the_same_beginning(method):
    model = small((3, 4, 5), levels=4, num_classes=2)
    assert_completion_is_the_sample(model, 11, method)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: GatedPixelCNN((1, 4, 4), layers=0), r"layers must be at least 1, got 0"),
        (lambda: GatedPixelCNN((1, 4, 4), kernel_size=4), r"kernel_size must be odd"),
        (lambda: GatedPixelCNN((3, 4, 4), width=2), r"channels must be at least one for each of 3"),
        (lambda: GatedPixelCNN((1, 4, 4), label_dropout=1.0), r"label_dropout must be in \[0, 1\)"),
        (lambda: VerticalConv2d(1, 1, (2, 4), "A"), r"kernel_size must be rows and odd columns"),
        (lambda: VerticalConv2d(1, 1, (2, 3), "C"), r"kind must be 'A' or 'B', got 'C'"),
        (
            lambda: MaskedConv2d(2, 5, 3, "B", gates=2),
            r"out_channels must be a multiple of 2 gates",
        ),
    ],
)
def test_errors_say_what_is_wrong(call, message):
    with pytest.raises(ValueError, match=message):
        call()


# The claims


class Masked(nn.Module):
    """Stacked 3x3 masks, as PixelCNN's, with the width and depth of the stack beside it."""

    def __init__(self, width: int, layers: int):
        super().__init__()
        first = MaskedConv2d(1, width, 3, "A")
        later = (MaskedConv2d(width, width, 3, "B") for _ in range(layers - 1))
        self.layers = nn.ModuleList([first, *later])

    def forward(self, x):
        for layer in self.layers:
            x = relu(layer(x))
        return x


@pytest.mark.claim
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_pixel_in_the_blind_spot_is_copied(seed, measured):
    """Each bit is that of the row above, two columns to the right: PixelCNN's masks never see it
    (1606.05328, fig. 1), and can only guess, at log 2 = 0.693 nats."""
    torch.manual_seed(seed)
    costs = {}
    for name, body in (("masked", Masked(12, 3)), ("gated", GatedStack(1, 12, 3, 3, 3))):
        network = nn.Sequential(body, MaskedConv2d(12, 1, 1, "B"))
        optimizer = torch.optim.Adam(network.parameters(), lr=1e-2)
        for _ in range(100):
            cost = _cost_of_copies(network, 64)
            optimizer.zero_grad()
            cost.backward()
            optimizer.step()
        with torch.no_grad():
            costs[name] = _cost_of_copies(network, 1000).item()
    print(costs)
    measured("nats of a pixel in the blind spot, PixelCNN", costs["masked"], above=0.65)
    measured("nats of a pixel in the blind spot", costs["gated"], below=0.05)


def _cost_of_copies(network, n):
    """Nats for each bit that is a copy."""
    x = torch.randint(2, (n, 1, 7, 7)).float()
    for row in range(1, 7):
        x[:, :, row, :5] = x[:, :, row - 1, 2:]
    logits = network(x * 2 - 1)
    return binary_cross_entropy_with_logits(logits[:, :, 1:, :5], x[:, :, 1:, :5])


@pytest.mark.slow
@pytest.mark.claim
def test_a_digit_is_drawn_of_the_class_that_is_told(measured):
    """A classifier that never saw the model names the class of 1,000 samples (chance: 10 %), and
    the same network, told labels in disorder while it learned, obeys none."""
    data = Digits(binarise="threshold")
    train, test = data.split("train"), data.split("test")
    judge, _ = train_classifier(train.images, train.labels, steps=400)
    x, y = from_uint8(test.images), torch.arange(1000) % 10
    known = (judge.predict_proba(x).argmax(1) == test.labels).float().mean().item()
    measured("held-out digits named by the classifier", known)
    shares, costs = [], []
    for seed in (0, 1, 2):
        torch.manual_seed(seed)
        disorder = train.labels[torch.randperm(len(train.labels))]
        for told in (train.labels, disorder):
            model = GatedPixelCNN((1, 8, 8), 10, levels=2, width=16, layers=3, lr=4e-3)
            optimizer = model.configure_optimizers()
            for _ in range(20):
                for batch in torch.randperm(len(told)).split(32):
                    optimizer.zero_grad()
                    loss = model.bits_per_dim(from_uint8(train.images[batch]), told[batch]).mean()
                    loss.backward()
                    optimizer.step()
            named = judge.predict_proba(model.sample(1000, y)).argmax(1)
            with torch.no_grad():
                nats = -model.log_prob(x, test.labels).mean().item()
            shares.append((named == y).float().mean().item())
            costs.append(nats)
    measured.median("samples named as told", shares[::2], above=0.7)
    for seed, (obeyed, told, untold) in enumerate(
        zip(shares[1::2], costs[::2], costs[1::2], strict=True)
    ):
        measured("named as told, by labels in disorder", obeyed, below=0.2, seed=seed)
        measured("held-out digits, nats", told, seed=seed)
        measured("held-out digits by labels in disorder, nats", untold, seed=seed)
