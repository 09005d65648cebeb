import multiprocessing
import os
import re
import resource
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
import yaml

from genzoo.__main__ import main
from genzoo.runs.checkpoints import load_model, origin, read
from genzoo.zoo import GAN
from tests.helpers.command_lines import FAST, LAST, OWN, RUN, metrics

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


def test_predict_points_at_sample_where_there_is_nothing_to_predict(genzoo, trained):
    says = genzoo(f"predict --ckpt_path {trained} --model own.Mean --data own.Noise", 2)
    assert f"Mean has no predict_step. To draw images: genzoo sample --ckpt_path {trained}" in says


def test_the_current_directory_comes_last(genzoo, monkeypatch):
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path != os.getcwd()])
    Path("torch.py").write_text("raise SystemExit('a file of the same name')")
    genzoo("fit --model GAN --print_config")
    assert sys.path[-1] == os.getcwd()


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
