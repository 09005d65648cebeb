"""The import graph is a tree, and every model has its example, its claim, page and row."""

import ast
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FAMILIES = (
    "autoregressive",
    "conditional",
    "diffusion",
    "gan",
    "inference",
    "markov",
    "supervised",
    "variational",
)
# From the ground up: a file imports what stands in lines above its own, and, without going round
# in a circle, in its own line. A name is a file or all below a folder; the longest one counts.
LAYERS = (
    (
        "__version__",
        "__path__",
        "_moved",
        "_torch",
        "calls",
        "files",
        "images",
        "checks",
        "batches",
        "watch",
        "arguments",
        "catalogue",
    ),
    ("protocols", "rng", "run", "modes", "conditions", "_lightning"),
    ("metrics",),
    ("report",),
    ("features", "latent"),
    ("human",),
    ("datamodules",),
    ("zoo.networks",),
    ("zoo.base", "zoo.inputs", "zoo.ema", "zoo.losses", "zoo.phases"),
    ("zoo.logistic", "zoo.pixelwise", "zoo.adversarial"),
    (*(f"zoo.{family}" for family in FAMILIES), "zoo.bayes", "zoo.external"),
    ("callbacks",),
    ("runs",),
    ("zoo",),  # the door, which shows what users import
    ("cli",),
    ("", "__main__"),
)
FOLDERS = ("genzoo", "datamodules", "zoo", "callbacks")
MECHANISM = ("denoising", "densities", "guidance", "paths", "samplers", "walking")
MODELS = [
    path
    for family in FAMILIES
    for path in sorted((ROOT / "zoo" / family).glob("*.py"))
    if path.stem not in ("__init__", "conditionals", "bits")
    and (family, path.stem) not in [("diffusion", part) for part in MECHANISM]
]


def imported(path: Path, text: str | None = None, within_functions: bool = True) -> set[str]:
    """Modules of ours that a file imports, as dotted paths from the root; of this text instead."""
    package = path.relative_to(ROOT).parent.parts
    found = set()
    for node in nodes(ast.parse(path.read_text() if text is None else text), within_functions):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = package[: len(package) - node.level + 1]
            # What genzoo itself holds is a level above the three folders.
            above = node.level > len(package)
            stem = "genzoo" if above else ".".join(base)
            module = f"{stem}.{node.module}".strip(".") if node.module else stem
            # `from .gan import gan` may name a file, or what its folder's door shows.
            every = [f"{module}.{alias.name}".strip(".") for alias in node.names]
            bare = node.module is None
            names = [name if bare or is_file(name) else module for name in every]
            found.update(name.removeprefix("genzoo.") for name in names)
        else:
            absolute = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            absolute += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            ours = {name for name in absolute if name.split(".")[0] == "genzoo"}
            if ours and path.stem != "__main__":  # the front door, which may be run as a file
                pytest.fail(f"{path}: imports of our own modules are relative")
            found.update(name.removeprefix("genzoo.") for name in ours)
    return found


def nodes(tree: ast.AST, within_functions: bool) -> Iterator[ast.AST]:
    for node in ast.iter_child_nodes(tree):
        if within_functions or not isinstance(node, ast.FunctionDef):
            yield node
            yield from nodes(node, within_functions)


def is_file(name: str) -> bool:
    place = ROOT.joinpath(*name.split("."))
    return place.with_suffix(".py").is_file() or (place / "__init__.py").is_file()


def sources(folder: str) -> list[Path]:
    return sorted((ROOT / folder).rglob("*.py"))


