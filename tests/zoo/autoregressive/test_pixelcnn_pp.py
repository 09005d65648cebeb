"""PixelCNN++: the mixture in closed form, the order of a network of three sizes, and its memory."""

import numpy as np
import pytest
import torch
from scipy.special import expit

from genzoo.datamodules import Digits
from genzoo.images import from_levels, from_uint8, to_levels
from genzoo.protocols import Completer, Density, Sampler
from genzoo.zoo.autoregressive import PixelCNNpp
from genzoo.zoo.autoregressive.conditionals import Levels
from genzoo.zoo.logistic import LogisticMixture, log_cell
from genzoo.zoo.networks.masked import MaskedConv2d
from tests.helpers.exact_likelihood import (
    assert_cached_is_naive,
    assert_completion_is_the_sample,
    assert_drawn_as_likely,
    assert_one_pass_is_every_step,
    chi_square,
    nats,
    probabilities,
)
from tests.helpers.tiny import Tiny

TINY = Tiny(
    PixelCNNpp,
    {"levels": 2, "width": 4, "layers": 1, "dropout": 0.0, "ema_decay": 0.0},
    {Sampler, Density, Completer},
)


def small(shape, levels=2, num_classes=0, **settings) -> PixelCNNpp:
    """An untrained model in double precision whose conditionals are far from uniform."""
    sizes = {"width": 8, "layers": 1, "mixtures": 3, "dropout": 0.0, "ema_decay": 0.0, **settings}
    model = PixelCNNpp(shape, num_classes, levels, **sizes).double()
    with torch.no_grad():
        model.network.outputs.weight.mul_(20)
    return model


# The mixture


def mixture(levels, *shape, mixtures=4, spread=3.0) -> LogisticMixture:
    weights, means, log_scales = torch.randn(3, *shape, mixtures).double() * spread
    return LogisticMixture(weights.log_softmax(-1), means, log_scales, levels)


def every_level(levels: int, n: int) -> torch.Tensor:
    return torch.arange(levels)[:, None].expand(levels, n)


@pytest.mark.parametrize("levels", [2, 5, 256])
def test_levels_sum_to_one_and_their_sums_are_the_distribution_function(levels):
    p = mixture(levels, 50)
    chance = p.log_prob(every_level(levels, 50)).exp()
    torch.testing.assert_close(chance.sum(0), torch.ones(50).double(), rtol=0, atol=1e-12)
    below = p.cdf(every_level(levels, 50))
    torch.testing.assert_close(below, chance.cumsum(0), rtol=0, atol=1e-12)
    assert (below[-1] == 1).all()


@pytest.mark.parametrize("log_scale", [-7.0, -3.0, 0.0, 5.0, 10.0])
def test_a_cell_is_a_difference_of_sigmoids_and_finite_where_that_underflows(log_scale):
    level, mean = every_level(256, 5), torch.tensor([-1.0, -0.3, 0.0, 0.71, 4.0]).double()
    scale = torch.full((5,), log_scale).double()
    nats = log_cell(level, mean, scale, 256)
    x = np.linspace(-1, 1, 256)[:, None] - mean.numpy()
    above = expit((x + 1 / 255) / np.exp(log_scale))
    below = expit((x - 1 / 255) / np.exp(log_scale))
    above[-1], below[0] = 1, 0
    torch.testing.assert_close(nats.exp(), torch.from_numpy(above - below), rtol=0, atol=1e-12)
    assert torch.isfinite(nats).all() and torch.isfinite(log_cell(level, mean, scale, 256)).all()
    # In single precision sigmoids 1,000 scales away cancel; the logarithm is still right.
    single = log_cell(level, mean.float(), scale.float(), 256)
    torch.testing.assert_close(single.double(), nats, rtol=1e-3, atol=1e-3)


def test_gradients_are_finite_at_the_ends_and_far_out():
    mean = torch.tensor([-50.0, -1.0, 0.0, 1.0, 50.0], requires_grad=True)
    log_scale = torch.tensor([-7.0, -7.0, 2.0, -7.0, -7.0], requires_grad=True)
    log_cell(every_level(256, 5), mean, log_scale, 256).sum().backward()
    assert torch.isfinite(mean.grad).all() and torch.isfinite(log_scale.grad).all()


