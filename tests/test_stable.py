"""What is promised to stay: names on the page of what is stable, and no door has others."""

import re
from importlib import import_module
from pathlib import Path

import pytest
import yaml

from genzoo import __version__

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "reference" / "stable.md").read_text(encoding="utf-8")
PROMISED = {
    module: re.findall(r"`(\w+)`", names)
    for module, names in re.findall(r"^## (genzoo\.\w+)\n(.*?)(?=^## |\Z)", PAGE, re.S | re.M)
}
DOORS = ("genzoo.zoo", "genzoo.datamodules", "genzoo.callbacks", "genzoo.conditions")


def test_the_doors_are_promised():
    assert {*DOORS, "genzoo.protocols", "genzoo.latent"} == set(PROMISED)
    assert all(len(names) > 5 for names in PROMISED.values())


@pytest.mark.parametrize("module", PROMISED)
def test_what_is_promised_is_there(module):
    door = import_module(module)
    assert [name for name in PROMISED[module] if not hasattr(door, name)] == []
    assert len({*PROMISED[module]}) == len(PROMISED[module])


@pytest.mark.parametrize("module", DOORS)
def test_a_door_shows_what_is_promised_and_nothing_else(module):
    """A name that goes, or comes, goes through the page."""
    assert sorted(import_module(module).__all__) == sorted(PROMISED[module])


def test_the_zoo_promises_every_model():
    from genzoo import catalogue

    assert {entry.name for entry in catalogue.models()} <= {*PROMISED["genzoo.zoo"]}


def test_one_version_is_said_everywhere():
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text())["version"] == __version__
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    newest, day = re.search(r"^## \[(\d[\d.]*)\] - (\d{4}-\d\d-\d\d)$", changelog, re.M).groups()
    assert newest == __version__
    assert str(yaml.safe_load((ROOT / "CITATION.cff").read_text())["date-released"]) == day
    assert f"({'.'.join(__version__.split('.')[:2])}.x)" in PAGE
