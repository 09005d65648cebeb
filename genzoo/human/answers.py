"""The raters' files of answers, read and checked against the key of their study."""

import csv
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

Mode = Literal["single", "pairs"]

ANSWERS = {"single": ("real", "fake"), "pairs": ("left", "right")}
COLUMNS = {
    "single": ("study", "rater", "position", "image", "answer", "milliseconds"),
    "pairs": ("study", "rater", "position", "left", "right", "answer", "milliseconds"),
}


class Row(NamedTuple):
    """One answer: the names of the images shown, the rater's answer, and its time."""

    shown: tuple[str, ...]
    answer: str
    milliseconds: int


def read_key(path: Path) -> dict:
    """The key of a study, from the file that `export_study` wrote."""
    try:
        key = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"key must be the JSON file that export wrote, got {path}") from error
    needed = {"study", "mode", "trials", "rule", "images", "protocol"}
    if not isinstance(key, dict) or not needed <= key.keys():
        raise ValueError(f"key must be the JSON file that export wrote, got {path}")
    return key


def right_answers(key: Mapping) -> dict[tuple[str, ...], tuple[int, bool]]:
    """From the images shown to (half, whether it is an attention check)."""
    kinds, right = key["images"], {}
    for trial in key["trials"]:
        check = any(kinds[name] == "noise" for name in trial)
        for shown in {tuple(trial), tuple(reversed(trial))}:  # pairs are shown in both orders
            right[shown] = (0 if kinds[shown[0]] == "real" else 1, check)
    return right


def read_answers(paths: Iterable[str | Path], key: Mapping) -> dict[str, list[Row]]:
    """Answers by rater, each trial once."""
    raters: dict[str, dict[tuple[str, ...], Row]] = {}
    known = {tuple(sorted(trial)) for trial in key["trials"]}
    for path in map(Path, paths):
        for place, fields in _read_csv(path, COLUMNS[key["mode"]]):
            row = _parse(place, fields, key, known)
            rows = raters.setdefault(fields["rater"], {})
            earlier = rows.setdefault(tuple(sorted(row.shown)), row)
            if earlier != row:
                raise ValueError(
                    f"{place}: rater {fields['rater']!r} must answer each trial once, got two "
                    f"different answers to {row.shown[0]}; two people need two names"
                )
    return {name: list(rows.values()) for name, rows in raters.items()}


def _read_csv(path: Path, columns: Sequence[str]) -> list[tuple[str, dict[str, str]]]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, strict=True)
            if tuple(reader.fieldnames or ()) != tuple(columns):
                raise ValueError(
                    f"{path}: columns must be {','.join(columns)}, "
                    f"got {','.join(reader.fieldnames or ()) or 'an empty file'}"
                )
            return [(f"{path}, line {reader.line_num}", fields) for fields in reader]
    except (csv.Error, UnicodeDecodeError) as error:
        raise ValueError(f"{path} must be a CSV file in UTF-8, got {error}") from error


def _parse(place: str, fields: Mapping[str, str], key: Mapping, known: set) -> Row:
    if None in fields or None in fields.values():
        raise ValueError(f"{place}: a row must have {len(COLUMNS[key['mode']])} fields")
    if fields["study"] != key["study"]:
        raise ValueError(f"{place}: study must be {key['study']}, got {fields['study']!r}")
    if not fields["rater"].strip():
        raise ValueError(f"{place}: rater must not be empty")
    names = ("image",) if key["mode"] == "single" else ("left", "right")
    shown = tuple(fields[name] for name in names)
    if tuple(sorted(shown)) not in known:
        raise ValueError(f"{place}: {' and '.join(names)} must be of this study, got {shown}")
    if fields["answer"] not in ANSWERS[key["mode"]]:
        expected = " or ".join(ANSWERS[key["mode"]])
        raise ValueError(f"{place}: answer must be {expected}, got {fields['answer']!r}")
    if not (fields["milliseconds"].isascii() and fields["milliseconds"].isdigit()):
        got = fields["milliseconds"]
        raise ValueError(f"{place}: milliseconds must be a whole number, got {got!r}")
    return Row(shown, fields["answer"], int(fields["milliseconds"]))
