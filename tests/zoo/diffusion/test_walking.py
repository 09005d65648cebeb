"""What the family shares: guidance, conditions, walks, codes, completions, training."""

import pytest
import torch

from genzoo.conditions import Classes, ImageOf, Nothing, Together, Tokens, Vector
from genzoo.zoo import DDPM, EDM, FlowMatching
from tests.helpers.training import bits, fit, loader, trainer

EACH = [FlowMatching, DDPM, EDM]
each = pytest.mark.parametrize("model_class", EACH)


def made(model_class, image_shape=(1, 8, 8), **settings):
    torch.manual_seed(0)
    chain = {"timesteps": 200, "warmup_steps": 0} if model_class is DDPM else {}
    model = model_class(image_shape, width=16, blocks=1, **{"steps": 4, **chain, **settings})
    torch.nn.init.normal_(model.network.last.weight, std=0.1)
    model.average()
    return model


@each
def test_guidance_is_linear(model_class):
    """x^ of g lies on the line through that of nothing and that of the condition."""
    model = made(model_class, num_classes=3).eval()
    x, t, y = torch.randn(5, 1, 8, 8).double(), torch.full((5,), 0.6).double(), torch.arange(5) % 3
    nothing, plain = model.denoise(x, t, torch.full((5,), -1)), model.denoise(x, t, y)
    assert not torch.allclose(nothing, plain)
    for g in (0.0, 0.5, 1.0, 3.0):
        expected = nothing + g * (plain - nothing)
        torch.testing.assert_close(model.guided(g, y)(x, t), expected, atol=1e-5, rtol=1e-5)


def test_guidance_of_two_gaussians():
    """Classes N(+-m, I): guided by g, x^ is that of the class whose mean is g times as far out."""
    model, m = made(FlowMatching, (2,), num_classes=2), torch.tensor([1.0, 0.5]).double()

    def denoise(x, t, y):
        alpha, sigma = 1 - t[:, None], t[:, None]
        gain, both = alpha / (alpha**2 + sigma**2), alpha**2 + sigma**2
        means = torch.stack((m, -m))
        each = [mean + gain * (x - alpha * mean) for mean in means]
        squares = torch.stack([(x - alpha * mean).square().sum(1) for mean in means], 1)
        weights = (-squares / (2 * both)).softmax(1)
        mixed = weights[:, :1] * each[0] + weights[:, 1:] * each[1]
        label = y[:, None]
        return torch.where(label < 0, mixed, torch.where(label == 0, each[0], each[1]))

    model.denoise = denoise
    x, t = torch.randn(6, 2).double(), torch.full((6,), 0.5).double()
    found = model.guided(3.0, torch.zeros(6, dtype=torch.long))(x, t)
    weight = torch.sigmoid(2 * 0.5 * (x @ m) / 0.5)[:, None]  # of the first class, given x
    own = m + (x - 0.5 * m)
    expected = own + 2 * (1 - weight) * (m - (-m)) * 0.5
    torch.testing.assert_close(found, expected)


@each
def test_a_share_of_the_conditions_is_withheld(model_class):
    model, seen = made(model_class, num_classes=3, label_dropout=0.25), []
    model.network.register_forward_pre_hook(lambda _, given: seen.append(given[2]))
    fit(model, loader(bits(800), batch_size=400), steps=4)
    y = torch.cat(seen)
    assert 0.2 < (y < 0).float().mean() < 0.3
    assert {*y.tolist()} == {-1, 0, 1, 2}
    # Image by image, and the others keep theirs.
    assert torch.equal(seen[0][seen[0] >= 0], (torch.arange(400) % 3)[seen[0] >= 0])


KINDS = {
    "Nothing": (Nothing(), None),
    "Classes": (Classes(3), torch.tensor([0, 2])),
    "Vector": (Vector(2), torch.tensor([[1.0, 0.0], [0.5, -2.0]])),
    "ImageOf": (ImageOf((3, 4, 4)), torch.rand(2, 3, 4, 4) * 2 - 1),
    "Tokens": (Tokens(("a", "red", "bird"), 3), torch.tensor([[1, 2, 3], [3, 0, 0]])),
    "Together": (
        Together(text=Tokens(("a", "b"), 2), sketch=ImageOf((1, 8, 8)), place=Vector(1)),
        {
            "text": torch.tensor([[1, 2], [2, 0]]),
            "sketch": torch.rand(2, 1, 8, 8) * 2 - 1,
            "place": torch.tensor([[0.5], [1.0]]),
        },
    ),
}


