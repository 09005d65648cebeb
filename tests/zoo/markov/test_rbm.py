"""RBMs small enough to count: every sum by brute force, every chain against its distribution."""

from itertools import product

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.distributions import Bernoulli
from torch.utils.data import DataLoader, TensorDataset

from genzoo.protocols import Completer, Density, Encoder, Estimated, Filtering, Sampler
from genzoo.zoo.markov import RBM
from tests.helpers.tiny import Tiny
from tests.helpers.training import bits, fit, loader, trainer

TINY = Tiny(RBM, {"hidden": 6, "sweeps": 10, "lr": 1.0}, {Sampler, Density, Completer, Encoder})


def strong(shape=(1, 3, 3), hidden=5, deviation=0.8, **settings) -> RBM:
    """With random weights that matter."""
    model = RBM(shape, hidden=hidden, **settings)
    for p in model.parameters():
        nn.init.normal_(p, std=deviation)
    return model


def every_image(shape=(1, 3, 3)) -> torch.Tensor:
    pixels = torch.Size(shape).numel()
    return torch.tensor([*product((-1.0, 1.0), repeat=pixels)]).view(-1, *shape)


# Exactness


@pytest.mark.parametrize("hidden", [4, 9, 12])  # each side is the smaller one in turn
@pytest.mark.parametrize("num_classes", [0, 3])
def test_probabilities_of_all_images_sum_to_one(hidden, num_classes):
    model, x = strong(hidden=hidden, num_classes=num_classes), every_image()
    for label in range(max(1, num_classes)):
        y = torch.full((len(x),), label) if num_classes else None
        assert model.log_prob(x, y).exp().sum().item() == pytest.approx(1, abs=1e-5)


def test_log_z_is_the_sum_over_both_layers():
    model = strong(hidden=4, num_classes=2)
    v, h = (every_image() + 1).flatten(1) / 2, torch.tensor([*product((0.0, 1.0), repeat=4)])
    for row in range(2):
        energy = (v @ model.visible_bias[row])[:, None] + h @ model.hidden_bias[row]
        pairs = energy + v @ model.weight @ h.T  # minus E(v, h) of all pairs
        assert model.log_partition()[row].item() == pytest.approx(pairs.logsumexp((0, 1)).item())


def test_the_sum_goes_on_block_by_block(monkeypatch):
    model = strong(hidden=8)
    whole = model.log_partition().item()
    monkeypatch.setattr("genzoo.zoo.markov.rbm.BLOCK", 90)  # ten states of nine pixels
    model._summed.clear()
    assert model.log_partition().item() == pytest.approx(whole, abs=1e-6)


def test_what_is_remembered_goes_with_the_weights():
    model, x = strong(), every_image()
    before = model.log_prob(x)
    with torch.no_grad():
        model.hidden_bias += 1
    assert not torch.allclose(model.log_prob(x), before, atol=0.01)
    assert model.log_prob(x).exp().sum().item() == pytest.approx(1, abs=1e-5)


def test_the_chain_draws_from_the_model():
    model = strong((1, 2, 2), hidden=3, sweeps=30)
    x = model.sample(20_000)
    expected = 20_000 * model.log_prob(every_image((1, 2, 2))).exp()
    assert _chi_square(x, expected) < 37.7  # p = 0.001


def test_completion_draws_from_the_posterior():
    model = strong((1, 2, 2), hidden=3, sweeps=30, num_classes=2)
    images, y = every_image((1, 2, 2)), torch.ones(16, dtype=torch.long)
    p = model.log_prob(images, y).exp()
    known = images.flatten(1)[:, 3] == 1  # what comes last in the order of pixels
    mask = torch.tensor([0.0, 0.0, 0.0, 1.0]).view(1, 1, 2, 2).expand(20_000, -1, -1, -1)
    grey = torch.tensor([0.3, 0.3, 0.3, 1.0]).view(1, 1, 2, 2).expand(20_000, -1, -1, -1)
    x = model.complete(grey, mask, torch.ones(20_000, dtype=torch.long))
    assert (x[..., 1, 1] == 1).all()
    expected = 20_000 * torch.where(known, p, 0) / p[known].sum()
    assert _chi_square(x, expected) < 24.3  # p = 0.001


