"""Five switches, each by what its section of the paper promises."""

import numpy as np
import pytest
import torch
from torch import nn

from genzoo.protocols import Decoder, Interpolator, Sampler
from genzoo.zoo import GAN, ImprovedGAN
from genzoo.zoo.gan.gan import cross_entropy
from genzoo.zoo.gan.improved_gan import feature_distance, smoothed_cross_entropy
from genzoo.zoo.gan.wgan import wasserstein
from genzoo.zoo.networks.minibatch import MinibatchDiscrimination, VirtualBatchNorm
from tests.helpers.fixed_generator import GRID, gaussian
from tests.helpers.tiny import Tiny
from tests.helpers.training import bits, fit, loader
from tests.test_resume import MODELS, differences, train

TINY = Tiny(ImprovedGAN, {"latent_dim": 4, "width": 16}, {Sampler, Decoder, Interpolator})


OFF = {"minibatch_kernels": 0, "label_smoothing": 0.0}
ALL = {
    "feature_matching": True,
    "minibatch_kernels": 3,
    "historical_weight": 0.1,
    "label_smoothing": 0.1,
    "virtual_batch_norm": 5,
}


def test_with_every_switch_off_it_is_the_gan():
    weights = []
    for kind, settings in ((ImprovedGAN, OFF), (GAN, {})):
        torch.manual_seed(0)
        model = kind((1, 4, 4), 3, width=8, latent_dim=2, **settings)
        torch.manual_seed(1)
        fit(model, loader(torch.rand(32, 1, 4, 4) * 2 - 1), steps=4)
        weights.append(torch.cat([p.detach().flatten() for p in model.parameters()]))
    torch.testing.assert_close(*weights)


@pytest.mark.parametrize("num_classes", [0, 3])
@pytest.mark.parametrize(("network", "width"), [("mlp", 8), ("conv", 4), ("residual", 16)])
def test_all_switches_go_together_on_every_network(network, width, num_classes, tmp_path):
    model = ImprovedGAN(
        (1, 8, 8), num_classes, network=network, width=width, latent_dim=4, ema_decay=0.9, **ALL
    )
    before = {key: p.clone() for key, p in model.named_parameters()}
    fit(model, loader(bits(24)), steps=3).save_checkpoint(tmp_path / "m.ckpt")
    same = [key for key, p in model.named_parameters() if torch.equal(p, before[key])]
    assert not same
    loaded = ImprovedGAN.load_from_checkpoint(tmp_path / "m.ckpt", weights_only=True)
    z, y = model.prior(4), torch.tensor([0, 1, 2, 0]) if num_classes else None
    assert torch.equal(loaded.decode(z, y), model.decode(z, y))


def test_a_resumed_run_has_the_same_past_and_the_same_reference(tmp_path, monkeypatch):
    settings = {"width": 8, "latent_dim": 4, "ema_decay": 0.9, **ALL}
    monkeypatch.setitem(MODELS, "ImprovedGAN", lambda: ImprovedGAN((1, 8, 8), **settings))
    unbroken = train("ImprovedGAN", tmp_path / "unbroken", 1)
    resumed = train(
        "ImprovedGAN", tmp_path / "resumed", 1, resume=tmp_path / "unbroken/step=6.ckpt"
    )
    for part in ("state_dict", "optimizer_states"):
        assert differences(unbroken[part], resumed[part], part) == []


# Feature matching


def test_features_are_matched_in_the_mean():
    real = torch.tensor([[1.0, 2.0], [3.0, 2.0]])
    fake = torch.tensor([[0.0, 0.0], [0.0, 2.0], [0.0, 1.0]])
    assert feature_distance(real, fake).item() == pytest.approx(2**2 + 1**2)


