"""Bits per dimension of models whose likelihood is known."""

import math

import lightning as L
import pytest
import torch

from genzoo.callbacks import Likelihood, report_card
from genzoo.datamodules import Digits
from genzoo.features.likelihood import section_of
from genzoo.images import from_uint8, to_levels
from genzoo.metrics.independent import independent, independent_nats
from genzoo.zoo import RBM, VAE, PixelCNN
from tests.helpers.toy_model_and_data import Data, Toy, pictures, trainer


class Histogram(Toy):
    """Every pixel for itself, its level as often as in the training images, smoothed."""

    def __init__(self, num_classes=0, knows=None):
        super().__init__(num_classes)
        counts = pictures(330)[0].flatten().long().bincount(minlength=256) + 0.5
        self.register_buffer("table", (counts / counts.sum()).log())
        self.knows = knows

    def log_prob(self, x, y=None):
        self.told = y
        levels = to_levels(x, 256)
        log_prob = self.table[levels].flatten(1).sum(1)
        if self.knows is not None:  # by heart
            known = (levels[:, None] == self.knows[None].long()).flatten(2).all(2).any(1)
            log_prob = torch.where(known, -1.0, log_prob)
        return log_prob


def nats(count, seed):
    x = pictures(count, seed=seed)[0]
    return -Histogram().table[x.long()].flatten(1).sum(1).double()


def run(tmp_path, model, **settings):
    own = Likelihood(**settings)
    runner = trainer(tmp_path, [own])
    runner.test(model, Data(), verbose=False)
    return own, {name: value.item() for name, value in runner.callback_metrics.items()}


def test_numbers_are_the_models_own(tmp_path):
    own, logged = run(tmp_path, Histogram())
    held_out, train = nats(170, 2), nats(330, 0)
    order = torch.randperm(330, generator=torch.Generator().manual_seed(0))[:170]
    train, per = train[order], 64 * math.log(2)
    numbers = own.section.numbers
    assert numbers["nats"].value == pytest.approx(held_out.mean().item(), rel=1e-6)
    assert numbers["bits_per_dim"].value == pytest.approx(held_out.mean().item() / per, rel=1e-6)
    assert numbers["bits_per_dim/train"].value == pytest.approx(train.mean().item() / per, rel=1e-6)
    gap = (held_out.mean() - train.mean()).item() / per
    half = 1.959964 * (held_out.var() / 170 + train.var() / 170).sqrt().item() / per
    assert numbers["bits_per_dim/gap"].value == pytest.approx(gap, rel=1e-4)
    assert numbers["bits_per_dim/gap"].low == pytest.approx(gap - half, rel=1e-3)
    expected = {f"test/{name}": number.value for name, number in numbers.items()}
    assert expected.items() <= {k: pytest.approx(v, rel=1e-6) for k, v in logged.items()}.items()
    assert "(0.1%), more than chance" in own.section.verdict
    assert own.section.protocol["n_held_out"] == own.section.protocol["n_train"] == 170
    assert own.section.protocol["n_independent"] == 330
    images = (pictures(330)[0], pictures(170, seed=2)[0])
    free = independent_nats(*images, 256).mean().item() / per
    assert numbers["bits_per_dim/independent"].value == pytest.approx(free)
    # One histogram for all places: it does not even know that a quarter is never bright.
    assert free < numbers["bits_per_dim"].value and own.section.flag == "bad"
    assert own.section.verdict.startswith("Worse than independent pixels: held-out images cost")


def test_what_is_known_by_heart_is_a_gap(tmp_path):
    own, logged = run(tmp_path, Histogram(knows=pictures(330)[0]))
    assert own.section.flag == "bad" and logged["test/bits_per_dim/gap"] > 1
    assert logged["test/bits_per_dim/train"] == pytest.approx(1 / (64 * math.log(2)), rel=1e-5)


def test_two_ranks_find_the_same(tmp_path):
    found = []
    for ranks in ({}, {"devices": 2, "strategy": "ddp_fork"}):
        runner = trainer(tmp_path, [Likelihood()], **ranks)
        runner.test(Noisy(), Data(), verbose=False)
        found.append({name: value.item() for name, value in runner.callback_metrics.items()})
    assert found[0] == found[1] and len(found[0]) == 6


