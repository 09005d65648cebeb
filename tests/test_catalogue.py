"""What `genzoo models NAME` shows is what importing the class would show."""

import inspect
from importlib import import_module

import lightning as L
import pytest

from genzoo import catalogue, datamodules, zoo
from genzoo.__main__ import main


def test_models_lists_what_can_be_imported(capsys):
    listed = {(entry.family, entry.name) for entry in catalogue.models()}
    there = {
        (kind.__module__.split(".")[2], name)
        for name, kind in vars(zoo).items()
        if isinstance(kind, type) and issubclass(kind, L.LightningModule)
    }
    assert listed == there and len(catalogue.models()) == len(listed)
    assert main(["models"]) == 0
    out = capsys.readouterr().out
    assert "\ngan\n" in out and "  DCGAN" in out
    assert all(len(line) <= 100 for line in out.splitlines())


def test_data_lists_what_can_be_imported():
    there = {
        name
        for name, kind in vars(datamodules).items()
        if isinstance(kind, type)
        and issubclass(kind, datamodules.ImageData)
        and kind is not datamodules.ImageData
    }
    # The last is no data set: what only samples from elsewhere are compared with.
    assert [entry.name for entry in catalogue.data()][-1] == "RealFolder"
    assert {entry.name for entry in catalogue.data()} == there | {"RealFolder"}


@pytest.mark.parametrize("kind", ["models", "data"])
def test_all_about_one_is_what_importing_it_would_say(kind):
    for entry in main_entries(kind):
        found = getattr(zoo if "/zoo/" in entry.path.as_posix() else datamodules, entry.name)
        assert entry.summary and "\n" not in entry.summary
        assert inspect.getsourcefile(found) == str(entry.path)
        assert inspect.getdoc(found).splitlines()[0] in entry.doc
        own = set(inspect.signature(found).parameters) - {"kwargs"}
        assert own <= {argument.partition(":")[0] for argument in entry.arguments}


def main_entries(kind: str) -> list[catalogue.Entry]:
    return {"models": catalogue.models, "data": catalogue.data}[kind]()


def test_a_model_is_shown_with_its_paper_and_its_defaults(capsys):
    assert main(["models", "DCGAN"]) == 0
    out = capsys.readouterr().out
    assert import_module("genzoo.zoo.gan.dcgan").__file__ in out
    assert "arxiv.org/abs/1511.06434" in out
    assert "    lr: float = 0.0002\n" in out


def test_arguments_of_a_base_class_follow(capsys):
    assert main(["data", "Digits"]) == 0
    out = capsys.readouterr().out
    assert "    test_size: float = 250\n" in out and "    batch_size: int = 128\n" in out
    assert out.count("    val_size") == 1 + out.split("Arguments:")[0].count("    val_size")