def dotted(path: Path) -> str:
    """What a file is called in an import: that of a folder's door is the folder's."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(part for part in parts if part not in ("genzoo", "__init__"))


def within(name: str, *prefixes: str) -> bool:
    """Whether a module is one of these, or lies in one of them."""
    return any(name == prefix or name.startswith(f"{prefix}.") for prefix in prefixes)


def layer(name: str) -> int:
    """The number of the line in which a module stands."""
    home = max(
        (known for line in LAYERS for known in line if known == name or within(name, known)),
        key=len,
        default=None,
    )
    assert home is not None, f"{name} has no place in LAYERS"
    return next(i for i, line in enumerate(LAYERS) if home in line)


def upward(path: Path, text: str | None = None) -> list[str]:
    """What a file imports of layers above its own."""
    own = layer(dotted(path))
    return sorted(name for name in imported(path, text) if layer(name) > own)


EVERY = [path for folder in FOLDERS for path in sources(folder)]


@pytest.mark.parametrize("path", EVERY, ids=lambda p: dotted(p) or "genzoo")
def test_imports_go_down(path):
    assert upward(path) == []


@pytest.mark.parametrize(
    ("path", "text", "found"),
    [
        ("zoo/gan/gan.py", "from ...cli import run", "cli"),
        ("zoo/gan/gan.py", "from ...runs import checkpoints", "runs.checkpoints"),
        ("zoo/gan/gan.py", "from ...callbacks import Realism", "callbacks"),
        ("zoo/gan/gan.py", "from .. import GAN", "zoo"),
        ("zoo/base.py", "def f():\n    from .gan.gan import GAN", "zoo.gan.gan"),
        ("zoo/networks/mlp.py", "from ..base import GenerativeModel", "zoo.base"),
        ("zoo/adversarial.py", "from .gan import wgan", "zoo.gan.wgan"),
        ("datamodules/base.py", "from ..zoo.base import GenerativeModel", "zoo.base"),
        ("callbacks/real.py", "from ..cli.fit import run", "cli.fit"),
        ("genzoo/report/card.py", "from ..features import cache", "features"),
        ("genzoo/images.py", "from .zoo import GAN", "zoo"),
        ("genzoo/metrics/frechet.py", "from ..features import instance", "features"),
    ],
)
def test_an_import_that_goes_up_is_seen(path, text, found):
    (seen,) = upward(ROOT / path, text)
    assert within(seen, found)


@pytest.mark.parametrize("text", ["import genzoo.cli.fit", "from genzoo.zoo import cli"])
def test_an_absolute_import_is_seen(text):
    with pytest.raises(pytest.fail.Exception, match="imports of our own modules are relative"):
        imported(ROOT / "zoo" / "gan" / "gan.py", text)


def circle(texts: dict[str, str] | None = None) -> list[str]:
    """Files that import each other round in a circle, were the texts of some these.

    What a function imports when it is called is not counted: some do so to leave a circle.
    """
    files = {dotted(path): path for path in EVERY}
    graph = {}
    for name, path in files.items():
        others = imported(path, (texts or {}).get(name), within_functions=False)
        graph[name] = {other for other in others if other in files and other != name}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return error.args[1]
    return []


def test_nothing_goes_round_in_a_circle():
    assert circle() == []
    assert set(circle({"zoo.gan.gan": "from .wgan import WGAN"})) == {"zoo.gan.gan", "zoo.gan.wgan"}


@pytest.mark.parametrize("path", sources("callbacks"), ids=lambda p: p.stem)
def test_callbacks_know_models_by_their_abilities(path):
    strangers = {name for name in imported(path) if within(name, "zoo")}
    # `report_card` is the door for what is no model yet.
    assert strangers <= ({"zoo.external"} if path.stem == "report_cards" else set())


@pytest.mark.parametrize("path", MODELS, ids=lambda p: p.stem)
def test_families_import_each_other_only_to_subclass(path):
    tree = list(ast.walk(ast.parse(path.read_text())))
    bases = {
        ast.unparse(base) for node in tree if isinstance(node, ast.ClassDef) for base in node.bases
    }
    others = [family for family in FAMILIES if family != path.parent.name]
    from_others = {
        alias.name
        for node in tree
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in others
        for alias in node.names
    }
    assert not from_others or from_others & bases


@pytest.mark.parametrize("path", MODELS, ids=lambda p: p.stem)
def test_a_model_has_an_example_a_test_a_page_and_a_row(path):
    assert (ROOT / "examples" / path.parent.name / f"{path.stem}.yaml").is_file()
    test = ROOT / "tests" / "zoo" / path.parent.name / f"test_{path.name}"
    assert test.is_file()
    assert (ROOT / "results" / "models" / f"{path.stem}.yaml").is_file()
    page = f"docs/models/{path.parent.name}/{path.stem}.md"
    assert (ROOT / page).is_file(), "python docs/make.py makes it"
    assert f"({page})" in (ROOT / "README.md").read_text()
    assert "mark.claim" in test.read_text(), f"no claim of {path.stem} is tested"


def test_importing_the_zoo_is_no_heavier_than_lightning():
    code = (
        "import sys, lightning; before = set(sys.modules); import genzoo.zoo\n"
        "new = {m.split('.')[0] for m in set(sys.modules) - before}\n"
        "print(*(new & {'wandb', 'sklearn', 'torch_fidelity', 'scipy', 'matplotlib', 'PIL'}))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == ""


def test_no_model_file_repeats_another():
    """The share of lines that lie in a run of six which another model's file has too."""
    files = {path: [line.strip() for line in path.read_text().splitlines()] for path in MODELS}
    files = {path: [line for line in lines if line] for path, lines in files.items()}
    homes = defaultdict(set)
    for path, lines in files.items():
        for start in range(len(lines) - 5):
            homes[tuple(lines[start : start + 6])].add(path)
    repeated = 0
    for lines in files.values():
        runs = (i for i in range(len(lines) - 5) if len(homes[tuple(lines[i : i + 6])]) > 1)
        repeated += len({line for start in runs for line in range(start, start + 6)})
    assert repeated < 0.05 * sum(map(len, files.values()))


def lines_of(path: Path) -> int:
    return len(path.read_text().splitlines())


def too_long(tree: ast.AST, most: int) -> list[str]:
    """Classes of more lines than these."""
    classes = (node for node in ast.walk(tree) if isinstance(node, ast.ClassDef))
    return [node.name for node in classes if node.end_lineno - node.lineno + 1 > most]


def test_no_file_holds_two_things():
    """What is longer than this does; then it is split by meaning."""
    assert {dotted(path): n for path in EVERY if (n := lines_of(path)) > 450} == {}
    long = {dotted(path): too_long(ast.parse(path.read_text()), 250) for path in EVERY}
    assert {name: found for name, found in long.items() if found} == {}
    assert too_long(ast.parse("class A:\n    x = 1\n    y = 2\nclass B:\n    pass"), 2) == ["A"]


def test_a_folder_of_callbacks_holds_callbacks():
    files = sources("callbacks")
    assert len(files) <= 24 and sum(map(lines_of, files)) <= 3500
