"""What steadies any discriminator: what it promises exactly, and what it is worth."""

import copy
import dataclasses
import pickle

import pytest
import torch
import yaml
from sklearn.datasets import load_digits
from torch import nn
from torch.nn.utils import parametrize

from genzoo.zoo import load_model
from genzoo.zoo.base import VERSION
from genzoo.zoo.conditional import ACGAN, AMGAN, CatGAN
from genzoo.zoo.gan import DCGAN, EBGAN, FGAN, GAN, WGAN, WGANGP, ImprovedGAN
from genzoo.zoo.inference import LFVI, VAEGAN, BiGAN
from genzoo.zoo.networks import Regularisation
from genzoo.zoo.networks.minibatch import MinibatchDiscrimination
from genzoo.zoo.networks.regularisation import CHANGES, LAYERS, NORMS, cutout, translation
from tests.helpers.command_lines import FAST
from tests.helpers.models import GAMES, TINY, batches, build
from tests.helpers.training import bits, fit, loader, trainer

ALL = {"spectral_norm": True, "augment": ("cutout", "colour"), "instance_noise": 0.3}

# Spectral normalisation


def steepest(model, x):
    """The largest norm of the score's gradient at these images, of labels 0, 1, 2 in turn."""
    y = torch.arange(len(x)) % 3
    x, *rest = (
        part.detach() if isinstance(part, torch.Tensor) else part
        for part in model.eval().real(*model.conditioned((x, y)))
    )
    x.requires_grad_()
    (slope,) = torch.autograd.grad(model.raw_scores(x, *rest).sum(), x)
    return slope.flatten(1).norm(dim=1).max().item()


def normal(name, **settings):
    """Such a model with spectral_norm, or None where it is refused."""
    try:
        return build(name, spectral_norm=True, **settings)
    except ValueError as error:
        assert f"spectral_norm must be {TINY[name].refuses['spectral_norm']}" in str(error)
        return None


@pytest.mark.parametrize("name", GAMES)
def test_no_weight_on_the_way_to_a_score_is_left_out(name):
    """Weights ten times as large, and the score is as flat as ever: it is normal to its end."""
    for num_classes in (0, 3):
        if (model := normal(name, num_classes=num_classes)) is None:
            return
        x, y = torch.rand(32, 1, 8, 8) * 2 - 1, torch.arange(32) % 3
        with torch.no_grad():
            for parameter in model.discriminator.parameters():
                parameter.copy_(10 * torch.randn_like(parameter))
            for _ in range(10):  # so that the largest singular values are found
                model.train().raw_scores(*model.real(*model.conditioned((x, y))))
        assert steepest(model, x) < 1.05
        layers = [m for m in model.discriminator.modules() if isinstance(m, LAYERS)]
        assert layers and all(parametrize.is_parametrized(m, "weight") for m in layers)
        assert not any(isinstance(m, NORMS) for m in model.discriminator.modules())


def test_closeness_to_a_batch_is_held_back_too():
    """Of images that are nearly the same each moves the scores of all."""
    slopes = {}
    for limited in (False, True):
        torch.manual_seed(0)
        layer = MinibatchDiscrimination(6, 40, 5)
        score = nn.Linear(46, 1)
        nn.init.ones_(score.weight)
        judge = nn.Sequential(layer, score)
        Regularisation(spectral_norm=limited).wrap(judge)
        x = (0.1 * torch.randn(32, 6)).requires_grad_()
        for _ in range(20):
            total = judge.train()(x).sum()
        (slope,) = torch.autograd.grad(total, x)
        slopes[limited] = slope.norm(dim=1).max().item()
    assert slopes[True] <= 1.05 and slopes[False] > 20


@pytest.mark.slow
@pytest.mark.parametrize("name", GAMES)
def test_a_trained_score_of_any_game_has_slope_one(name):
    for num_classes in (0, 3):
        if (model := normal(name, num_classes=num_classes, lr=2e-3)) is None:
            return
        data = loader(torch.rand(64, 1, 8, 8) * 2 - 1, 32)
        fit(model, data, 60)
        assert steepest(model, torch.cat([batch for batch, _ in data])) < 1.05


