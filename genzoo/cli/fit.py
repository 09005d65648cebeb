"""`genzoo fit | validate | test | predict`: LightningCLI, where nothing fails silently.

A model and a data set are named by class, the zoo's by their short names, anybody's by an import
path. A model is made for the data: for its `image_shape`, and if the data is `conditional` for its
`num_classes` or `condition`. A checkpoint remembers them, so `genzoo test --ckpt_path C` needs no
more.
"""

import json
import logging
import os
import re
import sys
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import NoneType
from typing import Any

import lightning as L
import torch
import yaml
from jsonargparse import Namespace
from lightning.pytorch.callbacks import ModelCheckpoint, ProgressBar
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI, SaveConfigCallback
from lightning.pytorch.loggers import CSVLogger, WandbLogger
from lightning.pytorch.plugins import CheckpointIO
from lightning.pytorch.utilities.exceptions import MisconfigurationException

from .. import datamodules as _datamodules  # noqa: F401  short names are those of known classes
from ..callbacks import Evaluation, evaluations, make_evaluable
from ..callbacks.game_monitor import GameMonitor
from ..callbacks.progress import Bar, ProgressLines, shown
from ..callbacks.report_cards import refuse_unaskable
from ..callbacks.throughput import Throughput
from ..checks import in_words
from ..conditions import Nothing, given_by
from ..protocols import Classifier, Encoder, Filtering
from ..runs import checkpoints as checkpoints
from ..runs import suggestions as hints
from ..runs.checkpoints import ORIGIN, AtomicCheckpointIO, Checkpoints, NamedCheckpoint
from ..runs.folders import RunLogger, last_checkpoint, remove_empty
from ..runs.suggestions import Misuse
from ..runs.wandb import SafeWandbLogger
from ..watch import watching
from ..zoo.base import GenerativeModel

# What the data says of the model, and how it is said on the command line.
LINKED = {
    "image_shape": "--data",
    "num_classes": "--data.conditional true",
    "class_names": "--data",
    "condition": "--data.conditional true",
}
DEFAULT_DATA = "genzoo.datamodules.Digits"
DEFAULTS = {"max_epochs": 20, "log_every_n_steps": 10}

# Lightning says these on every run, and nobody can do anything about them.
NOISE = (
    "Using ModelCheckpoint with manual optimization",
    "The dirpath has changed from",
    "Checkpoint directory .* exists and is not empty",
    "The '.*_dataloader' does not have many workers",
    "Consider setting `persistent_workers=True`",
    "The number of training batches",
    "`isinstance\\(treespec, LeafSpec\\)` is deprecated",
    "You are using the dev run",
)
NO_MEMORY = re.compile("can't allocate memory|out of memory|calculation overflowed|Overflow when")
TIPS = (
    "💡",
    "TPU available",
    "HPU available",
    "Seed set to",
    "`Trainer.fit` stopped",
    "Restoring states from",
)


def run(command: str, args: list[str]) -> int:
    """Runs a command; gives the exit code: 0, 1 for a failure, 2 for a misuse."""
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())  # at the end: nobody's own file hides an installed package
    try:
        with _quiet():
            if command == "sample":
                from .sample import sample

                sample(args)
            else:
                cli = CLI(command, ["--help"] if args == ["--help", "all"] else args)
                if cli.wandb_hangs:  # its own hook at exit would wait for ever
                    sys.stdout.flush()
                    os._exit(0)
    except SystemExit as exit:
        return exit.code if isinstance(exit.code, int) else int(exit.code is not None)
    except KeyboardInterrupt:
        return 130
    except Misuse as error:
        print(f"genzoo: {error}", file=sys.stderr)
        return 2
    except Exception as error:
        says = _said(error)
        if os.environ.get("GENZOO_DEBUG") == "1" or says is None:
            raise
        print(f"genzoo: {hints.one_line(says)}", file=sys.stderr)
        return 1
    return 0


