"""What takes long says how far it is and how long it still takes, in a log and on a terminal."""

import sys

import lightning as L
import pytest
import torch
from lightning.pytorch.callbacks import RichProgressBar, TQDMProgressBar
from PIL import Image

from genzoo import watch
from genzoo.callbacks import progress, report_card
from genzoo.callbacks.evaluation import Question
from genzoo.callbacks.progress import Parts, ProgressLines, track
from genzoo.metrics.neighbours import nearest
from genzoo.watch import Lines, duration, watched, watching
from tests.callbacks.toys import Data, Toy, pictures, trainer


class Clock:
    """Seconds that pass when they are told to."""

    def __init__(self, monkeypatch):
        self.now = 0.0
        for module in (progress, watch):
            monkeypatch.setattr(module, "monotonic", lambda: self.now)

    def work(self, items, seconds):
        for item in items:
            yield item
            self.now += seconds


@pytest.fixture
def clock(monkeypatch):
    return Clock(monkeypatch)


def spent(clock, steps, seconds):
    """Goes through `steps` while each item takes so long."""
    seen = []
    for item in steps:
        seen.append(item)
        clock.now += seconds
    return seen


def test_lines_come_after_two_seconds_and_tell_the_time_left(clock, capsys):
    assert spent(clock, Lines()(range(100), "Samples", 100), 1.5) == list(range(100))
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "Samples: 2/100, about 2 min 27 s left"
    assert said[1] == "Samples: 22/100, about 1 min 57 s left"
    assert said[-1] == "Samples: 100/100 in 2 min 30 s"
    assert len(said) == 6  # one each half minute, and the last


def test_what_is_short_says_nothing(clock, capsys):
    assert len(spent(clock, Lines()(range(100), "Samples", 100), 0.0199)) == 100
    assert capsys.readouterr().out == ""
    spent(clock, Lines()(range(1), "One long step", 1), 7.4)
    assert capsys.readouterr().out == "One long step: 1/1 in 7 s\n"


def test_many_short_steps_of_one_work_have_few_lines(clock, capsys):
    together = Lines(together=True)
    for step in range(60):
        spent(clock, together(range(2), f"Step {step}", 2), 2.5)  # 5 minutes
    said = capsys.readouterr().out.splitlines()
    assert said[:2] == ["Step 0: 1/2, about 2 s left", "Step 0: 2/2 in 5 s"]
    assert 9 <= len(said) <= 22  # one or two each half minute


def test_a_loop_within_a_loop_is_part_of_it():
    seen = []

    def show(items, description, total):
        seen.append(description)
        return items

    with watching(show):
        for i in watched(range(3), "outer", 3):
            list(watched(range(3), "inner", 3))
            if i == 1:
                break
        list(watched(range(3), "after", 3))
    list(watched(range(3), "nobody looks", 3))
    assert seen == ["outer", "after"]


def test_durations_are_for_people():
    said = [duration(x) for x in (0.4, 34, 59.6, 60, 140, 599, 3599, 3900, 7200)]
    assert said == "0 s,34 s,1 min,1 min,2 min 20 s,9 min 59 s,1 h,1 h 5 min,2 h".split(",")


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


def test_loops_without_a_trainer_are_watched():
    seen = []

    def show(items, description, total):
        seen.append((description, total))
        return items

    x = torch.rand(9000, 3, generator=torch.Generator().manual_seed(0))
    with watching(show):
        found = nearest(x, x[:10])
        assert list(watched(range(3), "mine", 3)) == [0, 1, 2]
    assert seen[0] == ("comparing images", 3) and seen[-1] == ("mine", 3)
    del seen[:]
    again = nearest(x, x[:10])
    assert not seen and all(map(torch.equal, found, again))


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
