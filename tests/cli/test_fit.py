import csv
import multiprocessing
import os
import re
import resource
import sys
import weakref
from importlib.util import find_spec
from pathlib import Path

import lightning as L
import pytest
import torch
import yaml

from genzoo.__main__ import main
from genzoo.callbacks import progress as lines
from genzoo.runs.checkpoints import load_model, origin, read
from genzoo.runs.folders import RunLogger, last_checkpoint
from genzoo.zoo import GAN, VAE, PixelCNN
from genzoo.zoo import sample as sampling
from tests.helpers.training import bits, loader, trainer

FAST = (
    "--evaluate false --trainer.accelerator cpu --trainer.enable_model_summary false "
    "--trainer.max_epochs 1 "
)
OWN = f"--model own.Mean --data own.Noise {FAST}"
RUN = Path("runs/Mean-Noise/version_0")
LAST = RUN / "checkpoints/last.ckpt"


def metrics(run: Path) -> list[dict[str, str]]:
    with (run / "metrics.csv").open() as file:
        return list(csv.DictReader(file))


# A run and its directory


def test_fit_leaves_a_run_directory(genzoo):
    out = genzoo(f"fit {OWN} --trainer.max_epochs 3")
    assert str(RUN) in out
    assert {path.name for path in RUN.iterdir()} == {
        "checkpoints",
        "config.yaml",
        "hparams.yaml",
        "metrics.csv",
    }
    assert {path.name for path in LAST.parent.iterdir()} == {
        "last.ckpt",
        "saved-epoch=2-step=24.ckpt",
    }
    assert {"loss/mean", "images/s"} <= set(metrics(RUN)[-1])
    assert float(metrics(RUN)[-1]["distance"]) > 0  # the test after fit
    genzoo(f"fit {OWN}")
    assert (RUN.parent / "version_1").is_dir()


def test_a_config_repeats_its_run_to_the_bit(genzoo):
    genzoo(f"fit {OWN} --model.lr 0.03 --data.conditional true")
    genzoo(f"fit --config {RUN}/config.yaml")
    first, second = read(LAST), read(RUN.parent / "version_1/checkpoints/last.ckpt")
    assert origin(first)["model"] == origin(second)["model"]
    assert torch.equal(first["state_dict"]["mean"], second["state_dict"]["mean"])


def test_defaults_are_digits_and_seed_0(genzoo):
    config = yaml.safe_load(genzoo("fit --model GAN --print_config"))
    assert config["data"]["class_path"] == "genzoo.datamodules.Digits"
    assert config["seed_everything"] == 0
    assert "image_shape" not in config["model"]["init_args"]


def test_the_root_of_runs_can_be_elsewhere(genzoo):
    genzoo(f"fit {OWN} --trainer.default_root_dir elsewhere")
    assert Path("elsewhere/Mean-Noise/version_0/checkpoints/last.ckpt").is_file()
    genzoo(f"fit {OWN} --trainer.default_root_dir elsewhere --ckpt_path last")
    assert not Path("runs").exists() and not Path("elsewhere/Mean-Noise/version_1").exists()


def test_a_dry_run_writes_nothing(genzoo):
    before = set(Path().iterdir())
    genzoo(f"fit {OWN} --trainer.fast_dev_run 2")
    assert {path for path in Path().iterdir() if path.name != "__pycache__"} == before


def test_what_is_printed_without_a_terminal_is_short(genzoo):
    out = genzoo(f"fit {OWN} --trainer.max_epochs 5")
    epochs = [line for line in out.splitlines() if line.startswith("epoch ")]
    assert len(epochs) == 5
    assert re.fullmatch(r"epoch 5/5  loss/mean [\d.]+  images/s [\d.]+", epochs[-1])
    assert len(out.splitlines()) < 12


