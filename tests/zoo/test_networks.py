"""Which networks a game gets, how large they are, and how they are told a class."""

import re
from importlib import import_module
from pathlib import Path

import pytest
import torch
from torch import nn

from genzoo.zoo import load_model
from genzoo.zoo.conditional import CCGAN, CatGAN
from genzoo.zoo.gan import BEGAN, DCGAN, GAN, LAPGAN, WGANGP, ProgressiveGAN
from genzoo.zoo.inference import AAE, VAEGAN
from genzoo.zoo.networks import (
    ConvDiscriminator,
    ConvGenerator,
    LayerNormConvDiscriminator,
    MLPDiscriminator,
    MLPGenerator,
    ResidualDiscriminator,
    ResidualGenerator,
)
from genzoo.zoo.networks.residual import ConditionalBatchNorm2d
from tests.helpers.training import bits, fit, loader

ROOT = Path(__file__).parents[2]


def size(model) -> float:
    return sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize(
    ("shape", "kinds"),
    [
        ((2,), (MLPGenerator, MLPDiscriminator)),
        ((1, 8, 8), (MLPGenerator, MLPDiscriminator)),
        ((1, 15, 15), (MLPGenerator, MLPDiscriminator)),
        ((1, 16, 16), (ConvGenerator, ConvDiscriminator)),
        ((3, 28, 28), (ConvGenerator, ConvDiscriminator)),
        ((1, 30, 30), (MLPGenerator, MLPDiscriminator)),  # 15 is no side of convolutions
    ],
)
def test_the_size_of_the_images_says_which_networks_there_are(shape, kinds):
    model = GAN(shape, latent_dim=2, width=4)
    assert (type(model.generator), type(model.discriminator)) == kinds
    plain = GAN(shape, latent_dim=2, width=4, network="own")
    assert (type(plain.generator), type(plain.discriminator)) == (MLPGenerator, MLPDiscriminator)


class Own(nn.Module):
    """A user's own generator, with no default width."""

    def __init__(self, image_shape, latent_dim, num_classes, width):
        super().__init__()
        self.shape, self.width = image_shape, width
        self.layer = nn.Linear(latent_dim, image_shape[0] * image_shape[1] * image_shape[2])

    def forward(self, z):
        return self.layer(z).tanh().unflatten(1, self.shape)


class Mine(WGANGP):
    Generator = Own


def test_what_a_class_has_chosen_stays():
    assert isinstance(DCGAN((1, 8, 8), width=4).discriminator, ConvDiscriminator)
    model = Mine((1, 16, 16), latent_dim=2)
    assert isinstance(model.generator, Own) and model.generator.width == 256
    assert isinstance(model.discriminator, LayerNormConvDiscriminator)
    small = Mine((1, 8, 8), latent_dim=2)
    assert isinstance(small.discriminator, MLPDiscriminator)
    # A family's own kinds, and one that has a single kind
    assert "Plain" in type(BEGAN((1, 16, 16), width=4).generator).__name__
    assert any(
        isinstance(m, nn.Conv2d) for m in BEGAN((1, 16, 16), width=4).discriminator.modules()
    )
    for model_class in (CatGAN, AAE, VAEGAN):
        kinds = {type(m) for m in model_class((1, 16, 16), width=4).modules()}
        assert nn.ConvTranspose2d in kinds, model_class
    assert any(isinstance(m, nn.Conv2d) for m in CCGAN((1, 16, 16), 3, width=4).generator.modules())
    assert ProgressiveGAN((1, 16, 16), width=4, latent_dim=4).width == 4
    # LAPGAN's coarsest images are small, whatever the finest are.
    assert isinstance(LAPGAN((1, 16, 16), levels=1, width=4).generator.levels[0], MLPGenerator)


def test_each_kind_of_network_has_a_width_of_its_own():
    assert GAN((1, 8, 8)).generator.body[0].out_features == 256
    conv = GAN((3, 64, 64))
    assert conv.generator.body[0].out_channels == 512  # 64 at half the side, doubled three times
    assert size(conv) < 7e6  # 89 M with the width of the other networks
    assert GAN((3, 32, 32), network="residual").generator.out.in_channels == 128
    assert GAN((1, 16, 16), width=6).generator.body[-2].in_channels == 6
    with pytest.raises(ValueError, match="width must be at least 1, got 0"):
        GAN((1, 8, 8), width=0)


@pytest.mark.parametrize(
    ("width", "side", "expected"), [(64, 256, 512), (8, 256, 256), (16, 256, 512), (128, 64, 1024)]
)
def test_channels_double_three_times_and_further_up_to_512(width, side, expected):
    with torch.device("meta"):
        for network in (
            ConvGenerator((3, side, side), 4, 0, width),
            ConvDiscriminator((3, side, side), 0, width),
        ):
            found = [m for m in network.modules() if isinstance(m, nn.modules.conv._ConvNd)]
            assert max(max(m.in_channels, m.out_channels) for m in found) == expected


