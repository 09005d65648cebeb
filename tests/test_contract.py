"""What every model of the zoo promises. A new model is here as soon as it is exported."""

import inspect
import re
from math import nan

import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from torch.utils.data import DataLoader, TensorDataset

import genzoo.zoo
from genzoo.arguments import parameters
from genzoo.images import to_uint8
from genzoo.protocols import (
    Bounded,
    Classifier,
    Completer,
    Decoder,
    Density,
    Encoder,
    Estimated,
    Interpolator,
    Sampler,
)
from genzoo.zoo import GAN
from genzoo.zoo.base import GenerativeModel
from genzoo.zoo.networks.regularisation import disturbances
from tests.helpers.models import GAMES, MODELS, SHAPE, TINY, ZOO, batches, build, declared
from tests.helpers.tiny import Tiny, batches_of_views
from tests.helpers.training import bits, fit, trainer

EVERY = (Sampler, Decoder, Interpolator, Encoder, Bounded, Density, Completer, Classifier)
each = pytest.mark.parametrize("name", MODELS)
games = pytest.mark.parametrize("name", GAMES)
conditional = pytest.mark.parametrize("num_classes", [0, 3])


def test_every_model_says_how_small_it_can_be():
    """In its own test module: that of the file in which its class is."""
    where = {one.model: path for path in sorted(ZOO.rglob("test_*.py")) for one in declared(path)}
    for name, model in vars(genzoo.zoo).items():
        kind = inspect.isclass(model) and issubclass(model, GenerativeModel)
        if kind and "image_shape" in inspect.signature(model).parameters:
            *_, family, paper = model.__module__.split(".")
            expected = ZOO / family / f"test_{paper}.py"
            assert model in where, f"{expected} must have TINY = Tiny({name}, ...), got none"
            assert where[model] == expected, f"TINY of {name} must stand in {expected}"
    assert len(where) == len(TINY)


def test_it_is_read_without_importing_the_module():
    path, first = ZOO / "test_none.py", "Tiny(GAN, {'width': 8}, {Sampler})"
    assert declared(path, f"import nothing\nTINY = {first}") == (
        Tiny(GAN, {"width": 8}, {Sampler}),
    )
    second = "Tiny(ChairGenerator, {}, set(), batches=batches_of_views)"
    assert declared(path, f"TINY = ({first}, {second})")[1].batches is batches_of_views
    assert declared(path, "import nothing\nGAN = 1") == ()


@each
def test_abilities_are_as_declared(name):
    assert {p for p in EVERY if isinstance(build(name), p)} == TINY[name].abilities


@each
@conditional
def test_every_parameter_moves(name, num_classes):
    model = build(name, num_classes)
    before = {key: p.clone() for key, p in model.named_parameters()}
    fit(model, batches(name), steps=3)
    still = [key for key, p in model.named_parameters() if torch.equal(p, before[key])]
    if not TINY[name].last_bias_moves:
        *_, (last, _) = model.discriminator.named_parameters(prefix="discriminator")
        still = [key for key in still if key != last]
    assert not still
    assert all(torch.isfinite(p).all() for p in model.parameters())


@each
@conditional
def test_samples(name, num_classes):
    model = build(name, num_classes).train()
    torch.manual_seed(1)
    first = model.sample(5)
    torch.manual_seed(1)
    again = model.sample(5)
    assert first.shape == (5, *SHAPE) and first.dtype == torch.float32
    assert first.min() >= -1 and first.max() <= 1
    assert torch.equal(first, again) and not torch.equal(first, model.sample(5))
    assert model.training and not first.requires_grad


@each
def test_labels_change_what_is_drawn(name):
    model = build(name, num_classes=3)
    assert bool(model.num_classes) == TINY[name].draws_classes
    if not model.num_classes:
        pytest.skip(f"{name} draws without labels")
    fit(model, batches(name), steps=3)
    drawn = []
    for label in (0, 2):
        torch.manual_seed(1)
        drawn.append(model.sample(16, torch.full((16,), label)))
    assert not torch.equal(*drawn)