@pytest.mark.parametrize(
    "limits, tenth",
    [
        ({"max_epochs": -1, "max_steps": 40}, "epoch 1 batch 10/16  loss 1  3 min left"),
        ({"max_epochs": 2}, "epoch 1/2 batch 10/16  loss 1  2 min left"),
        ({"max_epochs": 1}, "epoch 1/1 batch 10/16  loss 1  36 s left"),
        ({"max_epochs": -1, "limit_train_batches": 12}, "epoch 1 batch 10/12  loss 1"),
    ],
)
def test_the_time_that_is_left_is_said(monkeypatch, capsys, limits, tenth):
    """Of batches of six seconds, off a terminal."""
    clock = [0.0]

    class Slow(L.Callback):
        def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
            clock[0] += 6
            trainer.should_stop = batch_idx == 10

    monkeypatch.setattr(lines, "monotonic", lambda: clock[0])
    progress = lines.ProgressLines(seconds=60)
    monkeypatch.setattr(progress, "get_metrics", lambda *_: {"loss": 1})
    runner = trainer(callbacks=[Slow(), progress], enable_progress_bar=True, **limits)
    runner.fit(VAE((1, 8, 8), width=4), loader(bits(128)))
    assert tenth in capsys.readouterr().out.splitlines()


def test_the_settings_of_evaluations_are_passed_on(genzoo):
    line = "fit --model GAN --evaluation.num_samples 77 --evaluation.seed 3 --print_config"
    config = yaml.safe_load(genzoo(line))
    assert (config["evaluation"]["num_samples"], config["evaluation"]["seed"]) == (77, 3)
    assert config["evaluate"] is True


def test_a_limit_that_is_given_is_the_limit(genzoo):
    config = yaml.safe_load(genzoo("fit --model GAN --print_config"))
    assert config["trainer"]["max_epochs"] == 20
    own = OWN.replace("--trainer.max_epochs 1", "--trainer.max_steps 200")
    genzoo(f"fit {own}")
    assert read(LAST)["global_step"] == 200  # 25 epochs


# What the data says of the model


@pytest.mark.parametrize("conditional, number", [("false", 0), ("true", 2)])
def test_a_model_is_told_what_the_data_is(genzoo, conditional, number):
    genzoo(f"fit {OWN} --data.side 5 --data.conditional {conditional}")
    model = load_model(LAST, sys.modules["own"].Mean)
    assert model.image_shape == (1, 5, 5)
    assert model.num_classes == number


def test_a_foreign_model_is_told_nothing_and_works(genzoo):
    genzoo(f"fit --model own.Plain --data own.Shapeless {FAST}")
    path = Path("runs/Plain-Shapeless/version_0/checkpoints/last.ckpt")
    assert load_model(path, sys.modules["own"].Plain).layer.out_features == 4
    ours = f"--model own.Plain --data own.Shapeless {FAST}"
    genzoo(f"test --ckpt_path {path} {ours}")
    genzoo(f"predict --ckpt_path {path} {ours}")
    predictions = torch.load("runs/Plain-Shapeless/version_2/predictions-0.pt", weights_only=True)
    assert [len(batch) for batch in predictions] == [8, 8]


def test_the_zoo_by_short_names(genzoo):
    genzoo(f"fit --model GAN --model.width 8 --data Digits --data.conditional true {FAST}")
    model = load_model("runs/GAN-Digits/version_0/checkpoints/last.ckpt")
    assert model.image_shape == (1, 8, 8) and model.num_classes == 10
    assert model.sample(3).shape == (3, 1, 8, 8)


# Going on


def test_last_goes_on_in_the_run_with_what_it_was_made_with(genzoo, trained):
    genzoo(f"fit {OWN} --trainer.max_epochs 2 --ckpt_path last")
    assert not (RUN.parent / "version_1").exists()
    checkpoint = read(trained)
    assert checkpoint["global_step"] == 32  # two epochs of 64 / 4
    assert origin(checkpoint)["model"]["init_args"]["lr"] == 0.3
    assert origin(checkpoint)["data"]["init_args"]["batch_size"] == 4
    steps = [int(row["step"]) for row in metrics(RUN) if row["loss/mean"]]
    assert steps == [9, 19, 29]
    assert yaml.safe_load((RUN / "config.yaml").read_text())["ckpt_path"] is None
    # a run that is done is done
    for limit in ("epochs 2", "epochs 1", "steps 32", "steps 20"):
        line = OWN.replace("--trainer.max_epochs 1", f"--trainer.max_{limit}")
        says = genzoo(f"fit {line} --ckpt_path last")
        name, number = limit.split()
        reached = 2 if name == "epochs" else 32
        assert (
            f"genzoo: {trained} has {reached} {name} and max_{name} is {number}: "
            "there is nothing left to train\n"
        ) in says
    assert read(trained)["global_step"] == 32


def test_last_of_nothing_starts_anew(genzoo):
    assert "starts anew" in genzoo(f"fit {OWN} --ckpt_path last")
    assert LAST.is_file()


