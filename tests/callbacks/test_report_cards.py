"""The evaluations for models that know nothing of the project."""

import json
from pathlib import Path

import lightning as L
import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from genzoo.__main__ import main
from genzoo.callbacks import (
    Evaluation,
    Report,
    Section,
    evaluations,
    make_evaluable,
    report_card,
)
from genzoo.datamodules import Digits
from genzoo.images import from_uint8, to_uint8
from genzoo.zoo import SampleFolder, Wrapped
from tests.helpers.toy_model_and_data import Data, Toy, pictures, trainer

MINE = '''
import lightning as L
import torch
from torch import nn


class Mine(L.LightningModule):
    """A foreign model: a network and a way to draw from it."""

    def __init__(self):
        super().__init__()
        self.net = nn.Linear(4, 64, bias=False)
        with torch.no_grad():
            self.net.weight.copy_(torch.linspace(-1, 1, 256).view(64, 4).mul(9).sin())

    def sample(self, n):
        return self.net(torch.randn(n, 4, device=self.device)).tanh().view(n, 1, 8, 8)
'''


@pytest.fixture
def mine(tmp_path, monkeypatch):
    (tmp_path / "foreign_model.py").write_text(MINE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    from foreign_model import Mine

    torch.manual_seed(0)
    return Mine()


def values(report) -> dict[str, float]:
    return {name: n.value for section in report.sections for name, n in section.numbers.items()}


def test_three_ways_give_the_same_numbers(mine, capsys):
    settings = {"extractor": "pixels", "num_samples": 300}
    state, numbers = (
        torch.get_rng_state(),
        values(report_card(mine, Digits(), progress=False, **settings)),
    )
    assert capsys.readouterr().out == "" and torch.equal(torch.get_rng_state(), state)
    assert mine.training and len(numbers) > 20 and not Path("report.json").exists()

    callbacks = evaluations(**settings)
    trainer(Path("own"), callbacks).test(make_evaluable(mine), Digits(), verbose=False)
    assert values(callbacks[-1].report) == pytest.approx(numbers, rel=0, nan_ok=True)

    line = "test --model foreign_model.Mine --data Digits --trainer.accelerator cpu"
    line += " --evaluation.extractor pixels --evaluation.num_samples 300"
    assert main(line.split()) == 0
    found = json.loads(Path("runs/Mine-Digits/version_0/report.json").read_text())
    told = {name: float(n["value"]) for s in found["sections"] for name, n in s["numbers"].items()}
    assert told.keys() == numbers.keys()
    assert told == pytest.approx(numbers, rel=0, nan_ok=True)


def test_a_card_that_is_kept(mine, tmp_path):
    report = report_card(mine, Data(), tmp_path / "card", extractor="pixels", num_samples=100)
    assert {"report.json", "report.md", "report.html"} <= {p.name for p in Path("card").iterdir()}
    assert all((tmp_path / "card" / path).is_file() for path in report.paths.values())
    assert report.model == "Mine" and "samples" in report.paths


def test_who_cannot_draw_is_told(mine):
    with pytest.raises(TypeError, match="LightningModule has no sample.n., nor a log_prob"):
        report_card(L.LightningModule(), Data())
    wrong = Wrapped(lambda n: -torch.ones(n, 1, 4, 4))
    with pytest.raises(ValueError, match=r"Wrapped.sample must give images \(n, 1, 8, 8\)"):
        report_card(wrong, Data(), extractor="pixels", num_samples=100)


def test_any_callable(tmp_path):
    def real_ones(n):
        return torch.tensor(np.random.rand(n, 1, 8, 8))

    report = report_card(Wrapped(real_ones, low=0), Data(), extractor="pixels", num_samples=100)
    assert report.model == "real_ones" and report.sections[1].flag == "bad"


def test_what_is_no_model_yet_is_taken(tmp_path):
    """A function, a path and images in memory: the same images, the same numbers."""
    x = pictures(300, seed=3)[0]
    np.savez(tmp_path / "made.npz", images=x.numpy())
    settings = {"extractor": "pixels", "num_samples": 100}
    cards = [
        report_card(given, Data(), **settings)
        for given in (str(tmp_path / "made.npz"), tmp_path / "made.npz", x, x[:, 0].numpy())
    ]
    assert [card.model for card in cards] == ["made.npz"] * 2 + ["given samples"] * 2
    first, *others = map(values, cards)
    assert all(other == pytest.approx(first, rel=0, nan_ok=True) for other in others)

    def last(n):  # channels last, bytes
        return pictures(n, seed=3)[0].movedim(1, -1).numpy()

    assert report_card(last, Data(), **settings).model == "last"
    with pytest.raises(TypeError, match=r"the inputs of Linear: Wrapped\(model, latent_dim"):
        report_card(torch.nn.Linear(2, 64), Data())
    with pytest.raises(TypeError, match="a path or images, got a int"):
        report_card(3, Data())
    with pytest.raises(TypeError, match="data must be a LightningDataModule, or .* got a Linear"):
        report_card(x, torch.nn.Linear(2, 2))


def test_images_against_images():
    drawn, real = pictures(80, seed=3)[0], pictures(160, seed=4)[0]
    report = report_card(drawn, real.numpy(), extractor="pixels")
    card = {section.title: section for section in report.sections}
    assert report.title == "given samples on given images"
    assert card["memorisation"].verdict.startswith("This cannot be asked: nobody says which")
    assert not card["memorisation"].numbers and card["memorisation"].flag == "unsure"
    assert {"way_to_real", "precision"} <= set(card["realism"].numbers)
    page = report.to_markdown()
    assert "a random half of given images" in page and "This cannot be asked" in page


class Shifted(L.LightningModule):
    """Real images, of which the range is wrong."""

    def sample(self, n):
        return (from_uint8(pictures(n, seed=3)[0]) + 1) / 2


def test_samples_in_0_to_1_are_named_whoever_draws_them(tmp_path):
    said = r"no value below 0 in all 120, which look as if in \[0, 1\]: scale them by 2 x - 1"
    bright = to_uint8(Shifted().sample(120))
    for given in (Shifted(), bright, bright.numpy()):
        with pytest.raises(ValueError, match=said):
            report_card(given, Data(), extractor="pixels", num_samples=120)
    # Where the real images are as bright, nothing looks wrong.
    report_card(bright, bright.flip(0), extractor="pixels")
    # And what is all white, a collapse, is measured.
    white = Wrapped(lambda n: torch.ones(n, 1, 8, 8), low=0)
    card = report_card(white, Data(), extractor="pixels", num_samples=100)
    assert next(section for section in card.sections if section.title == "realism").flag == "bad"


class Shapeless(L.LightningModule):
    """Says nothing of its images, and counts what is asked of it."""

    def __init__(self, shape):
        super().__init__()
        self.shape, self.level, self.steps, self.drawn = shape, nn.Parameter(torch.zeros(1)), 0, 0

    def training_step(self, batch, batch_idx):
        self.steps += 1
        return (self.level - batch[0]).square().mean()

    def validation_step(self, batch, batch_idx):
        pass

    test_step = validation_step

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)

    def sample(self, n):
        self.drawn += n
        return torch.zeros(n, *self.shape)