@pytest.mark.parametrize("side", [128, 256])
@pytest.mark.parametrize("network", ["auto", "residual"])
def test_large_images_are_learned_from_and_drawn(side, network):
    model = GAN((3, side, side), 2, latent_dim=2, width=2, network=network)
    before = [p.clone() for p in model.parameters()]
    fit(model, loader(torch.rand(4, 3, side, side) * 2 - 1, 4, 2), 1)
    assert not any(map(torch.equal, before, model.parameters()))
    assert model.sample(1).shape == (1, 3, side, side)


@pytest.mark.parametrize("num_classes", [0, 3])
def test_residual_scores_and_samples_begin_neither_flat_nor_saturated(num_classes):
    """Scores of 64x64 images lay within 3e-4 of each other, samples within 0.05 of grey."""
    model = GAN((3, 64, 64), num_classes, width=32, network="residual").train()
    x, y = torch.rand(8, 1, 1, 1) * torch.randn(8, 3, 64, 64).clamp(-1, 1), torch.arange(8) % 3
    label = (y,) if num_classes else ()
    assert 0.02 < model.raw_scores(x, *label).std() < 5
    assert 0.1 < model.generator(model.prior(8), *label).std() < 0.9


def test_a_residual_generator_is_told_the_class_by_scale_and_shift():
    generator = ResidualGenerator((1, 8, 8), 4, 3, 4)
    told = [m for m in generator.modules() if isinstance(m, ConditionalBatchNorm2d)]
    assert len(told) == 2 and generator.start.in_features == 4
    x = torch.randn(20, 4, 5, 5) * 3 + 1
    layer = told[0]
    nn.init.constant_(layer.scale.weight[1], 2.0)
    nn.init.constant_(layer.shift.weight[1], -1.0)
    plain, other = layer(x, torch.zeros(20).long()), layer(x, torch.ones(20).long())
    assert plain.mean().item() == pytest.approx(0, abs=1e-5)
    assert plain.std().item() == pytest.approx(1, abs=0.01)
    torch.testing.assert_close(other, 2 * plain - 1)


def test_a_residual_score_projects_features_on_the_class():
    """<w, phi(x)> + <w v_y, phi(x)>, linear in phi."""
    judge = ResidualDiscriminator((1, 8, 8), 3, 4)
    x, y = torch.randn(5, 1, 8, 8), torch.tensor([0, 1, 2, 1, 0])
    features = torch.relu(judge.blocks(judge.start(x))).mean((2, 3))
    w, b = judge.score.weight[0], judge.score.bias
    expected = features @ w + (features * (w * judge.classes(y))).sum(1) + b
    torch.testing.assert_close(judge(x, y), expected)
    with pytest.raises(ValueError, match=r"y must name a class of 0\.\.2 for each image, got None"):
        judge(x)


@pytest.mark.parametrize("settings", [{}, {"spectral_norm": True}, {"ema_decay": 0.9}])
def test_a_checkpoint_from_when_the_class_stood_beside_the_input_is_read(settings, tmp_path):
    model = GAN((1, 8, 8), 3, latent_dim=2, width=4, network="residual", **settings)
    for network in (model.generator, model.discriminator, model.sampling_generator):
        if network.in_blocks:
            network.join_beside()
    model.configure_model()  # a new layer is normal, too
    fit(model, loader(bits(16)), 2).save_checkpoint(tmp_path / "m.ckpt")
    loaded = load_model(tmp_path / "m.ckpt")
    assert not loaded.generator.in_blocks and not loaded.discriminator.in_blocks
    z, y, x = model.prior(3), torch.tensor([0, 1, 2]), bits(3)
    assert torch.equal(loaded.decode(z, y), model.decode(z, y))
    assert torch.equal(loaded.score(x, y), model.score(x, y))


@pytest.mark.parametrize("name", ["ACGAN", "EBGAN"])
def test_a_subclass_that_fixes_the_width_trains_from_the_command_line(name, genzoo, tmp_path):
    """Constructors read the hyper-parameters, which there are those of the subclass."""
    (tmp_path / f"narrow{name}.py").write_text(
        f"from genzoo.zoo import {name}\n\n\n"
        f"class Narrow{name}({name}):\n"
        "    def __init__(self, image_shape: tuple[int, ...], num_classes: int = 0):\n"
        "        super().__init__(image_shape, num_classes, width=8, latent_dim=2)\n"
    )
    fast = "--evaluate false --trainer.accelerator cpu --trainer.max_steps 1 --test_after_fit false"
    genzoo(f"fit --model narrow{name}.Narrow{name} --data own.Noise --data.conditional true {fast}")
    (path,) = tmp_path.glob("runs/*/version_0/checkpoints/last.ckpt")
    assert load_model(path, getattr(import_module(f"narrow{name}"), f"Narrow{name}")).width == 8


OURS = ("base.py",)  # which know whose they are


def test_no_model_asks_its_hyper_parameters():
    """They are the arguments of the outermost class only, where the command line builds it."""
    files = [path for path in (ROOT / "zoo").rglob("*.py") if path.name not in OURS]
    assert len(files) > 50
    assert not [path for path in files if re.search(r"hparams\.\w", path.read_text())]
