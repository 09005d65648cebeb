"""A linear classifier on codes whose worth is known."""

import math

import pytest
import torch
from torch import nn

from genzoo.callbacks import LinearProbe, ReportCard
from genzoo.callbacks.probe import untrained
from genzoo.datamodules import MNIST10k
from genzoo.features.probe import section_of
from genzoo.zoo import VAE
from genzoo.zoo.variational import Autoencoder
from tests.helpers.toy_model_and_data import Data, Toy, trainer
from tests.helpers.training import trainer as silent


class Quarters(Toy):
    """Sees which quarter is the brightest, which tells the class; before training, nothing."""

    def __init__(self, blind: bool = True, num_classes: int = 0):
        super().__init__(num_classes)
        self.save_hyperparameters()
        self.blind = blind
        self.seen = 0

    def encode(self, x, y=None):
        assert y is None and x.min() >= -1 and not self.training
        self.seen += len(x)
        corners = nn.functional.avg_pool2d(x, 4).flatten(1)
        return torch.randn_like(corners) if self.blind else corners


def run(tmp_path, model, data=None, **settings):
    own, card = LinearProbe(**settings), ReportCard()
    card.shown = False
    runner = trainer(tmp_path, [own, card])
    runner.test(model, data or Data(), verbose=False)
    return own, {name: value.item() for name, value in runner.callback_metrics.items()}, card


def test_a_section_of_the_card(tmp_path):
    model = Quarters()
    model.blind = False  # as if training had opened its eyes
    own, logged, card = run(tmp_path, model, num_labels=(30, 1000, 0))
    numbers = own.section.numbers
    assert model.seen == 330 + 170
    names = ("", "/pixels", "/pca", "/random_projection", "/untrained")
    assert set(numbers) == {f"probe/{count}{name}" for count in (30, "all") for name in names}
    assert list(numbers)[:2] == ["probe/30", "probe/all"]
    assert numbers["probe/30"].value == 1.0
    assert numbers["probe/30/untrained"].value == pytest.approx(1 / 3, abs=0.12)
    assert "sd" in numbers["probe/30/pca"].note and "sd" not in numbers["probe/all/pca"].note
    assert own.section.flag == "good" and own.section.verdict.startswith("Yes. With 30 labels")
    assert own.section.protocol["n_train"] == 330 and own.section.protocol["n_held_out"] == 170
    assert logged["test/probe/30"] == 1.0
    assert own.section in card.report.sections
    assert "probe/all/untrained" in (tmp_path / "report.md").read_text()


def test_codes_that_say_nothing_are_bad(tmp_path):
    own, _, _ = run(tmp_path, Quarters(), num_labels=(30,), draws=3)
    assert own.section.flag == "bad" and own.section.verdict.startswith("No: training has added")


def test_two_ranks_find_the_same(tmp_path):
    found = []
    for ranks in ({}, {"devices": 2, "strategy": "ddp_fork"}):
        model = Quarters()
        model.blind = False
        runner = trainer(tmp_path, [LinearProbe(num_labels=(30,), draws=2)], **ranks)
        runner.test(model, Data(), verbose=False)
        found.append({name: value.item() for name, value in runner.callback_metrics.items()})
    assert found[0] == found[1] and len(found[0]) == 6


def test_intervals_hold_both_kinds_of_chance():
    right = {"": {100: torch.tensor([0.5, 0.7]).double()}, "pixels": {100: torch.zeros(2)}}
    right |= {"pca": {100: torch.zeros(2)}, "random_projection": {100: torch.zeros(2)}}
    number = section_of(right, num_test=400).numbers["probe/100"]
    half = 1.959964 * math.sqrt(0.6 * 0.4 / 400 + 0.02 / 2)
    assert (number.value, number.high) == pytest.approx((0.6, 0.6 + half))
    right["pixels"] = {100: torch.ones(2)}
    assert section_of(right, 400).flag == "unsure"


def test_what_cannot_be_asked_is_said(tmp_path):
    with pytest.raises(TypeError, match=r"LinearProbe needs an encode\(x\), but Toy has none"):
        run(tmp_path, Toy())
    with pytest.warns(UserWarning, match="LinearProbe has no answer"):
        own, _, _ = run(tmp_path, Quarters(), Data(labelled=False))
    assert own.section.flag == "unsure"
    assert "Not measured: the train data must have labels, got none" in own.section.verdict


def test_untrained_is_the_same_model_before_training():
    model = Autoencoder((1, 8, 8), latent_dim=3, width=8, lr=0.5)
    torch.manual_seed(3)
    state = torch.get_rng_state()
    fresh, again = untrained(model, seed=1), untrained(model, seed=1)
    assert torch.equal(state, torch.get_rng_state())
    assert fresh.lr == 0.5 and fresh.latent_dim == 3
    pairs = zip(fresh.parameters(), again.parameters(), model.parameters(), strict=True)
    assert all(torch.equal(a, b) and not torch.equal(a, c) for a, b, c in pairs)

    class Unknown(Toy):
        def __init__(self, network):
            super().__init__()

    assert untrained(Unknown(nn.Identity())) is None


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_labels": ()}, "num_labels must be counts, 0 for all"),
        ({"draws": 1}, "draws must be at least 2, got 1"),
        ({"num_images": 1}, "num_images must be at least 2, got 1"),
        ({"seed": -1}, "seed must be 0 or more, got -1"),
    ],
)
def test_impossible_settings_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        LinearProbe(**settings)


@pytest.mark.claim
@pytest.mark.data
@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_codes_of_a_vae_need_few_labels(real_data, tmp_path, seed, measured):
    """With 100 labels 0.2 above random projections and the untrained encoder, and no worse than
    principal components but for 0.02. With all labels raw pixels do better; that is not denied.

    8,000 digits for training, 1,000 held out.
    """
    torch.manual_seed(seed)
    data = MNIST10k(str(real_data), batch_size=100, binarise="threshold", seed=seed)
    model = VAE(data.image_shape)
    silent(max_epochs=15, limit_val_batches=0).fit(model, data)
    own = LinearProbe(seed=seed)
    trainer(tmp_path, [own]).test(model, data, verbose=False)
    numbers = {name: number.value for name, number in own.section.numbers.items()}
    few, every = "probe/100", "probe/all"
    others = {
        "a random projection": ("random_projection", 0.2),
        "the untrained encoder": ("untrained", 0.2),
        "principal components": ("pca", -0.02),
    }
    least = max(
        measured(f"digits named with 100 labels, by {name}", numbers[f"{few}/{key}"]) + margin
        for name, (key, margin) in others.items()
    )
    measured("digits named with 100 labels, by codes", numbers[few], above=least)
    measured("digits named with all labels, by codes", numbers[every])
    measured("digits named with all labels, by pixels", numbers[f"{every}/pixels"])
