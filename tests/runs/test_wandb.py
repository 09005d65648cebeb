import json
import math
import shutil
import struct
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch
import wandb
from lightning.fabric.loggers.logger import _DummyExperiment
from PIL import Image
from wandb.proto.wandb_internal_pb2 import Record

from genzoo.callbacks import Evaluation, Number, ReportCard, Section
from genzoo.images import to_uint8
from genzoo.runs.wandb import SafeWandbLogger, as_array
from tests.helpers import user_models
from tests.helpers.toy_model_and_data import Data, Toy, trainer

BLOCK = 32768  # of LevelDB's log format, in which a .wandb file is written


def records(path: Path):
    """The records of a .wandb file: 7 bytes of header, then blocks of (crc, length, type, data)."""
    content = path.read_bytes()
    assert content[:4] in (b":W&B", b"")
    place, whole = 7, b""
    while place + 7 <= len(content):
        if BLOCK - place % BLOCK < 7:  # the rest of a block is padding
            place += BLOCK - place % BLOCK
            continue
        _, length, kind = struct.unpack("<IHB", content[place : place + 7])
        whole += content[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):  # whole, or the last part of one
            yield Record.FromString(whole)
            whole = b""


def read_run(folder: Path) -> tuple[list[dict], dict]:
    """History and configuration of the only run in a folder, once the service has written it."""
    kinds: list[str] = []
    until = time.monotonic() + 20
    while "exit" not in kinds and time.monotonic() < until:
        time.sleep(0.05)
        files = list(folder.glob("wandb/offline-run-*/*.wandb"))
        found = list(records(files[0])) if files else []
        kinds = [record.WhichOneof("record_type") for record in found]
    assert "exit" in kinds and len(files) == 1
    history, config = [], {}
    for record in found:
        if record.WhichOneof("record_type") == "history":
            items = record.history.item
            row = {item.key or item.nested_key[0]: item.value_json for item in items}
            history.append({key: json.loads(value) for key, value in row.items()})
        for change in (*record.config.update, *record.run.config.update):
            config[change.key or change.nested_key[0]] = json.loads(change.value_json)
    return history, config


@pytest.fixture
def logger(tmp_path):
    logger = SafeWandbLogger(save_dir=tmp_path, patience=20)
    yield logger
    logger.finish()


def said(caplog) -> list[str]:
    return [r.message for r in caplog.records if r.name == "genzoo.runs.wandb"]


def test_a_run_has_metrics_hyper_parameters_and_images(tmp_path, logger):
    ramp = torch.linspace(-1, 1, 64 * 3).view(3, 8, 8)
    logger.log_hyperparams({"model": {"lr": 0.3}, "seed": 7})
    logger.log_image("samples", [ramp, to_uint8(ramp[:1])], step=3)
    for step in range(2000):  # more than a block
        logger.log_metrics({"loss/generator": step / 2}, step)
    assert logger.finish()

    history, config = read_run(tmp_path)
    losses = [row["loss/generator"] for row in history if "loss/generator" in row]
    assert losses == [step / 2 for step in range(2000)]
    assert history[-1]["trainer/global_step"] == 1999
    assert config["model"] == {"lr": 0.3} and config["seed"] == 7
    files = sorted(tmp_path.glob("wandb/offline-run-*/files/media/images/*.png"))
    images = sorted((np.array(Image.open(file)) for file in files), key=lambda image: image.ndim)
    assert (images[1] == to_uint8(ramp).movedim(0, -1).numpy()).all()  # not black
    assert (images[0] == to_uint8(ramp[0]).numpy()).all()


def test_floats_are_images_of_the_zoos_convention():
    x = torch.tensor([[[-1.0, 0.0, 1.0]]])  # (1, 1, 3)
    assert as_array(x).tolist() == [[[0, 128, 255]]] or as_array(x).tolist() == [[0, 128, 255]]
    chw = torch.zeros(3, 5, 7)
    assert as_array(chw).shape == (5, 7, 3) and as_array(chw).dtype == np.uint8
    assert as_array(torch.zeros(5, 7, 3, dtype=torch.uint8)).shape == (5, 7, 3)
    assert as_array("a.png") == "a.png"


def test_without_a_key_the_run_is_written_to_disk_with_one_line(tmp_path, monkeypatch, caplog):
    monkeypatch.delenv("WANDB_MODE")
    monkeypatch.setattr("genzoo.runs.wandb.has_key", lambda wandb: False)
    logger = SafeWandbLogger(save_dir=tmp_path)
    logger.log_metrics({"loss": 1.0}, 0)
    assert logger.finish()
    assert read_run(tmp_path)[0][0]["loss"] == 1.0
    assert said(caplog) == [
        "genzoo: W&B has no API key: the run is written to disk, wandb sync sends it"
    ]


