"""PixelCNN in closed form: every image counted, every dependence differentiated, every cache
compared with the pass that it replaces."""

from math import log

import lightning as L
import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from genzoo.images import from_levels, to_levels
from genzoo.protocols import Completer, Density, Sampler
from genzoo.zoo.autoregressive import PixelCNN
from genzoo.zoo.autoregressive.conditionals import Levels
from genzoo.zoo.networks.masked import MaskedConv2d, caching
from tests.helpers.exact_likelihood import (
    all_images,
    assert_cached_is_naive,
    assert_completion_is_the_sample,
    assert_drawn_as_likely,
    assert_every_open_weight_learns,
    assert_one_pass_is_every_step,
    assert_sums_to_one,
    chi_square,
    dependence,
    dependence_after_training,
)
from tests.helpers.tiny import Tiny

TINY = Tiny(PixelCNN, {"levels": 2, "width": 4, "layers": 3}, {Sampler, Density, Completer})


def small(shape, levels=2, num_classes=0, layers=2, width=9) -> PixelCNN:
    """An untrained model in double precision whose conditionals are far from uniform."""
    model = PixelCNN(shape, num_classes, levels, width=width, layers=layers).double()
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


def test_untaught_softmax_of_equal_logits_costs_log2_of_levels():
    model = small((3, 4, 5), levels=256)
    nn.init.zeros_(model.network.logits.weight)
    nn.init.zeros_(model.network.logits.bias)
    x = torch.rand(6, 3, 4, 5) * 2 - 1
    assert torch.allclose(model.bits_per_dim(x), torch.full((6,), 8.0).double())
    assert torch.allclose(model.log_prob(x), torch.full((6,), -60 * log(256)).double())


def test_images_between_levels_are_rounded():
    model = small((1, 4, 4), levels=4)
    grid = from_levels(torch.randint(4, (5, 1, 4, 4)), 4, torch.float64)
    off = grid + (torch.rand_like(grid) - 0.5) * 0.6 * (2 / 3)
    assert torch.equal(model.log_prob(off.clamp(-1, 1)), model.log_prob(grid))


def test_a_class_changes_the_likelihood_and_its_bias_is_the_same_everywhere():
    model = small((1, 6, 6), num_classes=3)
    x = -torch.ones(3, 1, 6, 6, dtype=torch.float64)
    by_class = model.log_prob(x, torch.arange(3))
    assert (by_class[:, None] - by_class).abs().fill_diagonal_(1).min() > 1e-3
    # Far from the borders a constant image looks the same from everywhere.
    model = small((1, 17, 17), num_classes=3, layers=1)
    x = -torch.ones(1, 1, 17, 17, dtype=torch.float64)
    logits = model.conditionals(x, torch.tensor([1])).logits[0, 0, 5:, 5:-5]
    assert torch.allclose(logits, logits[:1, :1].expand_as(logits))


# What depends on what


@pytest.mark.parametrize("shape", [(1, 5, 6), (3, 3, 4), (2, 4, 3)])
@pytest.mark.parametrize("width", [8, 9])  # 8 features for 3 colours: uneven parts
def test_strictly_causal_and_not_blind(shape, width):
    model = small(shape, levels=3, width=width)
    depends = dependence(model)
    assert not depends.triu().any()
    # Images this small lie within the 7x7 kernel but for corners, so nothing earlier is unseen.
    c, h, w = shape
    i, j = torch.arange(h * w) // w, torch.arange(h * w) % w
    near = (i[:, None] - i <= 3) & ((j[:, None] - j).abs() <= 3)
    near = near.repeat_interleave(c, 0).repeat_interleave(c, 1)
    order = torch.ones_like(depends).tril(-1)
    assert depends[near & order].all()


def test_colours_of_a_pixel_see_the_colours_before_them():
    table = dependence(small((3, 2, 2), levels=4)).view(4, 3, 4, 3)
    for pixel in range(4):
        assert table[pixel, :, pixel].tolist() == [[0, 0, 0], [1, 0, 0], [1, 1, 0]]


