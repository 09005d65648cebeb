"""Checkpoints: writes are atomic, and reading never runs code.

A file is written next to its destination and renamed at the end, so a killed run leaves the earlier
checkpoint (Lightning writes to the system's folder for temporary files, and a move between file
systems is a copy, which can be interrupted). Every file is read with `weights_only=True`: tensors,
numbers, text, lists and dictionaries, never objects with code.
"""

import collections.abc
import errno
import inspect
import os
import pickle
import re
import typing
import warnings
from importlib import import_module
from pathlib import Path
from typing import IO, Any, Literal

import lightning as L
import torch
from lightning.fabric.plugins import TorchCheckpointIO
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import Tensor

from .._lightning import keep_place
from .._lightning.checkpoint import OpenCheckpoint, is_local, load
from .._lightning.training import count_as_begun, has_validated
from . import suggestions
from .addresses import fetched

LONGEST = 200  # bytes of a name: file systems take 255, and a suffix and a number are added
ORIGIN = "origin"  # key of the configuration that the command line stores in a checkpoint
# A class whose name another class has now: a weight of the earlier class only, and its new name.
RENAMED = {"GSN": ("denoiser.body.0.linear.weight", "GeneralizedDenoisingAutoencoder")}


class NotOurs(ValueError):
    """The checkpoint's class is not genzoo's; the user must give it."""

    def __init__(self, path: str | Path, class_path: str, instead: str):
        self.path, self.class_path = path, class_path
        super().__init__(
            f"{path} is of {class_path}, and a class that is not genzoo's is not imported because "
            f"a file names it: {instead}"
        )


class AtomicCheckpointIO(TorchCheckpointIO):
    """Lightning's plugin that reads and writes checkpoints, here with atomic writes and without
    code: `Trainer(plugins=[AtomicCheckpointIO()])`."""

    def save_checkpoint(self, checkpoint, path, storage_options=None) -> None:
        if storage_options is not None or not is_local(path):
            return super().save_checkpoint(checkpoint, path, storage_options)
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f".{path.name}.part")  # the file of a killed run is overwritten
        try:
            with part.open("wb") as file:
                torch.save(checkpoint, file)
                file.flush()
                os.fsync(file.fileno())
            part.replace(path)
        except RuntimeError as error:  # torch raises it for errors of the file system
            if isinstance(error.__context__, OSError):
                why = error.__context__
                raise OSError(why.errno, why.strerror, str(path)) from error
            raise
        finally:
            part.unlink(missing_ok=True)

    def load_checkpoint(self, path, map_location=lambda storage, _: storage, weights_only=True):
        return read(path, map_location)


def read(path: str | Path, map_location: Any = "cpu") -> dict[str, Any]:
    """The checkpoint in a file or at an http(s) address, read with `weights_only=True`.

    Raises:
        FileNotFoundError: if there is no file.
        ConnectionError: if the address cannot be reached.
        ValueError: if it is not a checkpoint, is incomplete, or holds objects.
    """
    source = path if is_local(path) else fetched(str(path))
    try:
        return _read(source, path, map_location)
    except ValueError:
        if source is not path and isinstance(source, Path):
            source.unlink(missing_ok=True)  # the next try fetches it anew
        raise


def _read(source: str | Path | IO[bytes], path: str | Path, map_location: Any) -> dict[str, Any]:
    """Args: path: What the source is called in errors."""
    try:
        with warnings.catch_warnings():  # torch's warning about a bare pickle, which is refused
            warnings.filterwarnings("ignore", message="Detected pickle protocol")
            checkpoint = load(source, map_location)
    except (FileNotFoundError, IsADirectoryError):
        raise FileNotFoundError(f"no checkpoint at {path}") from None
    except Exception as error:  # unpickling arbitrary bytes can raise any exception
        if isinstance(error, OSError) and error.errno != errno.EINVAL:
            raise
        found = re.search(r"GLOBAL ([\w.]+)", str(error))
        if found is None or not isinstance(error, pickle.UnpicklingError):
            raise ValueError(f"{path} is no checkpoint, or was cut short") from error
        raise ValueError(
            f"{path} was refused: it holds {found[1]}, and objects in a checkpoint can run code. "
            "Only tensors, numbers, text, lists and dictionaries are read"
        ) from error
    if not isinstance(checkpoint, dict) or "state_dict" not in checkpoint:
        raise ValueError(f"{path} is no Lightning checkpoint: it has no state_dict")
    return checkpoint