@pytest.mark.parametrize("network", ["conv", "residual"])
def test_a_bias_that_a_norm_had_made_up_for_comes_back(network):
    model = GAN((1, 16, 16), 3, network=network, width=4, spectral_norm=True)
    kinds = nn.Conv2d | nn.Linear
    layers = [m for m in model.discriminator.modules() if isinstance(m, kinds)]
    assert len(layers) > 2 and all(layer.bias is not None for layer in layers)
    plain = GAN((1, 16, 16), 3, network=network, width=4).discriminator
    without = sum(m.bias is None for m in plain.modules() if isinstance(m, kinds))
    assert without == (1 if network == "conv" else 0)
    added = [layer.bias for layer in layers if not layer.bias.any()]
    assert len(added) >= without


@pytest.mark.parametrize("name", [*GAMES, "PixelCNNpp"])
def test_every_model_pickles(name):
    """To a process of its own, say: whatever it was given, with the state that it has."""
    model = None
    for setting in (ALL, {"spectral_norm": True}, {}):
        try:
            model = build(name, ema_decay=0.9, **setting)
            break
        except (ValueError, TypeError):  # what cannot be augmented says so, in a test of its own
            continue
    fit(model, batches(name), steps=2)
    torch.manual_seed(1)
    expected = model.sample(3)
    for again in (pickle.loads(pickle.dumps(model.cpu())), copy.deepcopy(model)):
        torch.manual_seed(1)
        assert torch.equal(again.sample(3), expected)
        assert again.ema.updates == model.ema.updates == 2
        state = again.state_dict()
        assert all(torch.equal(v, state[key]) for key, v in model.state_dict().items())
        if name != "PixelCNNpp":
            x = torch.rand(4, 1, 8, 8) * 2 - 1
            seen = [
                part.detach() if isinstance(part, torch.Tensor) else part
                for part in model.real(*model.conditioned((x, torch.arange(4) % 3)))
            ]
            if name in ("AAE", "BiGAN", "ALI", "LFVI"):  # a code is drawn, or comes by way of E
                seen = seen[:1] if name == "AAE" else seen
            assert torch.equal(model.eval().raw_scores(*seen), again.eval().raw_scores(*seen))
            fit(again, batches(name), steps=1)


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
    assert model.regularisation == Regularisation(r1=3.0)
    model.discriminator.slope.data.fill_(0.7)
    penalty = model.slope_penalty((torch.randn(9, 1), None))
    assert penalty.item() == pytest.approx(3 / 2 * 0.7**2)
    penalty.backward()
    assert model.discriminator.slope.grad.item() == pytest.approx(3 * 0.7)


@pytest.mark.parametrize("name", GAMES)
def test_where_r1_is_accepted_it_is_paid(name, monkeypatch):
    """By one player, for the slope at data; else it is refused in one line."""
    try:
        model = build(name, r1=10.0)
        paid = []
        penalty = model.slope_penalty
        monkeypatch.setattr(model, "slope_penalty", lambda b: paid.append(penalty(b)) or paid[-1])
        fit(model, batches(name), steps=2)
    except ValueError as error:
        assert f"r1 must be {TINY[name].refuses['r1']}" in str(error)
        return
    assert len(paid) >= 1 and all(cost > 0 for cost in paid)


def test_a_lazy_penalty_is_paid_at_every_kth_batch_k_times(tmp_path):
    def watched(**settings):
        model, paid = DiracGAN((1,), r1=1.0, **settings), []
        model.slope_penalty = lambda batch: (
            paid.append(model.trainer.global_step)
            or (0 * model.discriminator.slope.sum() + model.discriminator.slope.sum())
        )
        return model, paid

    data = loader(torch.zeros(80, 1))
    lazy = {"regularisation": {"r1_every": 3}}
    whole, paid = watched(**lazy)
    fit(whole, data, 8)
    assert paid == [0, 3, 6]
    # A slope of 1 for the penalty moves D by k times its rate, beside what the game moves it by.
    for every, batches_ in ((1, 1), (3, 1)):
        with_penalty, _ = watched(regularisation={"r1_every": every})
        without = DiracGAN((1,))
        for model in (with_penalty, without):
            fit(model, data, batches_)
        apart = without.discriminator.slope - with_penalty.discriminator.slope
        assert apart.item() == pytest.approx(0.1 * every, rel=1e-4)
    first, before = watched(**lazy)
    fit(first, data, 4).save_checkpoint(tmp_path / "m.ckpt")
    second, after = watched(**lazy)
    runner = trainer(max_epochs=9, max_steps=8)
    runner.fit(second, data, ckpt_path=tmp_path / "m.ckpt", weights_only=True)
    assert before + after == paid