@each
def test_impossible_labels_are_refused(name):
    if TINY[name].draws_classes:
        with pytest.raises(ValueError, match=r"y must be in 0\.\.2, got 0\.\.3"):
            build(name, num_classes=3).sample(2, torch.tensor([0, 3]))
        with pytest.raises(ValueError, match=r"y must be \(2,\) integers, got \(3,\)"):
            build(name, num_classes=3).sample(2, torch.tensor([0, 1, 2]))
    if TINY[name].needs_classes and TINY[name].draws_classes:
        return
    with pytest.raises(ValueError, match="y must be None: this .* is unconditional"):
        build(name).sample(1, torch.tensor([0]))


ANY = {"a", "b", "c", "alpha", "pi", "noise_mean"}  # numbers that may be below 0


@each
def test_impossible_numbers_are_refused_by_their_name(name):
    """Every number of the constructor, below what it can be and not a number at all."""
    for argument, parameter in parameters(MODELS[name]).items():
        kind, bad = type(parameter.default), ()
        if kind is int or argument == "num_classes":
            bad = (-4,)
        elif kind is float:
            bad = (nan,) if argument in ANY else (-1.0, nan)
        if argument.split("_")[-1] == "width":
            bad += (0,)
        if argument == "betas":
            bad = ((2, 3), (-0.1, 0.9), (0.5, 1.0), (nan, 0.9), (0.5,))
        for value in bad:
            with pytest.raises(ValueError, match=rf"\b{argument}\b.* (must|at least) ") as caught:
                settings = {"num_classes": 3 * TINY[name].needs_classes, argument: value}
                MODELS[name](SHAPE, **{**TINY[name].settings, **settings})
            assert "\n" not in str(caught.value)


@each
@pytest.mark.parametrize("shape", [(1, 8, 8, 8), (16, 3), (0, 8, 8), (1, 8.0, 8), 8])
def test_shapes_that_no_evaluation_could_take_are_refused(name, shape):
    settings = {**TINY[name].settings, "num_classes": 3 * TINY[name].needs_classes}
    with pytest.raises(ValueError, match=r"^image_shape must be \(C, (H, W|side, side)\)"):
        MODELS[name](shape, **settings)


@each
def test_images_alone_are_enough_for_who_learns_without_labels(name):
    data = DataLoader(to_uint8(bits(16)), 8)
    message = TINY[name].needs
    if TINY[name].needs_classes:
        message = f"labels y for a {name} of 3 classes, got images alone"
    if message:
        with pytest.raises(ValueError, match=message):
            fit(build(name), data, steps=1)
    else:
        fit(build(name), data, steps=2)


@each
def test_no_training_begins_with_labels_that_name_no_class(name):
    model = build(name, num_classes=3)
    if TINY[name].needs or not TINY[name].draws_classes:
        pytest.skip(f"{name} learns without labels, or is told more than one")
    x = bits(24)
    for y, got in ((torch.full((24,), -1), r"0\.\.2, got -1"), (torch.rand(24, 3), r"integers")):
        with pytest.raises(ValueError, match=f"y must be .*{got}"):
            fit(model, DataLoader(TensorDataset(x, y), 8), steps=1)


@each
@conditional
def test_a_checkpoint_rebuilds_the_model_from_its_path_alone(name, num_classes, tmp_path):
    model = build(name, num_classes)
    fit(model, batches(name), steps=2).save_checkpoint(tmp_path / "m.ckpt")
    loaded = type(model).load_from_checkpoint(tmp_path / "m.ckpt", weights_only=True)
    torch.manual_seed(1)
    expected = model.sample(4)
    torch.manual_seed(1)
    assert torch.equal(loaded.sample(4), expected)


@each
def test_a_resumed_training_ends_where_the_unbroken_one_does(name, tmp_path):
    """To the bit, from the end of its first epoch; `test_resume.py` kills some in between."""
    unbroken, resumed = build(name), build(name)
    saver = ModelCheckpoint(tmp_path, "{epoch}", save_top_k=-1, every_n_epochs=1)
    runner = trainer(max_epochs=2, callbacks=[saver], enable_checkpointing=True)
    runner.fit(unbroken, batches(name))
    path = tmp_path / "epoch=0.ckpt"
    trainer(max_epochs=2).fit(resumed, batches(name), ckpt_path=path, weights_only=True)
    expected, found = unbroken.state_dict(), resumed.state_dict()
    assert [key for key in expected if not torch.equal(expected[key], found[key])] == []


