"""README and site: made by their program, short, and true where a program can tell.

Every link leads somewhere, every Python block compiles and runs where that is cheap, every command
line is one that `genzoo` takes, every YAML loads.
"""

import argparse
import ast
import re
import runpy
import shlex
import sys
import textwrap
from functools import cache
from pathlib import Path

import pytest
import yaml

from genzoo.__main__ import main
from genzoo.cli import fit

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
README = ROOT / "README.md"
PAGES = [README, *sorted(DOCS.rglob("*.md"))]
WRITTEN = [page for page in PAGES if DOCS / "models" not in page.parents]  # not made by a program
# What a page speaks of and no test has: such a block is compiled, and what it imports is there.
ELSEWHERE = ("my_lightning_module", "FashionMNIST(", "load_model(")

make = runpy.run_path(str(DOCS / "make.py"))
hooks = runpy.run_path(str(DOCS / "hooks.py"))


def name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


@cache
def text(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def blocks(page: Path, language: str) -> list[str]:
    """Fenced code of this language that stands in the page itself."""
    return re.findall(rf"^```{language}[^\n]*\n(.*?)^```", text(page), re.S | re.M)


# --- made by a program ---


def test_what_is_checked_in_is_what_the_program_makes():
    made = make["everything"]()
    stale = [name(path) for path, what in made.items() if not path.is_file() or text(path) != what]
    assert not stale, f"`python docs/make.py` makes these anew: {stale}"
    pages = {*(DOCS / "models").rglob("*.md")}
    assert pages <= {*made}, "a page of a model that is not there any more"


def test_a_figure_that_changed_is_seen(monkeypatch):
    every = make["models"]()
    table = make["results_table"](every)
    assert table in text(DOCS / "results" / "models.md")
    monkeypatch.setitem(every[0].results["example"], "result", "another figure")
    assert "Another figure" in make["results_table"](every) != table


def test_a_docstring_is_taken_apart():
    body = (
        "An idea,\n\n    x = y\n\nso.\n\nWhat did not hold: much.\n\nDiffers from the paper: Adam."
    )
    paper, not_held, differs = make["parts_of"](body)
    assert paper == "An idea,\n\n    x = y\n\nso."
    assert (not_held, differs) == ("Much.", "Adam.")


def test_arguments_mean_what_the_nearest_class_says():
    entry = next(entry for entry in make["entries"]() if entry.name == "WGANGP")
    lines = dict(line.split("<br>") for line in make["arguments"](entry))
    assert lines["- `d_steps: int = 5`"] == (
        "Steps of the critic for each step of the generator, the paper's n_critic."
    )  # its own, not GAN's
    assert lines["- `latent_dim: int = 32`"].startswith("D, entries")  # GAN's


def test_every_argument_of_every_model_is_described():
    """But for those that mean what their class says of others."""
    silent = [
        f"{entry.name}.{line}"
        for model in make["models"]()
        for entry in model.classes
        for line in make["arguments"](entry)
        if "<br>" not in line
    ]
    assert silent == []


def test_the_layers_are_drawn_as_the_test_of_imports_has_them():
    from tests.test_imports import LAYERS

    assert make["layers"]() == [*LAYERS]
    drawn = text(DOCS / "inside" / "layers.svg")
    assert (
        drawn.index("cli") < drawn.index("zoo.gan") < drawn.index("metrics") < drawn.index("files")
    )


# --- short ---


def test_the_readme_is_short():
    lines = text(README).splitlines()
    assert len(lines) <= 150
    cells = [cell.strip() for line in lines if line.startswith("|") for cell in line.split("|")]
    assert max(map(len, cells)) <= 80
    assert max(len(line) for line in lines if not line.startswith("|")) <= 120


# --- links ---


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_relative_link_leads_somewhere(page):
    prose = re.sub(r"^```.*?^```|^    .*?$", "", text(page), flags=re.S | re.M)
    for link in re.findall(r"\]\(([^)\s#]+)[^)]*\)", prose):
        if not re.match(r"https?:", link):
            target = (page.parent / link).resolve()
            assert target.exists(), link
            if page != README:
                assert target.is_relative_to(DOCS), f"{link} is not on the site"


@pytest.mark.parametrize("page", WRITTEN, ids=name)
def test_code_that_a_page_shows_is_there(page):
    for path, what in hooks["SOURCE"].findall(text(page)):
        assert hooks["source"](path, what or None)
    for path in re.findall(r'--8<-- "(.+)"', text(page)):
        assert (ROOT / path).is_file()
    for path in re.findall(
        r"`((?:zoo|callbacks|datamodules|examples|genzoo|tests)/[\w/.]+)`", text(page)
    ):
        assert (ROOT / path).exists(), path


def test_code_that_is_gone_ends_the_build():
    with pytest.raises(ValueError, match="must define GAN.nothing"):
        hooks["source"]("zoo/gan/gan.py", "GAN.nothing")
    shown = hooks["on_page_markdown"]("<!-- source: zoo/gan/gan.py GAN.players -->")
    assert shown.startswith('```python title="zoo/gan/gan.py"\ndef players(self)')


# --- blocks ---


@pytest.mark.parametrize("page", [p for p in WRITTEN if blocks(p, "python")], ids=name)
def test_python_blocks_run(page, tmp_path, monkeypatch):
    """One after the other, as a reader would type them."""
    monkeypatch.chdir(tmp_path)
    known: dict = {"__name__": "page"}
    for block in blocks(page, "python"):
        tree = ast.parse(block)
        if any(word in block for word in ELSEWHERE):
            tree.body = [
                node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)
            ]
        exec(compile(tree, name(page), "exec"), known)