@pytest.mark.parametrize("levels", [2, 7, 256])
def test_a_level_is_the_inverse_of_the_distribution_function(levels):
    p = mixture(levels, 40)
    u = torch.rand(300, 40).double()
    u[0], u[1] = 0, 1 - 2**-53
    drawn = p.icdf(u)
    below = p.cdf(every_level(levels, 40))
    expected = (below[None] <= u[:, None]).sum(1)
    assert torch.equal(drawn, expected.clamp(max=levels - 1))


def test_colours_share_a_component_and_move_as_equation_3():
    """The chain of conditionals is the explicit sum over components of whole pixels."""
    levels, k = 6, 4
    parameters = torch.randn(5, 10 * k, 1, 1).double() * 2
    level = torch.randint(levels, (5, 3, 1, 1))
    x = from_levels(level, levels, torch.float64)
    p = LogisticMixture.of_pixels(parameters, x, levels)
    chained = p.log_prob(level).sum((1, 2, 3))
    parts = parameters.view(5, 10, k)
    (r, g, _), (a, b, c) = x[..., 0].unbind(1), parts[:, 7:].tanh().unbind(1)
    moved = torch.stack((torch.zeros_like(a), a * r, b * r + c * g), 1)
    means, log_scales = parts[:, 1:4] + moved, parts[:, 4:7].clamp(min=-7)
    cells = log_cell(level.view(5, 3, 1), means, log_scales, levels)
    joint = (parts[:, 0].log_softmax(-1) + cells.sum(1)).logsumexp(-1)
    torch.testing.assert_close(chained, joint)


# The likelihood


@pytest.mark.parametrize(
    ("shape", "levels", "num_classes"),
    [((1, 3, 3), 2, 0), ((3, 1, 2), 2, 0), ((3, 2, 1), 2, 3), ((2, 2, 2), 3, 0)],
)
def test_probabilities_of_all_images_sum_to_one(shape, levels, num_classes):
    model = small(shape, levels, num_classes)
    for label in range(num_classes) if num_classes else [None]:
        p = probabilities(model, label)
        assert abs(p.sum().item() - 1) < 1e-10
        assert p.max() > 3 / len(p)  # not merely uniform


def seen(model: PixelCNNpp, pixel: int) -> torch.Tensor:
    """Which pixels (H * W,) what is said of one depends on."""
    x = torch.rand(1, *model.image_shape, dtype=torch.float64, requires_grad=True)
    said = model.network(x)[0].flatten(1)[:, pixel]
    (slope,) = torch.autograd.grad(said @ torch.randn_like(said), x)
    return (slope[0] != 0).any(0).flatten()


@pytest.mark.parametrize("stages", [0, 1, 2])
@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 5, 7), (1, 1, 9), (2, 9, 1)])
def test_depends_on_all_that_comes_before_and_on_nothing_else(shape, stages):
    # So many layers that the whole of these images lies within reach.
    model, pixels = small(shape, stages=stages, layers=3, width=4), shape[1] * shape[2]
    depends = torch.stack([seen(model, pixel) for pixel in range(pixels)])
    assert torch.equal(depends, torch.ones_like(depends).tril(-1))


def test_halving_widens_what_is_seen():
    """With one layer at each size, the last pixel of 24x24 sees further up and left."""
    count = [seen(small((1, 24, 24), stages=n, layers=1), 575).sum() for n in (0, 1, 2)]
    print(count)
    assert 2 * count[0] < count[1] and 1.3 * count[1] < count[2]


def test_the_average_of_the_weights_is_what_evaluation_sees():
    model = small((1, 4, 4), ema_decay=0.9, width=4, ema_warmup=False)
    optimizer, x = model.configure_optimizers(), torch.ones(2, 1, 4, 4).double()
    expected = None
    for _ in range(3):
        optimizer.zero_grad()
        model.bits_per_dim(x).mean().backward()
        optimizer.step()
        weight = model.network.outputs.weight.detach().clone()
        expected = weight if expected is None else 0.9 * expected + 0.1 * weight
    torch.testing.assert_close(model.ema.module.outputs.weight, expected)
    raw = model.train().log_prob(x)
    averaged = model.eval().log_prob(x)
    assert (raw - averaged).abs().min() > 1e-3
    model.network.load_state_dict(model.ema.module.state_dict())
    torch.testing.assert_close(model.train().log_prob(x), averaged)


def test_dropout_is_for_training_only():
    model = small((1, 4, 4), dropout=0.5)
    x = torch.ones(1, 1, 4, 4).double()
    assert model.train().log_prob(x) != model.log_prob(x)
    assert model.eval().log_prob(x) == model.log_prob(x)


# Drawing