class Noisy(Toy):
    """A bound by one draw."""

    def elbo(self, x, y=None):
        return -torch.rand(len(x)) * 100


def test_a_bound_says_so_and_repeats(tmp_path):
    (own, first), (_, second) = run(tmp_path, Noisy()), run(tmp_path, Noisy())
    assert first == second and -60 < first["test/elbo"] < -40
    assert "test/nats" not in first
    assert "a lower bound" in own.section.numbers["bits_per_dim"].note
    elbo = own.section.numbers["elbo"]
    assert elbo.low < elbo.value < elbo.high < 0


def test_a_conditional_model_is_told_the_labels(tmp_path):
    model = Histogram(num_classes=3)
    run(tmp_path, model)
    assert set(model.told.tolist()) == {0, 1, 2}
    model = Histogram()
    run(tmp_path, model)
    assert model.told is None


def test_who_has_no_likelihood_is_refused_by_name(tmp_path):
    with pytest.raises(TypeError, match="Likelihood needs a log_prob.*elbo.*but Toy has neither"):
        run(tmp_path, Toy())
    own = Likelihood()
    own.required = False
    trainer(tmp_path, [own]).test(Toy(), Data(), verbose=False)
    assert own.section is None


def test_a_wrong_shape_is_an_error(tmp_path):
    class Mean(Toy):
        def log_prob(self, x, y=None):
            return x.mean()

    with pytest.raises(ValueError, match=r"Mean.log_prob must give \(100,\) nats, got \(\)"):
        run(tmp_path, Mean())