def test_stacked_masks_have_a_blind_spot():
    layers = [MaskedConv2d(1, 1, 3, "A"), *(MaskedConv2d(1, 1, 3, "B") for _ in range(6))]
    for layer in layers:
        nn.init.ones_(layer.weight)
    x = torch.zeros(1, 1, 11, 11, requires_grad=True)
    nn.Sequential(*layers)(x)[0, 0, 8, 5].backward()
    seen = x.grad[0, 0] != 0
    assert not seen.flatten()[8 * 11 + 5 :].any()
    assert seen.sum() == 72  # of 93 earlier pixels
    assert not seen[7, 7:].any() and seen[7, :7].all()  # the wedge opens to the upper right
    assert seen[6, :8].all() and not seen[6, 8:].any()


def test_masks_outlive_the_optimizer():
    assert not dependence_after_training(small((3, 3, 3), levels=3)).triu().any()


def test_gradient_reaches_every_weight_that_is_not_masked_away():
    model = small((3, 6, 6), levels=4, num_classes=2)
    with torch.no_grad():
        for layer in model.modules():
            if isinstance(layer, MaskedConv2d):
                layer.weight.mul_(0.1)
                layer.bias.fill_(1)  # no ReLU is dead by chance
    assert_every_open_weight_learns(model)


# Drawing


CASES = [  # image_shape, levels, num_classes, layers
    ((1, 7, 9), 2, 0, 3),
    ((1, 9, 5), 256, 0, 1),
    ((3, 5, 4), 7, 0, 2),
    ((3, 4, 6), 4, 5, 2),
    ((2, 1, 8), 3, 0, 2),
    ((1, 8, 1), 3, 2, 0),
]


@pytest.mark.parametrize(("shape", "levels", "num_classes", "layers"), CASES)
def test_cached_and_naive_draw_the_same_images(shape, levels, num_classes, layers):
    assert_cached_is_naive(small(shape, levels, num_classes, layers))


@pytest.mark.parametrize(("shape", "levels", "num_classes", "layers"), CASES)
def test_cached_logits_are_those_of_one_pass(shape, levels, num_classes, layers):
    model = PixelCNN(shape, num_classes, levels, width=16, layers=layers)
    assert_one_pass_is_every_step(model)


@pytest.mark.parametrize("size", [(1, 5), (3, 1), (5, 3)])
def test_kernels_that_are_not_square_remember_too(size):
    network = nn.Sequential(MaskedConv2d(1, 4, 3, "A"), MaskedConv2d(4, 2, size, "B")).double()
    x = torch.rand(2, 1, 4, 5, dtype=torch.float64)
    with torch.no_grad():
        whole = network(x)
        with caching(network, 5) as place:
            for place.row in range(4):
                for place.column in range(5):
                    here = network(x)[:, :, 0, 0]
                    assert torch.allclose(here, whole[:, :, place.row, place.column], atol=1e-12)


def test_probabilities_of_what_was_drawn_make_its_likelihood():
    assert_drawn_as_likely(small((3, 3, 4), levels=5))


def test_samples_are_as_frequent_as_their_probability():
    assert chi_square(small((1, 2, 2))) < 37.7  # 15 degrees of freedom, p = 0.001


def test_a_level_is_the_inverse_of_the_distribution_function():
    levels = Levels(torch.tensor([0.2, 0.0, 0.5, 0.3, 0.0]).log().expand(8, 5))
    u = torch.tensor([0.0, 0.19, 0.21, 0.69, 0.71, 0.99, 1 - 2**-24, 0.5])
    assert levels.icdf(u).tolist() == [0, 0, 2, 2, 3, 3, 3, 2]


def test_a_level_without_chance_is_never_drawn():
    logits = torch.randn(2000, 256)
    logits[:, 0] = logits[:, 200:] = -torch.inf
    for u in (0.0, 1 - 2**-24):  # the ends of what torch.rand gives
        drawn = Levels(logits).icdf(torch.full((2000,), u))
        assert drawn.min() > 0 and drawn.max() < 200


def test_same_seed_same_images_and_the_label_matters():
    model = small((1, 5, 5), num_classes=4)
    uniforms = torch.rand(4, 5, 5, 1)
    torch.manual_seed(5)
    a = model.sample(4)
    torch.manual_seed(5)
    assert torch.equal(a, model.sample(4))
    one, other = (model.sample(4, torch.full((4,), k), uniforms=uniforms) for k in (0, 3))
    assert not torch.equal(one, other)


