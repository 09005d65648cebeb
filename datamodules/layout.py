"""The meaning of the sub-folders of a folder of images: parts of the data, and classes.

All names are paths of image files relative to the folder, written with slashes.
"""

import hashlib
import os
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

import torch
from torch import Tensor

# Names of the parts, in upper or lower case.
PARTS = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}


def places(names: Iterable[str], seed: int) -> Tensor:
    """A number in [0, 1) for each name, by a hash of it and the seed: float64 (N,).

    A split by these numbers depends on each name alone: if a file is removed or added, all others
    keep their part.
    """
    salt = str(seed).encode()
    return torch.tensor([_hash(name, salt) / 2**64 for name in names], dtype=torch.float64)


def identities(names: Iterable[str], sizes: Iterable[int]) -> Tensor:
    """A number for each file by its name and its bytes, int64 (N,): equal for the same file."""
    pairs = zip(names, sizes, strict=True)
    hashes = [_hash(name, str(size).encode()) - 2**63 for name, size in pairs]
    return torch.tensor(hashes, dtype=torch.int64)


def _hash(name: str, salt: bytes) -> int:
    # Two systems may write the same accents in two ways.
    text = os.fsencode(unicodedata.normalize("NFC", name))
    return int.from_bytes(hashlib.blake2b(salt + b"\0" + text, digest_size=8).digest(), "big")


def class_names(folders: Iterable[str]) -> tuple[str, ...]:
    """Names of folders in the order of the labels: numbers first, in numerical order, then text.

    >>> class_names(["10", "cat", "9", "ant"])
    ('9', '10', 'ant', 'cat')
    """

    def key(name: str) -> tuple[bool, int, str]:
        return not is_number(name), int(name) if is_number(name) else 0, name

    return tuple(sorted(set(folders), key=key))


def is_number(name: str) -> bool:
    return name.isascii() and name.isdecimal()


def labels(names: Sequence[PurePosixPath], classes: Sequence[str] = ()) -> Tensor:
    """The class of each image by its folder, int64 (N,); -1: in no folder of a class.

    The folders have the names of the classes, or else all of them their numbers, 0..K-1.

    >>> labels([PurePosixPath("cat/a.png"), PurePosixPath("dog/b.png")], ["cat", "dog"])
    tensor([0, 1])

    Args:
        names: N files.
        classes: K names; none: folders are numbers.
    """
    known = {name: label for label, name in enumerate(classes)}
    by_name = [_first(name, known) for name in names]
    if classes and -1 not in by_name:
        return torch.tensor(by_name, dtype=torch.int64)
    by_number = [_number(name) for name in names]
    if classes and not all(0 <= number < len(classes) for number in by_number):
        by_number = by_name
    return torch.tensor(by_number, dtype=torch.int64)


def _first(name: PurePosixPath, known: dict[str, int]) -> int:
    return next((known[folder] for folder in name.parts[:-1] if folder in known), -1)


def _number(name: PurePosixPath) -> int:
    return next((int(folder) for folder in reversed(name.parts[:-1]) if is_number(folder)), -1)


@dataclass(frozen=True)
class Layout:
    """The meaning of the sub-folders of a folder of N images.

    Args:
        parts: Indices of the images of each part: "train", and "val" and "test" if they exist.
        class_names: K names in the order of the labels; none: the images are unlabelled.
        labels: int64 (N,), -1 for an unlabelled image.
        words: Warnings about the layout.
    """

    parts: dict[str, list[int]]
    class_names: tuple[str, ...]
    labels: Tensor
    words: list[str]


def read(names: Sequence[PurePosixPath], root: object) -> Layout:
    """Parts and classes by the folders of the images.

    Raises:
        ValueError: the layout is ambiguous, or a part has a class that train does not have.
    """
    found, word = parts(names, root)
    words = [word] if word else []
    places_of: dict[str, list[int]] = {"train": [*range(len(names))]}
    if found:
        places_of = {part: [] for part in ("train", "val", "test") if part in found.values()}
        for at, name in enumerate(names):
            if len(name.parts) > 1:
                places_of[found[name.parts[0]]].append(at)
    depth = 1 if found else 0  # of the folders that are classes
    folders = [name.parts[depth:-1][:1] for name in names]
    inner = Counter(folders[at] for at in places_of["train"])
    loose = inner.pop((), 0)
    classes = class_names(name for (name,) in inner) if len(inner) > 1 and not loose else ()
    if loose and len(inner) > 1 and loose < inner.total():
        stray = [str(names[at]) for at in places_of["train"] if not folders[at]]
        words.append(
            f"no image in {root} is labelled, because pictures lie beside the folders "
            f"{some([name for (name,) in sorted(inner)])}: move {some(stray)} to have these classes"
        )
    single = [name for name in classes if inner[(name,)] == 1]
    if single:
        words.append(f"{some(single)} in {root}: a class of one image, which is in one split only")
    known = {(name,): label for label, name in enumerate(classes)}
    for part, places_in in places_of.items():
        strange = sorted({folders[at] for at in places_in if folders[at]} - set(known))
        if classes and strange:
            raise ValueError(
                f"the classes of {part} must be among those of train, {some(classes)}, got "
                f"{some([name for (name,) in strange])} in {root}"
            )
    labelled = {at: known.get(folders[at], -1) for every in places_of.values() for at in every}
    values = [labelled.get(at, -1) for at in range(len(names))]
    return Layout(places_of, classes, torch.tensor(values, dtype=torch.int64), words)


def parts(names: Sequence[PurePosixPath], root: object) -> tuple[dict[str, str], str]:
    """The sub-folders that are parts of the data, {folder: part}, and a warning or "".

    Raises:
        ValueError: the layout is ambiguous; the error tells which folder to give.
    """
    folders = sorted({name.parts[0] for name in names if len(name.parts) > 1})
    found = {folder: PARTS[folder.casefold()] for folder in folders if folder.casefold() in PARTS}
    if not found:
        return {}, ""
    others = [folder for folder in folders if folder not in found]
    loose = [str(name) for name in names if len(name.parts) == 1]
    kinds = set(found.values())
    if "train" in kinds and (len(kinds) > 1 or not others):
        given = ", ".join(found)
        if others:
            raise ValueError(
                f"root must be a folder of parts or one of classes, got {root} with {given} beside "
                f"{some(others)}: give {root}{os.sep}{_train(found)}, or move the others away"
            )
        if len(kinds) < len(found):
            raise ValueError(
                f"root must have one folder for each of train, val and test, got {given} in {root}"
            )
        if loose:
            return found, f"{root} has pictures beside {given}, which are left out: {some(loose)}"
        return found, ""
    if not others and not loose:
        raise ValueError(
            f"root must have a folder train beside {', '.join(found)}, got none in {root}: to use "
            f"all of a folder give it itself, {root}{os.sep}{folders[0]}"
        )
    taken = "a class" if others and not loose else "any other folder"
    return {}, f"{some(list(found))} in {root} is taken for {taken}, no part of the data"


def _train(found: dict[str, str]) -> str:
    return next(folder for folder, part in found.items() if part == "train")


def some(names: Sequence[str], most: int = 5) -> str:
    """The first few names, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
