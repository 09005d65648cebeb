"""The words of a command line: a parser of whole names, and what is scanned before it runs."""

import json
from pathlib import Path
from typing import Any

import yaml
from lightning.pytorch.cli import LightningArgumentParser

from ..runs import checkpoints
from ..runs import suggestions as hints
from ..runs.suggestions import Misuse

LINKED = ("image_shape", "num_classes", "class_names")  # what the data says of the model


class Parser(LightningArgumentParser):
    """Whole names only, and errors of one line."""

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, allow_abbrev=False, **kwargs)

    def error(self, message: str, ex: Exception | None = None):
        if not self.exit_on_error:  # a union of types tries one after the other
            super().error(message, ex)
        options = list(self._option_string_actions)
        for action in self._actions:  # the message may be about a command
            for parser in (getattr(action, "choices", None) or {}).values():
                options += getattr(parser, "_option_string_actions", ())
        raise Misuse(hints.plain(message, options, _arguments)) from ex


def _arguments(class_path: str) -> list[str]:
    parser = LightningArgumentParser(exit_on_error=False)
    kind = checkpoints.import_class(class_path)
    return [
        name.removeprefix("x.")
        for name in parser.add_class_arguments(kind, "x", fail_untyped=False)
        if name.removeprefix("x.") not in LINKED
    ]


def scan(args: list[str]) -> dict[str, Any]:
    """`--model`, `--data` and `--ckpt_path` as they are given, in arguments or --config files."""
    found: dict[str, Any] = {}
    for index, argument in enumerate(args):
        name, equals, value = argument.partition("=")
        value = value if equals else "".join(args[index + 1 : index + 2])
        if name in ("-c", "--config"):
            if not Path(value).is_file():
                continue  # the parser will say it
            try:
                content = yaml.safe_load(Path(value).read_text())
            except (yaml.YAMLError, UnicodeDecodeError) as error:
                raise Misuse(f"{value} is not YAML: {hints.one_line(str(error))}") from None
            if isinstance(content, dict):
                for key in ("model", "data"):
                    if key in content and content[key] is None:
                        raise Misuse(
                            f"{key} must be a class, got null in {value}."
                            + hints.hint("", hints.names(key))
                        )
                found.update(content)
        elif name in ("--model", "--data", "--ckpt_path", "--init_from"):
            found[name.removeprefix("--")] = value
    for name in ("ckpt_path", "init_from"):
        if found.get(name) in ("", "null"):
            del found[name]
    return found


def class_path_of(value: Any) -> str | None:
    return value.get("class_path") if isinstance(value, dict) else value


def listed(value: Any) -> list:
    return [] if value is None else list(value) if isinstance(value, (list, tuple)) else [value]


def same(a: Any, b: Any) -> bool:
    """Equal, whether a list or a tuple holds the numbers."""
    return json.loads(json.dumps(a, default=str)) == json.loads(json.dumps(b, default=str))
