"""The package list, which pyproject.toml cannot express: three folders under one name."""

from setuptools import find_packages, setup

ROOTS = ("zoo", "datamodules", "callbacks")  # beside genzoo itself

setup(
    package_dir={"genzoo": "genzoo", **{f"genzoo.{root}": root for root in ROOTS}},
    packages=[
        "genzoo",
        *(f"genzoo.{package}" for package in find_packages("genzoo")),
        *(
            f"genzoo.{package}"
            for root in ROOTS
            for package in (root, *(f"{root}.{sub}" for sub in find_packages(root)))
        ),
    ],
)
