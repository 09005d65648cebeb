"""A study of a few images, and the answers of raters."""

import csv
import json
from pathlib import Path

import numpy as np

from genzoo.human import COLUMNS, export_study


def pictures(n: int, seed: int, channels: int = 1, side: int = 8) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (n, channels, side, side), dtype=np.uint8)


def study(folder: Path, **options) -> tuple[Path, dict]:
    """A small study in folder/study; gives it and its key."""
    numbers = {"num_real": 6, "num_generated": 6, "attention_checks": 2, **options}
    path = export_study(pictures(40, 1), pictures(40, 2), folder / "study", **numbers)
    return folder / "study", json.loads(path.read_text())


def right_answer(shown: list[str], key: dict) -> str:
    real = key["images"][shown[0]] == "real"
    return {"single": ("fake", "real"), "pairs": ("right", "left")}[key["mode"]][real]


def other(answer: str) -> str:
    return {"real": "fake", "fake": "real", "left": "right", "right": "left"}[answer]


def answer_all(folder: Path, key: dict, rater: str, wrong=(), trials=None) -> Path:
    """A rater's CSV; `wrong` names the images (the first of a trial) answered wrongly."""
    path = folder / f"{rater}.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS[key["mode"]])
        for place, shown in enumerate(key["trials"] if trials is None else trials):
            answer = right_answer(shown, key)
            answer = other(answer) if shown[0] in wrong else answer
            writer.writerow([key["study"], rater, place + 1, *shown, answer, 700 + place])
    return path


def of_kind(key: dict, kind: str) -> list[str]:
    return sorted(name for name, value in key["images"].items() if value == kind)
