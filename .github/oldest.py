"""Prints the oldest versions that pyproject.toml allows, as requirements."""

import re
import tomllib
from pathlib import Path

project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]
for entry in project["dependencies"]:
    print(re.sub(r"(,?<[\d.]+)", "", entry).replace(">=", "=="))
