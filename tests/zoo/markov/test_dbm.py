"""DBMs small enough to count: the sums by brute force, the bound below what it bounds."""

from itertools import product

import pytest
import torch
from torch import nn

from genzoo.protocols import Bounded, Completer, Density, Encoder, Estimated, Sampler
from genzoo.zoo.markov import DBM, RBM
from tests.helpers.tiny import Tiny
from tests.helpers.training import bits, fit, loader
from tests.zoo.markov.test_rbm import digits, every_image, learn

TINY = Tiny(
    DBM,
    {"hidden": 6, "top": 4, "chains": 12, "sweeps": 10, "lr": 1.0},
    {Sampler, Density, Bounded, Completer, Encoder},
)


def strong(shape=(1, 3, 3), hidden=6, top=4, deviation=0.8, **settings) -> DBM:
    """With random weights that matter."""
    model = DBM(shape, hidden=hidden, top=top, **settings)
    for p in model.parameters():
        nn.init.normal_(p, std=deviation)
    return model


def states(units: int) -> torch.Tensor:
    return torch.tensor([*product((0.0, 1.0), repeat=units)])


def brute_force(model: DBM, row: int = 0) -> torch.Tensor:
    """log p*(v) of all images, by summing exp(-E) of eq. 9 over all h and g."""
    v, h = states(model.pixels), states(model.weight.shape[1])
    g = states(len(model.weight) - model.pixels)
    w, u = model.weight[: model.pixels], model.weight[model.pixels :].T
    b, d = model.visible_bias[row][: model.pixels], model.visible_bias[row][model.pixels :]
    lower = (v @ b)[:, None] + h @ model.hidden_bias[row] + v @ w @ h.T  # (v, h)
    upper = g @ d + h @ u @ g.T  # (h, g)
    return (lower[:, :, None] + upper).logsumexp((1, 2))


@pytest.mark.parametrize("sizes", [(6, 4), (4, 6), (12, 3)])  # each layer is the smallest in turn
@pytest.mark.parametrize("num_classes", [0, 2])
def test_every_sum_is_exact(sizes, num_classes):
    model, x = strong((1, 2, 3), *sizes, num_classes=num_classes), every_image((1, 2, 3))
    for row in range(max(1, num_classes)):
        y = torch.full((len(x),), row) if num_classes else None
        expected = brute_force(model, row)
        assert model.log_partition()[row].item() == pytest.approx(expected.logsumexp(0).item())
        torch.testing.assert_close(model.log_prob(x, y), expected.log_softmax(0))
        assert model.log_prob(x, y).exp().sum().item() == pytest.approx(1, abs=1e-5)


def test_the_bound_is_the_papers_and_lies_below():
    model, x = strong(mean_field=30), every_image()
    exact, bound = model.log_prob(x), model.elbo(x)
    assert (bound <= exact + 1e-5).all() and 0.001 < (exact - bound).mean() < 0.5
    short = strong(mean_field=30)
    short.load_state_dict(model.state_dict())
    short.mean_field = 1
    assert (short.elbo(x) <= bound + 1e-5).all() and (short.elbo(x) < bound - 1e-4).any()
    # eq. 5, term by term
    v, means = (x.flatten(1) + 1) / 2, model.encode(x)
    h, g = means.split((6, 4), dim=1)
    w, u = model.weight[:9], model.weight[9:].T
    b, d, c = model.visible_bias[0][:9], model.visible_bias[0][9:], model.hidden_bias[0]
    energy = -(v @ b + h @ c + g @ d + ((v @ w) * h).sum(1) + ((h @ u) * g).sum(1))
    entropy = -(means * means.log() + (1 - means) * (1 - means).log()).sum(1)
    torch.testing.assert_close(bound, -energy + entropy - model.log_partition().float())


def test_mean_field_solves_its_equations():
    model, x = strong(mean_field=200, deviation=0.5), every_image()
    h, g = model.encode(x).split((6, 4), dim=1)
    w, u = model.weight[:9], model.weight[9:].T
    v, d = (x.flatten(1) + 1) / 2, model.visible_bias[0][9:]
    torch.testing.assert_close(h, (model.hidden_bias[0] + v @ w + g @ u.T).sigmoid())
    torch.testing.assert_close(g, (d + h @ u).sigmoid(), rtol=0, atol=1e-4)