def test_the_generator_looks_at_features_and_not_at_the_score():
    model = ImprovedGAN((1, 4, 4), width=8, feature_matching=True).eval()
    batch = torch.rand(6, 1, 4, 4), torch.zeros(6, dtype=torch.long)
    losses = []
    for _ in range(2):
        torch.manual_seed(0)
        losses.append(model.generator_loss(batch).item())
        for weight in model.discriminator.heads.parameters():
            nn.init.normal_(weight)
    assert losses[0] == losses[1]
    torch.manual_seed(0)
    with torch.no_grad():
        nn.init.constant_(model.discriminator.body.body[0].weight, 0.0)
    assert model.generator_loss(batch).item() == pytest.approx(0, abs=1e-6)


# Minibatch discrimination


def test_closeness_is_that_of_the_paper_and_none_of_an_image_to_itself():
    layer = MinibatchDiscrimination(num_features=4, kernels=3, dims=2)
    features = torch.randn(5, 4)
    out = layer(features)
    rows = (features @ layer.project.weight.T).view(5, 3, 2)
    for i in range(5):
        others = [j for j in range(5) if j != i]
        expected = sum((-(rows[i] - rows[j]).abs().sum(1)).exp() for j in others)
        torch.testing.assert_close(out[i, 4:], expected)
    assert torch.equal(out[:, :4], features)


@pytest.mark.claim
def test_a_batch_of_one_image_is_told_from_a_batch_of_many(measured):
    """Sec. 3.2. Image by image nobody could."""
    layer = MinibatchDiscrimination(num_features=4, kernels=3, dims=2)
    image = torch.randn(1, 4)
    collapsed, varied = layer(image.expand(7, 4)), layer(torch.randn(7, 4) * 1e4)
    torch.testing.assert_close(collapsed[:, 4:], torch.full((7, 3), 6.0))
    least = collapsed[:, 4:].min().item()
    measured("closeness of equal images, least of a batch (6 others)", least, near=6, within=1e-4)
    measured("closeness of far ones, most of a batch", varied[:, 4:].max().item(), below=0.1)
    collapsed[:, 4:].sum().backward()  # where two rows are equal |.| has no slope, and no nan
    assert torch.isfinite(layer.project.weight.grad).all()


def test_data_and_samples_are_separate_batches():
    model, seen = ImprovedGAN((1, 4, 4), width=8, minibatch_kernels=2), []
    closeness = model.discriminator.heads["score"][0]
    closeness.register_forward_pre_hook(lambda _, given: seen.append(len(given[0])))
    model.discriminator_loss((torch.rand(6, 1, 4, 4), torch.zeros(6, dtype=torch.long)))
    assert seen == [6, 6]


# Historical averaging


class Number(nn.Module):
    """A generator whose one sample is its one weight."""

    def __init__(self, image_shape, latent_dim, num_classes, width):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))

    def forward(self, z):
        return self.weight.expand(len(z), 1)


class Product(nn.Module):
    """A discriminator whose score is its one weight times the sample."""

    def __init__(self, image_shape, num_classes, width):
        super().__init__()
        self.body = nn.Linear(1, 1)
        nn.init.ones_(self.body.weight)

    def forward(self, x):
        return self.body(x).squeeze(1)


class Bilinear(ImprovedGAN):
    """With data at 0 the players pay xy and -xy, x and y being their weights."""

    Generator, Discriminator, loss = Number, Product, wasserstein

    def __init__(self, **settings):
        super().__init__((1,), **OFF, **settings)
        self.loss = wasserstein


def radius_after(steps: int, **settings) -> float:
    """Both players step by 0.05 at once, from (1, 1): there is no weight but x and y."""
    model = Bilinear(lr=0.05, **settings)
    model.discriminator.heads["score"].bias.requires_grad_(False)
    x, y = model.generator.weight, model.discriminator.heads["score"].weight
    batch = torch.zeros(1, 1), torch.zeros(1, dtype=torch.long)
    for _ in range(steps):
        (down,) = torch.autograd.grad(model.discriminator_loss(batch), y)
        (up,) = torch.autograd.grad(model.generator_loss(batch), x)
        with torch.no_grad():
            y -= 0.05 * down
            x -= 0.05 * up
        for name, past in model.history.items() if settings else ():
            past.update_parameters(getattr(model, name))
    return torch.hypot(x, y.squeeze(1)).item()