def _chi_square(x, expected) -> float:
    """Of the frequencies of images; infinite if one is drawn that is impossible."""
    places = 2 ** torch.arange(x[0].numel()).flip(0)
    counts = torch.bincount(((x.flatten(1) > 0) * places).sum(1), minlength=len(expected))
    some = expected > 0
    if counts[~some].any():
        return float("inf")
    return ((counts - expected) ** 2 / expected)[some].sum().item()


# Learning


def test_the_gradient_is_the_papers_update():
    """<v p(h|v)> of the data less that of the chain after k sweeps."""
    model = strong((1, 3, 3), hidden=4, gibbs_steps=3)
    x, y = bits(7, (1, 3, 3)), torch.zeros(7, dtype=torch.long)
    v = (x.flatten(1) + 1) / 2
    torch.manual_seed(5)
    end = model.gibbs(v, y, 3)
    torch.manual_seed(5)
    (model.free_energy(v, y).mean() - model._contrastive(v, y)).backward()
    expected = (v.T @ model.hidden(v, y) - end.T @ model.hidden(end, y)) / 7
    torch.testing.assert_close(-model.weight.grad, expected)
    torch.testing.assert_close(-model.visible_bias.grad[0], (v - end).mean(0))


def test_chains_of_classes_count_as_the_batch_does():
    model = strong((1, 2, 2), hidden=3, num_classes=2, chains=2000, gibbs_steps=20)
    model.trainer = trainer()
    y = torch.tensor([0, 0, 0, 1])  # three quarters
    expected = 0.0
    for label, share in ((0, 0.75), (1, 0.25)):
        rows = torch.full((16,), label)
        x = every_image((1, 2, 2))
        energy = model.free_energy((x.flatten(1) + 1) / 2, rows)
        expected += share * (model.log_prob(x, rows).exp() * energy).sum().item()
    assert model._persistent(y).item() == pytest.approx(expected, abs=0.1)
    assert model._persistent(y).item() != pytest.approx(model._persistent(1 - y).item(), abs=0.1)


def test_persistent_chains_go_on_and_contrastive_ones_do_not_exist():
    model = RBM((1, 8, 8), hidden=6, chains=10)
    before = model.chains.clone()
    fit(model, loader(bits(24)), steps=2)
    assert not torch.equal(model.chains, before) and "chains" in model.state_dict()
    assert len(RBM((1, 8, 8), hidden=6).chains) == 0


def test_pixels_start_at_their_means():
    model = RBM((1, 8, 8), hidden=6, lr=0.0)
    x = bits(8)
    fit(model, loader(x), steps=1)
    means = (((x + 1) / 2).flatten(1).sum(0) + 1) / 10
    torch.testing.assert_close(model.visible_bias[0].sigmoid(), means)


def test_the_learning_rate_falls_to_nothing():
    model = RBM((1, 8, 8), hidden=6, lr=0.1)
    runner = fit(model, loader(bits(24)), steps=4)
    (schedule,) = runner.lr_scheduler_configs
    assert [schedule.scheduler.lr_lambdas[0](step) for step in (0, 2, 4)] == [1, 0.5, 0]
    assert runner.optimizers[0].param_groups[0]["lr"] == 0


# Around it


def test_what_cannot_be_summed_is_estimated():
    model = RBM((1, 5, 5), hidden=21)
    assert isinstance(model, (Density, Estimated, Filtering)) and not model.tractable
    with pytest.raises(ValueError, match="at most 20 units .* got 25 and 21: log_prob_ais est"):
        model.log_prob(bits(2, (1, 5, 5)))
    nats = model.log_prob_ais(bits(2, (1, 5, 5)))  # untrained: nearly a coin for each pixel
    assert nats.shape == (2,) and nats.mean().item() == pytest.approx(-25 * np.log(2), abs=0.3)


def test_an_estimate_has_a_value_of_its_own():
    """Whatever the random state; and it leaves that alone."""
    model = strong((1, 5, 5), hidden=21)
    state = torch.get_rng_state()
    first = model.log_partition_ais(chains=10, betas=10)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(9)
    assert torch.equal(model.log_partition_ais(chains=10, betas=10).value, first.value)
    other = model.log_partition_ais(chains=10, betas=10, seed=1)
    assert not torch.equal(other.value, first.value)


