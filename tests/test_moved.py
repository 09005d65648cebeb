"""Old names of modules lead to where they are now."""

import subprocess
import sys
from importlib import import_module

import pytest

from genzoo._moved import MOVED


@pytest.mark.parametrize("old", MOVED)
def test_an_old_name_is_the_module_of_today(old):
    today = import_module(f"genzoo.{MOVED[old]}")
    name = today.__spec__.name
    assert import_module(f"genzoo.{old}") is today
    assert today.__spec__.name == name == f"genzoo.{MOVED[old]}"


def test_an_old_name_alone_is_enough():
    code = "from genzoo.zoo.elsewhere import Wrapped; print(Wrapped.__module__)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "genzoo.zoo.external.wrapped"


@pytest.mark.parametrize(
    ("old", "names"),
    [
        ("zoo.elsewhere", ("GivenSamples", "Pictures", "RealFolder", "SampleFolder", "as_images")),
        ("zoo.cli", ("CLI", "Parser", "Record", "run")),
        ("callbacks.judge", ("ANSWERS", "Analysis", "analyse", "cues", "export_study", "verdict")),
        ("callbacks.lines", ("Bar", "Lines", "ProgressLines", "shown")),
        ("callbacks.probe", ("LinearProbe", "baselines", "linear_probe")),
        ("datamodules.batches", ("TrainingBatches", "generator")),
        ("zoo.module", ("GenerativeModel", "arguments")),
    ],
)
def test_a_module_that_was_split_still_shows_what_it_held(old, names):
    module = import_module(f"genzoo.{old}")
    assert [name for name in names if not hasattr(module, name)] == []


def test_what_never_was_is_not_found():
    with pytest.raises(ModuleNotFoundError):
        import_module("genzoo.zoo.nowhere")