def test_going_on_equals_never_having_stopped(genzoo):
    genzoo(f"fit {OWN} --trainer.max_epochs 3 --trainer.default_root_dir whole")
    genzoo(f"fit {OWN}")
    genzoo(f"fit {OWN} --trainer.max_epochs 3 --ckpt_path last")
    whole = read(Path("whole") / LAST.relative_to("runs"))
    for name, value in read(LAST)["state_dict"].items():
        assert torch.equal(value, whole["state_dict"][name])
    assert [row["step"] for row in metrics(RUN) if row["loss/mean"]] == ["9", "19"]


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


def test_last_is_sampled_from(genzoo):
    assert "there is no checkpoint in the folder runs" in genzoo("sample --ckpt_path last", 2)
    for model in ("VAE --model.decoder gaussian", "GAN"):
        genzoo(f"fit --model {model} --model.width 8 --test_after_fit false {FAST}")
    says = genzoo("sample --ckpt_path last --n 4")
    assert "genzoo: runs/GAN-Digits/version_0/checkpoints/last.ckpt\n" in says
    assert "4 images of GAN in samples.png" in says


def test_a_start_that_fails_leaves_no_version(genzoo):
    genzoo(f"fit {OWN}")
    line = f"fit {OWN} --trainer.val_check_interval 100"  # said by Lightning when data are there
    assert "must be less than or equal" in genzoo(line, 1)
    assert [path.name for path in RUN.parent.iterdir()] == ["version_0"]


# From the weights of another


def test_weights_are_a_start_and_nothing_else_is(genzoo):
    start = f"--test_after_fit false {FAST}"
    genzoo(f"fit --model GAN --model.width 8 {start}")
    first = "runs/GAN-Digits/version_0/checkpoints/last.ckpt"
    says = genzoo(f"fit --init_from {first} --model.lr 1e-9 --data.num_train 256 {start}")
    assert "version_1" in says
    before, after = read(first), read(first.replace("version_0", "version_1"))
    assert after["global_step"] == 2 and after["epoch"] == 0  # 256 images in batches of 128
    assert origin(after)["model"]["init_args"]["lr"] == 1e-9
    assert origin(after)["model"]["init_args"]["width"] == 8
    for name, value in after["state_dict"].items():
        if value.is_floating_point() and "running" not in name:
            assert torch.allclose(value, before["state_dict"][name], atol=1e-7, rtol=0), name
    group = after["optimizer_states"][1]
    assert group["param_groups"][0]["lr"] == 1e-9 and group["state"][0]["step"] == 2
    # and it goes on as any run
    genzoo(f"fit --init_from {first} --model GAN --model.lr 1e-9 {start} --ckpt_path last")


def test_a_start_that_cannot_be_is_refused(genzoo):
    made = {"class_path": "genzoo.zoo.GAN", "init_args": {"width": 8, "image_shape": [1, 8, 8]}}
    weights = GAN((1, 8, 8), width=8).state_dict()
    torch.save({"state_dict": weights, "origin": {"model": made}}, "c.ckpt")
    for line, code, says in (
        (
            "fit --init_from c.ckpt --model.width 4",
            1,
            "c.ckpt does not fit GAN: size mismatch for ",
        ),
        ("fit --init_from c.ckpt --model VAE", 1, "c.ckpt does not fit VAE: it has no "),
        ("fit --init_from none.ckpt", 1, "no checkpoint at none.ckpt"),
        ("fit --init_from c.ckpt --ckpt_path c.ckpt", 2, "--init_from must be left out with"),
        ("test --init_from c.ckpt --ckpt_path c.ckpt", 2, "--init_from is for fit: test takes"),
    ):
        assert says in genzoo(f"{line} {FAST}", code)
    assert not list(Path("runs").glob("*/version_*"))


# What a file alone may name