class Shaped(L.LightningDataModule):
    """Says what it gives, or only gives it."""

    def __init__(self, shape, says: bool):
        super().__init__()
        self.shape = shape
        if says:
            self.image_shape = shape

    def loader(self):
        images = torch.rand(32, *self.shape, generator=torch.Generator().manual_seed(0)) * 2 - 1
        return DataLoader(TensorDataset(images, torch.zeros(32).long()), 8)

    train_dataloader = val_dataloader = test_dataloader = loader


@pytest.mark.parametrize("says", [True, False])
@pytest.mark.parametrize("shape", [(1, 8, 8, 8), (2, 8, 8), (4, 8, 8), (16, 3)])
def test_what_cannot_be_looked_at_is_refused_before_it_is_trained_or_drawn(tmp_path, shape, says):
    said = (
        r"the data must be images \(C, H, W\), grey or RGB, or points \(D,\), to be evaluated, "
        rf"got \({', '.join(map(str, shape))}\): leave the evaluations out \(--evaluate false\)"
    )
    model, data = Shapeless(shape), Shaped(shape, says)
    with pytest.raises(ValueError, match=said):
        trainer(tmp_path, evaluations(extractor="pixels")).fit(model, data)
    for given in (model, model.sample):
        with pytest.raises(ValueError, match=said):
            report_card(given, data, extractor="pixels")
    assert model.steps == model.drawn == 0
    with pytest.raises(ValueError, match=said):  # where nobody says it, plain loaders
        trainer(tmp_path, evaluations(extractor="pixels")).fit(model, data.loader(), data.loader())
    assert model.steps == 0
    trainer(tmp_path).fit(model, data)
    assert model.steps == 4


def test_samples_of_two_channels_are_refused():
    pairs = np.random.default_rng(0).integers(0, 256, (40, 2, 8, 8), dtype=np.uint8)
    with pytest.raises(ValueError, match=r"got \(2, 8, 8\): leave the evaluations out"):
        report_card(pairs, pairs, extractor="pixels")