def origin(checkpoint: dict[str, Any]) -> dict[str, Any]:
    """The configuration of a checkpoint: {"model": {"class_path", "init_args"}, "data": ..., ...}.

    The command line stores all of it. Otherwise there are only the hyper-parameters that a model
    saved, perhaps with its class.
    """
    if ORIGIN in checkpoint:
        return _renamed(checkpoint[ORIGIN], checkpoint)
    arguments = dict(checkpoint.get("hyper_parameters", {}))
    arguments.pop("_instantiator", None)
    class_path = arguments.pop("_class_path", None) or checkpoint.get("class_path")
    return _renamed({"model": {"class_path": class_path, "init_args": arguments}}, checkpoint)


def _renamed(made: dict[str, Any], checkpoint: dict[str, Any]) -> dict[str, Any]:
    """The configuration with the present name of the model's class."""
    model = made.get("model") or {}
    module, _, name = (model.get("class_path") or "").rpartition(".")
    weight, now = RENAMED.get(name, (None, name))
    if weight not in checkpoint.get("state_dict", ()) or not is_ours(module):
        return made
    return {**made, "model": {**model, "class_path": f"{__package__}.{now}"}}


def load_model(
    path: str | Path, model_class: type | None = None, device: Any = "cpu", **arguments: Any
) -> Any:
    """The model of a checkpoint with its weights, in evaluation mode, from the file alone.

    A LightningModule; what else it can do is known when the checkpoint is read.

    Args:
        path: A file or an http(s) address.
        model_class: Class of the model; needed if it is not one of genzoo's.
        device: Device of the model.
        arguments: Arguments of the constructor, in place of those in the checkpoint.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is not a checkpoint, or its class is not found.
    """
    checkpoint = read(path)
    made = origin(checkpoint)["model"]
    model_class = model_class or find_class(made["class_path"], path)
    arguments = {**made["init_args"], **arguments}
    for name, value in arguments.items():
        if name in made["init_args"] and value is made["init_args"][name] and not is_plain(value):
            raise ValueError(
                f"{path} was made with an object for {name}, which is not built from a file: "
                f"load_model(path, {name}=...)"
            )
    accepted = inspect.signature(model_class).parameters
    if not any(p.kind is p.VAR_KEYWORD for p in accepted.values()):
        arguments = {name: value for name, value in arguments.items() if name in accepted}
    model = model_class(**arguments)
    model.configure_model()
    model.on_load_checkpoint(checkpoint)
    _load_weights(model, checkpoint, path)
    return model.to(device).eval()


def init_from(model: L.LightningModule, path: str | Path) -> L.LightningModule:
    """Loads the weights of a checkpoint into a model, and nothing else; returns the model.

    A training then starts at step 0, with its own learning rate, data and seed:
    `trainer.fit(init_from(GAN((1, 28, 28), lr=1e-5), path), data)`.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is not a checkpoint, or its weights do not fit this model.
    """
    model.configure_model()
    _load_weights(model, read(path), path)
    return model


def _load_weights(model: L.LightningModule, checkpoint: dict[str, Any], path: str | Path) -> None:
    try:
        model.load_state_dict(checkpoint["state_dict"])
    except RuntimeError as error:
        why = misfit(error)
        raise ValueError(f"{path} does not fit {type(model).__name__}: {why}") from error


def misfit(error: RuntimeError) -> str | None:
    """The reason in one line why weights do not fit, from torch's list of all; None for another
    error."""
    text = str(error)
    if "Error(s) in loading state_dict" not in text:
        return None
    if "_orig_mod." in text:
        return (
            "it was saved from a network that torch.compile had wrapped, whose weights are called "
            "_orig_mod.<name>: take _orig_mod. out of the names in its state_dict"
        )
    if found := re.search(r"size mismatch.*", text):
        return found[0].rstrip(".")
    for kind, what in (("Missing", "it has no"), ("Unexpected", "the model has no")):
        if found := re.search(rf"{kind} key\(s\) in state_dict: (.*)", text):
            names = re.findall(r'"([^"]+)"', found[1])
            others = f" and {len(names) - 1} more" if len(names) > 1 else ""
            return f"{what} {names[0]}{others}"
    return " ".join(text.split())


