"""Checkpoints: written whole or not at all, read without running what is in them.

A file is written beside its place and moved there at the end, so a killed run leaves the one before
(Lightning stages in the folder for temporary files, and a move between file systems is a copy that
can be cut off). A file is read with `weights_only=True`, wherever it lies: tensors, numbers, text,
lists and dictionaries, never objects that bring code.
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
from typing import Any, Literal

import lightning as L
import torch
from lightning.fabric.plugins import TorchCheckpointIO
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import Tensor

from .._lightning import keep_place
from .._lightning.checkpoint import OpenCheckpoint, is_local, load
from .._lightning.training import count_as_begun, has_validated
from . import suggestions as hints

ORIGIN = "origin"  # the key under which the command line says what made a checkpoint
# A class whose name another has since: by a weight that only the older one has, what it is now.
RENAMED = {"GSN": ("denoiser.body.0.linear.weight", "GeneralizedDenoisingAutoencoder")}


class NotOurs(ValueError):
    """A checkpoint is of a class that is not genzoo's, which only its user can name."""

    def __init__(self, path: str | Path, class_path: str, instead: str):
        self.path, self.class_path = path, class_path
        super().__init__(
            f"{path} is of {class_path}, and a class that is not genzoo's is not imported because "
            f"a file names it: {instead}"
        )


class AtomicCheckpointIO(TorchCheckpointIO):
    """Lightning's reading and writing of checkpoints, made safe; `Trainer(plugins=[...])`."""

    def save_checkpoint(self, checkpoint, path, storage_options=None) -> None:
        if storage_options is not None or not is_local(path):
            return super().save_checkpoint(checkpoint, path, storage_options)
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f".{path.name}.part")  # what a killed run leaves is written over
        try:
            with part.open("wb") as file:
                torch.save(checkpoint, file)
                file.flush()
                os.fsync(file.fileno())
            part.replace(path)
        except RuntimeError as error:  # torch says in its own way what the file system said
            if isinstance(error.__context__, OSError):
                why = error.__context__
                raise OSError(why.errno, why.strerror, str(path)) from error
            raise
        finally:
            part.unlink(missing_ok=True)

    def load_checkpoint(self, path, map_location=lambda storage, _: storage, weights_only=True):
        return read(path, map_location)


def read(path: str | Path, map_location: Any = "cpu") -> dict[str, Any]:
    """A checkpoint of a file or an http(s) address, by `weights_only=True`.

    Raises:
        FileNotFoundError: there is none.
        ValueError: it is no checkpoint, is cut short, or holds more than data.
    """
    try:
        with warnings.catch_warnings():  # of a bare pickle torch says more than that it is none
            warnings.filterwarnings("ignore", message="Detected pickle protocol")
            checkpoint = load(path, map_location)
    except (FileNotFoundError, IsADirectoryError):
        raise FileNotFoundError(f"no checkpoint at {path}") from None
    except Exception as error:  # what reads garbage can raise anything
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
    """What made a checkpoint: {"model": {"class_path", "init_args"}, "data": ..., ...}.

    Where the command line made it, that is written in it. Otherwise there are only the
    hyper-parameters that a model saved, perhaps with its class.
    """
    if ORIGIN in checkpoint:
        return _renamed(checkpoint[ORIGIN], checkpoint)
    arguments = dict(checkpoint.get("hyper_parameters", {}))
    arguments.pop("_instantiator", None)
    class_path = arguments.pop("_class_path", None) or checkpoint.get("class_path")
    return _renamed({"model": {"class_path": class_path, "init_args": arguments}}, checkpoint)


def _renamed(made: dict[str, Any], checkpoint: dict[str, Any]) -> dict[str, Any]:
    """The same, with the name that the model's class has now."""
    model = made.get("model") or {}
    module, _, name = (model.get("class_path") or "").rpartition(".")
    weight, now = RENAMED.get(name, (None, name))
    if weight not in checkpoint.get("state_dict", ()) or not is_ours(module):
        return made
    return {**made, "model": {**model, "class_path": f"{__package__}.{now}"}}