def test_a_training_goes_on_with_samples_in_0_to_1(tmp_path):
    class Bright(Toy):
        def sample(self, n, y=None):
            return (super().sample(n, y) + 1) / 2

    runner = trainer(tmp_path, [Record(extractor="pixels", num_samples_fit=50)])
    with pytest.warns(UserWarning, match=r"no evaluation at step 10: Bright.sample must give"):
        runner.fit(Bright(), Data())


def test_few_held_out_images_cost_few_samples(tmp_path):
    data = Digits(test_size=30)
    model = Toy()
    own = Record(extractor="pixels")
    trainer(tmp_path, [own]).test(model, data, verbose=False)
    assert len(own.seen.held_out) == 30 and len(own.seen.generated) == model.drawn == 300
    assert own.section.protocol["n_generated"] == 300


@pytest.mark.parametrize("name", [None, "", 3])
def test_data_without_a_name_is_called_by_its_class(name):
    data = Data()
    data.name = name
    report = report_card(pictures(50)[0], data, extractor="pixels")
    assert report.title == "given samples on Data"
    assert Report("M", "", 0).title == "M"


# Images made elsewhere


def card_of(images, tmp_path, data, **settings):
    np.savez(tmp_path / "made.npz", images=images.numpy())
    model = SampleFolder(str(tmp_path / "made.npz"), data.image_shape)
    report = report_card(model, data, extractor="pixels", **settings)
    return {section.title: section for section in report.sections}


def test_real_images_pass_and_copies_are_flagged(tmp_path):
    data = Digits(val_size=300, test_size=300)
    unseen = card_of(data.split("val").images, tmp_path, data)
    assert {section.protocol["n_generated"] for section in unseen.values()} == {300}
    assert unseen["diversity"].flag == "good"
    assert unseen["realism"].flag != "bad"  # pixels of 300 images are too few for a yes
    way = unseen["realism"].numbers["way_to_real"]
    assert way.low < 1 < way.high
    assert unseen["memorisation"].flag != "bad"
    copies = card_of(data.split("train").images[:300], tmp_path, data)
    assert copies["memorisation"].flag == "bad"
    assert copies["memorisation"].numbers["copied/pixels"].low > 0.9


def test_a_repeated_image_is_no_artefact_of_ours(tmp_path):
    """10,000 asked of 300 different ones: no two of those looked at are the same."""
    seen = card_of(pictures(300, seed=3)[0], tmp_path, Data(), num_samples=10_000)
    assert seen["diversity"].flag == "good"
    twice = card_of(pictures(100, seed=3)[0].repeat(3, 1, 1, 1), tmp_path, Data())
    assert twice["diversity"].flag == "bad"


@pytest.mark.filterwarnings("ignore:.*has no answer")
def test_of_a_handful_the_card_says_what_could_not_be_measured(tmp_path):
    card = card_of(pictures(3)[0], tmp_path, Data())
    assert card["realism"].flag == card["memorisation"].flag == "unsure"
    assert "Not measured: " in card["realism"].verdict
    assert "must be at least" in card["memorisation"].verdict
    assert not card["realism"].numbers


class Record(Evaluation):
    def evaluate(self, evidence):
        self.seen = evidence
        mean = evidence.generated.features.mean().item()
        return Section("record", str(mean), "unsure")


def test_two_ranks_look_at_the_same_images(tmp_path):
    np.savez(tmp_path / "made.npz", images=pictures(250, seed=3)[0].numpy())
    verdicts = []
    for ranks in ({}, {"devices": 2, "strategy": "ddp_fork"}):
        own = Record(extractor="pixels")
        model = make_evaluable(SampleFolder(str(tmp_path / "made.npz"), (1, 8, 8)))
        trainer(tmp_path, [own, Out(own, tmp_path / "v")], **ranks).test(
            model, Data(), verbose=False
        )
        verdicts.append((tmp_path / "v").read_text())
    assert verdicts[0] == verdicts[1]


class Out(L.Callback):
    """Brings what another process found."""

    def __init__(self, own, path):
        self.own, self.path = own, path

    def on_test_end(self, trainer, pl_module):
        if trainer.is_global_zero:
            self.path.write_text(self.own.section.verdict)


def test_labels_of_the_files_are_those_that_were_asked_for(tmp_path):
    x, y = pictures(90, seed=3)
    np.savez(tmp_path / "made.npz", images=x.numpy(), labels=y.numpy())
    own = Record(extractor="pixels")
    model = make_evaluable(SampleFolder(str(tmp_path / "made.npz"), (1, 8, 8), num_classes=3))
    trainer(tmp_path, [own]).test(model, Data(), verbose=False)
    generated = own.seen.generated
    for image, label in zip(generated.images, generated.labels, strict=True):
        assert (x[y == label] == image).flatten(1).all(1).any()