def _said(error: Exception) -> str | None:
    """What is said of an error instead of its traceback; None of a bug."""
    if isinstance(error, RuntimeError) and (misfit := checkpoints.misfit(error)):
        return f"the checkpoint does not fit the model: {misfit}"
    text = in_words(error)
    if isinstance(error, (MemoryError, RuntimeError, OverflowError, TypeError)):
        if isinstance(error, (MemoryError, torch.OutOfMemoryError)) or NO_MEMORY.search(text):
            why = re.split(" Error code| Exception raised", text)[0]
            return f"there is not enough memory; a smaller model or batch_size helps: {why}"
    return text if _is_message(error) else None


def _is_message(error: Exception) -> bool:
    """Whether an error was written to be read, by us or by Lightning; others are bugs."""
    if isinstance(error, (MisconfigurationException, OSError)):
        return True
    ours = ("genzoo", "genzoo.zoo", "genzoo.datamodules", "genzoo.callbacks", "lightning")
    if isinstance(error, (RuntimeError, ImportError)):
        return _raised_in(error, "lightning")
    return isinstance(error, (ValueError, TypeError)) and _raised_in(error, *ours, "torch.optim")


def _raised_in(error: BaseException, *packages: str) -> bool:
    place = traceback.extract_tb(error.__traceback__)[-1]
    folders = (Path(sys.modules[package].__file__).parent for package in packages)
    said = (place.line or "").startswith("raise")  # and not by what was called there
    return said and any(Path(place.filename).is_relative_to(folder) for folder in folders)


@contextmanager
def _quiet() -> Iterator[None]:
    talkers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
    handlers = [handler for talker in talkers for handler in talker.handlers]

    def worth_it(record: logging.LogRecord) -> bool:
        return not record.getMessage().startswith(TIPS)

    with warnings.catch_warnings():
        for message in NOISE:
            warnings.filterwarnings("ignore", message=f"\\s*{message}")
        for handler in handlers:
            handler.addFilter(worth_it)
        try:
            yield
        finally:
            for handler in handlers:
                handler.removeFilter(worth_it)


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


