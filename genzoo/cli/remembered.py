"""What a checkpoint says of the model and the data, and what is not taken from it."""

from pathlib import Path
from typing import Any

from .._lightning.training import epochs_of
from ..runs import checkpoints
from ..runs.folders import last_checkpoint
from ..runs.suggestions import Misuse
from .parser import LINKED, class_path_of, same

DEFAULT_DATA = "genzoo.datamodules.Digits"
# By command what makes it one that does nothing, and what it would have done.
IDLE = {
    "validate": ("limit_val_batches", "validated"),
    "test": ("limit_test_batches", "tested"),
    "predict": ("limit_predict_batches", "predicted"),
}


class Remembered:
    """What the checkpoint of a command says; nothing before one was read.

    Attributes:
        path: Of the checkpoint whose weights are taken.
        made: Its model and data, as a configuration.
        reached: Its steps and whole epochs.
        code: What of it would be imported: part, argument and value.
        goes_on: Whether a training goes on in its run directory.
    """

    def __init__(self) -> None:
        self.path: str | None = None
        self.made: dict[str, Any] = {}
        self.reached = (0, 0)
        self.code: list[tuple[str, str, Any]] = []
        self.goes_on = False

    def read(self, path: str, given: dict[str, Any]) -> dict[str, Any]:
        """What the checkpoint says of the model and the data, as a configuration."""
        self.path = path
        checkpoint = checkpoints.read(path)
        self.made = checkpoints.origin(checkpoint)
        self.reached = (checkpoint.get("global_step", 0), epochs_of(checkpoint))
        return self._as_made(self.made, path, given)

    def start_from(self, path: str, given: dict[str, Any]) -> dict[str, Any] | None:
        """The model of the checkpoint whose weights are the start, unless another is said."""
        made = checkpoints.origin(checkpoints.read(path))["model"]
        said = class_path_of(given.get("model"))
        if said is not None and not _alike(said, made["class_path"] or ""):
            return None
        return self._as_made({"model": made}, path, given)

    def go_on(self, command: str, said, given: dict[str, Any]) -> dict[str, Any] | None:
        """What the last checkpoint says of the newest run of this model and data."""
        if "model" not in said:
            raise Misuse("--ckpt_path last needs --model or --config, to know whose last it is")
        folder = root_of(said) / run_name(said)
        path = last_checkpoint(folder)
        self.goes_on = command == "fit" and path is not None
        if path is None and command != "fit":
            raise Misuse(f"there is no checkpoint in {folder} to {command}")
        if path is None:
            print(f"genzoo: no checkpoint in {folder} yet, so this starts anew")
            return None
        return self.read(str(path), given)

    def _as_made(self, made: dict[str, Any], path: str, given: dict[str, Any]) -> dict[str, Any]:
        """A configuration of what a checkpoint says; what of it is code only if it is said too."""
        return {
            key: self._part(key, dict(made.get(key) or {}), path, given)
            for key in ("model", "data")
        }

    def _part(self, key: str, part: dict[str, Any], path: str, given: dict[str, Any]) -> Any:
        """Of the model or of the data: a class and its arguments."""
        said = class_path_of(given.get(key))
        theirs = part.get("class_path") or (said if key == "model" else None)
        if theirs is None and key == "model":
            raise Misuse(f"{path} does not say which class it is of: give --model too")
        if theirs is None or (key == "data" and said not in (None, theirs)):
            return given.get(key) or DEFAULT_DATA
        if key == "model" and said is not None and not _alike(said, theirs):
            raise Misuse(_misfit(said, theirs, path))
        if not checkpoints.is_ours(theirs) and said != theirs:
            instead = f"give --{key} {theirs} too, if it is yours"
            raise Misuse(str(checkpoints.NotOurs(path, theirs, instead)))
        try:
            ours = key == "model" and checkpoints.is_ours(theirs)
            find = checkpoints.import_class
            kind = checkpoints.find_class(theirs, path) if ours else find(theirs)
        except (ImportError, AttributeError) as error:
            raise Misuse(f"{path} is of {theirs}, which is not there: {error}") from None
        part["class_path"] = f"{kind.__module__}.{kind.__qualname__}"
        arguments = part.get("init_args", {})
        code = {
            name
            for name, value in arguments.items()
            if not checkpoints.is_plain(value) or checkpoints.is_code(kind, name, value)
        }
        self.code += [(key, name, arguments[name]) for name in code - {*LINKED}]
        part["init_args"] = {
            name: value for name, value in arguments.items() if name not in {*LINKED, *code}
        }
        return part

    # What is refused

    def refuse_code(self, said) -> None:
        """What a checkpoint would have imported, unless it is said on the command line too."""
        for key, name, value in self.code:
            if name not in said.get(key, {}).get("init_args", {}):
                named = class_path_of(value) if isinstance(value, dict) else value
                raise Misuse(
                    f"{self.path} was made with {name} {named}, and what is not "
                    f"plain data is not made because a file names it: give --{key}.{name} too"
                )

    def refuse_overridden(self, said) -> None:
        """What was said of the model, and differs from what the checkpoint was made with."""
        if not self.made:
            return
        made = self.made["model"]
        if made["class_path"] is not None and not _alike(said.model.class_path, made["class_path"]):
            raise Misuse(_misfit(said.model.class_path, made["class_path"], self.path))
        for name, value in said.model.get("init_args", {}).items():
            if name in made["init_args"] and not same(value, made["init_args"][name]):
                raise Misuse(
                    f"--model.{name} {value} would be overridden: {self.path} was made with "
                    f"{made['init_args'][name]}. Leave it out, or start anew without --ckpt_path"
                )

    def say_what_is_done(self, command: str, limits) -> bool:
        """Of a command that has nothing to do; gives whether that was said."""
        if limits.get("fast_dev_run"):  # which has limits of its own
            return False
        if command != "fit":
            name, what = IDLE[command]
            if limits.get(name) == 0:
                _say(f"{name} is 0: nothing is {what}")
            return limits.get(name) == 0
        for name, reached in zip(("max_steps", "max_epochs"), self.reached, strict=True):
            limit = limits.get(name)
            if limit in (None, -1) or reached < limit:
                continue
            if not self.path:
                _say(f"{name} is {limit}: nothing is trained")
                return True
            what = name.removeprefix("max_")
            _say(
                f"{self.path} has {reached} {what} and {name} is {limit}: "
                "there is nothing left to train"
            )
            limits.max_epochs = max(limits.max_epochs or -1, self.reached[1])
            return True
        if limits.get("limit_train_batches") == 0:
            _say("limit_train_batches is 0: nothing is trained")
        return limits.get("limit_train_batches") == 0


def _say(what: str) -> None:
    print(f"genzoo: {what}", flush=True)


def run_name(config) -> str:
    """Of a run's folder: the model and the data."""
    names = (config[key].class_path.rpartition(".")[-1] for key in ("model", "data"))
    return "-".join(names)


def root_of(config) -> Path:
    """The folder of all runs."""
    return Path(config.get("trainer", {}).get("default_root_dir") or "runs")


def _alike(ours: str, theirs: str) -> bool:
    """Whether two import paths can be of one class: a short name, or one of ours that moved."""
    (ours_at, _, ours), (theirs_at, _, theirs) = ours.rpartition("."), theirs.rpartition(".")
    known = all(not at or checkpoints.is_ours(at) for at in (ours_at, theirs_at))
    return ours == theirs and (known or not ours_at or ours_at == theirs_at)


def _misfit(ours: str, theirs: str, path: str) -> str:
    ours, theirs = (name.rpartition(".")[-1] for name in (ours, theirs))
    return f"--model {ours} does not fit {path}, which is a {theirs}: leave --model out"