def test_credentials_are_looked_for_but_never_asked_for(monkeypatch):
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("asked"))
    from genzoo.runs.wandb import has_key

    class Login:
        def __call__(self, prompt, verify):
            assert (prompt, verify) == (False, False)
            return True

    assert has_key(type("wandb", (), {"login": Login()})) is True


def test_a_network_that_is_down_is_a_run_on_disk(tmp_path, monkeypatch, caplog):
    start = wandb.init
    monkeypatch.setenv("WANDB_BASE_URL", "https://wandb.invalid")
    wandb.teardown()  # what it has read is forgotten

    def init(**settings):
        assert settings["settings"].init_timeout == 20  # seconds, for wandb's 90
        if settings.get("mode") != "offline":
            raise wandb.errors.CommError("connection refused\nConsider increasing the timeout")
        return start(**settings)

    monkeypatch.setattr(wandb, "init", init)
    logger = SafeWandbLogger(save_dir=tmp_path, settings=None)
    logger.log_metrics({"loss": 1.0}, 0)
    assert logger.finish()
    assert read_run(tmp_path)[0][0]["loss"] == 1.0
    assert said(caplog) == [
        "genzoo: W&B could not start at https://wandb.invalid: connection refused; the run is "
        "written to disk instead: look whether WANDB_BASE_URL is right and can be reached from "
        "here, then wandb sync sends it"
    ]


