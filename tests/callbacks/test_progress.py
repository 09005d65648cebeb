"""What takes long says how far it is and how long it still takes, in a log and on a terminal."""

import sys

import lightning as L
import pytest
from lightning.pytorch.callbacks import RichProgressBar, TQDMProgressBar
from PIL import Image

from genzoo import watch
from genzoo.callbacks import progress, report_card
from genzoo.callbacks import progress as lines
from genzoo.callbacks.evaluation import Question
from genzoo.callbacks.progress import Parts, ProgressLines, track
from genzoo.watch import watched
from genzoo.zoo import VAE
from tests.helpers.clock import spent
from tests.helpers.toy_model_and_data import Data, Toy, pictures, trainer
from tests.helpers.training import bits, loader
from tests.helpers.training import trainer as silent


class Long(L.Callback):
    def __init__(self, clock):
        self.clock = clock

    def on_test_epoch_end(self, trainer, pl_module):
        spent(self.clock, track(trainer, range(4), "Long work", 4), 1.5)


@pytest.mark.parametrize("bar", [ProgressLines, Parts, RichProgressBar])
def test_in_a_log_there_are_lines(tmp_path, clock, capsys, bar):
    trainer(tmp_path, [Long(clock), bar()], enable_progress_bar=True).test(
        Toy(), Data(), verbose=False
    )
    said = [x.strip() for x in capsys.readouterr().out.splitlines() if "Long work" in x]
    assert said == ["Long work: 2/4, about 3 s left", "Long work: 4/4 in 6 s"]


def test_a_question_of_many_steps_has_few_lines(tmp_path, clock, capsys):
    class Many(Question):
        def able(self, model):
            return True

        def answer(self, run, model):
            for _ in range(60):
                spent(clock, watched(range(2), "step", 2), 2.5)  # 5 minutes

    trainer(tmp_path, [Many(0, 0), Parts()], enable_progress_bar=True).test(
        Toy(), Data(), verbose=False
    )
    said = [line for line in capsys.readouterr().out.splitlines() if line.startswith("Many: step")]
    assert 9 <= len(said) <= 22


def test_without_a_bar_there_is_silence(tmp_path, clock, capsys):
    trainer(tmp_path, [Long(clock)]).test(Toy(), Data(), verbose=False)
    own = Parts()
    own.disable()
    trainer(tmp_path, [Long(clock), own], enable_progress_bar=True).test(
        Toy(), Data(), verbose=False
    )
    assert "Long work" not in capsys.readouterr().out


def test_on_a_terminal_there_is_a_bar(tmp_path, clock, capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    for module in (progress, watch):
        monkeypatch.setattr(module, "SILENT", 0.0)
    for bar in (Parts, ProgressLines, TQDMProgressBar):
        trainer(tmp_path, [Long(clock), bar()], enable_progress_bar=True).test(
            Toy(), Data(), verbose=False
        )
        out, err = capsys.readouterr()
        assert "Long work" in err and "0/4" in err and "Long work" not in out


def test_reading_a_folder_is_in_sight(tmp_path, capsys, monkeypatch):
    for module in (progress, watch):
        monkeypatch.setattr(module, "SILENT", 0.0)
    for i, image in enumerate(pictures(40)[0]):
        Image.fromarray(image[0].numpy()).save(tmp_path / f"{i}.png")
    report_card(str(tmp_path), str(tmp_path), extractor="pixels")
    assert capsys.readouterr().out.count(f"images in {tmp_path.name}: 40/40 in 0 s") == 2


@pytest.mark.usefixtures("empty_cache")
def test_a_card_in_a_log_says_what_takes_long(capsys, monkeypatch):
    for module in (progress, watch):
        monkeypatch.setattr(module, "SILENT", 0.0)
    settings = {"extractor": "pixels", "num_samples": 100}
    report_card(pictures(120, seed=3)[0], Data(), **settings)
    said = capsys.readouterr().out
    for part in (
        "Samples: 1/1 in",
        "pixels of train images: 4/4",
        "Memorisation: comparing images",
    ):
        assert part in said
    report_card(pictures(120, seed=3)[0], Data(), progress=False, **settings)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    "limits, tenth",
    [
        ({"max_epochs": -1, "max_steps": 40}, "epoch 1 batch 10/16  loss 1  3 min left"),
        ({"max_epochs": 2}, "epoch 1/2 batch 10/16  loss 1  2 min left"),
        ({"max_epochs": 1}, "epoch 1/1 batch 10/16  loss 1  36 s left"),
        ({"max_epochs": -1, "limit_train_batches": 12}, "epoch 1 batch 10/12  loss 1"),
    ],
)
def test_the_time_that_is_left_is_said(monkeypatch, capsys, limits, tenth):
    """Of batches of six seconds, off a terminal."""
    clock = [0.0]

    class Slow(L.Callback):
        def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
            clock[0] += 6
            trainer.should_stop = batch_idx == 10

    monkeypatch.setattr(lines, "monotonic", lambda: clock[0])
    progress = lines.ProgressLines(seconds=60)
    monkeypatch.setattr(progress, "get_metrics", lambda *_: {"loss": 1})
    runner = silent(callbacks=[Slow(), progress], enable_progress_bar=True, **limits)
    runner.fit(VAE((1, 8, 8), width=4), loader(bits(128)))
    assert tenth in capsys.readouterr().out.splitlines()
