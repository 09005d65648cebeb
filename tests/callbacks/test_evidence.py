"""The pass: the same for any number of ranks, once for all who ask, and without a trace."""

import math
import random
import subprocess
import sys

import lightning as L
import numpy as np
import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from torch.utils.data import DataLoader

from genzoo.callbacks import Evaluation, Number, Section
from genzoo.callbacks.run import run_of
from genzoo.features import cache
from genzoo.features.extractors import Pixels
from tests.helpers.fingerprint import Fingerprint, fingerprint
from tests.helpers.toy_model_and_data import Data, Toy, pictures, trainer

pytestmark = pytest.mark.usefixtures("empty_cache")


class Again(Fingerprint):
    """Another who asks."""


class Shares(L.Callback):
    """How much of the work the first rank did."""

    def on_test_epoch_end(self, trainer, pl_module):
        pl_module.log("share", float(pl_module.drawn), rank_zero_only=True)


def test_numbers_do_not_depend_on_the_number_of_ranks(tmp_path, monkeypatch):
    monkeypatch.setattr("genzoo.features.extractors.STEPS", 10)
    for extractor in ("pixels", "domain"):
        runs = []
        for made_by in (1, 2, 1):  # the fourth run reads from the disk what the third one made
            for file in cache.folder().glob("features-*"):
                file.unlink()
            runs.append(one_run(tmp_path, extractor, made_by))
        runs.append(one_run(tmp_path, extractor, 2))
        assert [run.pop("share") for run in runs] == [230, 130, 230, 130]  # blocks 100, 100, 30
        assert runs[0] == runs[1] == runs[2] == runs[3] and len(runs[0]) == 10


def one_run(tmp_path, extractor, ranks):
    torch.manual_seed(1)
    own = Fingerprint(extractor, num_samples=230)
    several = {"devices": ranks, "strategy": "ddp_fork"} if ranks > 1 else {}
    runner = trainer(tmp_path, [own, Shares()], **several)
    runner.test(Toy(num_classes=3), Data(), verbose=False)
    return {name: value.item() for name, value in runner.callback_metrics.items()}


class BadOnRankOne(Toy):
    def sample(self, n, y=None):
        x = super().sample(n, y)
        return x * float("nan") if self.trainer.global_rank == 1 else x


def test_a_bad_sample_of_one_rank_is_the_error_of_all(tmp_path):
    runner = trainer(tmp_path, [fingerprint()], devices=2, strategy="ddp_fork")
    with pytest.raises(Exception, match="must give finite images") as found:
        runner.test(BadOnRankOne(), Data(), verbose=False)
    assert "ValueError" in str(found.value)


@pytest.mark.parametrize("extractor", ["pixels", "domain"])
def test_an_evaluation_leaves_the_training_as_it_is(tmp_path, extractor, monkeypatch):
    monkeypatch.setattr("genzoo.features.extractors.STEPS", 10)

    def weights(*callbacks):
        torch.manual_seed(3)
        model = Toy()
        trainer(tmp_path, callbacks, max_epochs=2).fit(model, Data())
        return model.state_dict()

    class Careless(L.Callback):
        def on_validation_epoch_end(self, trainer, pl_module):
            pl_module.sample(5)

    plain = weights()
    own = Fingerprint(extractor, num_samples_fit=110)
    evaluated = weights(own)
    assert own.section is not None
    assert all(torch.equal(plain[name], evaluated[name]) for name in plain)
    careless = weights(Careless())
    assert not all(torch.equal(plain[name], careless[name]) for name in plain)


def test_samples_are_drawn_once_for_all_who_agree(tmp_path):
    class Counting(Pixels):
        seen = 0

        def forward(self, images):
            Counting.seen += len(images)
            return super().forward(images)

    own = Counting()
    settings = {"extractor": own, "num_samples": 230}
    three = [Fingerprint(**settings), Again(**settings), Fingerprint(**settings)]
    model, runner = Toy(), trainer(tmp_path, three)
    runner.test(model, Data(), verbose=False)
    assert model.drawn == 230
    assert Counting.seen == 330 + 170 + 230
    assert three[0].evidence is three[1].evidence is three[2].evidence
    assert not [key for key in run_of(runner, "val").kept if key[0] == "evidence"]  # and given back
    model, other = Toy(), Fingerprint(seed=1, **settings)
    trainer(tmp_path, [three[0], other]).test(model, Data(), verbose=False)
    assert model.drawn == 460
    assert not torch.equal(three[0].evidence.generated.images, other.evidence.generated.images)


