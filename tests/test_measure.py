"""The command that measures an example, and that nothing it measured is typed beside it."""

import json
import re
import runpy
from pathlib import Path

import pytest
import yaml
from PIL import Image

from genzoo.report.card import Number, Report, Section

ROOT = Path(__file__).parents[1]
measure = runpy.run_path(str(ROOT / "results" / "measure.py"), run_name="measure")
make = runpy.run_path(str(ROOT / "docs" / "make.py"))
MEASURED = sorted((ROOT / "results" / "examples").glob("*.json"))
COMMENT = re.compile(
    r"^\s*#.*(fd/|\bfid\b|bits/dim|CPU-(second|minute)|[Mm]easured|held-out images)"
)


def test_the_headlines_time_and_picture_of_a_card_are_kept(tmp_path, monkeypatch):
    """Of a card that is given here; the test below trains for it."""
    numbers = {"fd/domain": Number(12.5, 11.0, 14.0), "rarity": Number(1.0)}
    section = Section("realism", "Yes.", "good", numbers, {}, {"n_generated": 60})
    Image.new("RGB", (1800, 900), "red").save(tmp_path / "samples.png")
    shown = {"samples": tmp_path / "samples.png"}
    report = Report("LFVI", "Digits", 2, [section], shown, {"samples": "samples.png"})
    (tmp_path / "report.json").write_text(report.to_json())
    given = {"train": lambda *_: (tmp_path / "report.json", 41.7)}
    for name, function in given.items():
        monkeypatch.setitem(measure["main"].__globals__, name, function)
    example = ROOT / "examples" / "inference" / "lfvi.yaml"
    places = ["--results", str(tmp_path), "--pictures", str(tmp_path)]
    assert measure["main"]([str(example), *places, "--data.root", "/home/me", "--x", "1"]) == 0
    found = json.loads((tmp_path / "lfvi.json").read_text())
    assert found["cpu_seconds"] == 42 and found["arguments"] == ["--x", "1"]
    kept = {"fd/domain": {"value": "12.5", "interval": "11 to 14"}}
    assert found["sections"]["realism"]["numbers"] == kept
    assert found["protocol"] == {"n_generated": 60}
    assert Image.open(tmp_path / "lfvi.png").size == (900, 450)
    text = "\n".join(make["card"](found))
    assert "✅ **Does it look real?** | Yes. |" in text and "| `fd/domain` | 12.5 |" in text


@pytest.mark.slow
def test_one_command_measures_an_example(tmp_path):
    example = ROOT / "examples" / "inference" / "lfvi.yaml"
    quick = ["--trainer.max_steps", "2", "--evaluation.num_samples", "60", "--data.seed=1"]
    places = ["--results", str(tmp_path / "found"), "--pictures", str(tmp_path)]
    assert measure["main"]([str(example), *places, *quick, "--trainer.accelerator", "cpu"]) == 0
    found = json.loads((tmp_path / "found" / "lfvi.json").read_text())
    assert (found["model"], found["data"], found["step"]) == ("LFVI", "Digits", 2)
    assert found["example"] == "examples/inference/lfvi.yaml"
    assert found["arguments"] == [*quick, "--trainer.accelerator", "cpu"]
    assert found["cpu_seconds"] > 1
    assert set(found["versions"]) == {"genzoo", "torch", "lightning", "python"}
    assert found["protocol"]["n_generated"] == 60
    assert {"memorisation", "realism", "diversity"} <= set(found["sections"])
    assert re.match(r"[\d.]+", found["sections"]["realism"]["numbers"]["fd/domain"]["value"])
    assert found["sections"]["realism"]["flag"] in ("good", "bad", "unsure")
    assert Image.open(tmp_path / "lfvi.png").width <= 900
    text = "\n".join(make["card"](found))
    assert found["sections"]["realism"]["verdict"] in text and "| `fd/domain` |" in text


def test_a_training_that_fails_measures_nothing(tmp_path, capfd):
    example = ROOT / "examples" / "inference" / "lfvi.yaml"
    with pytest.raises(RuntimeError, match="ended with code 2"):
        measure["main"]([str(example), "--results", str(tmp_path), "--modell.lr", "1"])
    assert not list(tmp_path.iterdir())


def test_the_folder_of_the_data_is_not_kept():
    assert measure["kept"](["--data.root", "/home/me", "--x", "1", "--data.root=y"]) == ["--x", "1"]


@pytest.mark.parametrize("path", MEASURED, ids=lambda path: path.stem)
def test_what_was_measured_by_the_command_is_typed_nowhere(path):
    """The figures of the example by hand are gone, and those of the page are the command's."""
    found = json.loads(path.read_text())
    by_hand = yaml.safe_load(
        (ROOT / "results" / "models" / path.name).with_suffix(".yaml").read_text()
    )
    assert {"result", "time"} & set(by_hand["example"]) == set() and "picture" not in by_hand
    assert found["commit"] and not found["arguments"]
    assert (ROOT / "docs" / "pictures" / f"{path.stem}.png").is_file()
    page = next((ROOT / "docs" / "models").rglob(f"{path.stem}.md")).read_text(encoding="utf-8")
    assert found["sections"]["realism"]["numbers"]["fd/domain"]["value"] in page


@pytest.mark.parametrize("path", sorted((ROOT / "examples").rglob("*.yaml")), ids=lambda p: p.stem)
def test_no_comment_of_an_example_states_a_measured_figure(path):
    lines = path.read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if COMMENT.search(line)] == []


def test_such_a_comment_is_seen():
    assert COMMENT.search("# Measured: 3")
    assert COMMENT.search("  # with width 32 fd/domain 371")
    assert not COMMENT.search("    width: 32")
