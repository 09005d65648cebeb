import subprocess
import sys

import pytest

from genzoo import __version__
from genzoo.__main__ import COMMANDS, main


def test_the_front_door_imports_no_torch():
    program = """
import sys
from genzoo.__main__ import main
for line in ("--help", "fit --help", "--version", "models", "models DCGAN", "data Digits", "fut"):
    main(line.split())
heavy = {"torch", "lightning", "numpy", "wandb"} & set(sys.modules)
assert not heavy, heavy
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert f"genzoo {__version__}\n" in done.stdout


def test_help_names_every_command(capsys):
    assert main([]) == main(["--help"]) == main(["help"]) == 0
    out = capsys.readouterr().out
    assert all(f"\n  {command} " in out for command in (*COMMANDS, "models", "data"))


@pytest.mark.parametrize("line", ["modells", "models GANN", "data Digitss"])
def test_a_misspelt_name_is_code_2(capsys, line):
    assert main(line.split()) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1 and "Did you mean" in err