@pytest.mark.parametrize("page", [p for p in PAGES if blocks(p, "yaml")], ids=name)
def test_yaml_blocks_load(page):
    assert all(isinstance(yaml.safe_load(block), dict) for block in blocks(page, "yaml"))


# --- command lines ---


def commands(page: Path) -> list[str]:
    """What a page says to type: in indented and fenced code, and between backticks."""
    lines = re.findall(r"^    +(\S.*)$", text(page), re.M)
    lines += [line for block in blocks(page, "bash") for line in block.splitlines()]
    lines += re.findall(r"`(genzoo [^`]+)`", text(page))
    found = []
    for line in lines:
        for part in re.sub(r"\s(#|  ).*", "", line).split("&&"):
            part = part.strip().removeprefix("srun ")
            bare = part.count(" ") == 1 and part not in ("genzoo models", "genzoo data")
            if re.match(r"genzoo [a-z]", part) and "<" not in part and not bare:
                found.append(part)
    return list(dict.fromkeys(found))


class Parsed(Exception):
    """The command line was understood; what it asks for is not done."""


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with all that command lines of the pages speak of."""
    folder = tmp_path_factory.mktemp("place")
    (folder / "examples").symlink_to(ROOT / "examples")
    (folder / "my.yaml").write_text("model: DCGAN\ndata: Digits\n")
    mine = "import lightning as L\nfrom genzoo.datamodules import Digits\n"
    mine += "from genzoo.zoo import DCGAN\n"
    kinds = {"Mine": "L.LightningModule", "HingeGAN": "DCGAN", "Stripes": "Digits"}
    for kind, base in kinds.items():
        mine += f"\nclass {kind}({base}):\n    pass\n"
    (folder / "my_file.py").write_text(mine)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        line = "fit --model DCGAN --model.width 4 --data Digits --evaluate false"
        quick = "--test_after_fit false --trainer.max_steps 1 --trainer.accelerator cpu"
        assert main(f"{line} {quick} --trainer.enable_progress_bar false".split()) == 0
        (folder / "C").symlink_to("runs/DCGAN-Digits/version_0/checkpoints/last.ckpt")
        yield folder
    sys.modules.pop("my_file", None)


@pytest.mark.parametrize("page", [p for p in WRITTEN if commands(p)], ids=name)
def test_command_lines_are_understood(page, place, monkeypatch, capsys):
    monkeypatch.chdir(place)
    monkeypatch.syspath_prepend(str(place))

    def stop(*_, **__):
        raise Parsed

    def parse_and_stop(self, *args, **options):
        known, unknown = parse(self, *args, **options)
        if not unknown:
            raise Parsed
        return known, unknown

    parse = argparse.ArgumentParser.parse_known_args
    monkeypatch.setattr(fit.CLI, "instantiate_classes", stop)
    for line in commands(page):
        _, *args = shlex.split(line)
        if args[0] == "predict":  # the page's own class has what this one has not
            continue
        with monkeypatch.context() as patch:
            if args[0] in ("sample", "compare", "human"):
                patch.setattr(argparse.ArgumentParser, "parse_known_args", parse_and_stop)
            try:
                code = main(args)
            except Parsed:
                code = 0
        assert code == 0, (line, capsys.readouterr().err)


@pytest.mark.parametrize("path", sorted((ROOT / "results" / "models").glob("*.yaml")), ids=str)
def test_the_example_of_a_page_is_there(path):
    words = yaml.safe_load(path.read_text())["example"]["command"].split()
    assert (ROOT / words[-1]).is_file()


def test_a_misspelt_command_line_is_seen(place, monkeypatch, capsys):
    monkeypatch.chdir(place)
    assert main(["fit", "--model", "DCGAN", "--modell.lr", "1"]) == 2
    page = "Type `genzoo fit --modell GAN` or\n\n    pip install x && genzoo models   lists them\n"
    monkeypatch.setitem(globals(), "text", lambda page: textwrap.dedent(page))
    assert commands(page) == ["genzoo models", "genzoo fit --modell GAN"]
