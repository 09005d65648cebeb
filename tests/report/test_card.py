"""The report card: all that was found, on one page that can be read and loaded again."""

import csv
import json
import math
import re

import lightning as L
import numpy as np
import pytest
import torch
from lightning.pytorch.loggers import CSVLogger
from PIL import Image

from genzoo.callbacks import (
    Evaluation,
    Number,
    Report,
    ReportCard,
    Samples,
    Section,
)
from genzoo.report.card import spoken, written
from tests.helpers.toy_model_and_data import Data, Toy, trainer

PICTURE = torch.randint(0, 256, (3, 20, 30), dtype=torch.uint8)


class Realism(Evaluation):
    def evaluate(self, evidence):
        mean = evidence.generated.images.float().mean().item()
        numbers = {
            "fd/pixels": Number(12.3456789, 11.0, 13.5, "5,000 samples"),
            "brightness": Number(mean),
            "none": Number(math.nan, -math.inf, math.inf, "a | b"),
        }
        figures = {"worst_first": PICTURE}
        return Section("realism", "It does, nearly.", "good", numbers, figures, {"subsets": 10})


class Diversity(Evaluation):
    def evaluate(self, evidence):
        return Section("diversity", "Only half of it.", "bad", {"support": Number(1931.0)})


@pytest.fixture
def run(tmp_path):
    card = ReportCard()
    settings = {"extractor": "pixels", "num_samples": 110}
    callbacks = [card, Diversity(**settings), Samples(count=4), Realism(**settings)]
    runner = trainer(tmp_path, callbacks, logger=CSVLogger(tmp_path))
    runner.test(Toy(), Data(), verbose=False)
    return card, tmp_path / runner.log_dir


def same(a, b):
    return a == b or (math.isnan(a) and math.isnan(b))


def test_json_brings_all_of_it_back(run):
    card, folder = run
    again = Report.from_json(folder / "report.json")
    for name in ("model", "data", "step", "paths", "version", "protocol", "title"):
        assert getattr(again, name) == getattr(card.report, name), name
    assert [s.title for s in again.sections] == ["realism", "diversity"]  # in the page's order
    for mine, theirs in zip(card.report.sections, again.sections, strict=True):
        for name in ("title", "verdict", "flag", "protocol"):
            assert getattr(mine, name) == getattr(theirs, name)
        for name, number in mine.numbers.items():
            other = theirs.numbers[name]
            assert same(number.value, other.value) and number.low == other.low
            assert number.high == other.high and number.note == other.note
    given = (PICTURE.permute(1, 2, 0), card.report.figures["samples"])
    files = (again.sections[0].figures["worst_first"], again.figures["samples"])
    for picture, file in zip(given, files, strict=True):
        assert (np.asarray(Image.open(file)) == picture.numpy()).all()
    assert again.to_markdown() == card.report.to_markdown()
    assert again.to_json() == card.report.to_json()
    strict = json.loads((folder / "report.json").read_text(), parse_constant=pytest.fail)
    assert strict["sections"][0]["numbers"]["none"]["high"] == "inf"


def test_the_page_answers_the_three_questions(run):
    card, folder = run
    page = (folder / "report.md").read_text()
    assert page == card.report.to_markdown()
    lines = page.split("\n")
    assert lines[0] == "# Toy on toys"
    asked = [line for line in lines if line.startswith(("| ✅", "| ❌", "| –"))]
    assert [line.split("|")[1:4] for line in asked] == [
        [" – ", " **Has it memorised?** ", " There was no evaluation of memorisation. "],
        [" ✅ ", " **Does it look real?** ", " It does, nearly. "],
        [" ❌ ", " **Is it as diverse as the data?** ", " Only half of it. "],
    ]
    assert "| `fd/pixels` | 12.35 | 11 to 13.5 | 5,000 samples |" in lines
    assert "| `none` | nan | -inf to inf | a \\| b |" in lines
    assert "| `support` | 1,931 |  |  |" in lines
    for part in ("n train 330", "n generated 110", "split test", "extractor pixels", "ema 0"):
        assert page.count(part) == 1, part  # said once, for all numbers
    assert "*Protocol:* subsets 10." in lines
    links = re.findall(r"!\[.*\]\((.*)\)", page)
    assert len(links) == 2 and all((folder / link).is_file() for link in links)


