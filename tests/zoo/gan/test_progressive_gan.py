"""Growing changes nothing at first and forgets the old way in the end; the parts by hand."""

import math
import time

import numpy as np
import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import nn

from genzoo.datamodules import FashionMNIST
from genzoo.features.classifier import train_classifier
from genzoo.images import from_uint8
from genzoo.metrics.frechet import frechet_distance
from genzoo.protocols import Decoder, Interpolator, Sampler
from genzoo.zoo import WGANGP, ProgressiveGAN
from genzoo.zoo.gan.progressive_gan import (
    EqualizedConv2d,
    EqualizedLinear,
    GrowingDiscriminator,
    GrowingGenerator,
    MinibatchStdDev,
    PixelNorm,
    down,
    gain_without_drift,
    up,
)
from tests.helpers.tiny import Tiny
from tests.helpers.training import bits, fit, loader, trainer

TINY = Tiny(
    ProgressiveGAN,
    {"latent_dim": 4, "width": 4, "stage_steps": 1},
    {Sampler, Decoder, Interpolator},
    eager={"discriminator"},  # the penalty on its gradient needs second derivatives
)


ALMOST = 1e-9  # of a block that has just begun to fade in


def tiny(side: int = 16, **settings) -> ProgressiveGAN:
    return ProgressiveGAN((1, side, side), **{"latent_dim": 4, "width": 4, **settings})


@pytest.mark.parametrize("side", [16, 28])
@pytest.mark.parametrize("num_classes", [0, 3])
def test_a_new_block_changes_nothing_when_it_comes(side, num_classes):
    model = tiny(side, num_classes=num_classes)
    z, y = torch.randn(8, 4), torch.arange(8) % 3 if num_classes else None
    base = 4 if side == 16 else 7
    for level in (0, 1):
        x = model.generator(z, level, y)
        assert x.shape == (8, 1, base * 2**level, base * 2**level)
        torch.testing.assert_close(model.generator(z, level + ALMOST, y), up(x))
        score = model.discriminator(x, level, y)
        torch.testing.assert_close(model.discriminator(up(x), level + ALMOST, y), score)
        assert not torch.allclose(model.discriminator(up(x), level + 0.5, y), score)


def test_the_way_between_is_a_mixture():
    model = tiny(16)
    z = torch.randn(4, 4)
    old, new = up(model.generator(z, 1)), model.generator(z, 2)
    torch.testing.assert_close(model.generator(z, 1.25), 0.75 * old + 0.25 * new)
    x = torch.rand(4, 1, 16, 16)
    model.growth = 1.25
    torch.testing.assert_close(model.shown(x), 0.75 * up(down(x)) + 0.25 * x)
    model.growth = 0.5
    half = down(x)
    torch.testing.assert_close(model.shown(x), 0.5 * up(down(half)) + 0.5 * half)
    model.growth = 2
    assert torch.equal(model.shown(x), x)


@pytest.mark.parametrize(
    ("growth", "blocks", "ends"),
    [(0, {0: False}, {0}), (0.5, {0: True}, {0, 1}), (1, {0: True}, {1}), (2, {1: True}, {2})],
)
def test_what_has_faded_out_or_is_not_there_yet_takes_no_part(growth, blocks, ends):
    model = tiny(16)
    model.growth = growth
    batch = torch.rand(4, 1, 16, 16), None
    for network, loss, end in (
        (model.discriminator, model.discriminator_loss, "from_image"),
        (model.generator, model.generator_loss, "to_image"),
    ):
        model.zero_grad()
        loss(batch).backward()
        used = {key for key, p in network.named_parameters() if p.grad is not None}
        assert {k for k in range(3) if f"{end}.{k}.weight" in used} == ends
        for k, there in blocks.items():
            assert (f"blocks.{k}.0.weight" in used) == there


def test_one_stage_at_a_side_and_one_between():
    model = tiny(16, stage_steps=10)
    expected = {0: 0, 10: 0, 15: 0.5, 20: 1, 29: 1, 30: 1, 34: 1.4, 40: 2, 1000: 2}
    assert {step: model.growth_at(step) for step in expected} == pytest.approx(expected)


