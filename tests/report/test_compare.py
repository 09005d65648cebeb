"""Cards side by side: numbers of different protocols are marked."""

import json
import math
import subprocess
import sys

import pytest

from genzoo.__main__ import main
from genzoo.report.card import Number, Report, Section
from genzoo.report.compare import Card, _letter, compare

PROTOCOL = {"extractor": "domain", "weights": "aa", "split": "test", "n_generated": 2000}


def report(model="DCGAN", flag="good", title="realism", data="Digits", **protocol) -> Report:
    numbers = {
        "way_to_real": Number(0.9, 0.8, 0.99),
        "fd/domain": Number(2.5, 1.5, 3.5),
        "fd/domain_held_out": Number(2.0),
        "fd/domain_independent": Number(80.0),
        "density": Number(0.7),
    }
    measured = Section(title, "A verdict.", flag, numbers, protocol=PROTOCOL | protocol)
    copies = {"copied/pixels": Number(0.0, 0.0, 0.001), "outright/pixels": Number(0.0)}
    memory = Section("memorisation", "No.", "good", copies, protocol=PROTOCOL)
    return Report(model, data, 2400, [memory, measured])


def letters(*reports: Report, name="fd/domain") -> list[str | None]:
    cards = [Card(f"run {i}", report) for i, report in enumerate(reports)]
    (row,) = [row for row in compare(cards).rows if row.name == name]
    return [cell and cell[1] for cell in row.cells]


@pytest.mark.parametrize(
    "difference",
    [
        {"weights": "bb"},
        {"n_generated": 1000},
        {"split": "val"},
        {"extractor": "inception"},
        {"resize": "bilinear"},
        {"data": "MNIST"},
    ],
)
def test_what_was_measured_otherwise_has_a_letter(difference):
    other = report("VAE", **difference)
    assert letters(report(), report("VAE"), other) == ["", "", "a"]
    assert letters(other, report(), report("VAE")) == ["", "a", "a"]


@pytest.mark.parametrize(
    "difference", [{"step": 5}, {"ema": 0.9}, {"sample_seed": 7}, {"torch": "9"}]
)
def test_what_only_says_which_model_it_was_has_none(difference):
    assert letters(report(), report(**difference)) == ["", ""]


def test_equal_letters_are_comparable_and_others_are_not():
    few, val = {"n_generated": 1000}, {"split": "val"}
    several = [report(), report(**few), report(**val), report(**few), report(**few, **val)]
    assert letters(*several) == ["", "a", "b", "a", "c"]
    comparison = compare([Card(str(i), r) for i, r in enumerate(several)])
    assert comparison.letters == {
        "a": "n generated 1,000, not 2,000",
        "b": "split val, not test",
        "c": "split val, not test; n generated 1,000, not 2,000",
    }
    # Each number is held to the protocol of its own section.
    assert letters(*several, name="copied/pixels") == [""] * 5


def test_the_first_card_that_has_the_number_is_the_measure():
    without = report()
    del without.sections[1]
    assert letters(without, report(split="val"), report()) == [None, "", "a"]
    missing = report()
    del missing.sections[1].protocol["weights"]
    assert letters(report(), missing) == ["", "a"]
    comparison = compare([Card("0", report()), Card("1", missing)])
    assert comparison.letters == {"a": "weights not stated, not aa"}


def test_letters_do_not_run_out():
    assert [_letter(i) for i in (0, 25, 26, 51, 52, 701, 702)] == "a z aa az ba zz aaa".split()


def test_headlines_first_and_all_on_demand():
    cards = [Card("run", report())]
    memory, fd = ["copied/pixels"], ["way_to_real", "fd/domain", "fd/domain_held_out"]
    assert [row.name for row in compare(cards).rows] == memory + fd
    every = [row.name for row in compare(cards, everything=True).rows]
    assert every == [name for s in cards[0].report.sections for name in s.numbers]
    own = Section("own", "x", "good", {str(i): Number(i) for i in range(9)})
    assert [*own.headlines] == ["0", "1", "2"]


@pytest.fixture
def runs(tmp_path):
    """DCGAN, and a VAE that was measured by another protocol, as run directories."""
    unlike = report("VAE", "bad", n_generated=1000, weights="bb")
    unlike.sections.append(
        Section("diversity", "?", "unsure", {"support/pixels": Number(math.inf, 83.2, math.inf)})
    )
    for one in (report(), unlike):
        folder = tmp_path / f"{one.model}-Digits" / "version_0"
        folder.mkdir(parents=True)
        (folder / "report.json").write_text(one.to_json())
    return [str(tmp_path / "DCGAN-Digits/version_0"), str(tmp_path / "VAE-Digits/version_0")]