def load_model(
    path: str | Path, model_class: type | None = None, device: Any = "cpu", **arguments: Any
) -> Any:
    """A model with its weights, in evaluation mode, from the checkpoint alone.

    A LightningModule; what else it can do is known when the checkpoint is read.

    Args:
        path: A file or an http(s) address.
        model_class: Needed where the checkpoint does not say it.
        device: Where the model goes.
        arguments: Of the constructor; those of the checkpoint stand where none are given.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no checkpoint, or one of a class that is not to be found from here.
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
    """Gives a model the weights of a checkpoint, and nothing else of it; gives it back.

    A training starts from there at step 0, with its own learning rate, data and seed:
    `trainer.fit(init_from(GAN((1, 28, 28), lr=1e-5), path), data)`.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no checkpoint, or its weights are not those of this model.
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
    """In one line why weights did not fit, of which torch lists every one; None: another error."""
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
    """The class that a checkpoint names, if it is one of the zoo's.

    Others are not imported because a file says so: importing runs what is in a module.

    Raises:
        ValueError: there is none, it is not the zoo's, or it is no LightningModule.
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
    """Whether an import path leads into this package."""
    return class_path.split(".")[0] == "genzoo"


def import_class(class_path: str) -> type:
    """What an import path names; one of the zoo's wherever its file is now."""
    module, _, name = class_path.rpartition(".")
    zoo = import_module("genzoo.zoo")
    if module.split(".")[0] == "genzoo" and hasattr(zoo, name):
        return getattr(zoo, name)
    return getattr(import_module(module), name)


def is_plain(value: Any) -> bool:
    """Numbers, text and collections of them; a dictionary that names a class would be built."""
    if isinstance(value, dict):
        return "class_path" not in value and all(map(is_plain, value.values()))
    if isinstance(value, (list, tuple)):
        return all(map(is_plain, value))
    return value is None or isinstance(value, (bool, int, float, str))


def is_code(kind: type, name: str, value: Any) -> bool:
    """Whether a text for this argument would be an import path: what it names would be run."""
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
    """A ModelCheckpoint whose file names are true, and are names of files.

    The step is the Trainer's, and not one that was logged at the last validation. A number stands
    in `filename` by its name, `{fd/pixels:.2f}`, and is written without the slash, which would make
    a folder: `fd_pixels=0.31`. The command line makes every plain ModelCheckpoint one of these.
    """

    @property
    def state_key(self) -> str:  # what Lightning's class saved is found by this one
        return super().state_key.replace(type(self).__qualname__, "ModelCheckpoint", 1)

    def candidates(self, trainer: L.Trainer, found: dict[str, Tensor]) -> dict[str, Tensor]:
        found["epoch"] = torch.tensor(trainer.current_epoch)
        found["step"] = torch.tensor(trainer.global_step)
        return found

    def file_name(self, pattern: str | None, values: dict[str, Tensor]) -> str | None:
        values |= {name.replace("/", "_"): value for name, value in values.items()}
        return pattern and re.sub(r"\{[^:}]*", lambda name: name[0].replace("/", "_"), pattern)

    def before_best(self, trainer: L.Trainer, candidates: dict[str, Tensor]) -> None:
        """Raises: ValueError: there is no such number, though there was a validation."""
        missing = self.monitor is not None and self.monitor not in candidates
        if missing and has_validated(trainer):
            known = sorted(set(candidates) - {"epoch", "step"})
            raise ValueError(
                f"monitor must be a number that is logged, got {self.monitor}."
                + hints.hint(self.monitor, known)
            )


class Checkpoints(NamedCheckpoint):
    """`last.ckpt` and the latest by its step, every so often and always when training ends.

    Files of other ModelCheckpoints stay what they are: no other may have the names of these.

    Args:
        every_n_epochs: How often; with neither this nor the next every epoch.
        every_n_train_steps: In steps of training instead.
        save_top_k: 1 keeps `last.ckpt` and one more, -1 all.
        filename: Of those by step, as Lightning's `ModelCheckpoint`; None: saved-{epoch}-{step}.
    """

    def __init__(
        self,
        every_n_epochs: int | None = None,
        every_n_train_steps: int | None = None,
        save_top_k: Literal[1, -1] = 1,
        filename: str | None = None,
    ):
        super().__init__(
            filename=filename or "saved-{epoch}-{step}",
            every_n_epochs=every_n_epochs,
            every_n_train_steps=every_n_train_steps,
            save_top_k=save_top_k,
            save_last=True,
            save_on_train_epoch_end=True,  # else only where there is a validation
            enable_version_counter=False,  # a resumed run goes on with its last.ckpt
        )
        self._validated = False

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
        self._validated = not trainer.sanity_checking  # what was saved before does not know it
        trainer.callback_metrics.pop("step", None)  # the axis of its numbers, true until here

    def saved(self) -> None:
        self._validated = False

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        # Lightning leaves out what came after the last multiple.
        self.save_now(trainer, again=self._validated)