def test_evidence_is_what_it_says(tmp_path):
    own = fingerprint(num_real=200)
    model = Toy(num_classes=3)
    model.ema_decay = 0.5
    trainer(tmp_path, [own], max_epochs=2).fit(model, Data())
    seen = own.evidence
    assert model.drawn == 2 * 110
    assert (len(seen.train), len(seen.held_out), len(seen.generated)) == (200, 150, 110)
    assert seen.train.images.dtype == torch.uint8 and seen.train.images.shape[1:] == (1, 8, 8)
    assert torch.equal(seen.held_out.images, pictures(150, seed=1)[0])
    assert torch.equal(seen.generated.features, Pixels()(seen.generated.images)[0])
    train = {image.numpy().tobytes() for image in pictures(330)[0]}
    assert {image.numpy().tobytes() for image in seen.train.images} < train
    assert seen.class_names == ("a", "b", "c")
    expected = {"n_train": 200, "n_held_out": 150, "n_generated": 110, "split": "val"}
    expected |= {"sample_seed": 0, "ema": 0.5, "extractor": "pixels", "own": 1, "step": 20}
    assert expected.items() <= own.section.protocol.items()
    proportions = seen.generated.labels.bincount() / 110
    assert (proportions - seen.train.labels.bincount() / 200).abs().max() < 0.01
    assert (seen.generated.labels.diff() != 0).float().mean() > 0.4  # not sorted


def test_names_and_epochs(tmp_path):
    own = fingerprint(every_n_epochs=2)
    model, runner = Toy(), trainer(tmp_path, [own], max_epochs=3)
    runner.fit(model, Data())
    assert model.drawn == 110  # in the second epoch, and not in sanity checking
    assert "generated/images" in runner.callback_metrics
    model.drawn = 0
    runner.validate(model, Data(), verbose=False)
    assert model.drawn == 230
    runner.test(model, Data(), verbose=False)
    assert "test/generated/images" in runner.callback_metrics


def test_modes_and_random_state_come_back(tmp_path):
    class Watch(L.Callback):
        def on_validation_epoch_end(self, trainer, pl_module):
            self.state = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()

    before, after = Watch(), Watch()
    model = Toy()
    model.net[2].eval()
    trainer(tmp_path, [before, fingerprint(), after], num_sanity_val_steps=0).fit(model, Data())
    assert torch.equal(before.state[0], after.state[0])
    assert (before.state[1] == after.state[1]).all() and before.state[2] == after.state[2]
    assert model.net[1].training and not model.net[2].training


# Bad samples and models that cannot be asked


def spoilt(spoil):
    class Bad(Toy):
        def sample(self, n, y=None):
            return spoil(super().sample(n))

    return Bad()


BAD = {
    "finite": lambda x: x / 0 * 0,
    r"\(n, 1, 8, 8\), got \(\d+, 3, 8, 8\)": lambda x: x.expand(-1, 3, -1, -1),
    r"in \[-1, 1\], got \[-3, 3\]": lambda x: x.sign() * 3,
    "float images": lambda x: x.mul(100).byte(),
    r"must give 1\d0 images, got \d+": lambda x: x[1:],
    "got a list": lambda x: x.tolist(),
}


@pytest.mark.parametrize("message", BAD)
def test_bad_samples_do_not_end_a_training_but_a_test(tmp_path, message):
    model = spoilt(BAD[message])
    own, other = fingerprint(), Again("pixels", num_samples=230, num_samples_fit=110)
    runner = trainer(tmp_path, [own, other], num_sanity_val_steps=0)
    with pytest.warns(UserWarning, match=f"no evaluation at step 10: Bad.sample.*{message}") as all:
        runner.fit(model, Data())
    assert runner.global_step == 10 and own.section is None
    assert len([w for w in all if "no evaluation" in str(w.message)]) == 1  # not one for each
    runner = trainer(tmp_path, [Fingerprint("pixels", num_samples=110)])
    with pytest.raises(ValueError, match=f"Bad.sample.*{message}"):
        runner.test(model, Data(), verbose=False)


def test_a_monitored_number_survives_bad_samples(tmp_path):
    """Bad in the first epoch, good in the second, bad again in the third."""

    class Moody(Toy):
        def sample(self, n, y=None):
            x = super().sample(n)
            return x if self.trainer.current_epoch == 1 else x * float("nan")

    class Mean(Evaluation):
        def evaluate(self, evidence):
            return Section("mean", "", "good", {"fd/pixels": Number(3.0)})

    kept = ModelCheckpoint(tmp_path, "{epoch}", monitor="fd/pixels")
    callbacks = [Mean("pixels", num_samples_fit=50), kept]
    runner = trainer(tmp_path, callbacks, max_epochs=3, enable_checkpointing=True)
    with pytest.warns(UserWarning, match="no evaluation"):
        runner.fit(Moody(), Data())
    assert runner.current_epoch == 3 and kept.best_model_path.endswith("epoch=1.ckpt")
    assert kept.best_model_score == 3.0 and math.isnan(runner.callback_metrics["fd/pixels"])