@pytest.mark.parametrize("command", ["fit", "test", "sample"])
def test_a_class_of_a_file_here_is_not_imported_because_a_checkpoint_names_it(genzoo, command):
    Path("trap.py").write_text("from pathlib import Path\nPath('ran').touch()\n")
    made = {"model": {"class_path": "trap.Model", "init_args": {}}}
    torch.save({"state_dict": {}, "origin": made}, "c.ckpt")
    says = genzoo(f"{command} --ckpt_path c.ckpt", 2)
    assert "c.ckpt is of trap.Model, and a class that is not genzoo's is not imported" in says
    assert says.endswith("give --model trap.Model too, if it is yours")
    assert not Path("ran").exists()
    made = {
        "model": {"class_path": "genzoo.zoo.GAN", "init_args": {}},
        "data": {"class_path": "trap.Data", "init_args": {}},
    }
    torch.save({"state_dict": {}, "origin": made}, "c.ckpt")
    if command != "sample":
        assert "c.ckpt is of trap.Data" in genzoo(f"{command} --ckpt_path c.ckpt", 2)
    assert not Path("ran").exists() and "trap" not in sys.modules


def test_a_function_that_a_checkpoint_names_is_not_called(genzoo):
    made = {"model": {"class_path": "genzoo.zoo.Wrapped", "init_args": {"generate": "os._exit"}}}
    torch.save({"state_dict": {}, "origin": made}, "c.ckpt")
    says = genzoo("test --ckpt_path c.ckpt", 2)
    assert "was made with generate os._exit" in says and "give --model.generate too" in says
    assert "generate must be callable" in genzoo("sample --ckpt_path c.ckpt", 1)


def test_a_checkpoint_and_the_names_of_own_classes_are_enough_to_test(genzoo, trained):
    genzoo(f"test --ckpt_path {trained} {OWN}")
    config = yaml.safe_load((RUN.parent / "version_1/config.yaml").read_text())
    assert config["data"]["init_args"]["batch_size"] == 4
    assert config["model"]["init_args"]["lr"] == 0.3
    assert float(metrics(RUN.parent / "version_1")[-1]["distance"]) > 0
    genzoo(f"validate --ckpt_path {trained} {OWN}")
    genzoo(f"test --ckpt_path last {OWN} --model.lr 0.3")  # said, and the same


@pytest.mark.parametrize(
    "line, says",
    [
        ("--model.lr 0.5", r"--model.lr 0.5 would be overridden: .*last.ckpt was made with 0.3"),
        ("--model VAE", r"--model VAE does not fit .*last.ckpt, which is a Mean"),
        (
            "--data own.Noise --data.side 4",
            r"made for image_shape \[1, 8, 8\], Noise gives \[1, 4",
        ),
        ("--data.conditional true", r"made for num_classes 0, Noise gives 2"),
    ],
)
@pytest.mark.parametrize("command", ["test", "fit"])
def test_what_a_checkpoint_would_override_is_refused(genzoo, trained, command, line, says):
    assert re.search(says, genzoo(f"{command} --ckpt_path {trained} {OWN} {line}", 2))


def test_last_refuses_as_a_path_does(genzoo, trained):
    assert "would be overridden" in genzoo(f"fit {OWN} --model.lr 0.5 --ckpt_path last", 2)
    assert "needs --model" in genzoo("test --ckpt_path last", 2)


# One line for what cannot be meant


@pytest.mark.parametrize(
    "line, says",
    [
        ("fit --model DCGN", "no LightningModule DCGN. Did you mean DCGAN?"),
        ("fit --model GAN --data Digit", "no data module Digit. Did you mean Digits?"),
        ("fit --model own.Meen", "own has no Meen. Did you mean Mean?"),
        ("fit --model nowhere.Mean", "No module named 'nowhere'"),
        (
            "fit --model own.Noise",
            "not correspond to a subclass of LightningModule, got own.Noise",
        ),
        ("fit --model GAN --model.lrr 1", "GAN has no argument lrr. Did you mean lr?"),
        ("fit --model.lr 1 --model GAN", "--model.lr must come after --model"),
        ("fit --model GAN --model.lr fast", "--model.lr must be float, got fast"),
        ("fit --model GAN --trainer.max_epoch 3", "Did you mean --trainer.max_epochs?"),
        (
            "fit --model GAN --trainer.max_epochs few",
            "--trainer.max_epochs must be int or null, got few",
        ),
        ("fit --model GAN --sede 3", "no option --sede"),
        ("fit --model GAN Digits", "'Digits' is not understood"),
        ("fit", "--model is needed. There are: "),
        ("fit --model GAN --trainer.logger WandbLoger", "Did you mean WandbLogger?"),
        ("fit --model GAN --trainer.logger false", "--trainer.logger must not be false"),
        ("fit --model GAN --model.image_shape [1,8,8]", "image_shape comes from the data"),
        ("fit --model GAN --model.num_classes 3", "comes from the data, by --data.conditional"),
        (
            "fit --model own.Mean --data own.Shapeless",
            "Shapeless must have an attribute image_sha",
        ),
        (
            "fit --model own.Plain --data own.Noise --data.conditional true",
            "takes no num_classes",
        ),
        ("fit --config none.yaml", "File does not exist"),
        ("test --model GAN", "test needs --ckpt_path, a trained GAN"),
        ("fut --model GAN", "no command 'fut'. Did you mean fit?"),
        ("models DCGN", "no model 'DCGN'. Did you mean DCGAN?"),
    ],
)
def test_a_misuse_is_one_line_and_code_2(genzoo, line, says):
    assert says in genzoo(line, 2)
    assert not Path("runs").exists()