@each
@conditional
def test_latents_decode_and_walks_end_where_they_should(name, num_classes):
    model = build(name, num_classes)
    if not isinstance(model, Decoder):
        pytest.skip(f"{name} has no latent")
    y = torch.tensor([0, 2]) if model.num_classes else None
    z0, z1 = model.prior(2), model.prior(2)
    assert z0.shape == (2, model.latent_dim)
    for mode in ("slerp", "lerp"):
        walk = model.interpolate(z0, z1, steps=5, mode=mode, y=y)
        assert walk.shape == (2, 5, *SHAPE)
        torch.testing.assert_close(walk[:, 0], model.decode(z0, y))
        torch.testing.assert_close(walk[:, -1], model.decode(z1, y))
    with pytest.raises(ValueError, match="mode must be one of"):
        model.interpolate(z0, z1, mode="spline", y=y)


@each
@conditional
def test_likelihoods_are_nats_of_each_image(name, num_classes):
    model = build(name, num_classes)
    x, y = bits(6), torch.arange(6) % 3 if num_classes else None
    for protocol, method in ((Density, "log_prob"), (Bounded, "elbo")):
        if isinstance(model, protocol):
            nats = getattr(model, method)(x, y)
            assert nats.shape == (6,) and (nats < 0).all()
            # Less than a nat a pixel: untrained is about log 2.
            assert nats.mean() > -64 or not TINY[name].bound_above_a_nat


@games
def test_players_move_in_turn_and_nobody_elses_parameters(name, monkeypatch):
    """Each its own, in the order in which they are listed, with gradients of nobody else."""
    model, seen = build(name), []
    listed = [player.name for player in model.players()]
    move = model.move

    def watched(player, optimizer, batch):
        own = set(map(id, player.parameters()))
        others = {
            key: (p, p.clone(), None if p.grad is None else p.grad.clone())
            for key, p in model.named_parameters()
            if id(p) not in own and not key.startswith("ema.")  # which follows
        }
        loss = move(player, optimizer, batch)
        for key, (p, before, grad) in others.items():
            assert torch.equal(p, before), (player.name, key)
            assert (p.grad is None) == (grad is None), (player.name, key)
            assert grad is None or torch.equal(p.grad, grad), (player.name, key)
        seen.append(player.name)
        return loss

    monkeypatch.setattr(model, "move", watched)
    fit(model, batches(name), steps=2)
    turns, steps, expected = 0, 0, []
    while steps < 2:
        turns += 1
        playing = [player for player in model.players() if not turns % player.every]
        expected += [player.name for player in playing for _ in range(player.moves)]
        steps += expected[-1] == listed[-1]
    late = TINY[name].late_players
    seen, expected = ([n for n in names if n not in late] for names in (seen, expected))
    assert seen == expected


@pytest.mark.parametrize("name", [name for name in GAMES if issubclass(MODELS[name], GAN)])
def test_every_gan_heeds_prior_and_noise_or_refuses_them(name):
    for setting in ({"prior": "gaussian"}, {"instance_noise": 0.5}):
        try:
            model = build(name, **setting)
        except ValueError as error:
            assert re.match("(prior|instance_noise) must be (left out|0)", str(error))
            continue
        if "prior" in setting:
            assert model.prior(500).abs().max() > 2
        else:
            noisy = list(disturbances(model.discriminator))
            assert noisy and all(found.noise == 0.5 for found in noisy)


@each
def test_training_is_repeatable_and_heeds_the_seed(name):
    def trained(seed):
        model = build(name)
        torch.manual_seed(seed)
        fit(model, batches(name), steps=3)
        return torch.cat([p.detach().flatten() for p in model.parameters()])

    assert torch.equal(trained(0), trained(0))
    noisy = not issubclass(MODELS[name], Density)  # an exact likelihood draws no noise
    noisy = noisy or isinstance(build(name), Estimated)  # unless by chains
    noisy = noisy and TINY[name].draws_noise
    assert torch.equal(trained(0), trained(1)) != noisy