def test_drawing_leaves_mode_gradients_and_threads_as_they_were():
    model, threads = small((1, 3, 3)), torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        model.train().sample(2)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)
    assert model.training and torch.is_grad_enabled()
    model.bits_per_dim(model.sample(2)).mean().backward()


def test_a_bar_over_rows(capsys):
    small((1, 3, 3)).sample(1, progress=True)
    assert "rows" in capsys.readouterr().err
    small((1, 3, 3)).sample(1)
    assert capsys.readouterr().err == ""


# Completion


@pytest.mark.parametrize("method", ["cached", "naive"])
def test_completion_is_the_sample_with_the_same_beginning(method):
    model = small((3, 4, 5), levels=4, num_classes=2)
    assert_completion_is_the_sample(model, 11, method)


def test_completion_leaves_known_pixels_untouched():
    model = small((3, 4, 4), levels=3)
    x, mask = torch.rand(5, 3, 4, 4).double() * 2 - 1, torch.rand(5, 1, 4, 4) < 0.5
    filled = model.complete(x, mask.float())
    known = mask.expand_as(x)
    assert torch.equal(filled[known], x[known])  # to the bit, though off the grid of levels
    assert not torch.isclose(filled, x)[~known].any()


def test_completion_draws_from_the_posterior():
    model = small((1, 2, 2), levels=2)
    images = all_images((1, 2, 2), 2)  # the first eight begin with -1, -1 or -1, 1
    p = model.log_prob(images).exp()[4:8]  # -1, 1, ?, ?
    mask = torch.tensor([1.0, 1.0, 0.0, 0.0]).view(1, 1, 2, 2).expand(20_000, -1, -1, -1)
    x = model.complete(images[4:5].expand(20_000, -1, -1, -1), mask)
    counts = torch.bincount((to_levels(x, 2).flatten(1)[:, 2:] * torch.tensor([2, 1])).sum(1))
    expected = 20_000 * p / p.sum()
    assert ((counts - expected) ** 2 / expected).sum() < 16.3  # 3 degrees of freedom, p = 0.001


# Around it


def test_abilities():
    model = small((1, 3, 3))
    for ability in (Sampler, Density, Completer):
        assert isinstance(model, ability)


def test_training_logs_and_comes_back_from_its_checkpoint(tmp_path):
    x = torch.randint(2, (24, 1, 5, 5)) * 2.0 - 1
    data = DataLoader(TensorDataset(x, torch.arange(24) % 3), batch_size=10)
    model = PixelCNN((1, 5, 5), num_classes=3, levels=2, width=6, layers=1)
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    trainer = L.Trainer(max_epochs=2, accelerator="cpu", default_root_dir=tmp_path, **quiet)
    trainer.fit(model, data, data)
    assert "loss/bits_per_dim" in trainer.logged_metrics
    (found,) = trainer.test(model, data, verbose=False)
    y = torch.arange(24) % 3
    with torch.no_grad():  # batches of 10, 10 and 4: each image counts once
        assert found["bits_per_dim"] == pytest.approx(model.bits_per_dim(x, y).mean().item())
        assert found["nats"] == pytest.approx(-model.log_prob(x, y).mean().item())
    path = tmp_path / "last.ckpt"
    trainer.save_checkpoint(path)
    again = PixelCNN.load_from_checkpoint(path, weights_only=True)
    assert (again.image_shape, again.levels, again.num_classes) == ((1, 5, 5), 2, 3)
    assert torch.equal(again.log_prob(x, y), model.log_prob(x, y))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m: PixelCNN((1, 4, 4), levels=1), r"levels must be in 2\.\.256, got 1"),
        (lambda m: PixelCNN((1, 4, 4), levels=257), r"levels must be in 2\.\.256, got 257"),
        (lambda m: PixelCNN((4,)), r"image_shape must be \(C, H, W\), got \(4,\)"),
        (lambda m: PixelCNN((3, 4, 4), width=2), r"channels must be at least one for each of 3"),
        (lambda m: m.log_prob(torch.zeros(2, 3, 4, 4), torch.zeros(2).long()), r"\(n, 1, 4, 4\)"),
        (lambda m: m.log_prob(torch.full((2, 1, 4, 4), 255.0)), r"images in \[-1, 1\]"),
        (lambda m: m.log_prob(torch.zeros(2, 1, 4, 4)), r"y must be labels in 0\.\.2, got None"),
        (lambda m: m.log_prob(torch.zeros(1, 1, 4, 4), torch.tensor([-1])), r"y must be in 0\.\.2"),
        (lambda m: m.sample(1, torch.tensor([3])), r"y must be in 0\.\.2, got 3"),
        (lambda m: m.sample(2, method="quick"), r"method must be 'cached' or 'naive', got 'quick'"),
        (lambda m: m.sample(2, uniforms=torch.rand(2, 1, 4, 4)), r"uniforms must have shape"),
        (lambda m: m.complete(torch.zeros(2, 1, 4, 4), torch.ones(4, 4)), r"mask must be \(2, 1"),
        (lambda m: MaskedConv2d(1, 1, 4, "A"), r"kernel_size must be odd, got 4"),
        (lambda m: MaskedConv2d(1, 1, 3, "C"), r"kind must be 'A' or 'B', got 'C'"),
    ],
)
def test_errors_say_what_is_wrong(call, message):
    with pytest.raises(ValueError, match=message):
        call(PixelCNN((1, 4, 4), num_classes=3, levels=2, width=4, layers=1))