@pytest.mark.parametrize(
    "text, says",
    [
        ("modle: GAN", "no setting 'modle'. Did you mean model?"),
        ("model: GAN\ntrainer: {max_epoch: 1}", "no setting 'trainer.max_epoch'"),
        ("model: {class_path: GAN, init_args: {lrr: 1}}", "Did you mean lr?"),
        ("model: {class_path: GAN", "c.yaml is not YAML"),
    ],
)
def test_a_misuse_in_a_file_too(genzoo, text, says):
    Path("c.yaml").write_text(text)
    assert says in genzoo("fit --config c.yaml", 2)


@pytest.mark.parametrize(
    "line, says",
    [
        ("fit --model GAN --data.batch_size 0", "batch_size must be at least 1, got 0"),
        ("fit --model GAN --trainer.accelerator gpu", "No supported gpu backend"),
        ("test --ckpt_path none.ckpt", "no checkpoint at none.ckpt"),
        ("test --ckpt_path own.py", "own.py is no checkpoint"),
    ],
)
def test_a_failure_is_one_line_and_code_1(genzoo, line, says):
    if "gpu" in line and torch.cuda.is_available():
        pytest.skip("there is a GPU")
    assert says in genzoo(f"{line} --evaluate false", 1)


@pytest.mark.parametrize(
    "content, says",
    [
        (b"model: null", "model must be a class, got null in c.yaml. There are: "),
        (b"model: GAN\ndata: null", "data must be a class, got null in c.yaml. There are: "),
        (bytes(range(128, 256)), "c.yaml is not YAML: "),
        (b"- 1", "c.yaml must hold a mapping of settings, as model: GAN, got a list"),
    ],
)
def test_a_file_that_is_no_configuration_is_refused(genzoo, content, says):
    Path("c.yaml").write_bytes(content)
    assert says in genzoo("fit --config c.yaml", 2)
    assert not Path("runs").exists()


@pytest.mark.parametrize(
    "line, says",
    [
        ("--trainer.gradient_clip_val 1", "gradient_clip_val must be None .* its own clip_norm"),
        ("--trainer.accumulate_grad_batches 2", "accumulate_grad_batches must be 1 .* clip_norm"),
        (
            "--trainer.callbacks+=ModelCheckpoint --trainer.callbacks.monitor loss/generatr",
            "monitor must be a number that is logged, got loss/generatr. "
            "Did you mean loss/generator?",
        ),
        (
            "--trainer.callbacks+=EarlyStopping --trainer.callbacks.monitor loss/generatr",
            "conditioned on metric `loss/generatr` which is not available",
        ),
        ("--trainer.logger TensorBoardLogger --trainer.logger.save_dir x", "tensorboardX"),
    ],
)
def test_a_training_that_cannot_be_is_refused_in_one_line(genzoo, line, says):
    if "TensorBoard" in line and (find_spec("tensorboard") or find_spec("tensorboardX")):
        pytest.skip("there is a TensorBoard")
    assert re.search(says, genzoo(f"fit --model GAN --model.width 8 {FAST} {line}", 1))
    trained = "monitor" in line  # known when an epoch has ended
    assert bool(list(Path().glob("runs/*/version_*"))) == trained