def test_the_web_page_says_the_same(run):
    card, folder = run
    content = (folder / "report.html").read_text()
    for part in ("Toy on toys", "It does, nearly.", "Only half of it.", ">12.35<", "11 to 13.5"):
        assert part in content
    assert content.count('src="data:image/png;base64,') == 2 == len(card.report.paths)
    card.report.write(folder / "report.json")
    assert (folder / "report.html").read_text() == content
    names = {"report.json", "report.md", "report.html", "figures", "metrics.csv", "hparams.yaml"}
    assert {path.name for path in folder.iterdir()} <= names  # no halves


def test_the_terminal_says_the_same(run, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "80")
    run[0].report.print("runs/report.md")
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= 80
    shown = " ".join(out.replace("│", " ").split())
    for part in (
        "Toy on toys",
        "not evaluated Has it memorised?",
        "good Does it look real? It does,",
    ):
        assert part in shown
    assert "fd/pixels 12.35 11 to 13.5" in shown and "sample seed 0" in shown
    assert "brightness" not in shown  # those to read first; the others are in the file
    assert shown.endswith("all numbers in runs/report.md")


def test_a_trainer_ends_with_the_place_of_the_rest(tmp_path, capsys):
    settings = {"extractor": "pixels", "num_samples": 110}
    trainer(tmp_path, [Realism(**settings), ReportCard()]).test(Toy(), Data(), verbose=False)
    last = capsys.readouterr().out.rstrip().splitlines()[-1]
    assert last == f"all numbers in {tmp_path}/report.md, with the pictures in report.html"


def test_a_report_of_nothing_is_still_a_page(tmp_path):
    card = ReportCard()
    trainer(tmp_path, [card]).test(Toy(), Data(), verbose=False)
    assert (tmp_path / "report.md").read_text().count("There was no evaluation") == 3
    assert Report.from_json(tmp_path / "report.json").sections == []


def test_the_common_protocol_is_said_once():
    sections = [
        Section("realism", "", "good", protocol={"a": 1, "b": 2, "c": 7}),
        Section("diversity", "", "good"),
        Section("memorisation", "", "good", protocol={"a": 1, "b": 3, "c": 7}),
        Section("likelihood", "", "good", protocol={"c": 8, "d": 9}),
    ]
    report = Report("M", "D", 0, sections)
    assert report.protocol == {"a": 1, "c": 7}
    assert [report.own_protocol(s) for s in sections] == [{"b": 2}, {}, {"b": 3}, {"c": 8, "d": 9}]
    # A study with people has a protocol of its own: it neither makes nor breaks the common one.
    study = Section("human evaluation", "", "good", protocol={"b": 2, "d": 9, "study": "x"})
    report.sections.append(study)
    assert report.protocol == {"a": 1, "c": 7} and report.own_protocol(study) == study.protocol
    report = Report("M", "D", 0, [sections[0], study])
    assert report.protocol == sections[0].protocol
    assert Report("M", "D", 0, [study]).protocol == {}
    alone = Report("M", "D", 0, sections[:1])
    assert alone.protocol == sections[0].protocol and alone.own_protocol(sections[0]) == {}
    assert Report("M", "D", 0, [Section("realism", "", "good")]).protocol == {}


def test_a_folder_that_cannot_be_written_is_a_warning(tmp_path):
    (tmp_path / "file").write_text("")
    runner = trainer(tmp_path / "file", [ReportCard()])
    with pytest.warns(UserWarning, match="the report could not be written"):
        runner.test(Toy(), Data(), verbose=False)


def test_numbers_and_pictures_share_an_axis(tmp_path):
    class TwoSteps(Toy):
        """Two optimizer steps a batch, so that steps are not batches."""

        automatic_optimization = False

        def training_step(self, batch, batch_idx):
            for _ in range(2):
                self.optimizers().zero_grad()
                self.manual_backward(super().training_step(batch, batch_idx))
                self.optimizers().step()

    callbacks = [Realism("pixels", num_samples_fit=110), Samples(count=4)]
    runner = trainer(tmp_path, callbacks, logger=CSVLogger(tmp_path))
    runner.fit(TwoSteps(), Data())
    folder = tmp_path / runner.log_dir
    names = {path.name for path in (folder / "figures").iterdir()}
    assert names == {"samples-step=20.png", "realism-worst_first-step=20.png"}
    rows = list(csv.DictReader(open(folder / "metrics.csv")))
    assert [row["step"] for row in rows if row["brightness"]] == ["20"]


