"""The command for a GPU, on the CPU and with the few packages that a bare machine has."""

import subprocess
import sys

from tests.gpu.__main__ import Row, main, over

PROGRAM = """
import sys
from importlib.machinery import PathFinder
from importlib.metadata import Distribution, PackageNotFoundError

OPTIONAL = {"jsonargparse", "pytest", "rich", "scipy", "sklearn", "torch_fidelity", "wandb"}
find, about = PathFinder.find_spec, Distribution.from_name

def missing(name, path=None, target=None):
    return None if name.split(".")[0] in OPTIONAL else find(name, path, target)

def unknown(name):
    if name.replace("-", "_").replace("scikit_learn", "sklearn") in OPTIONAL:
        raise PackageNotFoundError(name)
    return about(name)

PathFinder.find_spec, Distribution.from_name = missing, unknown
from tests.gpu.__main__ import main
sys.exit(main(sys.argv[1:]))
"""


def test_it_runs_on_a_bare_machine(tmp_path):
    table = tmp_path / "table.md"
    command = [sys.executable, "-c", PROGRAM, "--device", "cpu", "--out", str(table)]
    command += ["--models", "GAN", "VAE", "PixelCNN"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    head, *rows = table.read_text().splitlines()[2:]
    assert head.count("|") == 5 and table.read_text() in done.stdout
    assert sum("3 of 3 models" in row for row in rows) == 3
    assert sum("times as long" in row for row in rows) == 6


def test_what_is_wrong_is_in_the_table_and_fails():
    def check(name, device):
        assert name != "VAE", "too far apart"
        return 1e-6

    bad = over("computes", check, ["GAN", "VAE"], "cpu", float("inf"))
    assert not bad.good
    assert bad.found == "1 of 2 models; at most 1.0e-06 apart; VAE: AssertionError too far apart"
    late = over("computes", check, ["GAN"], "cpu", 0.0)
    assert late == Row("computes", "0 of 1 models; no time for GAN", False, late.seconds)


def test_without_a_gpu_it_says_so(capsys, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert main([]) == 2
    assert capsys.readouterr().err == "--device must be cpu: torch finds no GPU\n"
