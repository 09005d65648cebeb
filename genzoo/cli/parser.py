"""The parser of the command line, and the scan of its arguments before the parser runs."""

import json
from pathlib import Path
from types import NoneType
from typing import Any

import yaml
from lightning.pytorch.cli import LightningArgumentParser

from ..checks import on_this_machine
from ..runs import checkpoints, suggestions
from ..runs.suggestions import Misuse

# Arguments of the model that the data determines, and the option through which it does.
LINKED = {
    "image_shape": "--data",
    "num_classes": "--data.conditional true",
    "class_names": "--data",
    "condition": "--data.conditional true",
}
# Least values of the Trainer's arguments that it does not check itself: with lower ones it would
# fail in the middle of a training, or silently do something else.
TRAINER_LEAST = {
    "check_val_every_n_epoch": 1,
    "log_every_n_steps": 0,
    "num_sanity_val_steps": -1,
    "gradient_clip_val": 0,  # a negative value would reverse the gradient
}


class Parser(LightningArgumentParser):
    """LightningCLI's parser without abbreviations of options, and with errors of one line."""

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, allow_abbrev=False, **{"prog": "genzoo", **kwargs})

    def error(self, message: str, ex: Exception | None = None):
        if not self.exit_on_error:  # the types of a union are tried in turn
            super().error(message, ex)
        options = list(self._option_string_actions)
        for action in self._actions:  # the message may be about a command
            for parser in (getattr(action, "choices", None) or {}).values():
                options += getattr(parser, "_option_string_actions", ())
        raise Misuse(suggestions.plain(message, options, _arguments)) from ex


def _arguments(class_path: str) -> list[str]:
    parser = LightningArgumentParser(exit_on_error=False)
    kind = checkpoints.import_class(class_path)
    return [
        name.removeprefix("x.")
        for name in parser.add_class_arguments(kind, "x", fail_untyped=False)
        if name.removeprefix("x.") not in LINKED
    ]


def scan(args: list[str]) -> dict[str, Any]:
    """The values of `--model`, `--data`, `--ckpt_path` and `--init_from` in arguments and in
    --config files, and all other settings of these files."""
    found: dict[str, Any] = {}
    for index, argument in enumerate(args):
        name, equals, value = argument.partition("=")
        value = value if equals else "".join(args[index + 1 : index + 2])
        if name in ("-c", "--config"):
            if not Path(value).is_file():
                continue  # the parser will report it
            try:
                content = yaml.safe_load(Path(value).read_text())
            except (yaml.YAMLError, UnicodeDecodeError) as error:
                raise Misuse(f"{value} is not YAML: {suggestions.one_line(str(error))}") from None
            if not isinstance(content, dict):
                got = "an empty file" if content is None else f"a {type(content).__name__}"
                raise Misuse(f"{value} must hold a mapping of settings, as model: GAN, got {got}")
            for key in ("model", "data"):
                if isinstance(content.get(key), dict):
                    arguments = content[key].get("init_args")
                    if not isinstance(arguments, (dict, NoneType)):
                        must = "must be a mapping of arguments"
                        raise Misuse(f"{key}.init_args {must}, got {arguments} in {value}")
                if key in content and not isinstance(class_path_of(content[key]), str):
                    if isinstance(content[key], dict) and "class_path" not in content[key]:
                        continue  # it has arguments only
                    got = "null" if content[key] is None else content[key]
                    raise Misuse(
                        f"{key} must be a class, got {got} in {value}."
                        + suggestions.hint("", suggestions.names(key))
                    )
            found.update(content)
        elif name in ("--model", "--data", "--ckpt_path", "--init_from"):
            found[name.removeprefix("--")] = value
    for name in ("ckpt_path", "init_from"):
        if found.get(name) in ("", "null"):
            del found[name]
    return found


def with_class(args: list[str], known: dict[str, Any]) -> list[str]:
    """The same arguments, in which `--model.help` and `--data.help` name the class that the rest
    of the command line chose, and come last: by themselves they are about all classes."""
    others, helps = [], []
    for argument, behind in zip(args, [*args[1:], "-"], strict=False):
        kind = None
        if argument in ("--model.help", "--data.help") and behind.startswith("-"):
            kind = class_path_of(known.get(argument[2:].removesuffix(".help")))
        if isinstance(kind, str):
            helps.append(f"{argument}={kind}")
        else:
            others.append(argument)
    return others + helps


def class_path_of(value: Any) -> str | None:
    """The import path in a configuration of a class, which is a path or has a `class_path`."""
    return value.get("class_path") if isinstance(value, dict) else value


def listed(value: Any) -> list:
    """A value, several values or None as a list."""
    return [] if value is None else list(value) if isinstance(value, (list, tuple)) else [value]


def same(a: Any, b: Any) -> bool:
    """Whether two values are equal, with lists and tuples of equal values taken as equal."""
    return json.loads(json.dumps(a, default=str)) == json.loads(json.dumps(b, default=str))


def refuse_trainer(config) -> None:
    """Refuses values that Lightning's Trainer accepts, and later fails on or ignores."""
    on_this_machine(**{"--trainer.default_root_dir": config.get("default_root_dir")})
    for name, least in TRAINER_LEAST.items():
        value = config.get(name)
        if value is not None and value < least:
            raise Misuse(f"--trainer.{name} must be at least {least}, got {value}")
    interval = config.get("val_check_interval")
    if isinstance(interval, (int, float)) and not interval > 0:
        raise Misuse(
            "--trainer.val_check_interval must be above 0, a share of an epoch or a number of "
            f"batches, got {interval}"
        )


def refuse_seed(seed: int | bool | None) -> None:
    """Refuses seeds that one of the generators does not accept."""
    if isinstance(seed, int) and not 0 <= seed < 2**32:
        raise Misuse(f"--seed_everything must be in 0..{2**32 - 1}, got {seed}")
