"""Run directories, `runs/<Model>-<Data>/version_N`; a resumed run continues in its own."""

import csv
import re
import shutil
from collections.abc import Iterable
from pathlib import Path

from .._lightning.logger import OpenCSVLogger, OpenWriter


class RunLogger(OpenCSVLogger):
    """A CSVLogger that appends to the metrics.csv of a resumed run, which Lightning's deletes.

    Args:
        save_dir: The folder of all runs.
        name: Name of the model and the data.
        version: Version of the run that is resumed; None: a new run.
        keep: Last step of metrics.csv that is kept, since a killed run's metrics after its
            checkpoint will be logged again; None: all are kept.
    """

    def __init__(
        self, save_dir: str | Path, name: str, version: int | None = None, keep: int | None = None
    ):
        super().__init__(save_dir, name, version, flush_logs_every_n_steps=10)
        self.keep = keep
        self.last_step = -1 if keep is None else keep

    def writer(self) -> OpenWriter:
        return _Writer(self.log_dir, self.keep)

    def log_metrics(self, metrics, step=None) -> None:
        if step is not None:
            self.last_step = max(self.last_step, step)
        super().log_metrics(metrics, step)


class _Writer(OpenWriter):
    def __init__(self, log_dir: str, keep: int | None):
        self.keep = keep
        super().__init__(log_dir)

    def take_up(self, path: str) -> None:
        last = float("inf") if self.keep is None else self.keep
        with open(path, newline="") as file:
            reader = csv.DictReader(file)
            rows = [row for row in reader if float(row["step"]) <= last]
            self.metrics_keys = list(reader.fieldnames or ())
        with open(path, "w", newline="") as file:
            writer = csv.DictWriter(file, self.metrics_keys)
            writer.writeheader()
            writer.writerows(rows)


def last_checkpoint(folder: Path) -> Path | None:
    """The checkpoint from which the newest version in a folder of runs can be resumed, or None.

    It is `last.ckpt`, or else the checkpoint with the largest step in its name.
    """
    versions = {
        int(found[1]): path
        for path in folder.glob("version_*/checkpoints")
        if (found := re.fullmatch(r"version_(\d+)", path.parent.name))
    }
    for version in sorted(versions, reverse=True):
        if (last := versions[version] / "last.ckpt").is_file():
            return last
        if others := list(versions[version].glob("*.ckpt")):
            return max(others, key=_step)
    return None


def _step(path: Path) -> tuple[int, float]:
    found = re.search(r"step=(\d+)", path.stem)
    return int(found[1]) if found else -1, path.stat().st_mtime


def newest_checkpoint(root: Path) -> Path | None:
    """The checkpoint that was written last, over all models and data sets in a folder of runs."""
    found = [last_checkpoint(folder) for folder in root.glob("*") if folder.is_dir()]
    return max(filter(None, found), key=lambda path: path.stat().st_mtime, default=None)


def remove_empty(folder: Path, new: Iterable[Path] = ()) -> None:
    """Removes the run directory of a failed start, if it has no results.

    Args:
        new: Its parent folders that were created with it, innermost first; they are removed if
            they are empty.
    """
    kept = [path for path in folder.rglob("*") if path.is_file() and path.stat().st_size]
    if folder.is_dir() and {path.name for path in kept} <= {"config.yaml", "hparams.yaml"}:
        shutil.rmtree(folder)
    for path in new:
        if path.is_dir() and not any(path.iterdir()):
            path.rmdir()