def test_an_unconditional_model_takes_labelled_batches_and_draws_no_class():
    model = small((1, 3, 3))
    x = torch.ones(2, 1, 3, 3)
    assert torch.equal(model.log_prob(x, torch.tensor([-1, 7])), model.log_prob(x))
    with pytest.raises(ValueError, match="unconditional"):
        model.sample(2, torch.tensor([0, 1]))


def test_a_network_that_cannot_remember_is_refused_and_draws_naively():
    model = small((1, 3, 3))
    model.network.mix = nn.Conv2d(18, 18, 3, padding=1).double()
    with pytest.raises(TypeError, match="network.mix remembers nothing"):
        model.sample(1)
    assert model.sample(1, method="naive").shape == (1, 1, 3, 3)


# The claim


@pytest.mark.claim
@pytest.mark.parametrize("seeds", [(0,), pytest.param((0, 1, 2), marks=pytest.mark.slow)], ids=len)
def test_context_beats_independent_pixels_on_digits(seeds, measured):
    """Held-out digits cost an independent Bernoulli for each pixel about 25 nats."""
    digits = np.unique(load_digits().data >= 8, axis=0)  # some occur twice: held out is held out
    costs = [_held_out(torch.from_numpy(digits).float() * 2 - 1, seed) for seed in seeds]
    for seed, (independent, model) in enumerate(costs):
        measured("independent pixels", independent, above=24, below=27, seed=seed)
        measured("nats of held-out digits", model, below=independent, seed=seed)
    measured.median("nats of held-out digits", [model for _, model in costs], below=21)


def _held_out(x, seed):
    """Nats of 200 digits: of independent pixels, and of the best of 12 epochs on 200 others."""
    torch.manual_seed(seed)
    x = x[torch.randperm(len(x))].view(-1, 1, 8, 8)
    train, validation, test = x[:-400], x[-400:-200], x[-200:]
    chance = torch.distributions.Bernoulli(((train + 1) / 2).mean(0).clamp(1e-3, 1 - 1e-3))
    independent = -chance.log_prob((test + 1) / 2).flatten(1).sum(1).mean().item()
    model = PixelCNN((1, 8, 8), levels=2, width=24, layers=2, lr=3e-3)
    optimizer, best = model.configure_optimizers(), (float("inf"), float("inf"))
    for _ in range(12):
        for batch in train[torch.randperm(len(train))].split(32):
            optimizer.zero_grad()
            model.bits_per_dim(batch).mean().backward()
            optimizer.step()
        with torch.no_grad():
            cost = tuple(-model.log_prob(part).mean().item() for part in (validation, test))
        best = min(best, cost)
    return independent, best[1]