def test_equalised_layers_keep_the_variance_and_draw_from_the_standard_normal():
    x = torch.randn(512, 64, 4, 4)
    conv = EqualizedConv2d(64, 64, 3, gain=1.0)
    linear = EqualizedLinear(1024, 256, gain=1.0)
    assert conv(x).var().item() == pytest.approx(1, rel=0.05)
    assert linear(x.flatten(1)).var().item() == pytest.approx(1, rel=0.05)
    assert EqualizedLinear(1024, 256)(x.flatten(1)).var().item() == pytest.approx(2, rel=0.05)
    for layer in (conv, linear):
        assert layer.weight.std().item() == pytest.approx(1, rel=0.02)
    scaled = nn.functional.conv2d(x, conv.weight / math.sqrt(64 * 9), conv.bias)
    nn.init.normal_(conv.bias)
    torch.testing.assert_close(
        conv(x), scaled + conv.bias.view(-1, 1, 1), rtol=1e-4, atol=1e-4
    )  # the bias is not scaled


def test_pixels_are_normed_to_a_mean_square_of_1():
    for x in (torch.randn(3, 5, 4, 4) * 7, torch.rand(3, 5)):
        square = PixelNorm()(x).square().mean(1)
        torch.testing.assert_close(square, torch.ones_like(square))
        torch.testing.assert_close(PixelNorm()(3 * x), PixelNorm()(x))


def test_the_standard_deviation_is_that_of_a_group():
    x = torch.randn(8, 3, 2, 2)
    x[1::2] = x[1].clone()  # images of a group lie apart: 0, 2, 4, 6 and 1, 3, 5, 7
    out = MinibatchStdDev(4)(x)
    assert out.shape == (8, 4, 2, 2) and torch.equal(out[:, :3], x)
    expected = x[::2].std(0, correction=0).mean()
    torch.testing.assert_close(out[::2, 3], expected.expand(4, 2, 2))
    assert out[1::2, 3].max() < 2e-4
    assert MinibatchStdDev(4)(x[:6])[0, 3, 0, 0] == MinibatchStdDev(3)(x[:6])[0, 3, 0, 0]
    assert MinibatchStdDev(4)(x[:1])[0, 3].max() < 2e-4  # one image does not vary


def test_the_critic_also_pays_for_the_drift_of_its_scores():
    real, fake = torch.tensor([1.0, 3.0]), torch.tensor([5.0, 7.0])
    assert gain_without_drift(real, fake).item() == pytest.approx(4)
    assert gain_without_drift(real, fake, 0.1).item() == pytest.approx(4 + 0.1 * 5)
    model = tiny(8, drift_weight=0.5)
    assert model.loss.discriminator(real, fake).item() == pytest.approx(4 + 0.5 * 5)
    assert isinstance(model, WGANGP) and model.penalty_weight == 10
    assert model.gradient_norms(torch.rand(6, 1, 8, 8)).shape == (6,)


class Noted(ProgressiveGAN):
    """Notes its growth, and what it draws and sees, at each step."""

    def generator_loss(self, batch):
        self.notes = [*getattr(self, "notes", []), (self.growth, self.sample(2).shape)]
        x, growth = self.real(batch[0])
        assert x.shape == self.generator(self.prior(8), growth).shape
        return super().generator_loss(batch)


def test_it_grows_in_training_and_goes_on_in_the_middle_of_a_fade(tmp_path):
    data, numbers = loader(bits(24)), {"latent_dim": 4, "width": 4, "stage_steps": 4}
    unbroken, resumed = Noted((1, 8, 8), **numbers), Noted((1, 8, 8), **numbers)
    saver = ModelCheckpoint(tmp_path, "{step}", save_top_k=-1, every_n_train_steps=3)
    trainer(max_epochs=3, callbacks=[saver], enable_checkpointing=True).fit(unbroken, data)
    growth, shapes = zip(*unbroken.notes, strict=True)
    assert growth == pytest.approx([0, 0, 0, 0, 0, 0.25, 0.5, 0.75, 1])
    assert set(shapes) == {(2, 1, 8, 8)}
    path = tmp_path / "step=6.ckpt"
    trainer(max_epochs=3).fit(resumed, data, ckpt_path=path, weights_only=True)
    assert [growth for growth, _ in resumed.notes] == pytest.approx([0.5, 0.75, 1])
    expected, found = unbroken.state_dict(), resumed.state_dict()
    assert [key for key in expected if not torch.equal(expected[key], found[key])] == []
    loaded = ProgressiveGAN.load_from_checkpoint(path, weights_only=True)
    assert loaded.growth == 0.25  # of the last step that was made


