"""`genzoo fit | validate | test | predict`: LightningCLI without silent failures.

A model and a data set are given by class: genzoo's by short names, a user's own by an import path.
The model is built for the `image_shape` of the data, and if the data is `conditional` for its
`num_classes` or `condition`. Checkpoints store both, so `genzoo test --ckpt_path C` needs no other
argument.
"""

import json
import os
import sys
from pathlib import Path
from types import NoneType
from typing import Any

import lightning as L
from jsonargparse import Namespace
from lightning.pytorch.callbacks import ModelCheckpoint, ProgressBar
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.loggers import CSVLogger, WandbLogger
from lightning.pytorch.plugins import CheckpointIO

from .. import datamodules as _datamodules  # noqa: F401  short names are those of known classes
from .._lightning.command_line import OpenCLI
from ..callbacks import Evaluation, evaluations, make_evaluable
from ..callbacks.game_monitor import GameMonitor
from ..callbacks.progress import Bar, ProgressLines
from ..callbacks.report_cards import refuse_unable
from ..callbacks.throughput import Throughput
from ..protocols import Classifier, Encoder, Filtering
from ..runs import checkpoints, suggestions
from ..runs.checkpoints import AtomicCheckpointIO, Checkpoints
from ..runs.folders import remove_empty
from ..runs.suggestions import Misuse
from ..runs.wandb import SafeWandbLogger
from ..watch import shown, watching
from ..zoo.base import GenerativeModel
from .errors import message_of, quiet, raised_in
from .linked import Linked
from .parser import (
    LINKED,
    Parser,
    class_path_of,
    listed,
    refuse_seed,
    refuse_trainer,
    same,
    scan,
    with_class,
)
from .parts import Record, last_saved, loggers, named_checkpoint, safe_wandb
from .remembered import DEFAULT_DATA, Remembered

DEFAULTS = {"max_epochs": 20, "log_every_n_steps": 10}


def run(command: str, args: list[str]) -> int:
    """Runs a command; returns the exit code: 0, 1 for a failure, 2 for a misuse."""
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())  # at the end: a user's file hides no installed package
    try:
        with quiet():
            if command == "sample":
                from .sample import sample

                sample(args)
            else:
                cli = CLI(command, ["--help"] if args == ["--help", "all"] else args)
                if cli.wandb_hangs:  # wandb's own hook at exit would never return
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
        message = message_of(error)
        if os.environ.get("GENZOO_DEBUG") == "1" or message is None:
            raise
        print(f"genzoo: {suggestions.one_line(message)}", file=sys.stderr)
        return 1
    return 0