def find_class(class_path: str | None, path: str | Path) -> type[L.LightningModule]:
    """The class that a checkpoint names, if it is one of genzoo's.

    Other classes are not imported on the word of a file, since importing a module runs its code.

    Raises:
        ValueError: if there is no class, or it is not genzoo's, or not a LightningModule.
    """
    if class_path is None:
        raise ValueError(
            f"{path} does not say which class it is of: load_model(path, model_class=...)"
        )
    if not is_ours(class_path):
        instead = f"load_model(path, model_class={class_path.rpartition('.')[-1]})"
        raise NotOurs(path, class_path, instead)
    try:
        found = import_class(class_path)
    except (ImportError, AttributeError) as error:
        raise ValueError(f"{path} is of {class_path}, which is not there: {error}") from error
    if not (isinstance(found, type) and issubclass(found, L.LightningModule)):
        raise ValueError(f"{path} is of {class_path}, which is no LightningModule")
    return found


def is_ours(class_path: str) -> bool:
    """Whether an import path belongs to this package."""
    return class_path.split(".")[0] == "genzoo"


def import_class(class_path: str) -> type:
    """The class of an import path; for genzoo's models also if their file has moved."""
    module, _, name = class_path.rpartition(".")
    zoo = import_module("genzoo.zoo")
    if module.split(".")[0] == "genzoo" and hasattr(zoo, name):
        return getattr(zoo, name)
    return getattr(import_module(module), name)


def is_plain(value: Any) -> bool:
    """Whether a value consists of numbers, text and collections, without a `class_path`, which
    would be imported."""
    if isinstance(value, dict):
        return "class_path" not in value and all(map(is_plain, value.values()))
    if isinstance(value, (list, tuple)):
        return all(map(is_plain, value))
    return value is None or isinstance(value, (bool, int, float, str))


def is_code(kind: type, name: str, value: Any) -> bool:
    """Whether text for this argument of a class is an import path, whose code would be run."""
    if isinstance(value, (list, tuple)):
        return any(is_code(kind, name, part) for part in value)
    if not isinstance(value, str):
        return False
    for base in kind.__mro__:
        parameter = inspect.signature(base.__init__).parameters.get(name)
        if parameter is not None:
            return not _takes_text(typing.get_type_hints(base.__init__).get(name, Any))
    return False


def _takes_text(annotation: Any) -> bool:
    if typing.get_origin(annotation) in (Literal, type, collections.abc.Callable):
        return typing.get_origin(annotation) is Literal
    if parts := typing.get_args(annotation):
        return any(map(_takes_text, parts))
    return annotation in (Any, str, Path, os.PathLike)


class NamedCheckpoint(OpenCheckpoint):
    """A ModelCheckpoint with correct steps and without folders in its file names.

    The step is the Trainer's, and not the one that was logged at the last validation. `filename`
    may hold a number by its name, `{fd/pixels:.2f}`; it is written without the slash, which would
    create a folder: `fd_pixels=0.31`; nan while it is unknown. The command line uses this class for
    every plain ModelCheckpoint.

    Raises:
        ValueError: `filename` is no name of files that stay in the folder, or no pattern.
    """

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        if self.filename is not None:
            self._check(self.filename)

    def _check(self, filename: str) -> None:
        """Of all names that the pattern can give, before anything is trained."""
        numbers = {"epoch": torch.tensor(1), "step": torch.tensor(1)}
        try:
            name = self.name_of(filename, numbers)
        except (ValueError, LookupError, AttributeError, TypeError) as error:
            raise ValueError(
                f"filename must be a pattern as saved-{{epoch}}-{{step}}, got {filename}: {error}"
            ) from error
        if not filename or name.startswith(".") or re.search(r"[/\\\0]", name):
            raise ValueError(
                "filename must be a name within the folder, without slashes and no dot before it, "
                f"got {filename!r}: ModelCheckpoint's dirpath is for another folder"
            )
        if len(name.encode()) > LONGEST:
            raise ValueError(
                f"filename must have at most {LONGEST} bytes, got {len(name.encode())}"
            )

    @property
    def state_key(self) -> str:  # it can read the state of Lightning's class
        return super().state_key.replace(type(self).__qualname__, "ModelCheckpoint", 1)

    def candidates(self, trainer: L.Trainer, found: dict[str, Tensor]) -> dict[str, Tensor]:
        found["epoch"] = torch.tensor(trainer.current_epoch)
        found["step"] = torch.tensor(trainer.global_step)
        return found

    def file_name(self, pattern: str | None, values: dict[str, Tensor]) -> str | None:
        values |= {name.replace("/", "_"): value for name, value in values.items()}
        pattern = pattern and re.sub(r"\{[^:}]*", lambda name: name[0].replace("/", "_"), pattern)
        for name in re.findall(r"\{([^:}]*)", pattern or ""):
            values.setdefault(name, torch.tensor(float("nan")))  # Lightning would say 0
        return pattern

    def before_best(self, trainer: L.Trainer, candidates: dict[str, Tensor]) -> None:
        """Raises: ValueError: there is no such number, though there was a validation."""
        missing = self.monitor is not None and self.monitor not in candidates
        if missing and has_validated(trainer):
            known = sorted(set(candidates) - {"epoch", "step"})
            raise ValueError(
                f"monitor must be a number that is logged, got {self.monitor}."
                + suggestions.hint(self.monitor, known)
            )