@pytest.mark.parametrize("network", ["mlp", "unet"])
@pytest.mark.parametrize("kind", KINDS)
def test_any_condition_is_heeded_and_can_be_withheld(kind, network):
    condition, y = KINDS[kind]
    settings = {"multipliers": (1, 2), "attention": (4,)} if network == "unet" else {}
    model = made(FlowMatching, condition=condition, network=network, **settings)
    for block in model.network.modules():  # at first none of them says anything
        if isinstance(block, torch.nn.Conv2d | torch.nn.Linear):
            torch.nn.init.normal_(block.weight, std=0.1)
    model.average()
    z = model.prior(2)
    if kind == "Nothing":
        assert model.decode(z).shape == (2, 1, 8, 8)
        with pytest.raises(ValueError, match="guidance must be 1 or left out, got 2.0"):
            model.sample(2, guidance=2.0)
        return
    plain, heeded = (model.decode(z, y, guidance=g) for g in (1.0, 3.0))
    nobody = model.decode(z, y, guidance=0.0)
    withheld = condition.withhold(y, torch.tensor([True, True]))
    x, t = model.prior(2).view(2, 1, 8, 8), torch.full((2,), 0.5)
    torch.testing.assert_close(model.guided(0.0, y)(x, t), model.denoise(x, t, withheld))
    assert not torch.allclose(model.guided(0.0, y)(x, t), model.denoise(x, t, y))
    assert not torch.allclose(plain, nobody) and not torch.allclose(plain, heeded)
    assert torch.isfinite(heeded).all()
    model.encode(model.decode(z, y), y)
    with pytest.raises(ValueError, match="y must be .*, got None"):
        model.encode(torch.zeros(2, 1, 8, 8))


@each
def test_a_walk_ends_in_what_is_decoded(model_class):
    """And each of its steps can be looked at; in between the model is as it was."""
    model = made(model_class, num_classes=3).train()
    z, y = model.prior(2), torch.tensor([0, 2])
    sampler = "heun" if model_class is EDM else "euler"
    seen = []
    for x in model.walk(z, y, steps=5, sampler=sampler):
        assert model.training and torch.is_grad_enabled() and x.dtype == torch.float64
        seen.append(x)
    assert len(seen) == 5
    expected = model.decode(z, y, steps=5, sampler=sampler)
    torch.testing.assert_close(seen[-1].float().clamp(-1, 1), expected)
    assert model.training


@each
def test_codes_and_images_of_many_steps(model_class):
    """There and back, with a network that says something; an image's code is its own affair."""
    model, x, off = made(model_class, (2,)), torch.randn(16, 2) / 2, {}
    for steps in (15, 60):
        z = model.encode(x, steps=steps)
        off[steps] = (model.decode(z, steps=steps) - x).abs().max()
    assert z.shape == (16, 2)
    assert off[60] < min(0.25, 0.5 * off[15])
    torch.testing.assert_close(model.encode(x[:1], steps=60), z[:1], atol=1e-4, rtol=1e-4)


@each
def test_known_pixels_stay_to_the_bit(model_class):
    model = made(model_class, num_classes=3)
    x = torch.rand(4, 1, 8, 8) * 2 - 1
    mask = (torch.rand(4, 1, 8, 8) < 0.5).float()
    looked = []
    model.average_network.register_forward_pre_hook(lambda *_: looked.append(1))
    found = model.complete(x, mask, torch.tensor([0, 1, 2, 0]), resample=3, jump=2)
    known = mask.bool()
    assert torch.equal(found[known], x[known]) and not torch.equal(found[~known], x[~known])
    assert len(looked) == 3 * 4  # each step three times
    assert found.abs().max() <= 1
    with pytest.raises(ValueError, match=r"mask must be \(4, 1, H, W\)"):
        model.complete(x, mask[:2])


def test_the_average_draws_and_the_network_learns():
    model = made(FlowMatching, (2,))
    torch.nn.init.zeros_(model.ema.module.last.weight)
    z = model.prior(3)
    torch.testing.assert_close(model.decode(z, steps=1), z - 0.0)  # the average says 0
    x, t = torch.randn(3, 2), torch.full((3,), 0.5)
    assert not torch.allclose(model.train().denoise(x, t), model.eval().denoise(x, t))