class CLI(Linked, OpenCLI):
    """LightningCLI for any LightningModule on any LightningDataModule, in a run directory."""

    def __init__(self, command: str, args: list[str]):
        self.remembered = Remembered()
        self.wandb_hangs = self.idle = False
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

    # Options of the command line

    @staticmethod
    def subcommands() -> dict[str, set[str]]:
        """Lightning's commands, without the option to load checkpoints that hold code."""
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
            help="A checkpoint whose weights fit starts from: at step 0, all else as given.",
        )
        parser.add_argument(
            "--test_after_fit",
            type=bool,
            default=True,
            help="Whether fit ends with a test of the last checkpoint and the report card.",
        )

    def parse_arguments(self, parser: LightningArgumentParser, args: list[str]) -> None:
        command, *rest = args
        given = scan(rest)
        path = given.get("ckpt_path")
        before = {"data": given.get("data") or DEFAULT_DATA}
        if path is not None and path != "last":
            before = self.remembered.read(path, given)
        elif start := given.get("init_from"):
            before = self.remembered.start_from(start, given) or before
        rest = with_class(rest, {**before, **given})
        # The user's arguments, without defaults and without those of the checkpoint
        classes = {key: {"class_path": class_path_of(value)} for key, value in before.items()}
        words = [word for word in rest if not word.startswith("--print_config")]
        explicit = parser.parse_args(
            [command, f"--config={json.dumps(classes)}", *words],
            defaults=False,
            _skip_validation=True,
        )[command]
        for key in ("trainer", "checkpoint", "evaluation"):
            if not isinstance(explicit.get(key, explicit), (dict, Namespace, NoneType)):
                raise Misuse(f"{key} must be a mapping of its settings, got {explicit[key]}")
        self._refuse_linked(explicit)
        if path == "last":
            before = self.remembered.go_on(command, explicit, given) or before
        self.remembered.refuse_code(explicit)
        self.remembered.refuse_overridden(explicit)
        self.config = parser.parse_args([command, f"--config={json.dumps(before)}", *rest])
        self.config[command].pop("config")
        limits = explicit.get("trainer", {})
        if ("max_steps" in limits or "max_time" in limits) and "max_epochs" not in limits:
            self.config[command].trainer.max_epochs = -1  # the default must not stop it earlier
        if path == "last":
            self.config[command].ckpt_path = None  # config.yaml describes the whole run
        refuse_trainer(self.config[command].trainer)
        refuse_seed(self.config[command].seed_everything)
        self._refuse_useless(command)
        self.idle = self.remembered.print_if_idle(command, self.config[command].trainer)

    def _refuse_linked(self, explicit) -> None:
        for name, instead in LINKED.items():
            if name in explicit.get("model", {}).get("init_args", {}):
                raise Misuse(f"--model.{name} comes from the data, by {instead}: leave it out")

    def _refuse_useless(self, command: str) -> None:
        """Refuses tests of untrained weights, and `predict` for a model without predictions."""
        model = checkpoints.import_class(self.config[command].model.class_path)
        if self.config[command].init_from and command != "fit":
            raise Misuse(f"--init_from is for fit: {command} takes --ckpt_path")
        if command != "fit" and not self.remembered.path and issubclass(model, GenerativeModel):
            raise Misuse(f"{command} needs --ckpt_path, a trained {model.__name__}")
        if command == "predict" and model.predict_step is L.LightningModule.predict_step:
            raise Misuse(
                f"{model.__name__} has no predict_step. To draw images: "
                f"genzoo sample --ckpt_path {self.remembered.path}"
            )
        if self.config[command].init_from and self.remembered.path and not self.remembered.goes_on:
            raise Misuse("--init_from must be left out with --ckpt_path, which has the weights")

    # The parts

    def instantiate_classes(self) -> None:
        self.parser.add_instantiator(safe_wandb, WandbLogger, subclasses=False)
        self.parser.add_instantiator(named_checkpoint, ModelCheckpoint, subclasses=False)
        try:
            with watching(shown):  # reading a folder takes long
                super().instantiate_classes()
        except ValueError as error:  # jsonargparse wraps what links and constructors raise
            cause: BaseException = error
            while raised_in(cause, "jsonargparse") and cause.__cause__:
                cause = cause.__cause__
            raise cause from None

    def after_instantiate_classes(self) -> None:
        made = self.remembered.made["model"]["init_args"] if self.remembered.made else {}
        for name, value in self.linked.items():
            if name in made and not same(value, made[name]):
                raise Misuse(
                    f"{self.remembered.path} was made for {name} {made[name]}, "
                    f"{type(self.datamodule).__name__} gives {value}"
                )
        if self.subcommand == "test" and self.get(self.config, "evaluate"):
            if not tests_itself(self.model):
                refuse_unable(self.model, Encoder, Classifier, Filtering)  # pictures, probes
        make_evaluable(self.model)

    def instantiate_trainer(self, **kwargs: Any) -> L.Trainer:
        config = self.get(self.config_init, "trainer")
        own = self.get(self.config_init, "checkpoint")
        parts = listed(config.callbacks)
        if self.get(self.config, "evaluate"):
            parts += evaluations(**self.get(self.config_init, "evaluation"))
        parts += [Throughput(), GameMonitor()]
        bars = any(isinstance(part, ProgressBar) for part in parts)
        if not bars and config.enable_progress_bar is not False:
            parts.append(Bar() if sys.stdout.isatty() else ProgressLines())
        if config.enable_checkpointing is not False:
            parts.append(own)
        plugins = listed(config.plugins)
        if not any(isinstance(plugin, CheckpointIO) for plugin in plugins):
            plugins.append(AtomicCheckpointIO())
        theirs = loggers(config.logger, self.config[self.subcommand], self.remembered)
        changed = {"callbacks": parts, "plugins": plugins, "logger": theirs}
        self.save_config_kwargs["origin"] = self._origin()
        return self.make_trainer({**config, **changed, **kwargs})

    def _origin(self) -> dict[str, Any]:
        """The model and the data as a configuration, which checkpoints store."""
        model, data = (dict(self.config_dump[key]) for key in ("model", "data"))
        model["init_args"] = {**model.get("init_args", {}), **self.linked}
        return {"model": model, "data": data}

    # The commands

    def arguments_of(self, command: str, found: dict[str, Any]) -> dict[str, Any]:
        if command == "test":
            found["verbose"] &= tests_itself(self.model)
        return {**found, "ckpt_path": self.remembered.path, "weights_only": True}

    def before_fit(self) -> None:
        if (path := self.get(self.config, "init_from")) and not self.remembered.path:
            checkpoints.init_from(self.model, path)

    def after_fit(self) -> None:
        records = [part for part in self.trainer.callbacks if isinstance(part, Record)]
        if records and not (self.idle or records[0].trained) and self.trainer.is_global_zero:
            limit = self.get(self.config, "trainer").max_time
            why = f": max_time {limit} was over before the first batch" if limit else ""
            print(f"genzoo: nothing was trained{why}", flush=True)
        if self.get(self.config, "test_after_fit"):
            self.trainer.test(
                self.model,
                self.datamodule,
                ckpt_path=last_saved(self.trainer),
                weights_only=True,
                verbose=tests_itself(self.model),
            )

    def predict(self, **kwargs: Any) -> None:
        """Saves the outputs of the model's `predict_step` for each batch."""
        predictions = self.trainer.predict(**kwargs)
        path = Path(self.trainer.log_dir, f"predictions-{self.trainer.global_rank}.pt")
        if predictions is not None and not self.trainer.fast_dev_run:
            AtomicCheckpointIO().save_checkpoint(predictions, path)

    def run_command(self, command: str) -> None:
        first = next(iter(self.trainer.loggers), None)  # fast_dev_run has other loggers
        folder = Path(first.log_dir) if isinstance(first, CSVLogger) else None
        above = [folder.parent, folder.parent.parent] if folder else []
        new = [path for path in above if not path.exists()]
        try:
            super().run_command(command)
        except BaseException:
            if folder is not None and not self.remembered.goes_on and self.trainer.is_global_zero:
                remove_empty(folder, new)
            raise
        finally:
            for logger in self.trainer.loggers:
                if isinstance(logger, SafeWandbLogger):
                    self.wandb_hangs |= not logger.finish()
        folder = self.trainer.log_dir  # must be read on all ranks
        if not self.trainer.fast_dev_run and self.trainer.is_global_zero:
            print(f"genzoo: all of it is in {folder}")


def tests_itself(model: L.LightningModule) -> bool:
    """Whether the model has its own test step, whose numbers the report card does not have."""
    step = getattr(type(model), "test_step", None)
    return step not in (None, L.LightningModule.test_step, GenerativeModel.test_step)