def test_two_ranks_write_one_report(tmp_path):
    settings = {"extractor": "pixels", "num_samples": 110}
    callbacks = [Realism(**settings), Samples(count=4), ReportCard()]
    runner = trainer(tmp_path, callbacks, devices=2, strategy="ddp_fork")
    runner.test(Toy(), Data(), verbose=False)
    report = Report.from_json(tmp_path / "report.json")
    assert report.sections[0].numbers["fd/pixels"].value == 12.3456789
    assert set(report.figures) == {"samples"}


def test_a_trial_run_is_quick_and_writes_nothing(tmp_path):
    model, settings = Toy(), {"extractor": "auto", "num_samples": 5_000, "num_samples_fit": 5_000}
    own, card = Realism(**settings), ReportCard()
    for stage in ("fit", "test"):
        runner = trainer(tmp_path / "run", [own, Samples(count=4), card], fast_dev_run=True)
        getattr(runner, stage)(model, Data())
        assert own.section.protocol["n_generated"] == 200
        assert own.section.protocol["classifier_steps"] == 20
    assert [section.title for section in card.report.sections] == ["realism"]
    assert not (tmp_path / "run").exists()


def test_a_question_to_people_is_asked_only_where_they_were():
    study = Section("human evaluation", "They cannot.", "good")
    questions = [question for question, _, _ in Report("M", "D", 0, [study]).answers()]
    assert questions[-1] == "Can people tell?" and len(questions) == 4
    assert len(Report("M", "D", 0).answers()) == 3


def test_a_file_that_is_no_report_says_so(tmp_path):
    for content in ('{"model": 1}', "[]", "{", "\xff"):
        (tmp_path / "a.json").write_text(content, encoding="latin-1")
        with pytest.raises(ValueError, match="the report must be a report.json, got .*a.json"):
            Report.from_json(tmp_path / "a.json")


def test_flags_are_checked():
    with pytest.raises(ValueError, match="flag must be one of good, bad, unsure, got 'fine'"):
        Section("realism", "", "fine")


@pytest.mark.parametrize(
    "value, text",
    [
        (0.0, "0"),
        (-2e-19, "0"),
        (1931.0, "1,931"),
        (12.34567, "12.35"),
        (0.000123456, "0.0001235"),
        (123456.7, "123,457"),
        (-1.5, "-1.5"),
        (math.inf, "inf"),
        (math.nan, "nan"),
        (3.2e12, "3.2e+12"),
    ],
)
def test_numbers_are_written_for_people(value, text):
    assert written(value) == text


def test_intervals_are_written_for_people():
    assert Number(1.0).interval == ""
    assert Number(1.0, 0.5, 1.5).interval == "0.5 to 1.5"
    assert Number(1.0, low=0.5).interval == "0.5 to ?"
    assert Number(1.0, 0.5, math.inf).interval == "0.5 or more"
    endless = Number(math.inf, 83118.2, math.inf)
    assert (endless.shown, endless.interval) == ("more than 83,118", "")
    assert Number(math.inf).shown == "inf" and Number(2.0, 1.0, 3.0).shown == "2"
    assert spoken({"n_train": 50_000, "seed": 0, "net": "a"}) == "n train 50,000, seed 0, net a"


def test_evaluations_are_the_default_set():
    from genzoo.callbacks import evaluations

    callbacks = evaluations(num_samples=123, seed=4, every_n_epochs=3)
    names = "Memorisation Realism Diversity Likelihood Samples Interpolations Reconstructions"
    names += " Filters"
    assert [type(c).__name__ for c in callbacks] == [*names.split(), "ReportCard"]
    assert all(c.num_samples == 123 and c.seed == 4 for c in callbacks[:3])
    assert not any(callback.required for callback in callbacks[:-1])
    assert all(isinstance(callback, L.Callback) for callback in callbacks)


def test_a_full_disk_names_the_file_and_leaves_nothing_beside_it(tmp_path, monkeypatch):
    class Full(str):
        def encode(self, *args):
            raise OSError(28, "No space left on device")  # as a write says it: without a name

    monkeypatch.setattr(Report, "to_json", lambda report: Full("{}"))
    with pytest.raises(OSError, match="No space left on device: '.*/run/report.json'"):
        Report("M", "D", 0, []).write(tmp_path / "run" / "report.json")
    assert not list((tmp_path / "run").iterdir())
