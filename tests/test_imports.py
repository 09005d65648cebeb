"""The import graph is a tree, and every model has its example, its claim and its row."""

import ast
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LEAVES = "images", "checks", "watch", "metrics", "features"  # of genzoo itself
FAMILIES = (
    "autoregressive",
    "conditional",
    "gan",
    "inference",
    "markov",
    "supervised",
    "variational",
)
MODELS = [
    path
    for family in FAMILIES
    for path in sorted((ROOT / "zoo" / family).glob("*.py"))
    if path.stem not in ("__init__", "conditionals", "bits")
]


def imported(path: Path) -> set[str]:
    """Modules of ours that a file imports, as dotted paths from the root."""
    package = path.relative_to(ROOT).parent.parts
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = package[: len(package) - node.level + 1]
            # What genzoo itself holds is a level above the three folders.
            above = node.level > len(package)
            stem = "genzoo" if above else ".".join(base)
            module = f"{stem}.{node.module}".strip(".") if node.module else stem
            names = [module] if node.module else [f"{stem}.{a.name}".strip(".") for a in node.names]
            found.update(name.removeprefix("genzoo.") for name in names)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("genzoo"):
            pytest.fail(f"{path}: imports of our own modules are relative")
    return found


def sources(folder: str) -> list[Path]:
    return sorted((ROOT / folder).rglob("*.py"))


@pytest.mark.parametrize("path", sources("datamodules"), ids=lambda p: p.stem)
def test_data_imports_no_models(path):
    assert all(m.startswith(("datamodules", *LEAVES)) for m in imported(path)), imported(path)


@pytest.mark.parametrize("path", sources("zoo/networks"), ids=lambda p: p.stem)
def test_networks_import_networks_only(path):
    assert all(m.startswith(("zoo.networks", *LEAVES)) for m in imported(path)), imported(path)


@pytest.mark.parametrize("path", sources("callbacks"), ids=lambda p: p.stem)
def test_callbacks_know_models_by_their_abilities(path):
    zoo = ("zoo.protocols", "zoo.module", "zoo.latent", "zoo.classifier")
    allowed = ("callbacks", *LEAVES, "__version__", *zoo)
    if path.stem == "everyone":  # the door for what is no model yet
        allowed += ("zoo.elsewhere",)
    if path.parent.name == "judge":
        return  # a command of its own
    assert all(m.startswith(allowed) for m in imported(path)), imported(path)


@pytest.mark.parametrize("path", MODELS, ids=lambda p: p.stem)
def test_families_import_each_other_only_to_subclass(path):
    family = path.parent.name
    allowed = (*LEAVES, "zoo.networks", f"zoo.{family}", "zoo.adversarial", "zoo.module")
    strangers = [m for m in imported(path) if not m.startswith((*allowed, "zoo.latent", "zoo"))]
    tree = list(ast.walk(ast.parse(path.read_text())))
    bases = {
        ast.unparse(base) for node in tree if isinstance(node, ast.ClassDef) for base in node.bases
    }
    from_others = {
        alias.name
        for node in tree
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in FAMILIES
        for alias in node.names
    }
    assert not strangers
    assert not from_others or from_others & bases


@pytest.mark.parametrize("path", MODELS, ids=lambda p: p.stem)
def test_a_model_has_an_example_a_test_and_a_row(path):
    assert (ROOT / "examples" / path.parent.name / f"{path.stem}.yaml").is_file()
    assert (ROOT / "tests" / "zoo" / f"test_{path.stem}.py").is_file()
    assert f"({path.relative_to(ROOT)})" in (ROOT / "README.md").read_text()
    claims = [
        test
        for test in (ROOT / "tests" / "zoo").glob("test_*.py")
        if "mark.claim" in test.read_text() and path.stem in test.stem
    ]
    assert claims, f"no claim of {path.stem} is tested"


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