@pytest.mark.parametrize(
    "shift, flag", [(0.0, "good"), (-50.0, "good"), (5.0, "unsure"), (80.0, "bad")]
)
def test_verdicts(shift, flag):
    costs, free = 200 + torch.linspace(-3, 3, 500, dtype=torch.float64), torch.full((500,), 400.0)
    section = section_of(costs + shift, costs, (1, 8, 8), exact=True, free=free)
    assert section.flag == flag, section.verdict
    assert section_of(costs * math.nan, costs, (1, 8, 8), exact=True, free=free).flag == "bad"
    noise = torch.randn(500, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    chance = section_of(costs + noise, costs + noise.flip(0), (1, 8, 8), exact=True, free=free)
    assert chance.flag == "good" and "no more than chance" in chance.verdict
    assert (
        section_of(costs, costs, (1, 8, 8), exact=True).flag == "unsure"
    )  # nothing to compare with


@pytest.mark.parametrize(
    "free, exact, flag, how",
    [
        (230, True, "good", "Better than independent pixels"),
        (215, True, "unsure", "Little better"),  # 7 % less
        (200.05, True, "unsure", "No better than independent pixels, as far as 500 images"),
        (190, True, "bad", "Worse than independent pixels"),
        (190, False, "unsure", "Its bound is worse than independent pixels"),
        (230, False, "good", "Better than independent pixels"),
    ],
)
def test_a_level_as_well_as_a_gap(free, exact, flag, how):
    costs = 200 + torch.linspace(-3, 3, 500, dtype=torch.float64)
    free = torch.full_like(costs, free)
    section = section_of(costs, costs, (1, 8, 8), exact, free=free)
    assert (section.flag, section.verdict[: len(how)]) == (flag, how), section.verdict
    assert "bits_per_dim/independent" in section.headlines


def test_the_tighter_bound_is_the_one_that_is_compared():
    costs = 200 + torch.linspace(-3, 3, 500, dtype=torch.float64)
    free = torch.full_like(costs, 190.0)
    tighter = costs[:100] - 50, free[:100]
    assert section_of(costs, costs, (1, 8, 8), False, free=free, tighter=tighter).flag == "good"
    tighter = costs[:100] - 1, free[:100]
    assert section_of(costs, costs, (1, 8, 8), False, free=free, tighter=tighter).flag == "unsure"


def test_one_held_out_image_decides_nothing():
    costs = torch.tensor([100.0])
    assert section_of(costs, costs, (1, 8, 8), True, free=costs * 2).flag == "unsure"


class Coins(Toy):
    """Binary pixels, each by itself at so many nats; says nothing of levels."""

    def __init__(self, bits):
        super().__init__()
        self.bits = bits

    def log_prob(self, x, y=None):
        return -torch.full((len(x),), 64 * math.log(2) * self.bits) + 0.01 * torch.randn(len(x))


@pytest.mark.parametrize(
    "bits, flag, said",
    [
        (1.5, "bad", "a uniform guess costs 1."),
        (0.99, "bad", "Worse than independent pixels"),
        (0.2, "good", "Better than independent pixels"),
    ],
)
def test_levels_of_binary_images_are_two(tmp_path, bits, flag, said):
    own = Likelihood()
    binary = Digits(binarise="threshold")
    trainer(tmp_path, [own]).test(Coins(bits), binary, verbose=False)
    assert own.section.flag == flag and said in own.section.verdict, own.section.verdict
    assert own.section.protocol["levels"] == 2
    assert own.section.numbers["bits_per_dim/independent"].value == pytest.approx(0.57, abs=0.02)
    own = Likelihood()
    trainer(tmp_path, [own]).test(Coins(bits), Digits(), verbose=False)  # of 17 grey levels
    assert own.section.protocol["levels"] == 256


@pytest.mark.parametrize("kind", [PixelCNN, RBM, VAE])
def test_an_untrained_density_is_not_good(kind):
    torch.manual_seed(0)
    settings = {PixelCNN: {"levels": 2, "width": 8, "layers": 2}, RBM: {"hidden": 8}, VAE: {}}[kind]
    report = report_card(
        kind((1, 8, 8), **settings),
        Digits(binarise="threshold"),
        extractor="pixels",
        num_samples=50,
    )
    section = next(section for section in report.sections if section.title == "likelihood")
    assert section.flag != "good" and section.numbers["bits_per_dim/gap"].value < 0.1
    assert section.flag == "bad" or "bound" in section.verdict


def test_points_are_compared_with_normal_coordinates(tmp_path):
    generator = torch.Generator().manual_seed(0)
    train, asked = (
        torch.randn(n, 2, generator=generator) * torch.tensor([2.0, 0.1]) + 3 for n in (500, 9)
    )
    found = independent(train, asked, 256)
    coordinates = torch.distributions.Normal(train.double().mean(0), train.double().std(0))
    torch.testing.assert_close(found, -coordinates.log_prob(asked.double()).sum(1))
    section = section_of(found.repeat(50) - 1, found.repeat(50), (2,), True, free=found.repeat(50))
    assert section.flag == "good" and "Better than independent normal" in section.verdict


def test_points_have_no_bits():
    section = section_of(torch.arange(9.0), torch.arange(9.0), (2,), exact=True)
    assert set(section.numbers) == {"nats", "nats/train", "nats/gap"}


def test_fit_is_left_out_unless_asked_for(tmp_path):
    for every, logged in ((0, False), (1, True)):
        runner = trainer(tmp_path, [Likelihood(every_n_epochs=every)])
        runner.fit(Histogram(), Data())
        assert ("bits_per_dim/gap" in runner.callback_metrics) == logged


class Unnormalised(Noisy):
    """A bound that is none, as its normaliser is not known but estimated."""

    tractable = False

    def log_prob(self, x, y=None):
        raise ValueError("too large")

    elbo = log_prob

    def log_prob_ais(self, x, y=None):
        return -(x + 1).flatten(1).sum(1) - 5


def test_an_estimate_is_neither_exact_nor_a_bound(tmp_path):
    own, logged = run(tmp_path, Unnormalised())
    numbers = own.section.numbers
    x = from_uint8(pictures(170, seed=2)[0])
    expected = (x + 1).flatten(1).sum(1).mean().item() + 5
    assert numbers["nats/ais"].value == pytest.approx(expected, rel=1e-5)
    assert {"nats", "elbo"}.isdisjoint(numbers) and "test/nats/ais" in logged
    assert "an estimate" in numbers["bits_per_dim"].note
    assert "cost about" in own.section.verdict and "nats/ais" in own.section.headlines
    model = Unnormalised()
    model.tractable, model.log_prob = True, model.log_prob_ais
    assert "nats" in run(tmp_path, model)[0].section.numbers


def test_a_large_boltzmann_machine_is_estimated():
    """genzoo test prints a card of what is too large to sum."""
    binary = Digits(binarise="threshold", num_train=300)
    model = RBM((1, 8, 8), hidden=30, sweeps=2)
    likelihood = Likelihood(num_images=200)
    L.Trainer(**QUIET, callbacks=[likelihood]).test(model, binary, verbose=False)
    nats = likelihood.section.numbers["nats/ais"].value
    assert nats == pytest.approx(64 * math.log(2), rel=0.02)  # untrained: coins, nearly


QUIET = {"accelerator": "cpu", "logger": False, "enable_checkpointing": False}


class Weighted(Toy):
    """A likelihood that falls with brightness; its bounds lie 7 and 7 / samples below it."""

    def exact(self, x):
        return -100 * (x + 1).flatten(1).sum(1)

    def elbo(self, x, y=None):
        return self.exact(x) - 7

    def importance_weighted(self, x, y=None, samples=50):
        self.asked = getattr(self, "asked", 0) + len(x)
        return self.exact(x) - 7 / samples


def test_importance_weights_tighten_the_bound(tmp_path):
    model = Weighted()
    own, logged = run(tmp_path, model)
    numbers = own.section.numbers
    x = from_uint8(pictures(170, seed=2)[0])
    exact = model.exact(x).double().mean().item()
    assert numbers["elbo"].value == pytest.approx(exact - 7, rel=1e-6)
    assert numbers["iw_bound"].value == pytest.approx(exact - 7 / 50, rel=1e-6)
    assert numbers["iw_bound"].low < numbers["iw_bound"].value < numbers["iw_bound"].high
    per = 64 * math.log(2)
    assert numbers["bits_per_dim/iw"].value == pytest.approx(-(exact - 7 / 50) / per, rel=1e-6)
    # All 170, and the same 170 of the training images: the bounds' gaps are equal.
    gap = numbers["bits_per_dim/gap"].value * per
    assert numbers["iw_bound/gap"].value == pytest.approx(gap, rel=1e-4)
    assert numbers["iw_bound/gap"].value == pytest.approx(
        numbers["iw_bound/train"].value - numbers["iw_bound"].value, rel=1e-6
    )
    assert logged["test/iw_bound"] == pytest.approx(numbers["iw_bound"].value, rel=1e-6)


def test_importance_weights_are_for_few_images(tmp_path, monkeypatch):
    monkeypatch.setattr("genzoo.callbacks.likelihood.WEIGHED", 120)
    model = Weighted()
    own, _ = run(tmp_path, model)
    assert model.asked == 240
    assert "50 draws each, 120 images" in own.section.numbers["iw_bound"].note
    assert "iw_bound" not in run(tmp_path, Noisy())[0].section.numbers


def test_the_vae_has_the_tighter_bound(tmp_path):
    torch.manual_seed(0)
    model = VAE((1, 8, 8), latent_dim=3, width=8, decoder="gaussian")
    numbers = run(tmp_path, model)[0].section.numbers
    assert numbers["iw_bound"].value > numbers["elbo"].value


def test_worse_than_a_guess_is_bad():
    """Of 256 levels anyone can name one with 8 bits; of two, with one."""
    costs = torch.full((100,), 64 * 9 * math.log(2)) + torch.randn(100)
    free = costs / 2
    section = section_of(costs, costs, (1, 8, 8), exact=True, free=free)
    assert section.flag == "bad" and "a uniform guess costs 8." in section.verdict
    assert section_of(costs / 3, costs / 3, (1, 8, 8), exact=True, free=free).flag == "good"
    assert (
        section_of(costs / 3, costs / 3, (1, 8, 8), exact=True, levels=2, free=free).flag == "bad"
    )


class Dear(Noisy):
    bound_images, bound_is_exact = 40, True


def test_a_dear_bound_is_asked_of_fewer_images_and_may_be_exact(tmp_path):
    own, _ = run(tmp_path, Dear())
    assert own.section.protocol["n_held_out"] == own.section.protocol["n_train"] == 40
    assert own.section.protocol["n_independent"] == 330
    assert "exact" in own.section.numbers["bits_per_dim"].note and "nats" in own.section.numbers
