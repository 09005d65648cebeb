"""What steadies any discriminator: what it promises exactly, and what it is worth."""

import pytest
import torch
from sklearn.datasets import load_digits
from torch import nn

from genzoo.zoo.gan import DCGAN, EBGAN, GAN, WGANGP
from genzoo.zoo.inference import VAEGAN, BiGAN
from genzoo.zoo.networks.regularisation import CHANGES, cutout, translation
from tests.toys import fit, loader

# Spectral normalisation


def steepest(model, x):
    """The largest norm of the score's gradient at these images."""
    x = x.clone().requires_grad_()
    (slope,) = torch.autograd.grad(model.eval().verdict(x).sum(), x)
    return slope.flatten(1).norm(dim=1).max().item()


@pytest.mark.parametrize("network", ["mlp", "conv"])
def test_a_normal_score_has_slope_one_however_it_is_driven(network):
    data = loader(torch.rand(64, 1, 8, 8) * 2 - 1, 32)
    x = torch.cat([batch for batch, _ in data])
    slopes = {}
    for normal in (False, True):
        torch.manual_seed(0)
        model = GAN((1, 8, 8), network=network, width=16, lr=1e-2, spectral_norm=normal)
        fit(model, data, 60)
        slopes[normal] = steepest(model, x)
    assert slopes[True] < 1.05 < 1.5 < slopes[False]


def test_every_weight_has_largest_singular_value_one():
    model = DCGAN((1, 16, 16), width=8, spectral_norm=True)
    fit(model, loader(torch.rand(32, 1, 16, 16) * 2 - 1), 20)
    layers = [m for m in model.discriminator.modules() if isinstance(m, nn.Conv2d)]
    assert len(layers) == 3
    for layer in layers:
        largest = torch.linalg.matrix_norm(layer.weight.flatten(1), ord=2)
        assert largest.item() == pytest.approx(1, abs=0.05)
    assert not any(isinstance(m, nn.BatchNorm2d) for m in model.discriminator.modules())


def test_an_encoder_is_not_held_back():
    model = BiGAN((1, 8, 8), spectral_norm=True, augment=("cutout",))
    assert "original" in " ".join(dict(model.discriminator.named_parameters()))
    assert "original" not in " ".join(dict(model.encoder.named_parameters()))
    x = torch.rand(5, 1, 8, 8)
    assert torch.equal(model.encoder.train()(x), model.encoder.eval()(x))


# The penalty R1: a generator that is one point, a discriminator that is one line


class Point(nn.Module):
    def __init__(self, *numbers):
        super().__init__()
        self.place = nn.Parameter(torch.ones(1, 1))

    def forward(self, z):
        return self.place.expand(len(z), 1)


class Line(nn.Module):
    def __init__(self, *numbers):
        super().__init__()
        self.slope = nn.Parameter(torch.ones(1))

    def forward(self, x):
        return (self.slope * x).squeeze(1)


class DiracGAN(GAN):
    """Mescheder et al., 2018, https://arxiv.org/abs/1801.04406, sec. 2."""

    Generator, Discriminator = Point, Line

    def optimizer(self, player):
        return torch.optim.SGD(player.parameters(), lr=0.1)

    def distance(self):
        return torch.hypot(self.generator.place, self.discriminator.slope).item()


def test_the_penalty_is_half_gamma_times_the_squared_slope():
    model = DiracGAN((1,), r1=3.0)
    model.discriminator.slope.data.fill_(0.7)
    penalty = model.slope_penalty((torch.randn(9, 1), None))
    assert penalty.item() == pytest.approx(3 / 2 * 0.7**2)
    penalty.backward()
    assert model.discriminator.slope.grad.item() == pytest.approx(3 * 0.7)


@pytest.mark.claim
def test_without_the_penalty_a_game_circles_and_with_it_converges():
    data = loader(torch.zeros(8, 1))
    circling, damped = DiracGAN((1,)), DiracGAN((1,), r1=1.0)
    for model in (circling, damped):
        fit(model, data, 200)
    assert damped.distance() < 0.01
    assert circling.distance() > 0.5


# Augmentation


def test_translation_moves_whole_images_and_fills_with_grey():
    x = torch.rand(200, 2, 16, 16) + 1
    moved = translation(x)
    shifts = set()
    for before, after in zip(x, moved, strict=True):
        padded = nn.functional.pad(before, (2, 2, 2, 2))
        windows = padded.unfold(1, 16, 1).unfold(2, 16, 1)  # (C, 5, 5, 16, 16)
        same = (windows == after[:, None, None]).all(-1).all(-1).all(0).nonzero().tolist()
        assert len(same) == 1
        shifts.add(tuple(same[0]))
    assert len(shifts) == 25


def test_cutout_hides_one_square():
    hidden = cutout(torch.ones(500, 1, 16, 16)) == 0
    rows, columns = hidden.any(-1).sum(-1), hidden.any(-2).sum(-1)
    assert torch.equal(hidden.sum((-2, -1)), rows * columns)
    assert rows.max() == columns.max() == 8 and rows.min() >= 4
    assert hidden.float().mean((0, 1)).min() > 0.05  # any pixel may be hidden


@pytest.mark.parametrize("change", CHANGES)
def test_changes_pass_gradients_and_are_of_each_image_alone(change):
    x = torch.rand(6, 3, 8, 8, requires_grad=True)
    seen = CHANGES[change](x)
    assert seen.shape == x.shape and not torch.equal(seen, x)
    (slope,) = torch.autograd.grad(seen[0].square().sum(), x)
    assert slope[0].abs().sum() > 0 and slope[1:].abs().sum() == 0


def test_only_training_sees_changes():
    model = DCGAN((1, 8, 8), augment=tuple(CHANGES))
    x = torch.rand(4, 1, 8, 8)
    assert torch.equal(model.score(x), model.score(x))
    model.train()
    assert not torch.equal(model.verdict(x), model.verdict(x))


@pytest.mark.parametrize(
    ("model_class", "why"),
    [(EBGAN, "come back as it was"), (VAEGAN, "must be the same each time")],
)
def test_what_cannot_be_augmented_says_so(model_class, why):
    with pytest.raises(ValueError, match=f"augment must be empty: .*{why}"):
        model_class((1, 8, 8), augment=("colour",))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (dict(augment=("blur",)), "augment must be of colour, translation, cutout, got blur"),
        (dict(r1=-1.0), "r1 must be 0 or more, got -1.0"),
    ],
)
def test_bad_settings(settings, message):
    with pytest.raises(ValueError, match=message):
        GAN((1, 8, 8), **settings)


def test_points_are_not_augmented():
    with pytest.raises(ValueError, match="augment must be empty for points, got cutout"):
        WGANGP((2,), augment=("cutout",))


@pytest.mark.claim
@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_few_images_are_not_learned_by_heart(seed):
    """The share of held-out digits that score below the median of 25 trained on; 0.5 is fair."""
    digits = torch.tensor(load_digits().images, dtype=torch.float32)[:, None] / 8 - 1
    train, held_out = digits[:25], digits[25:]
    below = {}
    for policy in ((), ("translation", "cutout")):
        torch.manual_seed(seed)
        model = GAN((1, 8, 8), network="conv", width=16, lr=1e-3, augment=policy)
        fit(model, loader(train.repeat(20, 1, 1, 1), 25), 800)
        below[policy] = (model.score(held_out) < model.score(train).median()).float().mean().item()
    assert below["translation", "cutout"] < 0.6 < 0.75 < below[()]