@pytest.mark.parametrize("size", [300, 2_000, 30_000])
def test_a_full_disk_ends_a_training_in_one_line(size, tmp_path):
    """Where a file cannot grow: in its beginning, and in its middle."""

    def run() -> None:
        os.chdir(tmp_path)
        sys.stderr = (tmp_path / "err").open("w", buffering=1)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
        line = f"fit --model GAN --model.width 64 {FAST} --trainer.max_steps 2"
        os._exit(main(line.split()))

    child = multiprocessing.get_context("fork").Process(target=run)
    child.start()
    child.join(120)
    says = (tmp_path / "err").read_text()
    lines = [line for line in says.splitlines() if line.startswith("genzoo: ")]
    assert child.exitcode == 1 and "Traceback" not in says, says
    name = "ckpt" if size > 2_000 else "csv|yaml"
    assert len(lines) == 1 and re.search(f"File too large: .*[.]({name})", lines[0]), lines
    assert not list(tmp_path.rglob("*.part")) and not list(tmp_path.rglob("*.ckpt"))


def test_samples_without_room_are_named_and_none_is_left(genzoo, trained, monkeypatch):
    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("genzoo.zoo.sample.save", full)
    own = "--model own.Mean"
    says = genzoo(f"sample --ckpt_path {trained} {own} --n 3 --output drawn/all.png", 1)
    assert says == "genzoo: [Errno 28] No space left on device: 'drawn/all.png'"
    assert not list(Path("drawn").iterdir())


def test_a_failure_has_a_traceback_where_it_is_wanted(genzoo, monkeypatch):
    monkeypatch.setenv("GENZOO_DEBUG", "1")
    with pytest.raises(ValueError, match="batch_size must be"):
        genzoo("fit --model GAN --data.batch_size 0 --evaluate false")


def test_a_bug_of_somebody_elses_keeps_its_traceback(genzoo):
    with pytest.raises(ArithmeticError):
        genzoo(f"fit {OWN} --model.lr -1")


def test_predict_points_at_sample_where_there_is_nothing_to_predict(genzoo, trained):
    says = genzoo(f"predict --ckpt_path {trained} --model own.Mean --data own.Noise", 2)
    assert f"Mean has no predict_step. To draw images: genzoo sample --ckpt_path {trained}" in says


def test_the_current_directory_comes_last(genzoo, monkeypatch):
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path != os.getcwd()])
    Path("torch.py").write_text("raise SystemExit('a file of the same name')")
    genzoo("fit --model GAN --print_config")
    assert sys.path[-1] == os.getcwd()


# Sampling, from the file alone


def test_sample_writes_each_kind(genzoo, trained):
    import numpy as np
    from PIL import Image

    line = f"sample --model own.Mean --ckpt_path {trained}"
    genzoo(f"{line} --n 10 --output a/grid.png --batch_size 4")
    genzoo(f"{line} --n 10 --output a/b.npz --batch_size 4 --seed 1")
    genzoo(f"{line} --n 10 --output a/folder --batch_size 4 --seed 1")
    genzoo(f"{line} --n 10 --output a/c.npz --batch_size 4 --seed 2")
    assert sorted(os.listdir("a")) == ["b.npz", "c.npz", "folder", "grid.png"]  # nothing else
    images = np.load("a/b.npz")["images"]
    assert images.shape == (10, 8, 8, 1) and images.dtype == np.uint8
    assert len(os.listdir("a/folder")) == 10
    assert (np.array(Image.open("a/folder/000007.png")) == images[7, ..., 0]).all()
    assert (np.load("a/c.npz")["images"] != images).any()
    assert np.array(Image.open("a/grid.png")).std() > 0


def test_many_samples_are_written_in_pieces(genzoo, trained, monkeypatch):
    """The first, the last and the next are there at once, and the file is that of numpy."""
    import numpy as np

    alive, most = weakref.WeakSet(), []
    draw = sampling.drawn

    def watched(*args):
        for piece in draw(*args):
            alive.add(piece.untyped_storage())
            most.append(len(alive))
            yield piece
            del piece

    monkeypatch.setattr(sampling, "drawn", watched)
    line = f"sample --model own.Mean --ckpt_path {trained} --n 1000 --batch_size 10"
    genzoo(f"{line} --output a.npz")
    genzoo(f"{line} --output folder")
    assert len(most) == 200 and max(most) <= 3
    images = np.load("a.npz")["images"]
    assert images.shape == (1000, 8, 8, 1) and len(os.listdir("folder")) == 1000
    monkeypatch.setattr(sampling, "drawn", draw)
    genzoo(f"{line} --output again.npz")
    assert (np.load("again.npz")["images"] == images).all()
    says = genzoo(f"{line.replace('--n 1000', '--n 1000000000')} --output x.png", 1)
    assert "output must be .npz or a folder for 1000000000 images, got x.png" in says
    assert not list(Path().glob(".genzoo-*"))


