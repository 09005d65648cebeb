"""The notebooks of the site: stored without outputs, since they are run as it is built."""

import ast
import json
import os
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "docs" / "tutorials").glob("*.ipynb"))


def cells(path: Path, kind: str) -> list[dict]:
    content = json.loads(path.read_text(encoding="utf-8"))
    return [cell for cell in content["cells"] if cell["cell_type"] == kind]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_stored_without_outputs(path):
    code = cells(path, "code")
    assert code and all(not cell["outputs"] and cell["execution_count"] is None for cell in code)
    for cell in code:
        ast.parse("".join(cell["source"]))
    first = "".join(cells(path, "markdown")[0]["source"])
    assert first.startswith("# ") and "Exercises" in "".join(cells(path, "markdown")[-1]["source"])


def test_the_site_shows_three_and_runs_them():
    settings = yaml.safe_load((ROOT / "mkdocs.yml").read_text())
    shown = [
        page for part in settings["nav"] for page in str(part).split("'") if "tutorials/" in page
    ]
    assert sorted(shown) == [f"tutorials/{path.name}" for path in NOTEBOOKS]
    assert len(NOTEBOOKS) == 3
    (plugin,) = [p["mkdocs-jupyter"] for p in settings["plugins"] if "mkdocs-jupyter" in p]
    assert plugin["execute"] is True and plugin["allow_errors"] is False


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_in_forty_seconds(path, tmp_path, monkeypatch):
    """Of one core's time; the site's build runs it, too, and ends where a cell fails."""
    nbformat, nbclient = pytest.importorskip("nbformat"), pytest.importorskip("nbclient")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), *sys.path[1:]]))
    notebook = nbformat.read(path, as_version=4)
    timer = nbformat.v4.new_code_cell("import time\ntime.process_time()")
    notebook.cells.append(timer)
    nbclient.NotebookClient(notebook, timeout=600, kernel_name="python3", cwd=tmp_path).execute()
    (seconds,) = [float(out["data"]["text/plain"]) for out in notebook.cells[-1]["outputs"]]
    assert seconds < 40
    errors = [out for cell in notebook.cells for out in cell.get("outputs", ()) if "ename" in out]
    assert errors == []
