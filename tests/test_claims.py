"""What claim tests measure is kept as it was asserted, and shown."""

import json
import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from tests.claims import Measured, merged

ROOT = Path(__file__).parents[1]
CLAIMS = json.loads((ROOT / "results" / "claims.json").read_text())
make = runpy.run_path(str(ROOT / "docs" / "make.py"))
OUTER = """
import pytest

@pytest.mark.parametrize("seed", [0, 1])
def test_better(seed, measured):
    naive = measured("naive", 0.5 + seed / 10)
    measured("ours", 0.912345 - seed, above=naive)  # fails on seed 1

def test_each(measured):
    for seed in (0, 1):
        measured("error", 0.25 * seed, below=0.3, seed=seed)
    measured("slope", 1.02, near=1, within=0.1)
"""


@pytest.mark.parametrize(
    "value, asked, said",
    [
        (0.5, {"above": 0.5}, "error: 0.5 must be above 0.5"),
        (0.5, {"below": 0.5}, "error: 0.5 must be below 0.5"),
        (1.2, {"near": 1, "within": 0.1}, r"error: 1.2 must be 1\+-0.1"),
        (float("nan"), {}, "error: nan"),
    ],
)
def test_a_number_that_is_not_as_asked_fails_the_test(value, asked, said):
    with pytest.raises(AssertionError, match=said):
        Measured(0)("error", value, **asked)
    assert Measured(0)("error", 1.05, above=1, below=2, near=1, within=0.1) == 1.05


def test_of_a_median_each_seed_is_noted_and_only_the_median_asserted():
    measured = Measured(None)
    assert measured.median("error", [0.9, 0.1, 0.2], below=0.3) == 0.2
    each = [{"what": "error", "seed": str(i), "value": v} for i, v in enumerate((0.9, 0.1, 0.2))]
    middle = {"what": "error", "seed": "median", "below": 0.3, "value": 0.2}
    assert measured.notes == [*each, middle]
    with pytest.raises(AssertionError, match="error: 0.4 must be below 0.3"):
        measured.median("error", [0.4, 0.1, 0.5], below=0.3)
    with pytest.raises(AssertionError, match="error: nan"):
        measured.median("error", [0.1, float("nan"), 0.2], below=0.3)
    alone = Measured(None)
    assert alone.median("error", [0.1], below=0.3) == 0.1
    assert alone.notes == [{"what": "error", "seed": "0", "value": 0.1}]
    with pytest.raises(AssertionError, match="error: 0.4 must be below 0.3"):
        alone.median("error", [0.4], below=0.3)


@pytest.mark.parametrize("workers", ["0", "1"])
def test_a_run_records_what_passed_and_keeps_the_rest(tmp_path, workers):
    (tmp_path / "test_toy.py").write_text(OUTER)
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    before = {"other": {"test_it": {"numbers": {"x": {"value": {"all": 1}}}, "versions": {}}}}
    (tmp_path / "kept.json").write_text(json.dumps(before))
    command = [sys.executable, "-m", "pytest", "-q", "-n", workers, "-p", "tests.claims"]
    done = subprocess.run(
        [*command, "--claims", "kept.json"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert "1 failed, 2 passed" in done.stdout, done.stdout + done.stderr
    kept = json.loads((tmp_path / "kept.json").read_text())
    assert kept["other"] == before["other"]
    assert kept["toy"]["test_better"]["numbers"] == {
        "naive": {"value": {"0": 0.5}},
        "ours": {"value": {"0": 0.9123}, "above": {"0": 0.5}},
    }
    assert kept["toy"]["test_each"]["numbers"] == {
        "error": {"value": {"0": 0.0, "1": 0.25}, "below": {"0": 0.3, "1": 0.3}},
        "slope": {"value": {"all": 1.02}, "near": {"all": 1.0}, "within": {"all": 0.1}},
    }
    assert set(kept["toy"]["test_each"]["versions"]) == {"genzoo", "torch"}


def test_a_page_shows_values_by_seed_and_what_was_asked():
    known: dict = {}
    for seed in ("0", "1", "2"):
        naive = {"what": "naive", "seed": seed, "value": 0.8}
        ours = {"what": "ours", "seed": seed, "value": 0.9123, "above": 0.8 + int(seed) / 100}
        merged(known, "toy", "test_it", [naive, ours], {})
    slope = {"what": "slope", "seed": "all", "value": 1.02, "near": 1.0, "within": 0.1}
    merged(known, "toy", "test_other", [slope], {})
    assert [*make["recorded"](known["toy"])] == [
        "|  | seed 0 | seed 1 | seed 2 | one run | asserted |",
        "|---|---|---|---|---|---|",
        "| naive | 0.8 | 0.8 | 0.8 |  |  |",
        "| ours | 0.912 | 0.912 | 0.912 |  | above 0.8, 0.81, 0.82 |",
        "| slope |  |  |  | 1.02 | 1 ± 0.1 |",
    ]


def test_a_page_tells_what_was_asked_of_the_median_from_what_was_asked_of_each_seed():
    measured, known = Measured(None), {}
    for seed, value in enumerate((0.25, 0.5, 0.75)):
        measured("error", value, below=0.8, seed=seed)
    measured.median("error", (0.25, 0.5, 0.75), below=0.6)
    measured.median("slope", (0.9, 1.3, 1.02), near=1, within=0.1)
    merged(known, "toy", "test_it", measured.notes, {})
    assert [*make["recorded"](known["toy"])] == [
        "|  | seed 0 | seed 1 | seed 2 | median | asserted |",
        "|---|---|---|---|---|---|",
        "| error | 0.25 | 0.5 | 0.75 | 0.5 | below 0.8; median below 0.6 |",
        "| slope | 0.9 | 1.3 | 1.02 | 1.02 | median 1 ± 0.1 |",
    ]


def test_what_is_recorded_is_of_tests_that_are_there_and_that_record_it():
    for model, kept in CLAIMS.items():
        files = (ROOT / "tests").rglob(f"test_{model}.py")
        source = "".join(path.read_text(encoding="utf-8") for path in files)
        for test in kept:
            assert f"def {test}(" in source, f"{model}: {test} is gone; so is what it recorded"


@pytest.mark.parametrize("path", sorted((ROOT / "results" / "models").glob("*.yaml")), ids=str)
def test_no_number_is_kept_by_hand_that_a_test_records(path):
    by_hand = {what for what, *_ in make["yaml"].safe_load(path.read_text())["measured"]}
    recorded = {what for kept in CLAIMS.get(path.stem, {}).values() for what in kept["numbers"]}
    assert not by_hand & recorded
