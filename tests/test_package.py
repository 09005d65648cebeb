import ast
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

from tests.built import build

ROOT = Path(__file__).parents[1]
FOLDERS = ("zoo", "datamodules", "callbacks")


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Path:
    """A folder with the wheel and the sdist."""
    pytest.importorskip("setuptools")
    return build(tmp_path_factory.mktemp("copy"), tmp_path_factory.mktemp("dist"))


def modules() -> set[str]:
    """Every module of the checkout, by its installed place."""
    found = {p.relative_to(ROOT).as_posix() for p in (ROOT / "genzoo").rglob("*.py")}
    for folder in FOLDERS:
        found |= {
            f"genzoo/{p.relative_to(ROOT).as_posix()}" for p in ROOT.glob(f"{folder}/**/*.py")
        }
    return found


def test_the_wheel_has_every_module_and_nothing_else(built):
    (wheel,) = built.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    code = {name for name in names if name.endswith(".py")}
    assert code == modules()
    assert {"genzoo/py.typed", "genzoo/callbacks/__init__.pyi"} <= names
    assert {name.partition("/")[0].partition("-")[0] for name in names} == {"genzoo"}
    entry = next(name for name in names if name.endswith("entry_points.txt"))
    assert b"genzoo = genzoo.__main__:main" in zipfile.ZipFile(wheel).read(entry)


def test_every_folder_of_modules_is_a_package():
    for folder in FOLDERS:
        for module in ROOT.glob(f"{folder}/**/*.py"):
            assert (module.parent / "__init__.py").is_file(), f"{module.parent} is not installed"


def test_the_wheel_works_away_from_the_checkout(built, tmp_path):
    (wheel,) = built.glob("*.whl")
    zipfile.ZipFile(wheel).extractall(tmp_path / "site")
    program = """
import sys, importlib.util
sys.path.insert(0, "site")
import genzoo
assert "site" in genzoo.__file__
from genzoo.__main__ import main
assert main(["models", "DCGAN"]) == 0
assert importlib.util.find_spec("callbacks") is None
"""
    done = subprocess.run(
        [sys.executable, "-S", "-c", program], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert str(tmp_path / "site/genzoo/zoo/gan/dcgan.py") in done.stdout


def test_the_sdist_can_build_the_wheel(built):
    (sdist,) = built.glob("*.tar.gz")
    names = {name.partition("/")[2] for name in tarfile.open(sdist).getnames()}
    needed = {"pyproject.toml", "setup.py", "LICENSE", "genzoo/__init__.py"}
    sources = {
        name if (ROOT / name).is_file() else name.removeprefix("genzoo/") for name in modules()
    }
    assert needed | sources <= names


def test_the_models_bring_no_weight_of_their_own():
    """Beyond what Lightning imports: wandb takes a second, scikit-learn two."""
    program = """
import sys, lightning, lightning.pytorch.loggers, torchmetrics
before = set(sys.modules)
import genzoo.zoo
new = {name.partition(".")[0] for name in set(sys.modules) - before}
heavy = new & {"wandb", "sklearn", "torch_fidelity", "jsonargparse", "scipy", "matplotlib"}
assert not heavy, heavy
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


# What is imported by another name than it is installed by
INSTALLED = {
    "PIL": "pillow",
    "faiss": "faiss-cpu",
    "sklearn": "scikit-learn",
    "torch_fidelity": "torch-fidelity",
    "yaml": "pyyaml",
}
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def declared(*extras: str) -> set[str]:
    """Distributions that come with the package, and with these extras of it."""
    lists = PROJECT["dependencies"], *(PROJECT["optional-dependencies"][name] for name in extras)
    return {re.match(r"[\w-]+", entry)[0].lower() for entry in sum(lists, [])}


def imported(*folders: str) -> set[str]:
    """Distributions that are imported in these folders, also within functions."""
    found = set()
    for path in (path for folder in folders for path in (ROOT / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                found.update(alias.name.partition(".")[0] for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and not node.level:
                found.add(node.module.partition(".")[0])
    return {INSTALLED.get(name, name) for name in found - sys.stdlib_module_names - {"genzoo"}}


def test_what_is_imported_is_declared_and_nothing_else_is():
    used = imported("genzoo", *FOLDERS)
    assert used - declared() == set()
    assert declared() - used == set()


def test_what_tests_and_examples_import_is_declared():
    ours = {"tests", "foreign_model", "my_judged"}  # the last two are written by tests
    assert imported("tests") - declared("test", "benchmark") - ours == set()
    assert imported("examples") - declared() == set()
