"""The pyramid loses nothing, levels know nothing of each other, and details are added."""

import math

import pytest
import torch
from torch import nn

from genzoo.protocols import Decoder, Interpolator, Sampler
from genzoo.zoo import LAPGAN
from genzoo.zoo.gan.lapgan import down, up
from tests.helpers.digits import digits, distance
from tests.helpers.game_loop import among, play
from tests.helpers.tiny import Tiny
from tests.helpers.training import bits, fit, loader

TINY = Tiny(
    LAPGAN,
    {"levels": 1, "latent_dim": 4, "width": 16, "detail_width": 4},
    {Sampler, Decoder, Interpolator},
    sampling_players=("generator_0", "generator_1"),
    refuses={"spectral_norm": "left out", "r1": "left out"},
)


def tiny(side: int = 8, **settings) -> LAPGAN:
    settings = {"levels": 1, "latent_dim": 4, "width": 8, "detail_width": 4, **settings}
    return LAPGAN((1, side, side), **settings)


@pytest.mark.parametrize(("side", "levels"), [(8, 1), (16, 2), (28, 2), (32, 3)])
def test_a_pyramid_is_the_image(side, levels):
    model = tiny(side, levels=levels)
    x = torch.rand(3, 1, side, side) * 2 - 1
    coarse, *details = pyramid = model.pyramid(x)
    assert [part.shape[-1] for part in pyramid] == [side // 2**k for k in range(levels, -1, -1)]
    torch.testing.assert_close(model.collapse(pyramid), x, rtol=0, atol=1e-6)
    for part in details:  # an image of no details has none
        assert not torch.allclose(part, torch.zeros(()))
    flat = torch.full_like(x, 0.3)
    assert all(part.abs().max() < 1e-6 for part in model.pyramid(flat)[1:])


def test_sampling_is_equation_5():
    model = tiny(16, levels=2)
    z = model.prior(3)
    assert z.shape == (3, model.latent_dim) and model.latent_dim == 4 + 8**2 + 16**2
    first, second, third = z.split([4, 64, 256], dim=1)
    model.eval()
    x = model.generator.levels[0](first)
    for noise, level in zip((second, third), model.generator.levels[1:], strict=True):
        low = up(x)
        planes = torch.cat((low, noise.view(3, 1, *low.shape[2:])), dim=1)
        x = low + level.body(planes)
    torch.testing.assert_close(model.decode(z), x.clamp(-1, 1))


def test_a_score_is_the_sum_of_what_the_levels_say():
    model = tiny(16, levels=2).eval()
    x = torch.rand(3, 1, 16, 16)
    half = down(x)
    coarse, middle, fine = model.discriminator.levels
    said = fine(x, up(half)) + middle(half, up(down(half))) + coarse(down(half))
    torch.testing.assert_close(model.score(x), said)


def test_an_undecided_discriminator_costs_log_4_at_every_level():
    model = tiny(16, levels=2)
    for level in model.discriminator.levels:
        last = [m for m in level.modules() if isinstance(m, nn.Linear)][-1]
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
    batch = torch.rand(4, 1, 16, 16), None
    for player in model.players():
        cost = math.log(4 if player.name.startswith("discriminator") else 2)
        assert player.loss(batch).item() == pytest.approx(cost)


def test_levels_train_on_real_images_and_know_nothing_of_each_other():
    model = tiny(16, levels=2)
    batch = bits(6, (1, 16, 16)), None
    names = [f"{kind}_{level}" for level in range(3) for kind in ("discriminator", "generator")]
    assert [player.name for player in model.players()] == names
    for player in model.players():
        model.zero_grad()
        player.loss(batch).backward()
        touched = {
            key.split(".body")[0] for key, p in model.named_parameters() if p.grad is not None
        }
        level = player.name[-1]
        assert {key.split(".")[2] for key in touched} == {level}
    real, fake = model.inputs(batch, 2)
    assert torch.equal(real[0], batch[0]) and torch.equal(real[1], up(down(batch[0])))
    assert torch.equal(fake[1], real[1])


def test_a_step_is_a_move_of_the_finest_generator():
    model = tiny(16, levels=2, ema_decay=0.5)
    data = loader(bits(24, (1, 16, 16)))
    runner = fit(model, data, steps=5)
    assert runner.global_step == 5
    assert {f"loss/generator_{level}" for level in range(3)} <= set(runner.callback_metrics)
    assert model.ema.updates == 5
    for mean, now in zip(model.ema.module.parameters(), model.generator.parameters(), strict=True):
        assert not torch.equal(mean, now)


@pytest.mark.parametrize("num_classes", [0, 3])
def test_any_level_is_refined_to_full_size(num_classes):
    model = tiny(16, levels=2, num_classes=num_classes)
    y = torch.tensor([0, 2]) if num_classes else None
    for side in (4, 8, 16):
        x = torch.rand(2, 1, side, side)
        torch.manual_seed(0)
        first = model.refine(x, y)
        assert first.shape == (2, 1, 16, 16) and first.abs().max() <= 1
        assert torch.equal(first, model.refine(x, y)) == (side == 16)  # nothing is left to draw
        torch.manual_seed(0)
        other = model.refine(x, torch.tensor([1, 1])) if num_classes else first
        assert torch.equal(first, other) == (side == 16 or not num_classes)
    with pytest.raises(ValueError, match=r"x must be \(B, ...\) of one of .* got \(2, 1, 5, 5\)"):
        model.refine(torch.rand(2, 1, 5, 5))


@pytest.mark.parametrize(
    ("shape", "levels", "message"),
    [
        ((1, 8, 8), 2, "levels must be 1 to 1 for images of 8 pixels a side, got 2"),
        ((1, 28, 28), 0, "levels must be 1 to 2 for images of 28 pixels a side, got 0"),
        ((1, 30, 30), 1, r"image_shape must be \(C, side, side\).* got \(1, 30, 30\)"),
        ((2,), 1, r"image_shape must be \(C, side, side\).* got \(2,\)"),
    ],
)
def test_impossible_settings_are_refused(shape, levels, message):
    with pytest.raises(ValueError, match=message):
        LAPGAN(shape, levels=levels)
    with pytest.raises(ValueError, match="r1 must be left out of LAPGAN, got 1.0"):
        tiny(r1=1.0)


class Finest(LAPGAN):
    """Only the finest level plays."""

    def discriminator_loss(self, batch, level=1):
        return super().discriminator_loss(batch, level)

    def generator_loss(self, batch, level=1):
        return super().generator_loss(batch, level)


@pytest.mark.claim
@pytest.mark.parametrize("seeds", [(0,), pytest.param((0, 1, 2), marks=pytest.mark.slow)], ids=len)
def test_details_are_added_to_real_images_and_differ_from_draw_to_draw(seeds, measured):
    """Of held-out digits at 4x4: beside what doubling alone makes of them, and beside noise that
    is in each pixel as strong as the details are."""
    x, _, unseen, _ = digits()
    low = down(unseen)
    plain, details = up(low), unseen - up(low)
    noisy = (plain + details.std(0) * torch.randn_like(plain)).clamp(-1, 1)
    without, noise = distance(plain), distance(noisy)
    distances = []
    for seed in seeds:
        torch.manual_seed(seed)
        model = Finest((1, 8, 8), levels=1, detail_width=32, lr=2e-3)
        play(model, among(x), 200)
        refined = torch.stack([model.refine(low) for _ in range(8)])
        distances.append(distance(refined[0]))
        varied = refined.var(0).mean() / details.var(0).mean()
        measured("enlarged bilinearly", without, seed=seed)
        measured("with noise as strong", noise, seed=seed)
        what = "Fréchet distance of refined held-out digits"
        measured(what, distances[-1], below=0.75 * without, seed=seed)
        measured("variance of details, share of theirs", varied.item(), above=0.1, seed=seed)
        # of the variance of details; a network deaf to its noise has 0
    measured.median(what, distances, below=0.75 * noise)