class Checkpoints(NamedCheckpoint):
    """Saves `last.ckpt` and a checkpoint named by its step, regularly and when training ends.

    Other ModelCheckpoints must have other file names.

    Args:
        every_n_epochs: Epochs between two checkpoints; 1 if `every_n_train_steps` is None too.
        every_n_train_steps: Training steps between two checkpoints.
        save_top_k: 1 keeps `last.ckpt` and one more, -1 all.
        filename: Pattern of names as in Lightning's `ModelCheckpoint`; None: saved-{epoch}-{step}.

    Raises:
        ValueError: `filename` is that of the last checkpoint, or all are kept and the names would
            be equal.
    """

    def __init__(
        self,
        every_n_epochs: int | None = None,
        every_n_train_steps: int | None = None,
        save_top_k: Literal[1, -1] = 1,
        filename: str | None = None,
    ):
        super().__init__(
            filename="saved-{epoch}-{step}" if filename is None else filename,
            every_n_epochs=every_n_epochs,
            every_n_train_steps=every_n_train_steps,
            save_top_k=save_top_k,
            save_last=True,
            save_on_train_epoch_end=True,  # otherwise only after a validation
            enable_version_counter=False,  # a resumed run overwrites its last.ckpt
        )
        self._validated = False
        if filename == self.CHECKPOINT_NAME_LAST:
            raise ValueError(
                f"filename must be another than that of {filename}.ckpt, got {filename}"
            )
        counts = "step" if every_n_train_steps else "step|epoch"
        if save_top_k == -1 and not re.search(rf"\{{({counts})[:}}]", self.filename):
            raise ValueError(
                f"filename must have {{step}} in it where all are kept, got {self.filename}"
            )

    @property
    def state_key(self) -> str:
        return ModelCheckpoint.state_key.fget(self)

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Raises: ValueError: another ModelCheckpoint would write the same files."""
        super().setup(trainer, pl_module, stage)
        for other in trainer.checkpoint_callbacks:
            if other is self or not isinstance(other, ModelCheckpoint):
                continue
            if other.dirpath is None or Path(other.dirpath) != Path(self.dirpath):
                continue
            if other.save_last:
                raise ValueError(
                    f"save_last must be false in a ModelCheckpoint of {self.dirpath}, "
                    f"got {other.save_last}: last.ckpt is there already"
                )
            if other.filename in (self.filename, self.CHECKPOINT_NAME_LAST):
                raise ValueError(
                    f"filename must be another than that of the run's own checkpoints, "
                    f"got {other.filename}"
                )

    def on_save_checkpoint(self, trainer, pl_module, checkpoint: dict[str, Any]) -> None:
        keep_place(trainer, checkpoint)

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx) -> None:
        if trainer.accumulate_grad_batches == 1:
            count_as_begun(trainer)

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._validated = not trainer.sanity_checking  # the last file does not have its numbers
        trainer.callback_metrics.pop("step", None)  # the axis of its numbers, valid until here

    def saved(self) -> None:
        self._validated = False

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        # Lightning does not save after the last multiple of the interval.
        self.save_now(trainer, again=self._validated)
