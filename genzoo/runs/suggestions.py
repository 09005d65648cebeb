"""Errors of a command line in one line, with a suggestion for a misspelt name."""

import re
import sys
from collections.abc import Iterable
from difflib import get_close_matches

import lightning as L
from lightning.pytorch.loggers import Logger

from .. import catalogue


class Misuse(Exception):
    """A wrong command line; its text is one line for the user."""


def hint(name: str, known: Iterable[str], show: bool = True) -> str:
    """ "Did you mean ...? There are: ..." """
    known = list(dict.fromkeys(known))
    close = get_close_matches(name, known, n=1, cutoff=0.6)
    meant = f" Did you mean {close[0]}?" if close else ""
    return meant + (f" There are: {', '.join(known)}" if show and known else "")


def unknown(message: str, options: Iterable[str]) -> str:
    """argparse's message in one line, with the most similar option."""
    found = re.search(r"unrecognized arguments: (\S+)", message)
    if found is None:
        return one_line(message)
    option = found[1].partition("=")[0]
    if not option.startswith("-"):
        return f"{option!r} is not understood: options begin with --, as --model DCGAN"
    return f"there is no option {option}." + hint(option, options, show=False)


def plain(message: str, options: Iterable[str], arguments) -> str:
    """jsonargparse's message in one line.

    Args:
        message: jsonargparse's message, with an error for each type that a value may have.
        options: All options of the command.
        arguments: Function from a class path to the names of the class's arguments.
    """
    options = list(options)
    if match := re.search(r"does not accept option '([\w.]+)'", message):
        key = match[1]
        known = [option.lstrip("-") for option in options]
        return f"there is no setting {key!r}." + hint(key, known, show=False)
    if match := re.match(r"the following arguments are required: (?:\w+\.)?(\w+)", message):
        if match[1] in ("model", "data"):
            return f"--{match[1]} is needed." + hint("", names(match[1]))
        return f"--{match[1]} is needed"
    key = (re.search(r'Parser key "([\w.]+)"', message) or [None, ""])[1]
    problem = r"given class_path '([\w.]+)':\s+"
    if match := re.search(problem + r"Option '(\w+)' is not accepted", message):
        path, option = match.groups()
        if path == "lightning.LightningModule":
            return f"--{key}.{option} must come after --{key}, which says whose {option} it is"
        name = path.rpartition(".")[-1]
        return f"{name} has no argument {option}." + hint(option, arguments(path))
    if match := re.search(r"Expected a dot import path string: (\S+)", message):
        what = "LightningModule" if key == "model" else "data module" if key == "data" else "class"
        return f"there is no {what} {match[1]}." + hint(match[1], names(key), key in LISTS)
    if match := re.search(r"module '([\w.]+)' has no attribute '(\w+)'", message):
        module, name = match.groups()
        return f"{module} has no {name}." + hint(name, vars(sys.modules[module]), show=False)
    if match := re.search(problem + r"(.*)", message):
        inner = re.search(r'Parser key "(\w+)":\s+(.*)', message[match.start(2) :])
        if inner:
            if kinds := _kinds(message[match.start(2) + inner.start(2) :]):
                return f"--{key}.{inner[1]} {kinds}"
            return f"--{key}.{inner[1]} {one_line(inner[2])}"
        return f"--{key} {match[1]}: {one_line(match[2])}"
    if match := re.search(r"Errors:\s+- (.*)", message):
        if kinds := _kinds(message.partition(":")[2]):
            return f"--{key} {kinds}"
        value = (re.search(r"Given value: (.*)", message) or [None, ""])[1]
        text = re.sub(r"^Expected an? ", "must be ", one_line(match[1]))
        return f"--{key} {text}, got {value}"
    if key:
        return f"--{key}: " + one_line(message.partition(":")[2])
    return unknown(message, options)


def _kinds(text: str) -> str | None:
    """The constraint of a value that must have one of several plain types, from jsonargparse's
    message; None for another message."""
    types = re.match(r"\s*Does not .*\s+Subtypes: \[((?:<class '\w+'>(?:, )?)+)\]", text)
    value = re.search(r"Given value: (.*)", text)
    if not (types and value):
        return None
    plain = one_line(types[1].replace("NoneType", "null")).replace(", ", " or ")
    return f"must be {plain}, got {value[1]}"


LISTS = {"model": catalogue.models, "data": catalogue.data}


def names(key: str) -> list[str]:
    """Names of the classes that a key accepts: models, data sets, or callbacks and loggers."""
    if key in LISTS:
        return [entry.name for entry in LISTS[key]()]
    kinds: list[type] = [L.Callback, Logger]
    for kind in kinds:
        kinds.extend(kind.__subclasses__())
    return [kind.__name__ for kind in kinds]


def one_line(text: str) -> str:
    """A message without line breaks and without Python's notation of types."""
    text = re.sub(r"typing\.Literal\[(.*?)\]", r"one of \1", text)
    text = re.sub(r"<class '(?:[\w.]*\.)?(\w+)'>", r"\1", " ".join(text.split()))
    return re.sub(r"^Expected an? (.+?)\.? Got value: ", r"must be \1, got ", text)
