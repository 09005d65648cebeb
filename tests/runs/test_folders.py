"""Folders of runs: the newest version, its last checkpoint, and rows that are logged once."""

from genzoo.runs.folders import RunLogger, last_checkpoint
from tests.helpers.command_lines import metrics


def test_what_was_logged_after_the_checkpoint_is_logged_once(tmp_path):
    killed = RunLogger(tmp_path, "run", 0)
    for step in range(0, 50, 10):
        killed.log_metrics({"loss": step / 10}, step)
    killed.save()
    resumed = RunLogger(tmp_path, "run", 0, keep=20)
    resumed.log_metrics({"loss": 9.0, "fd": 1.0}, 30)
    resumed.save()
    rows = metrics(tmp_path / "run/version_0")
    assert [(row["step"], row["loss"]) for row in rows] == [
        ("0", "0.0"),
        ("10", "1.0"),
        ("20", "2.0"),
        ("30", "9.0"),
    ]
    assert resumed.last_step == 30


def test_the_newest_version_is_the_largest_number(tmp_path):
    for version in (2, 10, 9):
        path = tmp_path / f"version_{version}/checkpoints/last.ckpt"
        path.parent.mkdir(parents=True)
        path.touch()
    (tmp_path / "version_11/checkpoints").mkdir(parents=True)  # killed before its first
    assert last_checkpoint(tmp_path).parents[1].name == "version_10"


def test_a_version_without_last_goes_on_from_its_latest(tmp_path):
    folder = tmp_path / "version_3/checkpoints"
    folder.mkdir(parents=True)
    for name in ("epoch=2-step=90.ckpt", "saved-epoch=9-step=400.ckpt", "other.ckpt"):
        (folder / name).touch()
    assert last_checkpoint(tmp_path) == folder / "saved-epoch=9-step=400.ckpt"
    (folder / "last.ckpt").touch()
    assert last_checkpoint(tmp_path) == folder / "last.ckpt"