def test_an_address_that_is_none(tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("WANDB_BASE_URL", "nonsense")
    wandb.teardown()  # what it has read is forgotten
    logger = SafeWandbLogger(save_dir=tmp_path)
    logger.log_metrics({"loss": 1.0}, 0)
    logger.log_summary({"fd/pixels": 1.0})
    assert logger.finish()
    monkeypatch.undo()
    wandb.teardown()
    first, second = said(caplog)
    assert first.startswith("genzoo: W&B could not start at nonsense: ") and "base_url" in first
    assert second.startswith("genzoo: W&B could not start on the disk either: ")
    assert second.endswith("; training goes on without it")


def test_wandb_that_does_not_even_start_costs_nothing(tmp_path, monkeypatch, caplog):
    def init(**settings):
        raise OSError("no space left on device")

    monkeypatch.setattr(wandb, "init", init)
    logger = SafeWandbLogger(save_dir=tmp_path)
    logger.log_metrics({"loss": 1.0}, 0)
    logger.log_image("samples", [torch.zeros(3, 8, 8)])
    logger.finalize("success")
    assert isinstance(logger.experiment, _DummyExperiment)
    assert logger.finish()
    assert "no space left on device" in caplog.text


def test_a_service_that_died_is_one_line(tmp_path, monkeypatch, caplog, logger):
    logger.log_metrics({"loss": 1.0}, 0)
    logger.wait()

    def broken(*_, **__):
        raise ConnectionResetError("Connection lost")

    with monkeypatch.context() as patch:
        patch.setattr(logger.experiment, "log", broken)
        for step in range(5):
            logger.log_metrics({"loss": 2.0}, step)
        logger.log_image("samples", [torch.zeros(3, 8, 8)])
        logger.finalize("success")
    lines = said(caplog)
    assert lines == ["genzoo: W&B failed: Connection lost; training goes on"]


def test_a_service_that_hangs_holds_nobody_up(tmp_path, monkeypatch, caplog):
    logger = SafeWandbLogger(save_dir=tmp_path, queue_size=5, patience=0.2)
    go_on, experiment = threading.Event(), logger.experiment
    log = experiment.log
    monkeypatch.setattr(experiment, "log", lambda *args: (go_on.wait(30), log(*args)))
    start = time.monotonic()
    for step in range(100):
        logger.log_metrics({"loss": 2.0}, step)
    assert not logger.wait()
    assert time.monotonic() - start < 5
    lines = said(caplog)
    assert [line for line in lines if "queue is full" in line] == lines[:1]
    assert len(lines) == 2
    go_on.set()
    logger.patience = 20
    assert logger.finish()


def test_a_resumed_run_is_the_same_run(tmp_path):
    first = SafeWandbLogger()
    first.settle(tmp_path, "GAN-Digits-version_0")
    first.log_metrics({"loss": 1.0}, 0)
    name, identity = first.experiment.name, first.experiment.id
    first.finish()
    second = SafeWandbLogger()
    second.settle(tmp_path, "GAN-Digits-version_0")
    assert (second.version, name) == (identity, "GAN-Digits-version_0")


def test_the_command_line_takes_it_for_lightnings(tmp_path, monkeypatch, capsys):
    from genzoo.__main__ import main

    shutil.copy(user_models.__file__, tmp_path / "own.py")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    sys.modules.pop("own", None)
    code = main(
        "fit --model own.Mean --model.lr 0.3 --data own.Noise --trainer.logger WandbLogger "
        "--trainer.max_epochs 3 --trainer.accelerator cpu --evaluate false".split()
    )
    assert code == 0, capsys.readouterr().err
    run = tmp_path / "runs/Mean-Noise/version_0"
    assert (run / "metrics.csv").is_file() and not (tmp_path / "wandb").exists()
    history, config = read_run(run)
    steps = [row["trainer/global_step"] for row in history if "loss/mean" in row]
    assert steps == [9, 19]
    assert any("distance" in row for row in history)  # the test after fit
    assert config["model"]["class_path"] == "own.Mean"
    assert config["model"]["init_args"]["lr"] == 0.3 and config["seed"] == 0
    assert wandb.run is None


def test_the_pictures_of_a_fit_are_on_the_dashboard(tmp_path, monkeypatch, capsys):
    from genzoo.__main__ import main

    monkeypatch.chdir(tmp_path)
    code = main(
        "fit --model GAN --model.width 8 --trainer.logger WandbLogger --trainer.max_epochs 1 "
        "--trainer.accelerator cpu --evaluation.extractor pixels --evaluation.num_samples 40 "
        "--evaluation.num_samples_fit 40 --evaluation.num_real 100".split()
    )
    out, err = capsys.readouterr()
    assert code == 0, err
    history, _ = read_run(tmp_path / "runs/GAN-Digits/version_0")
    keys = set().union(*history)
    assert {"loss/generator", "loss/discriminator", "images/s", "fd/pixels"} <= keys
    assert {"samples", "test/samples", "test/fd/pixels"} <= keys
    media = tmp_path.glob("runs/*/*/wandb/offline-run-*/files/media/images/**/*samples*.png")
    pictures = [np.array(Image.open(path)) for path in media]
    assert len(pictures) == 2
    assert all(picture.std() > 10 for picture in pictures)


def summary_of(folder: Path) -> dict:
    """What a run's summary was last told, by key."""
    (file,) = folder.glob("wandb/offline-run-*/*.wandb")
    told = {}
    for record in records(file):
        for change in record.summary.update:
            told[change.key or "/".join(change.nested_key)] = json.loads(change.value_json)
    return told


class Judge(Evaluation):
    def evaluate(self, evidence):
        numbers = {
            "fd/pixels": Number(12.5, 11.0, 13.5, "a note"),
            "support": Number(math.inf, 83.0, math.inf),
        }
        return Section("realism", "It does, nearly.", "good", numbers)


def test_a_test_ends_with_the_card_in_the_summary(tmp_path, logger):
    callbacks = [ReportCard(), Judge("pixels", num_samples=110)]
    trainer(tmp_path, callbacks, logger=logger).test(Toy(), Data(), verbose=False)
    assert logger.finish()
    history, _ = read_run(tmp_path)
    told = summary_of(tmp_path)
    assert told["report/realism"] == "good"
    assert told["report/realism/verdict"] == "It does, nearly."
    assert told["test/fd/pixels"] == 12.5 and told["test/support"] in (math.inf, "Infinity")
    assert sum("report/numbers" in row for row in history) == 1
    (file,) = tmp_path.glob("wandb/offline-run-*/files/media/table/report/numbers*.json")
    table = json.loads(file.read_text())
    assert table["columns"] == ["number", "value", "low", "high", "note"]
    assert table["data"][0] == ["fd/pixels", 12.5, 11.0, 13.5, "a note"]
    assert table["data"][1][0] == "support" and table["data"][1][2] == 83.0


def test_a_summary_that_fails_stops_nothing(tmp_path, monkeypatch, caplog, logger):
    def broken(*_, **__):
        raise ConnectionResetError("Connection lost")

    monkeypatch.setattr(type(logger.experiment.summary), "update", broken)
    callbacks = [ReportCard(), Judge("pixels", num_samples=110)]
    trainer(tmp_path, callbacks, logger=logger).test(Toy(), Data(), verbose=False)
    assert logger.wait() and (tmp_path / "report.json").is_file()
    assert said(caplog) == ["genzoo: W&B failed: Connection lost; training goes on"]