def test_the_gradient_on_data_is_of_the_means():
    """v m_h, m_h m_g and the means themselves: the means are held fixed."""
    model, x = strong(mean_field=200, deviation=0.5), every_image()[::37]
    y, n = torch.zeros(len(x), dtype=torch.long), len(x)
    h, g = model.encode(x).split((6, 4), dim=1)
    v = (x.flatten(1) + 1) / 2
    (-model.free_energy(model.observed(x, y), y)).mean().backward()
    atol = {"rtol": 0, "atol": 1e-4}
    torch.testing.assert_close(model.weight.grad[:9], v.T @ h / n, **atol)
    torch.testing.assert_close(model.weight.grad[9:], g.T @ h / n, **atol)
    torch.testing.assert_close(model.visible_bias.grad[0, 9:], g.mean(0), **atol)


def test_samples_are_as_frequent_as_their_probability():
    model = strong((1, 2, 2), hidden=3, top=2, sweeps=30)
    x = model.sample(20_000)
    counts = torch.bincount(((x.flatten(1) > 0) * torch.tensor([8, 4, 2, 1])).sum(1), minlength=16)
    expected = 20_000 * model.log_prob(every_image((1, 2, 2))).exp()
    assert ((counts - expected) ** 2 / expected).sum() < 37.7  # 15 degrees of freedom, p = 0.001


def test_completion_draws_the_top_anew():
    model, x = strong(sweeps=3), every_image()[:200]
    mask = torch.zeros(200, 1, 3, 3)
    mask[:, :, 0] = 1
    drawn = model.complete(x, mask)
    assert torch.equal(drawn[:, :, 0], x[:, :, 0]) and not torch.equal(drawn, x)


def test_what_cannot_be_summed_is_estimated():
    model = DBM((1, 5, 5), hidden=21, top=5)
    assert isinstance(model, (Density, Bounded, Estimated)) and not model.tractable
    for ask in (model.log_prob, model.elbo):
        with pytest.raises(ValueError, match="at most 20 units .* got 30 and 21: log_prob_ais est"):
            ask(bits(2, (1, 5, 5)))
    small = strong()
    x = every_image()
    error = small.log_partition_ais().error.item()
    torch.testing.assert_close(small.log_prob_ais(x), small.elbo(x), rtol=0, atol=5 * error)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"top": 0}, "top must be at least 1, got 0"),
        ({"chains": 0}, "chains must be at least 1, got 0"),
        ({"mean_field": 0}, "mean_field must be at least 1, got 0"),
    ],
)
def test_impossible_settings_are_refused(setting, message):
    with pytest.raises(ValueError, match=message):
        DBM((1, 4, 4), **setting)
    with pytest.raises(ValueError, match="DBM must get binary images"):
        fit(DBM((1, 8, 8), hidden=4, top=3), loader(torch.zeros(8, 1, 8, 8)), 1)


# The claim


def moments(x: torch.Tensor) -> torch.Tensor:
    """E[v_i v_j] of all pairs of pixels."""
    v = (x.flatten(1) + 1) / 2
    return v.T @ v / len(v)


@pytest.mark.claim
@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_two_layers_learn_digits_at_once(seed, measured):
    """Exactly below 22 nats, where independent pixels cost 25, and an RBM of the same first layer
    and chains is at most half a nat better; samples have the data's pairs of pixels."""
    train, held_out, independent = digits(seed)
    settings = {"hidden": 12, "lr": 0.1, "chains": 100}
    deep, flat = DBM((1, 8, 8), top=8, sweeps=200, **settings), RBM((1, 8, 8), **settings)
    for model in (deep, flat):
        learn(model, train)
    with torch.no_grad():
        nats, bound, shallow = (
            -ask(held_out).mean().item() for ask in (deep.log_prob, deep.elbo, flat.log_prob)
        )
        active = deep.encode(held_out)[:, 12:].std(0)
    pixels = ((train + 1) / 2).mean(0).expand_as(train)
    data, ours, apart = (
        moments(x) for x in (held_out, deep.sample(len(train)), torch.bernoulli(pixels) * 2 - 1)
    )
    errors = [(found - data).square().mean().sqrt().item() for found in (ours, apart)]
    measured("independent pixels, nats", independent, above=24)
    measured("RBM of the same first layer, nats", shallow)
    measured("DBM, nats of held-out digits", nats, below=min(22, shallow + 0.5))
    measured("bound of the DBM, nats", bound, above=nats, below=nats + 0.5)
    measured("error of pairs of pixels, independent ones", errors[1])
    measured("error of pairs of pixels", errors[0], below=errors[1])
    measured("standard deviation of the top's means, least unit", active.min().item())
    measured("standard deviation of the top's means, most unit", active.max().item())
