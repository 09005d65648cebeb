"""What claim tests measure, kept: `pytest -m claim --claims results/claims.json`.

A test records a number where it asserts it, so that page, threshold and baseline cannot part:

    def test_digits_are_named(seed, measured):
        naive = measured("naive Bayes", ...)
        measured("digits named", ..., above=naive)

The file has, by model (`test_<model>.py`), test and number, the values by seed and what was asked
of them. A run replaces what its tests recorded and leaves the others; failed tests leave no trace.
"""

import json
import math
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path
from statistics import median

import pytest

EVERY = "all"  # in the place of a seed, where a test has none
MEDIAN = "median"  # and of that over seeds


def rounded(value: float) -> float:
    return float(f"{value:.4g}")


class Measured:
    """Asserts a number and notes it."""

    def __init__(self, seed: int | None):
        self.seed = EVERY if seed is None else str(seed)
        self.notes: list[dict] = []

    def __call__(
        self,
        what: str,
        value: float,
        *,
        above: float | None = None,
        below: float | None = None,
        near: float | None = None,
        within: float | None = None,
        seed: int | str | None = None,
    ) -> float:
        """The value again.

        Args:
            what: Of what, with its unit; the row of the model's page.
            value: What was measured.
            above: What it must exceed.
            below: What it must stay under.
            near: What it must be, give or take `within`.
            seed: Of a test that goes through seeds by itself.
        """
        assert (near is None) == (within is None)
        note = {"what": what, "seed": self.seed if seed is None else str(seed)}
        asked = {"above": above, "below": below, "near": near, "within": within}
        note |= {word: rounded(bound) for word, bound in asked.items() if bound is not None}
        self.notes.append(note | {"value": rounded(value)})
        assert math.isfinite(value), f"{what}: {value}"
        assert above is None or value > above, f"{what}: {value:.6g} must be above {above:.6g}"
        assert below is None or value < below, f"{what}: {value:.6g} must be below {below:.6g}"
        if near is not None:
            assert abs(value - near) <= within, f"{what}: {value:.6g} must be {near:.6g}+-{within}"
        return value

    def median(self, what: str, values: Iterable[float], **asked: float) -> float:
        """The median over seeds 0, 1, ..., of which alone something is asked; each is noted.

        That of one seed is asserted and not noted, for it is none.

        Args:
            what: Of what, with its unit.
            values: One for each seed.
            asked: `above`, `below`, or `near` and `within`.
        """
        values = [self(what, value, seed=seed) for seed, value in enumerate(values)]
        note = self if len(values) > 1 else Measured(None)
        return note(what, median(values), seed=MEDIAN, **asked)


@pytest.fixture
def measured(request):
    """Asserts and records a number of a claim: `measured("error", e, below=0.05)`."""
    parameters = getattr(getattr(request.node, "callspec", None), "params", {})
    noted = Measured(parameters.get("seed"))
    yield noted
    request.node.user_properties.append(("measured", noted.notes))


def pytest_addoption(parser):
    parser.addoption(
        "--claims", metavar="FILE", help="writes what claim tests measure to this file"
    )


def merged(known: dict, model: str, test: str, notes: list[dict], versions: dict) -> dict:
    """What is known, with what a test noted in the place of what it noted before on those seeds."""
    kept = known.setdefault(model, {}).setdefault(test, {"numbers": {}})
    kept["versions"] = versions
    for note in notes:
        row = kept["numbers"].setdefault(note["what"], {})
        for word in ("value", "above", "below", "near", "within"):
            if word in note:
                row.setdefault(word, {})[note["seed"]] = note[word]
    return known


class Keeper:
    """Gathers the notes of all workers, and writes them at the end."""

    def __init__(self, path: Path):
        self.path = path
        self.found: list[tuple[str, list[dict]]] = []
        self.failed: set[str] = set()

    def pytest_runtest_logreport(self, report):
        if not report.passed:
            self.failed.add(report.nodeid)
        elif report.when == "teardown" and report.nodeid not in self.failed:
            if notes := dict(report.user_properties).get("measured"):
                self.found.append((report.nodeid, notes))

    def pytest_sessionfinish(self):
        from genzoo import __version__

        versions = {"genzoo": __version__, "torch": version("torch").partition("+")[0]}
        known = json.loads(self.path.read_text()) if self.path.is_file() else {}
        for nodeid, notes in sorted(self.found):
            file, _, test = nodeid.partition("::")
            model = Path(file).stem.removeprefix("test_")
            merged(known, model, test.partition("[")[0], notes, versions)
        known = dict(sorted(known.items()))  # numbers stay in the order of their tests
        self.path.write_text(json.dumps(known, indent=1, ensure_ascii=False) + "\n")


def pytest_configure(config):
    path = config.getoption("--claims")
    if path and not hasattr(config, "workerinput"):
        config.pluginmanager.register(Keeper(Path(path).resolve()), "claims")