def test_the_rate_rises_and_the_gradient_is_clipped():
    model, rates, norms = made(FlowMatching, warmup_steps=4, lr=0.1, clip_norm=0.01), [], []

    class Look(torch.nn.Module):
        pass

    step = model.optimizer_step

    def watched(epoch, batch, optimizer, closure):
        rates.append(optimizer.param_groups[0]["lr"])
        step(epoch, batch, optimizer, closure)
        grads = [p.grad for p in model.network.parameters() if p.grad is not None]
        norms.append(torch.cat([g.flatten() for g in grads]).norm().item())

    model.optimizer_step = watched
    fit(model, loader(bits(48)), steps=6)
    assert rates == pytest.approx([0.025, 0.05, 0.075, 0.1, 0.1, 0.1])
    assert norms == pytest.approx([0.01] * 6, rel=1e-3)


def test_the_trainers_own_clipping_comes_first():
    model = made(FlowMatching, clip_norm=0.01)
    runner = trainer(max_steps=1, max_epochs=-1, gradient_clip_val=0.5)
    runner.fit(model, loader(bits(8)))
    grads = [p.grad for p in model.network.parameters() if p.grad is not None]
    assert 0.1 < torch.cat([g.flatten() for g in grads]).norm() <= 0.5 + 1e-4


def test_training_images_get_noise_as_wide_as_a_level():
    seen = []

    class Watched(FlowMatching):
        def loss(self, x_t, t, x, *given):
            seen.append(x)
            return super().loss(x_t, t, x, *given)

    for dequantise in (False, True):
        model = made(Watched, dequantise=dequantise, levels=5)
        fit(model, loader(bits(64), batch_size=64), steps=1)
    plain, noisy = seen
    assert torch.equal(plain, bits(64))
    assert 0.24 < (noisy - plain).abs().max() <= 0.25


@each
def test_a_card_says_how_it_was_drawn(model_class):
    model = made(model_class, num_classes=3, guidance=2.0)
    names = {FlowMatching: "euler", DDPM: "ancestral", EDM: "heun"}
    assert model.sample_protocol == {
        "sampler": names[model_class],
        "sampling_steps": 4,
        "guidance": 2.0,
    }
    assert "guidance" not in made(model_class).sample_protocol


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"sampler": "leapfrog"}, "sampler must be one of euler, ddim, midpoint, heun, ancestral"),
        ({"network": "dit"}, "network must be auto, own, unet or mlp, got 'dit'"),
        ({"network": "own"}, "network must be one of unet, mlp, got 'own'"),
        ({"label_dropout": 1.0}, r"label_dropout must be in \[0, 1\), got 1.0"),
        (
            {"num_classes": 3, "label_dropout": 0.0, "guidance": 2.0},
            "guidance must be 1 where label_dropout is 0, got 2.0",
        ),
        ({"levels": 1}, r"levels must be in 2..256, got 1"),
        (
            {"network": "unet", "image_shape": (1, 12, 12)},
            "image_shape must be .* sides that 8 divides, got .*: set --data.image_size",
        ),
        ({"network": "unet", "heads": 3, "width": 16}, "heads must divide the width, 16, got 3"),
    ],
)
def test_impossible_settings_are_refused(setting, message):
    with pytest.raises(ValueError, match=message):
        FlowMatching(**{"image_shape": (1, 8, 8), **setting})


def test_what_is_asked_of_a_walk_is_checked_before_it():
    model = made(FlowMatching, num_classes=3)
    for asked, message in (
        ({"steps": 0}, "steps must be at least 1, got 0"),
        ({"guidance": -1.0}, "guidance must be 0 or more, got -1.0"),
        ({"sampler": "leapfrog"}, "sampler must be one of"),
        ({"y": torch.tensor([3, 3])}, r"y must be in 0\.\.2"),
    ):
        with pytest.raises(ValueError, match=message):
            model.walk(model.prior(2), **asked)
    with pytest.raises(ValueError, match="sampler must be one of .* between codes"):
        model.decode(model.prior(2), sampler="ancestral")


class Own(torch.nn.Module):
    """A user's network, with the arguments of the zoo's."""

    default_width, default_blocks = 4, 1

    def __init__(self, image_shape, condition, width, blocks, dropout):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))

    def forward(self, x, c, *condition):
        return self.weight * x


def test_a_network_of_ones_own():
    class Mine(FlowMatching):
        Network = Own

    assert isinstance(Mine((1, 8, 8)).network, Own)
    assert not isinstance(Mine((1, 8, 8), network="mlp").network, Own)
