"""Loggers, whose files and services are made when something is first logged, on rank 0."""

from pathlib import Path
from typing import Any

from lightning.fabric.loggers.logger import _DummyExperiment, rank_zero_experiment
from lightning.pytorch.loggers import CSVLogger, WandbLogger
from lightning.pytorch.loggers.csv_logs import ExperimentWriter


class OpenWriter(ExperimentWriter):
    """A writer of metrics.csv that is asked what to do with a file that is there."""

    def take_up(self, path: str) -> None:
        """Called for a file that is there; Lightning's would delete it."""

    def _check_log_dir_exists(self) -> None:
        if self._fs.isfile(self.metrics_file_path):
            self.take_up(self.metrics_file_path)


class OpenCSVLogger(CSVLogger):
    """A CSVLogger with a writer of its own."""

    def writer(self) -> ExperimentWriter:
        """Made when something is first logged."""
        return ExperimentWriter(self.log_dir)

    @property
    @rank_zero_experiment
    def experiment(self) -> ExperimentWriter:
        if self._experiment is None:
            self._experiment = self.writer()
        return self._experiment


class OpenWandbLogger(WandbLogger):
    """A WandbLogger whose arguments can be changed until its run begins."""

    def begin(self) -> Any:
        """The run, made when something is first logged."""
        return self.begin_run()

    def begin_run(self) -> Any:
        """By Lightning's own means."""
        return WandbLogger.experiment.fget(self)

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:
        if self._experiment is None:
            self._experiment = self.begin()
        return self._experiment

    @property
    def arguments(self) -> dict[str, Any]:
        """What `wandb.init` will be given."""
        return self._wandb_init

    @property
    def is_offline(self) -> bool:
        return self._offline

    def settle_in(self, folder: str | Path) -> None:
        self.arguments["dir"] = self._save_dir = str(Path(folder).absolute())

    def rename(self, name: str) -> None:
        self.arguments["name"] = self._name = name

    def go_on_with(self, run_id: str) -> None:
        self.arguments["id"] = self._id = run_id

    @property
    def run(self) -> Any:
        """The run where it has begun, else None."""
        return self._experiment

    def forget_run(self) -> None:
        self._experiment = None


def nobody() -> Any:
    """A run that takes everything and does nothing."""
    return _DummyExperiment()


def is_nobody(run: Any) -> bool:
    return isinstance(run, _DummyExperiment)