def test_filters_are_the_weights_of_each_unit():
    model = strong((1, 2, 3), hidden=4)
    assert model.filters().shape == (4, 1, 2, 3)
    assert torch.equal(model.filters()[2].flatten(), model.weight[:, 2])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m: RBM((4,)), r"image_shape must be \(C, H, W\), got \(4,\)"),
        (lambda m: RBM((1, 4, 4), hidden=0), "hidden must be at least 1, got 0"),
        (lambda m: RBM((1, 4, 4), gibbs_steps=0), "gibbs_steps must be at least 1, got 0"),
        (lambda m: RBM((1, 4, 4), chains=-1), "chains must be 0 or more, got -1"),
        (
            lambda m: m.log_prob(torch.zeros(1, 1, 4, 4), torch.zeros(1).long()),
            "RBM must get binary images",
        ),
        (lambda m: m.log_prob(torch.ones(1, 1, 4, 4)), r"y must be labels in 0\.\.2, got None"),
        (lambda m: m.sample(1, torch.tensor([3])), r"y must be in 0\.\.2, got 3"),
        (lambda m: m.complete(torch.ones(2, 1, 4, 4), torch.ones(4, 4)), r"mask must be \(2, 1"),
        (lambda m: m.log_partition_ais(betas=1), "betas must be at least 2, got 1"),
        (
            lambda m: fit(RBM((1, 8, 8), 3, chains=2), loader(bits(8)), 1),
            "chains must be a multiple of the 1 ranks, at least 3 on each, got 2",
        ),
    ],
)
def test_errors_say_what_is_wrong(call, message):
    with pytest.raises(ValueError, match=message):
        call(RBM((1, 4, 4), num_classes=3, hidden=4))


# The claim


def digits(seed: int) -> tuple[torch.Tensor, torch.Tensor, float]:
    """Different binary 8x8 digits, 400 of them held out, and what these cost pixel by pixel."""
    x = np.unique(load_digits().data >= 8, axis=0)  # some occur twice: held out is held out
    x = torch.from_numpy(x).float().view(-1, 1, 8, 8) * 2 - 1
    torch.manual_seed(seed)
    x = x[torch.randperm(len(x))]
    train, held_out = x[:-400], x[-400:]
    chance = Bernoulli((((train + 1) / 2).sum(0) + 1) / (len(train) + 2))
    independent = -chance.log_prob((held_out + 1) / 2).flatten(1).sum(1).mean().item()
    return train, held_out, independent


def learn(model, train, epochs=30):
    labels = torch.zeros(len(train), dtype=torch.long)
    data = DataLoader(TensorDataset(train, labels), 50, shuffle=True, drop_last=True)
    trainer(max_epochs=epochs).fit(model, data)


@pytest.mark.claim
@pytest.mark.parametrize("seed", [0, *(pytest.param(s, marks=pytest.mark.slow) for s in (1, 2))])
@pytest.mark.parametrize(
    "kind", ["contrastive", pytest.param("persistent", marks=pytest.mark.slow)]
)
def test_the_likelihood_of_digits_is_learned_and_estimated(kind, seed, measured):
    """Far below independent pixels, which cost 25 nats; and annealing finds Z to 0.05 nats."""
    train, held_out, independent = digits(seed)
    model = RBM((1, 8, 8), hidden=12, **SETTINGS[kind])
    learn(model, train)
    with torch.no_grad():
        nats = -model.log_prob(held_out).mean().item()
    exact, estimate = model.log_partition().item(), model.log_partition_ais(chains=1000)
    name = {"contrastive": "CD-1", "persistent": "persistent"}[kind]
    off = abs(estimate.value.item() - exact)
    measured("independent pixels, nats", independent, above=24)
    measured(f"{name}, nats", nats, below=22)
    measured(f"{name}: log Z by annealing off by, nats", off, below=0.05)
    measured(f"{name}: its own standard error, nats", estimate.error.item(), below=0.03)


SETTINGS = {
    "contrastive": {"lr": 0.1, "momentum": 0.9},
    "persistent": {"lr": 0.1, "chains": 100},
}
