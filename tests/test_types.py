"""A type checker reads examples and pages against the installed wheel, as an editor of a user does.

It is mypy with the settings of pyproject.toml (`pip install -e '.[test]'`); without it these tests
are skipped. The wheel lies in an environment of its own, so that what is checked is `py.typed` and
the annotations that ship.
"""

import ast
import importlib.util
import json
import os
import re
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

from tests.built import build

ROOT = Path(__file__).parents[1]
# What pages call things of the reader's own.
OF_THE_READER = ("my_lightning_module", "my_datamodule", "my_generator", "pipeline")
# Wrong on purpose: were a name of ours without a type, its line would pass.
WRONG = """\
from genzoo.callbacks import make_evaluable, report_card
from genzoo.datamodules import Digits
from genzoo.latent import traverse
from genzoo.zoo import DCGAN, GAN, VAE, BayesClassifier, load_model

DCGAN("digits")
GAN((1, 8, 8), latent_dimm=3)
DCGAN((1, 8, 8)).sample("many")
VAE((1, 8, 8)).elbo(3)
Digits(test_size="all")
report_card()
make_evaluable(3)
traverse(VAE((1, 8, 8)), 3)
BayesClassifier(3)
load_model(3)
"""
FIRST_WRONG = 6


def page(path: Path) -> str:
    """The Python of a page, each line where the page has it."""
    lines = [f"import typing; {'; '.join(f'{name}: typing.Any' for name in OF_THE_READER)}"]
    inside = False
    for line in path.read_text(encoding="utf-8").splitlines()[1:]:
        fence = line.startswith("```")
        lines.append(line if inside and not fence else "")
        if fence:
            inside = not inside and line.startswith("```python")
    return "\n".join(lines) + "\n"


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """A folder with an environment `env` that has the wheel, and what is to be checked."""
    folder = tmp_path_factory.mktemp("types")
    venv.create(folder / "env", with_pip=False)
    (site,) = (folder / "env").glob("lib/python*/site-packages")
    (wheel,) = build(tmp_path_factory.mktemp("copy"), tmp_path_factory.mktemp("dist")).glob("*.whl")
    zipfile.ZipFile(wheel).extractall(site)
    beneath = [entry for entry in sys.path if entry.endswith("-packages")]
    (site / "beneath.pth").write_text("\n".join(beneath))
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    for path in (p for p in pages if ROOT / "docs" / "models" not in p.parents):
        if "```python" in path.read_text(encoding="utf-8"):
            name = "_".join(path.relative_to(ROOT).with_suffix("").parts)
            (folder / f"{name}.py").write_text(page(path), encoding="utf-8")
    for path in sorted((ROOT / "examples").rglob("*.py")):
        name = "_".join(path.relative_to(ROOT).parts)
        (folder / name).write_text(path.read_text(encoding="utf-8"), encoding="utf-8")
    for path in sorted((ROOT / "docs" / "tutorials").glob("*.ipynb")):
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
        (folder / f"notebook_{path.stem}.py").write_text("\n\n".join(code), encoding="utf-8")
    (folder / "wrong.py").write_text(WRONG)
    return folder


@pytest.mark.skipif(importlib.util.find_spec("mypy") is None, reason="mypy needed: '.[test]'")
def test_examples_and_pages_are_typed_rightly_and_mistakes_are_seen(place):
    command = [sys.executable, "-m", "mypy", "--config-file", str(ROOT / "pyproject.toml")]
    command += ["--python-executable", str(place / "env" / "bin" / "python")]
    command += ["--cache-dir", str(ROOT / ".mypy_cache"), "--no-error-summary"]
    files = sorted(path.name for path in place.glob("*.py"))
    assert len(files) > 20
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "MYPYPATH")}
    done = subprocess.run(
        [*command, *files], cwd=place, env=environment, capture_output=True, text=True
    )
    found = done.stdout.splitlines()
    unforeseen = [line for line in found if not line.startswith("wrong.py")]
    assert unforeseen == [], done.stderr
    seen = {int(number) for number in re.findall(r"^wrong\.py:(\d+): error", done.stdout, re.M)}
    assert seen == {*range(FIRST_WRONG, len(WRONG.splitlines()) + 1)}, done.stdout


def test_a_type_checker_is_told_where_the_callbacks_live():
    """They are imported when first asked for, which a type checker does not run."""
    from genzoo import callbacks

    tree = ast.parse((ROOT / "callbacks" / "__init__.pyi").read_text())
    told = {
        alias.name: "." * (node.level - 1) + node.module
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.level
        for alias in node.names
    }
    assert told == callbacks._HOMES


def test_what_pages_show_stays_where_it_stood():
    text = page(ROOT / "README.md").splitlines()
    lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    here = lines.index("class HingeGAN(DCGAN):")
    assert text[here] == lines[here]
    ast.parse("\n".join(text))
    assert not any(line.startswith("#") for line in text)