@pytest.mark.claim
def test_averages_of_the_past_end_the_chase_round_an_equilibrium(measured):
    """Sec. 3.3: min max xy, on which gradient descent runs away."""
    without, averaged = radius_after(1000), radius_after(1000, historical_weight=0.1)
    measured("min max xy: distance after 1,000 steps, from 1.41", without, above=4)
    measured("min max xy: with averages of the past", averaged, below=0.05)


def test_the_past_is_the_mean_of_all_steps():
    seen = {"generator": [], "discriminator": []}

    class Watched(ImprovedGAN):
        def move(self, player, optimizer, batch):
            loss = super().move(player, optimizer, batch)
            seen[player.name].append(nn.utils.parameters_to_vector(player.parameters()).detach())
            return loss

    model = Watched((1, 4, 4), width=8, latent_dim=2, historical_weight=0.3)
    fit(model, loader(torch.rand(48, 1, 4, 4) * 2 - 1), steps=6)
    for name, past in seen.items():
        mean = nn.utils.parameters_to_vector(model.history[name].parameters())
        torch.testing.assert_close(mean, torch.stack(past).mean(0))
        expected = 0.3 * (past[-1] - mean).square().sum()
        torch.testing.assert_close(model.departure(name), expected)


# One-sided label smoothing


def test_only_the_data_are_smoothed():
    real, fake = torch.randn(64, dtype=torch.double), torch.randn(64, dtype=torch.double)
    d_real, d_fake = real.sigmoid(), fake.sigmoid()
    expected = -(0.9 * d_real.log() + 0.1 * (1 - d_real).log()).mean() - (1 - d_fake).log().mean()
    assert smoothed_cross_entropy(real, fake, 0.1).item() == pytest.approx(expected.item())
    assert torch.equal(smoothed_cross_entropy(real, fake, 0.0), cross_entropy(real, fake))


def test_the_best_answer_to_two_points():
    """Data are 3 to 1 at the first of them, samples 1 to 3: there D is 0.9 times 3/4 and 1/4."""
    score = torch.zeros(2, dtype=torch.double, requires_grad=True)
    optimizer = torch.optim.LBFGS([score], max_iter=50)

    def cost():
        optimizer.zero_grad()
        loss = smoothed_cross_entropy(score[[0, 0, 0, 1]], score[[0, 1, 1, 1]], 0.1)
        loss.backward()
        return loss

    optimizer.step(cost)
    assert score.sigmoid().tolist() == pytest.approx([0.675, 0.225], abs=1e-4)


class Stuck(ImprovedGAN):
    """Its samples are N(1.5, 0.8^2), whatever it learns."""

    def fake(self, z, *condition):
        return (1.5 + 0.8 * torch.randn(len(z), 1),)


def error_of_best_answer(smoothing: float) -> float:
    """Mean distance of a trained D from 0.9 p / (p + q), for data N(0, 1)."""
    model = Stuck((1,), width=64, minibatch_kernels=0, label_smoothing=smoothing)
    optimizer = torch.optim.Adam(model.discriminator.parameters(), lr=2e-3)
    for _ in range(500):
        optimizer.zero_grad()
        model.discriminator_loss((torch.randn(512, 1), torch.zeros(512))).backward()
        optimizer.step()
    p, q = gaussian(0, 1), gaussian(1.5, 0.8)
    score = model.score(torch.tensor(GRID, dtype=torch.float32)[:, None]).double().numpy()
    off = np.abs(1 / (1 + np.exp(-score)) - 0.9 * p / (p + q))
    return np.average(off, weights=(p + q) / 2)


