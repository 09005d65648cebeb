import atexit
import os
import shutil
import tempfile
from pathlib import Path

import pytest
import torch
from torch.utils.data import DataLoader

from genzoo.__main__ import main
from tests.helpers import user_models
from tests.helpers.browser import Browser
from tests.helpers.clock import Clock
from tests.helpers.command_lines import FAST

pytest_plugins = ["tests.claims"]  # the fixture `measured`

os.environ.setdefault("ONEDNN_MAX_CPU_ISA", "AVX512_CORE_BF16")  # some CPUs die in AMX products
os.environ["WANDB_MODE"] = "offline"
if "PYTEST_XDIST_WORKER" not in os.environ:  # one cache for a run: its workers inherit it
    os.environ["GENZOO_CACHE"] = tempfile.mkdtemp(prefix="genzoo-tests-")
    atexit.register(shutil.rmtree, os.environ["GENZOO_CACHE"], ignore_errors=True)
torch.set_num_threads(1)  # toys are up to fifteen times slower with the default


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def _a_short_look_for_copies(monkeypatch):
    """What it finds is tested in `verdicts`; elsewhere it is to be there."""
    monkeypatch.setattr("genzoo.features.instance.LEAST", 20)
    monkeypatch.setattr("genzoo.features.instance.MOST", 20)
    monkeypatch.setattr("genzoo.callbacks.memorisation.PLANTED", 10)


@pytest.fixture(autouse=True)
def _loaders_as_they_were():
    """What is raised while Lightning looks at a loader leaves torch's class replaced."""
    names = ("__init__", "__setattr__", "__delattr__")
    before = {name: vars(DataLoader).get(name) for name in names}
    yield
    for name, method in before.items():
        if vars(DataLoader).get(name) is not method:
            delattr(DataLoader, name) if method is None else setattr(DataLoader, name, method)
        if f"__old{name}" in vars(DataLoader):
            delattr(DataLoader, f"__old{name}")


@pytest.fixture
def empty_cache(tmp_path, monkeypatch):
    """For tests of what is made once and what is kept."""
    monkeypatch.setenv("GENZOO_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real data; tests that use it carry the mark `data`."""
    folder = os.environ.get("GENZOO_DATA")
    if not folder:
        pytest.skip("real data needed: set GENZOO_DATA to its folder")
    return Path(folder).resolve()


@pytest.fixture
def browser(tmp_path):
    missing = [name for name in ("chromium", "chromedriver") if not shutil.which(name)]
    if missing:
        pytest.skip(f"a browser is needed: {' and '.join(missing)} not found")
    browser = Browser(tmp_path)
    yield browser
    browser.close()


@pytest.fixture
def genzoo(tmp_path, monkeypatch, capsys):
    """The command line, in an empty folder with a user's own file of models.

    `genzoo("fit --model own.Mean", 0)` runs it, checks the exit code and gives what was printed.
    """
    shutil.copy(user_models.__file__, tmp_path / "own.py")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delenv("GENZOO_DEBUG", raising=False)

    def run(line: str, code: int = 0) -> str:
        capsys.readouterr()
        found = main(line.split())
        out, err = capsys.readouterr()
        assert found == code, out + err
        if code:
            lines = [line for line in err.splitlines() if line.startswith("genzoo: ")]
            assert len(lines) == 1, err
            assert "Traceback" not in out + err
            return lines[0]
        return out

    return run


@pytest.fixture
def trained(genzoo) -> str:
    """A checkpoint of a Mean with lr 0.3 on Noise in batches of 4."""
    genzoo(f"fit --model own.Mean --model.lr 0.3 --data own.Noise --data.batch_size 4 {FAST}")
    return "runs/Mean-Noise/version_0/checkpoints/last.ckpt"


@pytest.fixture
def clock(monkeypatch):
    return Clock(monkeypatch)


def pytest_collection_modifyitems(items):
    """What forks processes comes first: a process whose autograd has threads cannot be forked, and
    some tests start them."""
    items.sort(key=lambda item: item.path.stem not in ("test_ranks", "test_resume"))