@pytest.mark.parametrize(
    ("model_class", "settings"),
    [(DCGAN, {}), (GAN, {"network": "conv"}), (CatGAN, {"network": "mlp"})],
)
def test_r1_and_batch_normalisation_are_refused(model_class, settings):
    """Each image's slope must be its own, which a batch's statistics tie to the others'."""
    data = loader(bits(16, (1, 16, 16)))
    model = model_class((1, 16, 16), width=4, latent_dim=2, r1=1.0, **settings)
    with pytest.raises(ValueError, match="r1 must be 0 for a discriminator with batch normal"):
        fit(model, data, 1)
    model = model_class((1, 16, 16), width=4, latent_dim=2, r1=1.0, spectral_norm=True, **settings)
    fit(model, data, 1)
    fit(WGANGP((1, 16, 16), width=4, latent_dim=2, r1=1.0, network="conv"), data, 1)


@pytest.mark.claim
def test_without_the_penalty_a_game_circles_and_with_it_converges(measured):
    data = loader(torch.zeros(8, 1))
    circling, damped = DiracGAN((1,)), DiracGAN((1,), r1=1.0)
    for model in (circling, damped):
        fit(model, data, 200)
    what = "distance from the equilibrium after 200 steps"
    measured(f"{what}, with the penalty", damped.distance(), below=0.01)
    measured(f"{what}, without", circling.distance(), above=0.5)


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


@pytest.mark.parametrize(("side", "share"), [(8, 0.5), (9, 0.5), (8, 3 / 8), (28, 0.5)])
def test_cutout_hides_both_ends_as_often(side, share):
    """It hid the left column 0.109 of the time and the right one 0.165."""
    hidden = (cutout(torch.ones(20_000, 1, side, side), share) == 0).float()
    columns, rows = hidden.mean((0, 1, 2)), hidden.mean((0, 1, 3))
    for line in (columns, rows):
        assert (line - line.flip(0)).abs().max() < 0.012


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
    assert not torch.equal(model.raw_scores(x), model.raw_scores(x))


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
        (dict(instance_noise_steps=9), "instance_noise_steps must be 0 without instance_noise"),
        (dict(regularisation={"r1_every": 2}), "r1_every must be 1 without r1, got 2"),
        (dict(regularisation={"r1": 1.0, "r1_every": 0}), "r1_every must be at least 1, got 0"),
        (dict(regularisation={"R1": 1.0}), "regularisation must be of spectral_norm, r1, .*got R1"),
        (dict(r1=1.0, regularisation={"r1": 2.0}), r"r1 must be given once, got 1.0 and 2.0"),
    ],
)
def test_bad_settings(settings, message):
    with pytest.raises(ValueError, match=message):
        GAN((1, 8, 8), **settings)


def test_points_are_not_augmented():
    with pytest.raises(ValueError, match="augment must be empty for points, got cutout"):
        WGANGP((2,), augment=("cutout",))


@pytest.mark.parametrize(
    ("model_class", "settings", "message"),
    [
        (FGAN, {"saturating": True}, "saturating must be False: FGAN has its own loss"),
        (AMGAN, {"saturating": True}, "saturating must be False: AMGAN has its own loss"),
        (WGAN, {"betas": (0.0, 0.9)}, "betas must be left out: RMSProp has none"),
    ],
)
def test_what_would_be_ignored_is_refused(model_class, settings, message):
    with pytest.raises(ValueError, match=message):
        model_class((1, 8, 8), num_classes=3, **settings)


# One value, said in several ways


def test_a_value_a_mapping_and_short_options_say_the_same():
    short = {"spectral_norm": True, "r1": 2.0, "augment": ["cutout"]}
    value = Regularisation(True, 2.0, augment=("cutout",))
    ways = ({"regularisation": value}, {"regularisation": short}, short)
    for settings in (*ways, {"r1": 2.0, "regularisation": {**short}}):
        model = LFVI((1, 8, 8), width=8, **settings)
        assert model.regularisation == value
    with pytest.raises(dataclasses.FrozenInstanceError):
        value.r1 = 1.0
    assert Regularisation.of(value.plain()) == value and hash(value)
    assert Regularisation().plain() == {}