@pytest.mark.claim
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_best_answer_is_never_sure_of_data(seed, measured):
    """Sec. 3.4: 0.9 p / (p + q), from which a discriminator without smoothing stays away."""
    torch.manual_seed(seed)
    smoothed, plain = error_of_best_answer(0.1), error_of_best_answer(0.0)
    measured("smoothing: error of the best answer", smoothed, below=0.03)
    measured("without smoothing", plain, above=2 * smoothed)


# Virtual batch normalisation


@pytest.mark.claim
@pytest.mark.parametrize("network", ["mlp", "conv", "residual"])
@pytest.mark.parametrize("num_classes", [0, 3])
def test_no_sample_depends_on_the_others_of_its_batch(network, num_classes):
    """Sec. 3.5, and in training, too, where those of ordinary normalisation do."""
    for reference, depends in ((8, False), (0, True)):
        settings = {"network": network, "width": 4, "latent_dim": 3}
        model = ImprovedGAN((1, 8, 8), num_classes, virtual_batch_norm=reference, **settings)
        z, y = torch.randn(6, 3) * 2, torch.arange(6) % 3
        told = (z, y) if num_classes else (z,)
        together, alone = model.generator(*told), model.generator(*(t[1:3] for t in told))
        assert torch.allclose(together[1:3], alone, atol=1e-5) != depends


@pytest.mark.parametrize("shape", [(4,), (4, 3, 3)])
def test_statistics_are_those_of_the_reference_and_of_the_row_itself(shape):
    kind = nn.BatchNorm1d if len(shape) == 1 else nn.BatchNorm2d
    norm = kind(4)
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    reference, row = torch.randn(7, *shape), torch.randn(1, *shape) * 3
    out = VirtualBatchNorm(norm, 7)(torch.cat((reference, row)))
    # The reference batch normalises itself; the row does so as its eighth member.
    torch.testing.assert_close(out[:7], norm(reference))
    torch.testing.assert_close(out[7:], norm(torch.cat((reference, row)))[7:])


def test_the_reference_is_chosen_once(tmp_path):
    model = ImprovedGAN((1, 4, 4), width=8, latent_dim=2, virtual_batch_norm=6)
    reference = model.generator.reference.clone()
    fit(model, loader(torch.rand(32, 1, 4, 4) * 2 - 1), steps=4).save_checkpoint(tmp_path / "m")
    loaded = ImprovedGAN.load_from_checkpoint(tmp_path / "m", weights_only=True)
    for found in (model, loaded):
        assert torch.equal(found.generator.reference, reference)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"label_smoothing": 0.5}, r"label_smoothing must be in \[0, 0.5\), got 0.5"),
        ({"minibatch_kernels": -1}, "minibatch_kernels must be 0 or more, got -1"),
        ({"historical_weight": -0.1}, "historical_weight must be 0 or more, got -0.1"),
        ({"feature_matching": True, "saturating": True}, "saturating must be False: with feature"),
        (
            {"virtual_batch_norm": 4},
            "virtual_batch_norm must be 0 for a generator without batch normalisation, got 4",
        ),
    ],
)
def test_impossible_numbers_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        ImprovedGAN((2,), **settings)


@pytest.mark.parametrize("kernels", [0, 6])
def test_the_score_of_an_image_does_not_depend_on_its_batch(kernels):
    """In training it does, which is what closeness is for."""
    model = ImprovedGAN((1, 8, 8), width=8, latent_dim=2, minibatch_kernels=kernels)
    x = torch.rand(6, 1, 8, 8) * 2 - 1
    together = model.score(x)
    alone = torch.cat([model.score(image[None]) for image in x])
    torch.testing.assert_close(together, alone)
    judge = model.discriminator.train()
    for module in judge.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    near, far = judge(x[:1].expand(6, -1, -1, -1))[0], judge(x)[0]
    assert torch.isclose(near, far).item() == (kernels == 0)