@pytest.mark.parametrize("n", [-1, 2.5, "3"])
@pytest.mark.parametrize("model", [GAN, VAE, PixelCNN])
def test_what_is_no_number_of_samples_is_refused(model, n):
    with pytest.raises(ValueError, match=f"n must be a whole number of images, 0 or more, got {n}"):
        model((1, 8, 8), width=4).sample(n)


def test_sample_of_classes(genzoo):
    import numpy as np

    genzoo(f"fit --model GAN --model.width 8 --data.conditional true {FAST}")
    path = "runs/GAN-Digits/version_0/checkpoints/last.ckpt"
    genzoo(f"sample --ckpt_path {path} --n 5 --y 3,7 --output x.npz")
    assert np.load("x.npz")["labels"].tolist() == [3, 7, 3, 7, 3]
    assert "y must be in 0..9, got 10..10" in genzoo(f"sample --ckpt_path {path} --y 10", 1)
    assert "--y must be numbers" in genzoo(f"sample --ckpt_path {path} --y cat", 2)


@pytest.mark.parametrize(
    "line, code, says",
    [
        ("--ckpt_path none.ckpt", 1, "no checkpoint at none.ckpt"),
        ("--ckpt_path own.py", 1, "own.py is no checkpoint"),
        ("--ckpt_path own.py --output x.jpg", 2, "--output must end in .png or .npz"),
        ("--ckpt_path own.py --output /proc/x.png", 2, "must be in a folder that can be written"),
        ("--ckpt_path own.py --n 0", 2, "--n must be at least 1, got 0"),
        ("--ckpt_path own.py --n 2.5", 2, "argument --n: invalid int value: '2.5'"),
        ("--ckpt_path own.py --device cuda:99", 2, "--device must be a device of this machine"),
        ("--ckpt_path own.py --device foo", 2, "--device must be a device of this machine, got fo"),
        ("--ckpt_pth own.py", 2, "the following arguments are required: --ckpt_path"),
        ("--ckpt_path own.py --out x.png", 2, "no option --out. Did you mean --output?"),
    ],
)
def test_sample_refuses_in_one_line(genzoo, line, code, says):
    assert says in genzoo(f"sample {line}", code)
    assert not list(Path().glob("*.png"))


def test_only_what_can_draw_is_asked_to(genzoo):
    genzoo(f"fit --model own.Plain --data own.Noise {FAST}")
    path = "runs/Plain-Noise/version_0/checkpoints/last.ckpt"
    assert "Plain cannot draw images: it has no sample" in genzoo(
        f"sample --model own.Plain --ckpt_path {path}", 1
    )


# The three questions


def test_fit_ends_with_the_report_card(genzoo):
    few = "--evaluation.num_samples 60 --evaluation.num_samples_fit 40 --evaluation.num_real 100"
    line = f"--model GAN --model.width 8 --evaluation.extractor pixels {few} {FAST}"
    out = genzoo(f"fit {line} --evaluate true")
    run = Path("runs/GAN-Digits/version_0")
    assert {"report.md", "report.json", "figures"} <= {path.name for path in run.iterdir()}
    assert "memoris" in out.lower() and "Test metric" not in out
    assert any(row.get("fd/pixels") for row in metrics(run))  # of the validation, in fit
    assert any(row.get("test/fd/pixels") for row in metrics(run))
    path = run / "checkpoints/last.ckpt"
    genzoo(f"test --ckpt_path {path} {few} --evaluation.extractor pixels --trainer.accelerator cpu")
    again = [row for row in metrics(run.parent / "version_1") if row["test/fd/pixels"]]
    first = [row for row in metrics(run) if row["test/fd/pixels"]]
    assert again[0]["test/fd/pixels"] == first[0]["test/fd/pixels"]


def test_nobody_needs_to_be_asked(genzoo):
    genzoo(f"fit {OWN}")
    genzoo(f"fit {OWN} --test_after_fit false --trainer.max_epochs 2")
    assert not (RUN / "figures").exists() and not (RUN / "report.md").exists()
    assert "distance" in metrics(RUN)[-1]
    assert "distance" not in metrics(RUN.parent / "version_1")[0]
