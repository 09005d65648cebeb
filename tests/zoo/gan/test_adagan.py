"""Lambda by hand and by its definition; what one component misses the next one learns."""

import pytest
import torch
from torch import nn

from genzoo.datamodules import Toy
from genzoo.protocols import Decoder, Interpolator, Sampler
from genzoo.zoo import WGANGP, AdaGAN
from genzoo.zoo.gan.adagan import boosting_weights, smallest
from tests.helpers.point_clouds import earth_movers_distance, held_out
from tests.helpers.tiny import Tiny
from tests.helpers.training import bits, fit, loader

TINY = Tiny(
    AdaGAN,
    {"latent_dim": 4, "width": 16, "num_components": 2, "stage_steps": 1, "classifier_steps": 1},
    {Sampler, Decoder, Interpolator},
    late_players={"classifier"},  # it waits while the first component learns
    eager={"classifier", "generator"},  # which weigh the data when a component begins
    # How many each component draws, which the classifier's lessons ask between two stages.
    waits=("for number in chosen.unique():", "self.components[number](z[its"),
    variant={"weights": "topk", "stage_steps": 5},
)


def by_bisection(floor: torch.Tensor, beta: float) -> float:
    """lambda such that the hinges [lambda - (1 - beta) r]_+ sum to N beta."""
    low, high = 0.0, floor.max().item() + len(floor)
    for _ in range(200):
        middle = (low + high) / 2
        enough = (middle - floor).clamp(min=0).sum().item() >= len(floor) * beta
        low, high = (low, middle) if enough else (middle, high)
    return high


@pytest.mark.parametrize("beta", [0.05, 0.25, 0.5, 0.9])
def test_lambda_solves_its_equation(beta):
    ratio = torch.randn(500, dtype=torch.double).mul(2).exp()
    weights, level = boosting_weights(ratio, beta)
    assert level.item() == pytest.approx(by_bisection((1 - beta) * ratio, beta), rel=1e-9)
    assert weights.sum().item() == pytest.approx(1, abs=1e-12)
    assert torch.equal(weights > 0, ratio < level / (1 - beta))  # zero where r is large, only
    expected = (level - (1 - beta) * ratio).clamp(min=0) / (500 * beta)
    torch.testing.assert_close(weights, expected)  # before they are divided by their sum, too


def test_weights_by_hand():
    """r = 0, 1, 3 and beta = 1/2: lambda = (3/2 + 0 + 1/2) / 2 = 1, which is below 3/2."""
    weights, level = boosting_weights(torch.tensor([3.0, 0.0, 1.0]), 0.5)
    assert level.item() == pytest.approx(1.0)
    assert weights.tolist() == pytest.approx([0.0, 1 / 1.5, 0.5 / 1.5])
    assert smallest(torch.tensor([3.0, 0.0, 1.0, 2.0]), 0.5).tolist() == [0.0, 0.5, 0.5, 0.0]


def test_a_component_that_is_all_the_mixture_learns_from_all_alike():
    weights, level = boosting_weights(torch.rand(40) * 9, 1.0)
    assert weights.tolist() == pytest.approx([1 / 40] * 40) and level.item() == pytest.approx(1)


@pytest.mark.parametrize("beta", [0.25, 0.5])
def test_the_new_mixture_is_the_larger_of_two_laws(beta):
    """Ten points: max(lambda P, (1 - beta) Q), with the component that the weights describe."""
    data = torch.tensor([1, 1, 2, 2, 3, 3, 4, 4, 10, 10])  # so often each point is in the data
    q = torch.tensor([0.3, 0, 0.2, 0.01, 0.09, 0, 0.1, 0.1, 0.05, 0.15], dtype=torch.double)
    p = data / data.sum()
    which = torch.arange(10).repeat_interleave(data)
    weights, level = boosting_weights((q / p)[which], beta)
    component = torch.zeros(10, dtype=torch.double).index_add(0, which, weights)
    mixture = (1 - beta) * q + beta * component
    assert (mixture - torch.maximum(level * p, (1 - beta) * q)).abs().max() < 1e-6


class Constant(nn.Module):
    """Draws one number for ever."""

    def __init__(self, number: float):
        super().__init__()
        self.number = nn.Parameter(torch.tensor(number))

    def forward(self, z, y=None):
        return self.number.expand(len(z), 2)


@pytest.mark.parametrize(("beta", "shares"), [(0.0, [1 / 3] * 3), (0.5, [0.25, 0.25, 0.5])])
def test_components_draw_by_their_shares(beta, shares):
    model = AdaGAN((2,), num_components=4, beta=beta, width=4)
    for number, _ in enumerate(shares):
        model.generator.components[number] = Constant(float(number))
        if number:
            model.next_stage()
    z = model.prior(30_000)
    assert z.shape[1] == model.latent_dim == 33
    drawn = model.decode(z)[:, 0]
    counts = torch.bincount(drawn.long(), minlength=4) / len(drawn)
    assert counts.tolist() == pytest.approx([*shares, 0.0], abs=0.015)
    place = torch.bucketize((z[:, -1] + 1) / 2, torch.tensor(shares).cumsum(0)[:2])
    assert torch.equal(drawn.long(), place)  # in the order of z
    z[:, -1] = 1.2  # on the way from one latent to another
    assert (model.decode(z) == 2).all()
    (before,) = model.before(model.prior(30_000))
    assert (before == 0).float().mean().item() == pytest.approx(0.5, abs=0.02)
    assert (before < 2).all()