@pytest.mark.parametrize("way", ["value", "mapping", "short"])
def test_a_checkpoint_holds_it_as_plain_values(way, tmp_path):
    said = {"spectral_norm": True, "r1": 0.5, "augment": ("translation",)}
    settings = {"mapping": {"regularisation": said}, "short": said}
    settings["value"] = {"regularisation": Regularisation(**said)}
    model = ACGAN((1, 8, 8), 3, width=8, latent_dim=2, **settings[way])
    fit(model, loader(bits(16)), 2).save_checkpoint(tmp_path / "m.ckpt")
    loaded = ACGAN.load_from_checkpoint(tmp_path / "m.ckpt", weights_only=True)
    assert (
        loaded.regularisation
        == Regularisation(**said)
        == load_model(tmp_path / "m.ckpt").regularisation
    )
    x = bits(4)
    assert torch.equal(loaded.eval().raw_scores(x), model.eval().raw_scores(x))


def test_the_command_line_takes_the_mapping(genzoo, tmp_path):
    config = {
        "model": {
            "class_path": "InfoGAN",
            "init_args": {
                "width": 8,
                "regularisation": {"spectral_norm": True, "r1": 1.0, "r1_every": 2},
            },
        },
        "data": {"class_path": "own.Noise"},
    }
    (tmp_path / "my.yaml").write_text(yaml.safe_dump(config))
    genzoo(f"fit --config my.yaml {FAST} --model.regularisation.augment [cutout]")
    (path,) = tmp_path.glob("runs/*/version_0/checkpoints/last.ckpt")
    expected = Regularisation(True, 1.0, 2, ("cutout",))
    assert load_model(path).regularisation == expected
    genzoo(f"test --ckpt_path {path} --data own.Noise {FAST.replace('--trainer.max_epochs 1', '')}")
    line = "fit --model GAN --data own.Noise --model.regularisation.r1 -1 "
    assert "r1 must be 0 or more, got -1" in genzoo(line + FAST, 1)


# Older checkpoints


@pytest.mark.parametrize("model_class", [ACGAN, BiGAN, EBGAN, ImprovedGAN])
def test_older_networks_whose_heads_were_free_are_read(model_class, tmp_path):
    """Their score was not normal to its end; their weights are, from here on."""
    settings = {"width": 8, "latent_dim": 2, "spectral_norm": True}
    model = model_class((1, 8, 8), 3, **settings)
    runner = fit(model, loader(bits(16)), 2)
    runner.save_checkpoint(tmp_path / "m.ckpt")
    checkpoint = torch.load(tmp_path / "m.ckpt", weights_only=True)
    del checkpoint[VERSION]
    state, ending = checkpoint["state_dict"], ".parametrizations.weight.original"
    for key in [key for key in state if key.startswith("discriminator.") and ending in key]:
        name = key.removesuffix(ending)
        if ".body." not in name:
            state[f"{name}.weight"] = 3 * state.pop(key)
            del state[f"{name}.parametrizations.weight.0._u"]
            del state[f"{name}.parametrizations.weight.0._v"]
    torch.save(checkpoint, tmp_path / "old.ckpt")
    old = load_model(tmp_path / "old.ckpt")
    assert old.state_dict().keys() == model.state_dict().keys()
    z, y = model.prior(3), torch.tensor([0, 1, 2])
    assert torch.equal(old.decode(z, y), model.decode(z, y))
    assert steepest(old, bits(8)) == pytest.approx(steepest(model, bits(8)), rel=0.05)
    with pytest.raises(ValueError, match="ckpt_path must be of this version to be trained further"):
        runner = trainer(max_epochs=1)
        runner.fit(old, loader(bits(16)), ckpt_path=tmp_path / "old.ckpt", weights_only=True)


@pytest.mark.claim
@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_few_images_are_not_learned_by_heart(seed, measured):
    """The share of held-out digits that score below the median of 25 trained on; 0.5 is fair."""
    digits = torch.tensor(load_digits().images, dtype=torch.float32)[:, None] / 8 - 1
    train, held_out = digits[:25], digits[25:]
    below = {}
    for policy in ((), ("translation", "cutout")):
        torch.manual_seed(seed)
        model = GAN((1, 8, 8), network="conv", width=16, lr=1e-3, augment=policy)
        fit(model, loader(train.repeat(20, 1, 1, 1), 25), 800)
        below[policy] = (model.score(held_out) < model.score(train).median()).float().mean().item()
    what = "held-out digits that score below the median of trained ones"
    measured(f"{what}, augmented", below["translation", "cutout"], below=0.6)
    measured(f"{what}, as they are", below[()], above=0.75)
