"""The configuration of model and data in a checkpoint, and the parts of it that are refused."""

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
    """The configuration in a command's checkpoint; empty before a checkpoint is read.

    Attributes:
        path: Path of the checkpoint whose weights are used.
        made: The configuration of its model and data.
        reached: Its numbers of steps and of complete epochs.
        code: Arguments that would import code: part, name and value of each.
        goes_on: Whether a training continues in its run directory.
    """

    def __init__(self) -> None:
        self.path: str | None = None
        self.made: dict[str, Any] = {}
        self.reached = (0, 0)
        self.code: list[tuple[str, str, Any]] = []
        self.goes_on = False

    def read(self, path: str, given: dict[str, Any]) -> dict[str, Any]:
        """Reads a checkpoint; returns the configuration of its model and data."""
        self.path = path
        checkpoint = checkpoints.read(path)
        self.made = checkpoints.origin(checkpoint)
        self.reached = (checkpoint.get("global_step", 0), epochs_of(checkpoint))
        return self._as_made(self.made, path, given)

    def start_from(self, path: str, given: dict[str, Any]) -> dict[str, Any] | None:
        """The configuration of the model in the checkpoint of initial weights; None if the user
        gives another model."""
        made = checkpoints.origin(checkpoints.read(path))["model"]
        explicit = class_path_of(given.get("model"))
        if explicit is not None and not _alike(explicit, made["class_path"] or ""):
            return None
        return self._as_made({"model": made}, path, given)

    def go_on(self, command: str, explicit, given: dict[str, Any]) -> dict[str, Any] | None:
        """The configuration in the last checkpoint of the newest run of this model and data."""
        if "model" not in explicit:
            raise Misuse("--ckpt_path last needs --model or --config, to know whose last it is")
        folder = root_of(explicit) / run_name(explicit)
        path = last_checkpoint(folder)
        self.goes_on = command == "fit" and path is not None
        if path is None and command != "fit":
            raise Misuse(f"there is no checkpoint in {folder} to {command}")
        if path is None:
            print(f"genzoo: no checkpoint in {folder} yet, so this starts anew")
            return None
        return self.read(str(path), given)

    def _as_made(self, made: dict[str, Any], path: str, given: dict[str, Any]) -> dict[str, Any]:
        """A checkpoint's configuration, without code that the command line does not name too."""
        return {
            key: self._part(key, dict(made.get(key) or {}), path, given)
            for key in ("model", "data")
        }

    def _part(self, key: str, part: dict[str, Any], path: str, given: dict[str, Any]) -> Any:
        """The class of the model or of the data, with its arguments."""
        explicit = class_path_of(given.get(key))
        theirs = part.get("class_path") or (explicit if key == "model" else None)
        if theirs is None and key == "model":
            raise Misuse(f"{path} does not say which class it is of: give --model too")
        if theirs is None or (key == "data" and explicit not in (None, theirs)):
            return given.get(key) or DEFAULT_DATA
        if key == "model" and explicit is not None and not _alike(explicit, theirs):
            raise Misuse(_misfit(explicit, theirs, path))
        if not checkpoints.is_ours(theirs) and explicit != theirs:
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

    # Refusals

    def refuse_code(self, explicit) -> None:
        """Refuses a checkpoint that would import code, unless the command line names it too."""
        for key, name, value in self.code:
            if name not in explicit.get(key, {}).get("init_args", {}):
                named = class_path_of(value) if isinstance(value, dict) else value
                raise Misuse(
                    f"{self.path} was made with {name} {named}, and what is not "
                    f"plain data is not made because a file names it: give --{key}.{name} too"
                )

    def refuse_overridden(self, explicit) -> None:
        """Refuses arguments of the model that differ from those in the checkpoint."""
        if not self.made:
            return
        made = self.made["model"]
        ours, theirs = explicit.model.class_path, made["class_path"]
        if theirs is not None and not _alike(ours, theirs):
            raise Misuse(_misfit(ours, theirs, self.path))
        for name, value in explicit.model.get("init_args", {}).items():
            if name in made["init_args"] and not same(value, made["init_args"][name]):
                raise Misuse(
                    f"--model.{name} {value} would be overridden: {self.path} was made with "
                    f"{made['init_args'][name]}. Leave it out, or start anew without --ckpt_path"
                )

    def print_if_idle(self, command: str, limits) -> bool:
        """Prints a line if the command has nothing to do; returns whether it did."""
        if limits.get("fast_dev_run"):  # has limits of its own
            return False
        if command != "fit":
            name, what = IDLE[command]
            if limits.get(name) == 0:
                _print(f"{name} is 0: nothing is {what}")
            return limits.get(name) == 0
        for name, reached in zip(("max_steps", "max_epochs"), self.reached, strict=True):
            limit = limits.get(name)
            if limit in (None, -1) or reached < limit:
                continue
            if not self.path:
                _print(f"{name} is {limit}: nothing is trained")
                return True
            what = name.removeprefix("max_")
            _print(
                f"{self.path} has {reached} {what} and {name} is {limit}: "
                "there is nothing left to train"
            )
            limits.max_epochs = max(limits.max_epochs or -1, self.reached[1])
            return True
        if limits.get("limit_train_batches") == 0:
            _print("limit_train_batches is 0: nothing is trained")
        return limits.get("limit_train_batches") == 0


def _print(what: str) -> None:
    print(f"genzoo: {what}", flush=True)


def run_name(config) -> str:
    """The name of a run's folder: the model and the data."""
    names = (config[key].class_path.rpartition(".")[-1] for key in ("model", "data"))
    return "-".join(names)


def root_of(config) -> Path:
    """The folder of all runs."""
    return Path(config.get("trainer", {}).get("default_root_dir") or "runs")


def _alike(ours: str, theirs: str) -> bool:
    """Whether two import paths may name one class: one may be a short name, or a path in genzoo
    from which the class has moved."""
    (ours_at, _, ours), (theirs_at, _, theirs) = ours.rpartition("."), theirs.rpartition(".")
    known = all(not at or checkpoints.is_ours(at) for at in (ours_at, theirs_at))
    return ours == theirs and (known or not ours_at or ours_at == theirs_at)


def _misfit(ours: str, theirs: str, path: str) -> str:
    ours, theirs = (name.rpartition(".")[-1] for name in (ours, theirs))
    return f"--model {ours} does not fit {path}, which is a {theirs}: leave --model out"