def test_a_model_without_samples_is_refused_by_name(tmp_path):
    class Silent(L.LightningModule):
        def test_step(self, batch, batch_idx):
            pass

    message = r"Fingerprint compares samples, but Silent has no sample\(n\)"
    with pytest.raises(TypeError, match=message):
        trainer(tmp_path, [fingerprint()]).test(Silent(), Data(), verbose=False)
    own = fingerprint()
    own.required = False
    trainer(tmp_path, [own]).test(Silent(), Data(), verbose=False)
    assert own.section is None


def test_points_are_their_own_features(tmp_path):
    class Plane(Data):
        def split(self, part):
            return Images2(torch.linspace(-3, 3, 240).view(120, 2), torch.full((120,), -1))

    class Images2:
        def __init__(self, images, labels):
            self.images, self.labels = images, labels

    class Points(Toy):
        def sample(self, n, y=None):
            return torch.randn(n, 2) * 2

    own = Fingerprint(num_samples=230)
    model = Points()
    trainer(tmp_path, [own], limit_test_batches=1).test(
        model, datamodule=Plane2(Plane), verbose=False
    )
    assert own.evidence.extractor.name == "pixels"
    assert torch.equal(own.evidence.generated.features, own.evidence.generated.images)
    assert own.evidence.train.labels is None


def Plane2(kind):
    """The data of one kind behind loaders that work."""
    plane, data = kind(), Data()
    data.split = plane.split
    data._loader = lambda part, shuffle=False: DataLoader(torch.zeros(4, 2))
    return data


# The cache


def count_looks(monkeypatch):
    looks = []
    forward = Pixels.forward

    def counted(self, images):
        looks.append(len(images))
        return forward(self, images)

    monkeypatch.setattr(Pixels, "forward", counted)
    return looks


def test_features_of_real_images_are_made_once(tmp_path, monkeypatch):
    looks = count_looks(monkeypatch)
    first, second = fingerprint(), fingerprint()
    model = Toy()
    trainer(tmp_path, [first]).test(model, Data(), verbose=False)
    assert sum(looks) == 330 + 170 + 230
    looks.clear()
    trainer(tmp_path, [second]).test(model, Data(), verbose=False)
    assert sum(looks) == 230
    assert first.section.numbers == second.section.numbers
    looks.clear()
    other = fingerprint(num_real=100)
    trainer(tmp_path, [other]).test(model, Data(), verbose=False)
    assert sum(looks) == 100 + 100 + 230


@pytest.mark.parametrize("harm", ["noise", "cut", "code", "other"])
def test_a_broken_cache_file_is_made_again(tmp_path, harm, monkeypatch):
    model, first = Toy(), fingerprint()
    trainer(tmp_path, [first]).test(model, Data(), verbose=False)
    looks = count_looks(monkeypatch)
    files = list(cache.folder().iterdir())
    assert len(files) == 2
    victim = max(files, key=lambda file: file.stat().st_size)
    if harm == "noise":
        victim.write_bytes(b"noise")
    elif harm == "cut":
        victim.write_bytes(victim.read_bytes()[:-1000])
    elif harm == "code":
        torch.save(Evil(tmp_path / "ran"), victim)
    else:
        torch.save({"features": torch.zeros(3, 2)}, victim)
    second = fingerprint()
    with pytest.warns(UserWarning, match="cannot be read and is made again") as all:
        trainer(tmp_path, [second]).test(model, Data(), verbose=False)
    assert len([w for w in all if "made again" in str(w.message)]) == 1
    assert sum(looks) == 330 + 230 and first.section.numbers == second.section.numbers
    assert not (tmp_path / "ran").exists()
    looks.clear()
    trainer(tmp_path, [second]).test(model, Data(), verbose=False)
    assert sum(looks) == 230  # mended


class Evil:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


def test_a_disk_that_cannot_be_written_is_only_a_warning(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("GENZOO_CACHE", str(tmp_path / "file" / "cache"))
    own = fingerprint()
    with pytest.warns(UserWarning, match="could not be written"):
        trainer(tmp_path, [own]).test(Toy(), Data(), verbose=False)
    assert own.section is not None


def test_importing_brings_in_nothing_heavy():
    code = (
        "import sys, lightning, torchmetrics; before = set(sys.modules); import genzoo.callbacks;"
        "print([m for m in ('torch_fidelity', 'wandb', 'sklearn') if m in "
        "set(sys.modules) - before])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