class Record(SaveConfigCallback):
    """Writes config.yaml into the run directory, and into each checkpoint what made it.

    Args:
        origin: The model and the data, as a configuration. Others as `SaveConfigCallback`.
    """

    def __init__(self, *args: Any, origin: dict[str, Any], **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.origin = origin

    def save_config(self, trainer, pl_module, stage: str) -> None:
        for logger in trainer.loggers:
            if isinstance(logger, SafeWandbLogger):
                logger.log_hyperparams({**self.origin, "seed": self.config.seed_everything})

    def on_save_checkpoint(self, trainer, pl_module, checkpoint: dict[str, Any]) -> None:
        checkpoint[ORIGIN] = dict(self.origin)
        if isinstance(trainer.logger, RunLogger):
            checkpoint[ORIGIN]["logged_step"] = trainer.logger.last_step
            trainer.logger.save()  # what was logged before is there when it goes on from here

    def on_exception(self, trainer, pl_module, exception: BaseException) -> None:
        if isinstance(exception, KeyboardInterrupt) and _last_saved(trainer):
            print("genzoo: interrupted; the same command with --ckpt_path last goes on")


class CLI(LightningCLI):
    """LightningCLI for any LightningModule on any LightningDataModule, in a run directory."""

    def __init__(self, command: str, args: list[str]):
        self.ckpt_path: str | None = None
        self.made: dict[str, Any] = {}  # what the checkpoint says of its model and data
        self.reached = (0, 0)  # its steps and whole epochs
        self.code: list[tuple[str, str, Any]] = []  # what of it would be imported
        self.goes_on = False  # in the run directory of ckpt_path
        self.wandb_hangs = False
        self.linked: dict[str, Any] = {}
        super().__init__(
            L.LightningModule,
            L.LightningDataModule,
            subclass_mode_model=True,
            subclass_mode_data=True,
            auto_configure_optimizers=False,
            save_config_callback=Record,
            save_config_kwargs={"overwrite": True},
            trainer_defaults=DEFAULTS,
            seed_everything_default=0,
            parser_class=Parser,
            parser_kwargs={"prog": "genzoo"},
            args=[command, *args],
        )

    # What can be said on the command line

    @staticmethod
    def subcommands() -> dict[str, set[str]]:
        """Lightning's, without a way to load what is not plain data."""
        commands = LightningCLI.subcommands()
        return {command: skipped | {"weights_only"} for command, skipped in commands.items()}

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        makers = self._image_shape, self._classes, self._class_names, self._condition
        for name, compute in zip(LINKED, makers, strict=True):
            parser.link_arguments(
                "data", f"model.init_args.{name}", compute, apply_on="instantiate"
            )
        parser.add_lightning_class_args(Checkpoints, "checkpoint")
        parser.add_argument(
            "--evaluate", type=bool, default=True, help="Whether to ask the three questions."
        )
        parser.add_class_arguments(Evaluation, "evaluation", instantiate=False, sub_configs=True)
        parser.add_argument(
            "--init_from",
            type=str | None,
            default=None,
            help="A checkpoint whose weights fit starts from: at step 0, all else as it is said.",
        )
        parser.add_argument(
            "--test_after_fit",
            type=bool,
            default=True,
            help="Whether fit ends with a test of the last checkpoint and the report card.",
        )

    def parse_arguments(self, parser: LightningArgumentParser, args: list[str]) -> None:
        command, *rest = args
        given = _scan(rest)
        path = given.get("ckpt_path")
        before = {"data": given.get("data") or DEFAULT_DATA}
        if path is not None and path != "last":
            before = self._remember(path, given)
        elif start := given.get("init_from"):
            before = self._start_from(start, given) or before
        # What was said, without what stands by default or in the checkpoint
        classes = {key: {"class_path": _class_path(value)} for key, value in before.items()}
        words = [word for word in rest if not word.startswith("--print_config")]
        said = parser.parse_args(
            [command, f"--config={json.dumps(classes)}", *words],
            defaults=False,
            _skip_validation=True,
        )[command]
        for key in ("trainer", "checkpoint", "evaluation"):
            if not isinstance(said.get(key, said), (dict, Namespace, NoneType)):
                raise Misuse(f"{key} must be a mapping of its settings, got {said[key]}")
        self._refuse_linked(said)
        if path == "last":
            before = self._go_on(command, said, given) or before
        self._refuse_code(said)
        self._refuse_overridden(said)
        self.config = parser.parse_args([command, f"--config={json.dumps(before)}", *rest])
        self.config[command].pop("config")
        limits = said.get("trainer", {})
        if ("max_steps" in limits or "max_time" in limits) and "max_epochs" not in limits:
            self.config[command].trainer.max_epochs = -1  # the default is not to come in between
        if path == "last":
            self.config[command].ckpt_path = None  # config.yaml is of the whole run
        _refuse_trainer(self.config[command].trainer)
        _refuse_seed(self.config[command].seed_everything)
        self._refuse_useless(command)
        self._say_what_is_done(command)

    def _parse_ckpt_path(self) -> None:
        """Done in `parse_arguments`; Lightning's lets a checkpoint override silently."""

    def _remember(self, path: str, given: dict[str, Any]) -> dict[str, Any]:
        """What the checkpoint says of the model and the data, as a configuration."""
        self.ckpt_path = path
        checkpoint = checkpoints.read(path)
        self.made = checkpoints.origin(checkpoint)
        loops = checkpoint.get("loops", {}).get("fit_loop", {}).get("epoch_progress", {})
        epochs = loops.get("current", {}).get("processed", checkpoint.get("epoch", 0))
        self.reached = (checkpoint.get("global_step", 0), epochs)
        return self._as_made(self.made, path, given)

    def _as_made(self, made: dict[str, Any], path: str, given: dict[str, Any]) -> dict[str, Any]:
        """A configuration of what a checkpoint says; what of it is code only if it is said too."""
        config = {}
        for key in ("model", "data"):
            part = dict(made.get(key) or {})
            said = _class_path(given.get(key))
            theirs = part.get("class_path") or (said if key == "model" else None)
            if theirs is None and key == "model":
                raise Misuse(f"{path} does not say which class it is of: give --model too")
            if theirs is None or (key == "data" and said not in (None, theirs)):
                config[key] = given.get(key) or DEFAULT_DATA
                continue
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
            config[key] = part
        return config

    def _start_from(self, path: str, given: dict[str, Any]) -> dict[str, Any] | None:
        """The model of the checkpoint whose weights are the start, unless another is said."""
        made = checkpoints.origin(checkpoints.read(path))["model"]
        said = _class_path(given.get("model"))
        if said is not None and not _alike(said, made["class_path"] or ""):
            return None
        return self._as_made({"model": made}, path, given)

    def _refuse_code(self, said) -> None:
        """What a checkpoint would have imported, unless it is said on the command line too."""
        for key, name, value in self.code:
            if name not in said.get(key, {}).get("init_args", {}):
                raise Misuse(
                    f"{self.ckpt_path} was made with {name} {_named(value)}, and what is not "
                    f"plain data is not made because a file names it: give --{key}.{name} too"
                )

    def _go_on(self, command: str, said, given: dict[str, Any]) -> dict[str, Any] | None:
        """The last checkpoint of the newest run of this model and data."""
        if "model" not in said:
            raise Misuse("--ckpt_path last needs --model or --config, to know whose last it is")
        folder = _root(said) / _run_name(said)
        path = last_checkpoint(folder)
        self.goes_on = command == "fit" and path is not None
        if path is None and command != "fit":
            raise Misuse(f"there is no checkpoint in {folder} to {command}")
        if path is None:
            print(f"genzoo: no checkpoint in {folder} yet, so this starts anew")
            return None
        return self._remember(str(path), given)

    def _refuse_linked(self, said) -> None:
        for name, instead in LINKED.items():
            if name in said.get("model", {}).get("init_args", {}):
                raise Misuse(f"--model.{name} comes from the data, by {instead}: leave it out")

    def _refuse_overridden(self, said) -> None:
        """What was said of the model, and differs from what the checkpoint was made with."""
        if not self.made:
            return
        made = self.made["model"]
        if made["class_path"] is not None and not _alike(said.model.class_path, made["class_path"]):
            raise Misuse(_misfit(said.model.class_path, made["class_path"], self.ckpt_path))
        for name, value in said.model.get("init_args", {}).items():
            if name in made["init_args"] and not _same(value, made["init_args"][name]):
                raise Misuse(
                    f"--model.{name} {value} would be overridden: {self.ckpt_path} was made with "
                    f"{made['init_args'][name]}. Leave it out, or start anew without --ckpt_path"
                )

    def _refuse_useless(self, command: str) -> None:
        """Weights that nobody trained, and predictions that nobody defined."""
        model = checkpoints.import_class(self.config[command].model.class_path)
        if self.config[command].init_from and command != "fit":
            raise Misuse(f"--init_from is for fit: {command} takes --ckpt_path")
        if command != "fit" and not self.ckpt_path and issubclass(model, GenerativeModel):
            raise Misuse(f"{command} needs --ckpt_path, a trained {model.__name__}")
        if command == "predict" and model.predict_step is L.LightningModule.predict_step:
            raise Misuse(
                f"{model.__name__} has no predict_step. To draw images: "
                f"genzoo sample --ckpt_path {self.ckpt_path}"
            )
        if self.config[command].init_from and self.ckpt_path and not self.goes_on:
            raise Misuse("--init_from must be left out with --ckpt_path, which has the weights")

    def _say_what_is_done(self, command: str) -> None:
        limits = self.config[command].trainer
        for name, reached in zip(("max_steps", "max_epochs"), self.reached, strict=True):
            limit = limits.get(name)
            if command == "fit" and self.ckpt_path and limit not in (None, -1) and reached >= limit:
                what = name.removeprefix("max_")
                print(
                    f"genzoo: {self.ckpt_path} has {reached} {what} and {name} is {limit}: "
                    "there is nothing left to train",
                    flush=True,
                )
                limits.max_epochs = max(limits.max_epochs or -1, self.reached[1])

    # What the data says of the model

    def _takes(self, name: str) -> bool:
        return name in self._get(self.config, "model").get("init_args", {})

    def _image_shape(self, data: L.LightningDataModule) -> tuple[int, ...] | None:
        if not self._takes("image_shape"):
            return None
        shape = getattr(data, "image_shape", None)
        if shape is None:
            raise Misuse(
                f"{type(data).__name__} must have an attribute image_shape, (C, H, W), which "
                f"{self._model_name()} is made for"
            )
        self.linked["image_shape"] = list(shape)
        return tuple(shape)

    def _classes(self, data: L.LightningDataModule) -> int:
        condition, conditional = given_by(data), getattr(data, "conditional", False)
        if conditional and condition == Nothing():
            raise Misuse(f"--data.conditional must be false: {type(data).__name__} has no classes")
        if not self._takes("condition"):
            classes_alone = self._takes("num_classes")
            if condition.from_data and (conditional or classes_alone):
                raise Misuse(
                    f"{self._model_name()} must take a condition of the kind "
                    f"{type(condition).__name__}, which {type(data).__name__} gives, but takes "
                    f"{'classes alone' if classes_alone else 'none'}"
                    f"{': leave --data.conditional out' if conditional else ''}"
                )
            if conditional and not classes_alone:
                raise Misuse(
                    f"--data.conditional must be false: {self._model_name()} takes no num_classes"
                )
        if self._takes("num_classes"):
            self.linked["num_classes"] = condition.num_classes
        return condition.num_classes

    def _condition(self, data: L.LightningDataModule) -> dict[str, Any] | None:
        """As plain values; None where `num_classes` says it."""
        if not self._takes("condition"):
            return None
        condition = given_by(data)
        said = self._takes("num_classes") and not condition.from_data
        self.linked["condition"] = None if said else condition.to_plain()
        return self.linked["condition"]

    def _class_names(self, data: L.LightningDataModule) -> tuple[str, ...]:
        return tuple(getattr(data, "class_names", ()))

    def _model_name(self) -> str:
        return self._get(self.config, "model").class_path.rpartition(".")[-1]

    # The parts

    def instantiate_classes(self) -> None:
        self.parser.add_instantiator(_safe_wandb, WandbLogger, subclasses=False)
        self.parser.add_instantiator(_named_checkpoint, ModelCheckpoint, subclasses=False)
        try:
            with watching(shown):  # reading a folder takes long
                super().instantiate_classes()
        except ValueError as error:  # jsonargparse wraps what links and constructors raise
            cause: BaseException = error
            while _raised_in(cause, "jsonargparse") and cause.__cause__:
                cause = cause.__cause__
            raise cause from None

    def after_instantiate_classes(self) -> None:
        made = self.made["model"]["init_args"] if self.made else {}
        for name, value in self.linked.items():
            if name in made and not _same(value, made[name]):
                raise Misuse(
                    f"{self.ckpt_path} was made for {name} {made[name]}, "
                    f"{type(self.datamodule).__name__} gives {value}"
                )
        if self.subcommand == "test" and self._get(self.config, "evaluate"):
            if not self._tests_itself():
                refuse_unaskable(self.model, Encoder, Classifier, Filtering)  # pictures, probes
        make_evaluable(self.model)

    def instantiate_trainer(self, **kwargs: Any) -> L.Trainer:
        config = self._get(self.config_init, "trainer")
        own = self._get(self.config_init, "checkpoint")
        loggers = self._loggers(config)
        parts = _listed(config.callbacks)
        if self._get(self.config, "evaluate"):
            parts += evaluations(**self._get(self.config_init, "evaluation"))
        parts += [Throughput(), GameMonitor()]
        bars = any(isinstance(part, ProgressBar) for part in parts)
        if not bars and config.enable_progress_bar is not False:
            parts.append(Bar() if sys.stdout.isatty() else ProgressLines())
        if config.enable_checkpointing is not False:
            parts.append(own)
        plugins = _listed(config.plugins)
        if not any(isinstance(plugin, CheckpointIO) for plugin in plugins):
            plugins.append(AtomicCheckpointIO())
        changed = {"callbacks": parts, "plugins": plugins, "logger": loggers}
        self.save_config_kwargs["origin"] = self._origin()
        return self._instantiate_trainer({**config, **changed, **kwargs}, [])

    def _loggers(self, config) -> list:
        """The run directory first: it is where Lightning puts everything else."""
        if config.logger is False:
            raise Misuse(
                "--trainer.logger must not be false: metrics and checkpoints go to the run "
                "directory. --trainer.fast_dev_run true writes nothing"
            )
        others = [] if config.logger is True else _listed(config.logger)
        first = [logger for logger in others if isinstance(logger, CSVLogger)]
        if not first:
            said = self._get(self.config, "trainer")
            name = _run_name(self.config[self.subcommand])
            version = keep = None
            if self.goes_on:
                version = int(Path(self.ckpt_path).parents[1].name.removeprefix("version_"))
                keep = self.made.get("logged_step")
            first = [RunLogger(_root({"trainer": said}), name, version, keep)]
        for logger in others:
            if isinstance(logger, SafeWandbLogger):
                folder = Path(first[0].log_dir)
                logger.settle(folder, f"{folder.parent.name}-{folder.name}")
        return first + [logger for logger in others if logger not in first]

    def _origin(self) -> dict[str, Any]:
        """What a checkpoint is to remember of the model and the data."""
        model, data = (dict(self.config_dump[key]) for key in ("model", "data"))
        model["init_args"] = {**model.get("init_args", {}), **self.linked}
        return {"model": model, "data": data}

    # The commands

    def _prepare_subcommand_kwargs(self, subcommand: str) -> dict[str, Any]:
        kwargs = super()._prepare_subcommand_kwargs(subcommand)
        if subcommand == "test":
            kwargs["verbose"] &= self._tests_itself()
        return {**kwargs, "ckpt_path": self.ckpt_path, "weights_only": True}

    def _tests_itself(self) -> bool:
        """Whether there is more to show than what the report card shows better."""
        step = getattr(type(self.model), "test_step", None)
        return step not in (None, L.LightningModule.test_step, GenerativeModel.test_step)

    def before_fit(self) -> None:
        if (path := self._get(self.config, "init_from")) and not self.ckpt_path:
            checkpoints.init_from(self.model, path)

    def after_fit(self) -> None:
        if self._get(self.config, "test_after_fit"):
            self.trainer.test(
                self.model,
                self.datamodule,
                ckpt_path=_last_saved(self.trainer),
                weights_only=True,
                verbose=self._tests_itself(),
            )

    def predict(self, **kwargs: Any) -> None:
        """Keeps what the model's `predict_step` gave for each batch."""
        predictions = self.trainer.predict(**kwargs)
        path = Path(self.trainer.log_dir, f"predictions-{self.trainer.global_rank}.pt")
        if predictions is not None and not self.trainer.fast_dev_run:
            AtomicCheckpointIO().save_checkpoint(predictions, path)

    def _run_subcommand(self, subcommand: str) -> None:
        first = next(iter(self.trainer.loggers), None)  # a dry run has others
        folder = Path(first.log_dir) if isinstance(first, CSVLogger) else None
        above = [folder.parent, folder.parent.parent] if folder else []
        new = [path for path in above if not path.exists()]
        try:
            super()._run_subcommand(subcommand)
        except BaseException:
            if folder is not None and not self.goes_on and self.trainer.is_global_zero:
                remove_empty(folder, new)
            raise
        finally:
            for logger in self.trainer.loggers:
                if isinstance(logger, SafeWandbLogger):
                    self.wandb_hangs |= not logger.finish()
        folder = self.trainer.log_dir  # asks all ranks
        if not self.trainer.fast_dev_run and self.trainer.is_global_zero:
            print(f"genzoo: all of it is in {folder}")


# The least that a number of the Trainer may be, where it would not say so itself: it would fail
# in the middle of a training, or do something else without a word.
TRAINER_LEAST = {
    "check_val_every_n_epoch": 1,
    "log_every_n_steps": 0,
    "num_sanity_val_steps": -1,
    "gradient_clip_val": 0,  # below, a loss would be climbed
}


def _refuse_trainer(config) -> None:
    """What Lightning's Trainer would take, and then fail over or ignore."""
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


def _refuse_seed(seed: int | bool | None) -> None:
    if isinstance(seed, int) and not 0 <= seed < 2**32:
        raise Misuse(f"--seed_everything must be in 0..{2**32 - 1}, got {seed}")


def _safe_wandb(class_type: type, *args: Any, **kwargs: Any) -> Any:
    return SafeWandbLogger(*args, **kwargs)


def _named_checkpoint(class_type: type, *args: Any, **kwargs: Any) -> Any:
    return NamedCheckpoint(*args, **kwargs)


def _scan(args: list[str]) -> dict[str, Any]:
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
            if not isinstance(content, dict):
                got = "an empty file" if content is None else f"a {type(content).__name__}"
                raise Misuse(f"{value} must hold a mapping of settings, as model: GAN, got {got}")
            for key in ("model", "data"):
                if isinstance(content.get(key), dict):
                    arguments = content[key].get("init_args")
                    if not isinstance(arguments, (dict, NoneType)):
                        must = "must be a mapping of arguments"
                        raise Misuse(f"{key}.init_args {must}, got {arguments} in {value}")
                if key in content and not isinstance(_class_path(content[key]), str):
                    if isinstance(content[key], dict) and "class_path" not in content[key]:
                        continue  # its arguments alone
                    got = "null" if content[key] is None else content[key]
                    raise Misuse(
                        f"{key} must be a class, got {got} in {value}."
                        + hints.hint("", hints.names(key))
                    )
            found.update(content)
        elif name in ("--model", "--data", "--ckpt_path", "--init_from"):
            found[name.removeprefix("--")] = value
    for name in ("ckpt_path", "init_from"):
        if found.get(name) in ("", "null"):
            del found[name]
    return found


def _class_path(value: Any) -> str | None:
    return value.get("class_path") if isinstance(value, dict) else value


def _alike(ours: str, theirs: str) -> bool:
    """Whether two import paths can be of one class: a short name, or one of ours that moved."""
    (ours_at, _, ours), (theirs_at, _, theirs) = ours.rpartition("."), theirs.rpartition(".")
    known = all(not at or checkpoints.is_ours(at) for at in (ours_at, theirs_at))
    return ours == theirs and (known or not ours_at or ours_at == theirs_at)


def _misfit(ours: str, theirs: str, path: str) -> str:
    ours, theirs = (name.rpartition(".")[-1] for name in (ours, theirs))
    return f"--model {ours} does not fit {path}, which is a {theirs}: leave --model out"


def _named(value: Any) -> str:
    return str(_class_path(value)) if isinstance(value, dict) else str(value)


def _last_saved(trainer: L.Trainer) -> str | None:
    """Where the run can go on; the user's own ModelCheckpoints may come first."""
    own = [part for part in trainer.checkpoint_callbacks if isinstance(part, Checkpoints)]
    return next((part.last_model_path for part in own if part.last_model_path), None)


def _run_name(config) -> str:
    names = (config[key].class_path.rpartition(".")[-1] for key in ("model", "data"))
    return "-".join(names)


def _root(config) -> Path:
    return Path(config.get("trainer", {}).get("default_root_dir") or "runs")


def _listed(value: Any) -> list:
    return [] if value is None else list(value) if isinstance(value, (list, tuple)) else [value]


def _same(a: Any, b: Any) -> bool:
    """Equal, whether a list or a tuple holds the numbers."""
    return json.loads(json.dumps(a, default=str)) == json.loads(json.dumps(b, default=str))