CASES = [  # image_shape, levels, num_classes, stages
    ((1, 8, 8), 2, 0, 2),
    ((1, 7, 9), 256, 0, 2),
    ((3, 5, 6), 7, 5, 1),
    ((2, 1, 8), 3, 0, 2),
    ((1, 9, 1), 3, 2, 2),
    ((1, 13, 11), 4, 0, 3),
    ((3, 4, 4), 256, 0, 0),
]


@pytest.mark.parametrize(("shape", "levels", "num_classes", "stages"), CASES)
def test_cached_and_naive_draw_the_same_images(shape, levels, num_classes, stages):
    assert_cached_is_naive(small(shape, levels, num_classes, stages=stages))


@pytest.mark.parametrize(("shape", "levels", "num_classes", "stages"), CASES)
def test_cached_probabilities_are_those_of_one_pass(shape, levels, num_classes, stages):
    model = small(shape, levels, num_classes, stages=stages).float()
    assert_one_pass_is_every_step(model, atol=1e-3, seen_of=nats)
    assert_one_pass_is_every_step(model.double(), atol=1e-10, seen_of=nats)


def test_the_average_is_remembered_too():
    assert_cached_is_naive(small((1, 6, 6), levels=9, ema_decay=0.99))


def test_probabilities_of_what_was_drawn_make_its_likelihood():
    assert_drawn_as_likely(small((3, 3, 4), levels=5))


def test_samples_are_as_frequent_as_their_probability():
    few = {"stages": 1, "width": 4}
    assert chi_square(small((1, 2, 2), **few)) < 37.7  # 15 degrees of freedom, p = 0.001
    assert chi_square(small((2, 1, 1), levels=4, **few)) < 37.7  # colours depend on each other


@pytest.mark.parametrize("method", ["cached", "naive"])
def test_completion_is_the_sample_with_the_same_beginning(method):
    model = small((3, 5, 6), levels=4, num_classes=2)
    assert_completion_is_the_sample(model, 14, method)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"layers": 0}, r"layers must be at least 1, got 0"),
        ({"mixtures": 0}, r"mixtures must be at least 1, got 0"),
        ({"stages": -1}, r"stages must be 0 or more, got -1"),
        ({"dropout": 1.0}, r"dropout must be in \[0, 1\), got 1.0"),
        ({"ema_decay": 1.0}, r"ema_decay must be in \[0, 1\), got 1.0"),
    ],
)
def test_impossible_settings_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        PixelCNNpp((1, 4, 4), **settings)


# The claim


class Softmax(PixelCNNpp):
    """The same network with a class for each level, as PixelCNN."""

    def __init__(self, *settings, **others):
        super().__init__(*settings, **others)
        self.network.outputs = MaskedConv2d(self.network.outputs.in_channels, self.levels, 1, "B")

    def conditionals(self, x, y=None) -> Levels:
        return Levels(self.network(x, y).movedim(1, -1)[:, None])


@pytest.mark.claim
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_levels_never_seen_are_as_likely_as_their_neighbours(seed, measured):
    """Trained on digits whose levels, of 17, were all made even, tested on digits as they are: a
    softmax has learned that odd levels do not occur, a mixture cannot (sec. 2.1)."""
    data = Digits()
    train, test = (to_levels(from_uint8(data.split(part).images), 17) for part in ("train", "test"))
    even, original = from_levels(train // 2 * 2, 17), from_levels(test, 17)
    assert (test % 2 == 1).float().mean() > 0.2
    costs = {}
    for Model in (Softmax, PixelCNNpp):
        torch.manual_seed(seed)
        plain = {"dropout": 0.0, "ema_decay": 0.0, "layers": 1, "stages": 1, "mixtures": 5}
        model = Model((1, 8, 8), levels=17, width=12, lr=1e-2, **plain)
        optimizer = model.configure_optimizers()
        for _ in range(2):
            for batch in even[torch.randperm(len(even))].split(64):
                optimizer.zero_grad()
                model.bits_per_dim(batch).mean().backward()
                optimizer.step()
        with torch.no_grad():
            on_even = model.bits_per_dim(from_levels(test // 2 * 2, 17)).mean().item()
            costs[Model] = model.bits_per_dim(original).mean().item()
        print(f"{Model.__name__}: {costs[Model]:.2f} bits/dim, on even levels {on_even:.2f}")
    mixture = measured("bits/dim of unseen levels (uniform 4.09)", costs[PixelCNNpp], below=3)
    measured("by a softmax", costs[Softmax], above=1.5 * mixture)