def test_the_classifier_learns_first_and_alone_and_the_past_stands_still():
    model = AdaGAN((1, 8, 8), width=8, num_components=2, stage_steps=2, classifier_steps=3)
    seen = []

    def record(batch, batch_idx, start=model.on_train_batch_start):
        start(batch, batch_idx)
        networks = (
            model.classifier,
            *model.generator.components,
            *model.discriminator.networks,
        )
        seen.append([[*network.parameters()][-2].detach().clone() for network in networks])

    model.on_train_batch_start = record
    runner = fit(model, loader(bits(24)), steps=4)
    moved = [
        [not torch.equal(a, b) for a, b in zip(old, new, strict=True)]
        for old, new in zip(seen, seen[1:], strict=False)
    ]
    first, lesson, second = (
        [False, True, False, True, False],
        [True, False, False, False, False],
        [False, False, True, False, True],
    )
    # The batch of the third lesson is the first of the component's.
    both = [a or b for a, b in zip(lesson, second, strict=True)]
    assert moved == [first, first, lesson, lesson, both]
    assert runner.global_step == 4


def test_what_is_frozen_is_the_average():
    model = AdaGAN((2,), width=8, num_components=2, stage_steps=3, ema_decay=0.5)
    fit(model, loader(torch.randn(24, 2)), steps=3)
    average = [p.clone() for p in model.ema.module.components[0].parameters()]
    raw = [*model.generator.components[0].parameters()]
    assert not torch.equal(raw[0], average[0])
    model.next_stage()
    assert all(map(torch.equal, raw, average))
    model.ema.update(model.generator)
    assert all(map(torch.equal, model.ema.module.components[0].parameters(), average))
    assert model.ema.module.shares.tolist() == [0.5, 0.5]


class Boosted(AdaGAN, WGANGP):
    pass


def test_components_may_be_other_gans():
    model = Boosted((2,), width=8, num_components=2, stage_steps=1, classifier_steps=1, d_steps=2)
    before = {key: p.clone() for key, p in model.named_parameters()}
    fit(model, loader(torch.randn(24, 2)), steps=2)
    still = [key for key, p in model.named_parameters() if torch.equal(p, before[key])]
    # A constant in the score is nothing to a critic.
    assert still == [f"discriminator.networks.{i}.body.4.bias" for i in (0, 1)]
    assert model.penalty_weight == 10 and model.hparams.penalty_weight == 10


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"num_components": 0}, "num_components must be at least 1, got 0"),
        ({"classifier_steps": 0}, "classifier_steps must be at least 1, got 0"),
        ({"beta": 1.0}, r"beta must be in \[0, 1\), got 1.0"),
        ({"top_share": 0.0}, r"top_share must be in \(0, 1\], got 0.0"),
        ({"weights": "best"}, "weights must be one of theory, topk, uniform, got 'best'"),
    ],
)
def test_impossible_settings_are_refused(setting, message):
    with pytest.raises(ValueError, match=message):
        AdaGAN((2,), **setting)


class Half(nn.Module):
    """A generator that collapsed: it draws four of the eight Gaussians of a ring, as they are."""

    def __init__(self, data: Toy):
        super().__init__()
        self.sigma = data.sigma
        self.centres = nn.Parameter(data.centres[:4])

    def forward(self, z, y=None):
        return self.centres[torch.randint(4, (len(z),))] + self.sigma * torch.randn(len(z), 2)


def missed(points: torch.Tensor, data: Toy) -> torch.Tensor:
    """(n,), whether they lie where that generator draws none."""
    return torch.cdist(points, data.centres).argmin(1) >= 4


def after_a_collapse(seed: int, weights: str, steps: int) -> tuple[AdaGAN, Toy]:
    """Two components, the first one collapsed, the second after so many steps."""
    torch.manual_seed(seed)
    data = Toy("ring", batch_size=128)
    settings = {"latent_dim": 2, "width": 64, "lr": 1e-3, "classifier_steps": 200}
    model = AdaGAN((2,), num_components=2, weights=weights, **settings)
    model.generator.components[0] = Half(data)
    model.next_stage()
    fit(model, data, steps=steps, limit_val_batches=0)
    return model, data


@pytest.mark.claim
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_what_the_mixture_misses_weighs_nearly_all(seed, measured):
    """Half of the data, of which the mixture draws none; the other half it draws twice as often."""
    model, data = after_a_collapse(seed, "theory", steps=1)
    x = held_out("ring")
    there = missed(x, data)
    found = model.data_weights(x)[there].sum().item()
    ratio = model.ratio(x)
    measured("weight of the half that the mixture misses", found, above=0.9)
    measured("density over the data's, there", ratio[there].mean().item(), below=0.1)
    measured("and in the other half", ratio[~there].mean().item(), near=2, within=0.3)


@pytest.mark.claim
@pytest.mark.slow
def test_the_second_component_learns_what_the_first_misses(measured):
    """Beside bagging, whose second component learns from all data."""
    x, found = held_out("ring"), []
    for seed in (0, 1, 2):
        row = []
        for weights in ("theory", "uniform"):
            model, data = after_a_collapse(seed, weights, steps=600)
            (drawn,) = model.fake(model.prior(2000))
            share = missed(drawn.detach(), data).float().mean().item()
            row += [share, earth_movers_distance(model.sample(len(x)), x)]
        found.append(row)
    shares, distances, bagged, far = zip(*found, strict=True)
    measured.median("samples of the second where the first has none", shares, above=0.9)
    measured.median("of a second by bagging", bagged)
    baseline = measured.median("W1 by bagging", far)
    measured.median("W1", distances, below=0.75 * baseline)