def test_as_markdown(runs, tmp_path):
    output = tmp_path / "sub" / "table.md"
    assert main(["compare", runs[0], f"{runs[1]}/report.json", "--output", str(output)]) == 0
    text = output.read_text()
    lines = text.splitlines()
    assert lines[:3] == ["|  | DCGAN | VAE |", "|---|---|---|", "| run | version_0 | version_0 |"]
    assert "| **Has it memorised?** | ✅ no | ✅ no |" in lines
    assert "| **Does it look real?** | ✅ yes | ❌ no |" in lines
    assert "| **Is it as diverse as the data?** | – not evaluated | ❔ unsure |" in lines
    assert "| `fd/domain` | 2.5 (1.5 to 3.5) | 2.5 (1.5 to 3.5) **[a]** |" in lines
    assert "| `support/pixels` | – | more than 83.2 |" in lines
    assert lines[-1] == "* **[a]** weights bb, not aa; n generated 1,000, not 2,000"
    assert [path.name for path in output.parent.iterdir()] == ["table.md"]


def test_on_the_terminal(runs, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "100")
    assert main(["compare", *runs]) == 0
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= 100
    rows = [line.split() for line in out.splitlines()]
    assert ["DCGAN", "VAE"] in rows and ["real?", "yes", "no"] in rows
    assert ["fd/domain", "2.5", "[a]", "2.5"] in rows and ["1.5–3.5", "1.5–3.5"] in rows
    assert ["support/pixels", "–", ">", "83.2"] in rows
    assert "have other protocols" in out and "[a] weights bb, not aa" in out


def test_as_json(runs, capsys):
    assert main(["compare", *runs, "--json"]) == 0
    found = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)
    assert [card["model"] for card in found["cards"]] == ["DCGAN", "VAE"]
    other = found["cards"][1]
    assert other["verdicts"]["realism"] == {"flag": "bad", "verdict": "A verdict."}
    assert other["numbers"]["fd/domain"]["measured_otherwise"] == "a"
    assert other["numbers"]["support/pixels"]["value"] == "inf"
    assert found["measured_otherwise"]["a"].startswith("weights bb, not aa")


def test_text_in_a_report_is_text(tmp_path, capsys):
    strange = Report("[red]M", "a|b", 1, [Section("[own]", "v", "good", {"[x]": Number(1)})])
    (tmp_path / "report.json").write_text(strange.to_json())
    assert main(["compare", str(tmp_path), "--output", str(tmp_path / "t.md")]) == 0
    out = capsys.readouterr().out
    assert "[red]M" in out and "[own]" in out and "[x]" in out
    assert "| data | a\\|b |" in (tmp_path / "t.md").read_text()


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ([], 2, "RUN"),
        (["nowhere"], 1, "RUN must be a run directory that has a report.json, got nowhere"),
        (["."], 1, "RUN must be a run directory that has a report.json, got ."),
        (["half.json"], 1, "the report must be a report.json, got half.json"),
        (["list.json"], 1, "the report must be a report.json, got list.json"),
        (["good.json", "--output", "list.json/t.md"], 1, "list.json"),
        (["good.json", "--outptu", "x"], 2, "--outptu"),
    ],
)
def test_misuse_is_one_line(tmp_path, monkeypatch, capsys, arguments, code, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "good.json").write_text(report().to_json())
    (tmp_path / "half.json").write_text(report().to_json()[:200])
    (tmp_path / "list.json").write_text("[1, 2]")
    before = sorted(tmp_path.iterdir())
    assert main(["compare", *arguments]) == code
    said = capsys.readouterr()
    assert said.err.count("\n") == 1 and message in said.err and not said.out
    assert sorted(tmp_path.iterdir()) == before


def test_neither_comparing_nor_judging_imports_torch(runs):
    program = """
import sys
from genzoo.__main__ import main
assert main(["compare", *sys.argv[1:]]) == 0
assert main(["judge", "--help"]) == 0
heavy = {"torch", "lightning", "wandb"} & set(sys.modules)
assert not heavy, heavy
"""
    done = subprocess.run([sys.executable, "-c", program, *runs], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