def test_samples_are_the_average_generators_at_any_growth():
    model = tiny(16, ema_decay=0.5, stage_steps=1)
    fit(model, loader(bits(48, (1, 16, 16))), steps=6)
    assert model.growth == 2
    z = model.prior(3)
    assert torch.equal(model.decode(z), model.ema.module(z, 2).clamp(-1, 1))
    model.growth = 0
    expected = up(up(model.ema.module(z, 0))).clamp(-1, 1)
    assert torch.equal(model.decode(z), expected)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"stage_steps": 0}, "stage_steps must be at least 1, got 0"),
        ({"side": 30}, r"image_shape must be \(C, side, side\).* got \(1, 30, 30\)"),
        ({"network": "conv"}, "network must be one of auto, own, got 'conv'"),
    ],
)
def test_impossible_settings_are_refused(setting, message):
    with pytest.raises(ValueError, match=message):
        tiny(**setting)


class NarrowGenerator(GrowingGenerator):
    largest_width = 24  # at every side: as elsewhere, the smaller images are the cheaper ones


class NarrowDiscriminator(GrowingDiscriminator):
    largest_width = 24


class Narrow(ProgressiveGAN):
    Generator, Discriminator = NarrowGenerator, NarrowDiscriminator


class Direct(Narrow):
    """All of it from the first step."""

    def growth_at(self, step):
        return len(self.generator.blocks)


def played(kind: type, x: torch.Tensor, seed: int, steps: int = 10**9, seconds: float = 1e9):
    """The model and the CPU time that it took, for so many steps or so much time."""
    torch.manual_seed(seed)
    numbers = {"latent_dim": 64, "width": 24, "stage_steps": 300, "ema_decay": 0.99}
    model = kind((1, 16, 16), **numbers)
    players = model.players()
    optimizers = [model.optimizer(player) for player in players]
    start, step = time.process_time(), 0
    while step < steps and time.process_time() - start < seconds:
        model.growth = model.growth_at(step)
        batch = x[torch.randint(len(x), (32,))], None
        for player, optimizer in zip(players, optimizers, strict=True):
            optimizer.zero_grad()
            player.loss(batch).backward()
            optimizer.step()
        model.ema.update(model.generator)
        step += 1
    return model, time.process_time() - start, step


@pytest.mark.claim
@pytest.mark.slow
@pytest.mark.data
def test_growing_is_the_faster_way(real_data, measured):
    """Sec. 2, on Fashion-MNIST at 16x16, beside the same networks at full size from the start for
    as many CPU-seconds."""
    train = FashionMNIST(str(real_data), image_size=16).split("train")
    x = from_uint8(train.images)
    judge, _ = train_classifier(train.images, train.labels, steps=800)
    real = judge.features(x[:5000])
    rows = []
    for seed in (0, 1, 2):
        found = {}
        grown, seconds, steps = played(Narrow, x, seed, steps=1500)
        direct, _, others = played(Direct, x, seed, seconds=seconds)
        for name, model in (("grown", grown), ("direct", direct)):
            found[name] = frechet_distance(real, judge.features(model.sample(5000))).value
        rows.append((found["grown"], found["direct"], seconds, others / steps))
    ours, others, seconds, steps = zip(*rows, strict=True)
    measured.median("Fréchet distance, grown", ours)
    measured.median("at full size from the start, equal CPU time", others)
    measured.median("one over the other", np.divide(ours, others), below=0.9)
    measured.median("CPU-seconds of each", seconds)
    measured.median("steps at full size in that time, over those of growing", steps)
