"""The examples in docstrings of the models, networks, data and conditions run and are true."""

import doctest
from importlib import import_module
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parents[1]
PLACES = ("zoo", "datamodules", "callbacks", "genzoo")


def name_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(("genzoo", *(part for part in parts if part not in ("genzoo", "__init__"))))


FILES = sorted(
    path
    for place in PLACES
    for path in ([ROOT / place] if place.endswith(".py") else (ROOT / place).rglob("*.py"))
    if ">>> " in path.read_text(encoding="utf-8")
)


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_examples_are_true(path):
    module = import_module(name_of(path))
    finder = doctest.DocTestFinder()
    runner = doctest.DocTestRunner(verbose=False)
    report: list[str] = []
    ran = 0
    for test in finder.find(module, module.__name__, extraglobs={"torch": torch}):
        torch.manual_seed(0)
        ran += runner.run(test, out=report.append, clear_globs=True).attempted
    assert not report, "".join(report)
    written = path.read_text(encoding="utf-8").count(">>> ")
    assert ran == written, f"{written} examples are written, {ran} were run"


def test_there_are_examples():
    assert sum(path.read_text(encoding="utf-8").count(">>> ") for path in FILES) >= 30
