"""Sixty inputs that cannot be: each ends in one line that says what must be, and leaves nothing.

All of them before anything is trained: what makes a run wait and then fail is tested elsewhere.
"""

import io
import os
import pickle
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pytest
import torch
from PIL import Image

from genzoo.__main__ import main
from genzoo.zoo import GAN

FIT = "fit --model GAN --model.width 8 --evaluate false --trainer.accelerator cpu "


def yaml(text: str) -> bytes:
    return text.encode()


def png(side: int = 8, colour: str | int = 9, mode: str = "L") -> bytes:
    buffer = io.BytesIO()
    Image.new(mode, (side, side), colour).save(buffer, format="PNG")
    return buffer.getvalue()


def coloured() -> bytes:
    return png(8, "red", "RGB")


def arrays(**named: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **named)
    return buffer.getvalue()


def checkpoint(change: Callable[[dict], object] = lambda checkpoint: None) -> bytes:
    """Of a GAN on Digits, as the command line would have written it, changed."""
    numbers = {"latent_dim": 2, "width": 4}
    made = {
        "model": {
            "class_path": "genzoo.zoo.GAN",
            "init_args": {**numbers, "image_shape": [1, 8, 8]},
        }
    }
    content = {
        "state_dict": GAN((1, 8, 8), **numbers).state_dict(),
        "origin": made,
        "genzoo_version": "0",
        "pytorch-lightning_version": "2.0.0",
    }
    change(content)
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


FOLDER = None  # instead of a file's bytes


@dataclass
class Case:
    """What is typed, and the words that must be answered.

    Args:
        line: The command.
        words: All of them stand in the one line, in this order.
        files: What lies in the folder before, by name: bytes, what makes them, or FOLDER.
    """

    line: str
    words: tuple[str, ...]
    files: dict[str, bytes | Callable[[], bytes] | None] = field(default_factory=dict)


def case(line: str, *words: str, **files) -> Case:
    return Case(line, words, {name.replace("__", "."): made for name, made in files.items()})


SAMPLES = "test --model SampleFolder --model.path drawn --data Digits --evaluate true"

CASES = {
    # Words that mean nothing
    "a misspelt command": case("fitt --model GAN", "no command 'fitt'", "Did you mean fit?"),
    "a misspelt option": case("fit --modell GAN", "no option --modell", "--model"),
    "a misspelt model": case("fit --model GANN", "no LightningModule GANN", "Did you mean GAN?"),
    "a misspelt data set": case(FIT + "--data Digitss", "Digitss", "Did you mean Digits?"),
    "a misspelt argument": case(FIT + "--model.widht 8", "no argument widht", "width?"),
    "a misspelt argument of data": case(FIT + "--data.batchsize 8", "batchsize", "batch_size?"),
    "a misspelt trainer argument": case(FIT + "--trainer.max_epoch 1", "max_epoch", "max_epochs?"),
    "an unknown callback": case(FIT + "--trainer.callbacks+=ModelChekpoint", "ModelChekpoint"),
    "an unknown logger": case(FIT + "--trainer.logger WandLogger", "WandLogger"),
    "no option": case("fit GAN", "'GAN' is not understood: options begin with --"),
    "no model": case("fit", "--model is needed"),
    "no such model to list": case("models GANN", "no model 'GANN'", "GAN?"),
    "no such option of sample": case("sample --ckpt_path a --m 3", "no option --m"),
    # Files of settings
    "a config without a model": case("fit --config a.yaml", "model", a__yaml=yaml("model: null")),
    "an empty config": case(
        "fit --config a.yaml",
        "a.yaml must hold a mapping of settings",
        "an empty file",
        a__yaml=b"",
    ),
    "a config of random bytes": case(
        "fit --config a.yaml", "a.yaml is not YAML", a__yaml=bytes(range(128, 256))
    ),
    "a config that is a folder": case("fit --config a", "a", a=FOLDER),
    "a config that is not there": case("fit --config a.yaml", "a.yaml"),
    "a config that is a number": case("fit --config a.yaml", "a.yaml", "int", a__yaml=yaml("3")),
    "a config that is a list": case("fit --config a.yaml", "a.yaml", "list", a__yaml=yaml("- a")),
    "a model that is a number": case(
        "fit --config a.yaml", "model must be a class, got 3", a__yaml=yaml("model: 3")
    ),
    "a model that is a list": case(
        "fit --config a.yaml", "model must be a class, got ['GAN']", a__yaml=yaml("model: [GAN]")
    ),
    "data that is a number": case(
        "fit --config a.yaml", "data must be a class, got 3", a__yaml=yaml("model: GAN\ndata: 3")
    ),
    "a class that is a number": case(
        "fit --config a.yaml", "model must be a class", a__yaml=yaml("model: {class_path: 3}")
    ),
    "arguments that are a number": case(
        "fit --config a.yaml",
        "model.init_args must be a mapping of arguments, got 3",
        a__yaml=yaml("model: {class_path: GAN, init_args: 3}"),
    ),
    "a trainer that is a number": case(
        "fit --config a.yaml", "trainer must be a mapping", a__yaml=yaml("model: GAN\ntrainer: 5")
    ),
    "an evaluation that is a number": case(
        "fit --config a.yaml", "evaluation must be a", a__yaml=yaml("model: GAN\nevaluation: 3")
    ),
    "checkpoints that are a list": case(
        "fit --config a.yaml", "checkpoint must be a", a__yaml=yaml("model: GAN\ncheckpoint: [1]")
    ),
    "a seed of words": case(FIT + "--seed_everything x", "seed_everything must be bool or int"),
    "a misspelt key in a file": case(
        "fit --config a.yaml", "modle", a__yaml=yaml("modle: GAN\nmodel: GAN")
    ),
    "a misspelt key of a model in a file": case(
        "fit --config a.yaml",
        "widht",
        a__yaml=yaml("model:\n  class_path: GAN\n  init_args: {widht: 8}"),
    ),
    "a misspelt key of a trainer in a file": case(
        "fit --config a.yaml", "max_step", a__yaml=yaml("model: GAN\ntrainer: {max_step: 3}")
    ),
    # Numbers that cannot be
    "width 0": case(FIT + "--model.width 0", "width must be at least 1, got 0"),
    "width -4": case(FIT + "--model.width -4", "width must be at least 1, got -4"),
    "width of words": case(
        FIT + "--model.width wide", "--model.width must be int or null, got wide"
    ),
    "a width beyond all memory": case(
        FIT + "--model.width 100000000000000", "there is not enough memory; a smaller model"
    ),
    "a width beyond all numbers": case(
        FIT + "--model.latent_dim 100000000000000000000000", "there is not enough memory"
    ),
    "lr -1": case(FIT + "--model.lr -1", "lr must be 0 or more, got -1"),
    "lr NaN": case(FIT + "--model.lr .nan", "lr must be 0 or more, got nan"),
    "lr infinite": case(FIT + "--model.lr 1e999", "lr must be finite, got inf"),
    "betas (2, 3)": case(FIT + "--model.betas [2,3]", "betas must be two numbers in [0, 1)"),
    "batch_size 0": case(FIT + "--data.batch_size 0", "batch_size must be at least 1, got 0"),
    "batch_size 2.5": case(FIT + "--data.batch_size 2.5", "batch_size", "2.5"),
    "a seed below 0": case(
        FIT + "--seed_everything -1", "seed_everything must be in 0..", "got -1"
    ),
    "r1_every without r1": case(
        FIT + "--model.regularisation.r1_every 2", "r1_every must be 1 without r1, got 2"
    ),
    "one sample": case(FIT + "--evaluate true --evaluation.num_samples 1", "num_samples", "2"),
    "an unknown extractor": case(FIT + "--evaluate true --evaluation.extractor x", "extractor"),
    # The Trainer's
    "val_check_interval 0": case(
        FIT + "--trainer.val_check_interval 0", "val_check_interval must be above 0"
    ),
    "val_check_interval 1.5": case(FIT + "--trainer.val_check_interval 1.5", "val_check_interval"),
    "max_steps -5": case(FIT + "--trainer.max_steps -5", "max_steps", "-5"),
    "max_epochs -5": case(FIT + "--trainer.max_epochs -5", "max_epochs", "-5"),
    "max_time of words": case(FIT + "--trainer.max_time soon", "soon", "DD:HH:MM:SS"),
    "limit_train_batches -1": case(FIT + "--trainer.limit_train_batches -1", "limit_train_batches"),
    "limit_val_batches 1.5": case(FIT + "--trainer.limit_val_batches 1.5", "limit_val_batches"),
    "overfit_batches -2": case(FIT + "--trainer.overfit_batches -2", "overfit_batches"),
    "log_every_n_steps -1": case(
        FIT + "--trainer.log_every_n_steps -1", "log_every_n_steps must be"
    ),
    "check_val_every_n_epoch 0": case(
        FIT + "--trainer.check_val_every_n_epoch 0", "check_val_every_n_epoch must be at least 1"
    ),
    "accumulate_grad_batches 0": case(
        FIT + "--trainer.accumulate_grad_batches 0", "accumulate_grad_batches"
    ),
    "gradient_clip_val -1": case(
        FIT + "--trainer.gradient_clip_val -1", "gradient_clip_val must be at least 0, got -1"
    ),
    "num_sanity_val_steps -5": case(
        FIT + "--trainer.num_sanity_val_steps -5", "num_sanity_val_steps must be at least -1"
    ),
    "fast_dev_run -1": case(FIT + "--trainer.fast_dev_run -1", "fast_dev_run"),
    "devices 0": case(FIT + "--trainer.devices 0", "devices"),
    "devices -7": case(FIT + "--trainer.devices -7", "devices"),
    "devices of words": case(FIT + "--trainer.devices many", "devices"),
    "num_nodes 0": case(FIT + "--trainer.num_nodes 0", "num_nodes"),
    "an unknown strategy": case(FIT + "--trainer.strategy dpd", "strategy"),
    "an unknown precision": case(FIT + "--trainer.precision 17", "precision"),
    "an unknown profiler": case(FIT + "--trainer.profiler slow", "profiler"),
    "an unknown accelerator": case("fit --model GAN --trainer.accelerator abacus", "accelerator"),
    "reload_dataloaders_every_n_epochs -1": case(
        FIT + "--trainer.reload_dataloaders_every_n_epochs -1", "reload_dataloaders_every_n_epochs"
    ),
    "no logger": case(FIT + "--trainer.logger false", "logger must not be false"),
    "a root that is a file": case(FIT + "--trainer.default_root_dir a", "a", a=b"text"),
    "a monitor without a checkpoint": case(FIT + "--checkpoint.save_top_k 3", "save_top_k", "3"),
    "every -1 epochs": case(FIT + "--checkpoint.every_n_epochs -1", "every_n_epochs"),
    "every epoch and step": case(
        FIT + "--checkpoint.every_n_epochs 1 --checkpoint.every_n_train_steps 1", "every_n"
    ),
    # Names of checkpoints
    **{
        f"checkpoints called {name!r}": case(FIT + f"--checkpoint.filename {name}", *words)
        for name, *words in (
            ("../x", "filename must be a name within the folder", "got '../x'"),
            ("/x", "filename must be a name within the folder", "got '/x'"),
            ("~/x", "filename must be a name within the folder", "got '~/x'"),
            ("a/{step}", "filename must be a name within the folder", "got 'a/{step}'"),
            ("a\\{step}", "filename must be a name within the folder", "got"),
            ("..", "filename must be a name within the folder", "got '..'"),
            (".{step}", "filename must be a name within the folder", "got '.{step}'"),
            ("last", "filename must be another than that of last.ckpt"),
            ("{step", "filename must be a pattern as saved-{epoch}-{step}, got {step:"),
            ("{}", "filename must be a pattern as saved-{epoch}-{step}, got {}:"),
            ("{step:bad}", "filename must be a pattern", "got {step:bad}"),
            ("{fd/pixels:d}", "filename must be a pattern", "got {fd/pixels:d}"),
            ("x" * 300, "filename must have at most 200 bytes, got 300"),
        )
    },
    "checkpoints without a name": case(FIT + "--checkpoint.filename=", "filename", "got ''"),
    "all checkpoints under one name": case(
        FIT + "--checkpoint.save_top_k -1 --checkpoint.filename x", "filename must have {step}"
    ),
    "all checkpoints of an epoch under one name": case(
        FIT + "--checkpoint.save_top_k -1 --checkpoint.every_n_train_steps 2 "
        "--checkpoint.filename {epoch}",
        "filename must have {step}",
    ),
    "own checkpoints in another folder": case(
        FIT + "--trainer.callbacks+=ModelCheckpoint --trainer.callbacks.filename ../x",
        "filename must be a name within the folder",
        "got '../x'",
        "dirpath",
    ),
    # Addresses
    **{
        f"{what} that cannot be reached": case(
            line + " http://127.0.0.1:9/a.ckpt",
            "http://127.0.0.1:9/a.ckpt could not be fetched (",
            "look whether the address is right",
            "give its path",
        )
        for what, line in {
            "samples of an address": "sample --ckpt_path",
            "a test of an address": "test --ckpt_path",
            "a training from an address": FIT + "--ckpt_path",
            "a start at an address": FIT + "--init_from",
        }.items()
    },
    "an address of no known kind": case(
        "sample --ckpt_path htp://a/b.ckpt", "htp://a/b.ckpt could not be fetched", "htp"
    ),
    "an address that is none": case(
        "sample --ckpt_path http://a:b/c.ckpt", "http://a:b/c.ckpt could not be fetched", "port"
    ),
    "a config at an address": case("fit --config http://a/b.yaml", "http://a/b.yaml"),
    "runs at an address": case(
        FIT + "--trainer.default_root_dir s3://a/b",
        "--trainer.default_root_dir must be a path on this machine, got s3://a/b",
    ),
    "data at an address": case(
        FIT + "--data MNIST --data.download true --data.root https://a/b",
        "root must be a path on this machine, got https://a/b",
    ),
    "a folder at an address": case(
        FIT + "--data ImageFolder --data.root https://a/b", "root must be a path on this machine"
    ),
    "samples at an address": case(
        SAMPLES.replace("drawn", "https://a/b.npz"), "path must be a path on this machine"
    ),
    "an output at an address": case(
        "sample --ckpt_path a.ckpt --output s3://a/b.npz", "--output must be a path on this machine"
    ),
    # Options that contradict each other
    "classes of data without": case(
        FIT + "--data ImageFolder --data.root a --data.conditional true --data.image_size 8",
        "conditional must be False for images without labels",
        **{"a/x__png": png, "a/y__png": png, "a/z__png": png},
    ),
    "num_classes by hand": case(FIT + "--model.num_classes 10", "num_classes comes from the data"),
    "a start of tests": case(
        "test --init_from a.ckpt", "--init_from is for fit", a__ckpt=checkpoint
    ),
    "a start and a place to go on": case(
        "fit --init_from a.ckpt --ckpt_path a.ckpt",
        "--init_from must be left out with --ckpt_path",
        a__ckpt=checkpoint,
    ),
    # Checkpoints
    "no checkpoint": case("test --ckpt_path a.ckpt", "no checkpoint at a.ckpt"),
    "a folder for a checkpoint": case("test --ckpt_path a", "no checkpoint at a", a=FOLDER),
    "an empty checkpoint": case("test --ckpt_path a.ckpt", "a.ckpt is no checkpoint", a__ckpt=b""),
    "a pickle": case(
        "sample --ckpt_path a.ckpt", "a.ckpt", "no", a__ckpt=pickle.dumps({"state_dict": {}})
    ),
    "half a checkpoint": case(
        "sample --ckpt_path a.ckpt", "a.ckpt is no", a__ckpt=lambda: checkpoint()[:3000]
    ),
    "a checkpoint without weights": case(
        "sample --ckpt_path a.ckpt",
        "a.ckpt is no Lightning checkpoint",
        a__ckpt=lambda: checkpoint(lambda c: c.pop("state_dict")),
    ),
    "a checkpoint with a bias missing": case(
        "test --ckpt_path a.ckpt --evaluate false",
        "it has no generator.body.0.bias",
        a__ckpt=lambda: checkpoint(lambda c: c["state_dict"].pop("generator.body.0.bias")),
    ),
    "a checkpoint of another class": case(
        "test --model VAE --ckpt_path a.ckpt", "VAE does not fit a.ckpt", a__ckpt=checkpoint
    ),
    "a checkpoint of a class that is not ours": case(
        "sample --ckpt_path a.ckpt",
        "a.ckpt is of os.path.Mine",
        a__ckpt=lambda: checkpoint(
            lambda c: c["origin"]["model"].update(class_path="os.path.Mine")
        ),
    ),
    "a checkpoint of other data": case(
        "test --ckpt_path a.ckpt --data Toy",
        "a.ckpt was made for image_shape [1, 8, 8]",
        a__ckpt=checkpoint,
    ),
    "another width than its weights'": case(
        "fit --model GAN --model.width 8 --ckpt_path a.ckpt", "width", "a.ckpt", a__ckpt=checkpoint
    ),
    # Samples to draw
    "no samples": case("sample --ckpt_path a.ckpt --n 0", "--n must be at least 1, got 0"),
    "half a sample": case("sample --ckpt_path a.ckpt --n 2.5", "2.5"),
    "a seed beyond all numbers": case(
        "sample --ckpt_path a.ckpt --seed 99999999999999999999", "--seed must be in 0.."
    ),
    "a model that is none": case(
        "sample --ckpt_path a.ckpt --model os.path.join", "--model must be a LightningModule"
    ),
    "samples on a device that is not there": case(
        "sample --ckpt_path a.ckpt --device cuda:77", "--device must be a device of this machine"
    ),
    "an output of a kind that is not": case("sample --ckpt_path a --output a.gif", ".png or .npz"),
    "an output in a file": case("sample --ckpt_path a --output a/b.png", "--output", a=b"text"),
    "classes of a model without": case(
        "sample --ckpt_path a.ckpt --y 3", "y must be None", a__ckpt=checkpoint
    ),
    "the last of nothing": case("sample --ckpt_path last", "no checkpoint in the folder runs"),
    # Images that somebody has
    "a root that is not there": case(FIT + "--data ImageFolder --data.root a", "root", "a"),
    "a root without images": case(
        FIT + "--data ImageFolder --data.root a", "a", **{"a/x__txt": b"text"}
    ),
    "a root that is an image": case(
        FIT + "--data ImageFolder --data.root a.png", "a.png", a__png=png
    ),
    "a broken image": case(
        FIT + "--data ImageFolder --data.root a --data.image_size 8",
        "a/y.png",
        **{"a/x__png": png, "a/y__png": png()[:40], "a/z__png": png},
    ),
    "a side of 0": case(
        FIT + "--data ImageFolder --data.root a --data.image_size 0",
        "image_size",
        **{"a/x__png": png},
    ),
    "samples that are not there": case(SAMPLES, "drawn"),
    "samples of another size": case(SAMPLES, "8x8", "9x9", **{"drawn/x__png": lambda: png(9)}),
    "samples of two sizes": case(
        SAMPLES, "one size", **{"drawn/x__png": png, "drawn/y__png": lambda: png(9)}
    ),
    "samples in colour": case(
        SAMPLES,
        "grey",
        **{"drawn/x__png": coloured, "drawn/y__png": coloured},
    ),
    "samples that are text": case(
        SAMPLES, "drawn/x.png must be a whole", **{"drawn/x__png": b"hi"}
    ),
    "samples as floats": case(
        SAMPLES.replace("drawn", "a.npz"),
        "images must be uint8",
        a__npz=lambda: arrays(images=np.zeros((4, 8, 8))),
    ),
    "an empty file of samples": case(SAMPLES.replace("drawn", "a.npz"), "a.npz", a__npz=b""),
    # The studies and tables
    "a study of nothing": case(
        "judge export --samples a --data Digits --output b", "--samples", "a"
    ),
    "a study over another": case(
        "judge export --samples a.npz --data Digits --output b --num_generated 2 --num_real 2",
        "b",
        a__npz=lambda: arrays(images=np.zeros((4, 8, 8, 1), np.uint8)),
        **{"b/x": b"x"},
    ),
    "answers that are a folder": case("judge analyse a --key k.json", "a", a=FOLDER, k__json=b"{}"),
    "a key that is no key": case("judge analyse a.csv --key k", "k", a__csv=b"x,y\n", k=b"[]"),
    "a run that is not there": case("compare a", "a"),
    "a run whose card is empty": case("compare a", "a", **{"a/report__json": b""}),
}


def found() -> set[str]:
    return {
        os.path.join(at, name) for at, *names in os.walk(".") for part in names for name in part
    }


@pytest.mark.parametrize("name", CASES)
def test_it_is_refused_in_one_line(name, tmp_path, monkeypatch, capsys):
    case = CASES[name]
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("GENZOO_DEBUG", raising=False)
    for path, content in case.files.items():
        place = tmp_path / path.replace("__", ".")
        place.parent.mkdir(parents=True, exist_ok=True)
        if content is FOLDER:
            place.mkdir()
        else:
            place.write_bytes(content() if callable(content) else content)
    before = found()
    code = main(case.line.split())
    out, err = capsys.readouterr()
    said = [line for line in err.splitlines() if line.startswith("genzoo")]
    assert code in (1, 2), (code, out, err)
    assert "Traceback" not in out + err and len(said) == 1, err
    at = 0
    for word in case.words:
        assert word in said[0][at:], said[0]
        at = said[0].index(word, at) + len(word)
    assert found() == before


IDLE = {
    "no steps": (FIT + "--trainer.max_steps 0", "max_steps is 0: nothing is trained"),
    "no epochs": (FIT + "--trainer.max_epochs 0", "max_epochs is 0: nothing is trained"),
    "no batches": (
        FIT + "--trainer.limit_train_batches 0",
        "limit_train_batches is 0: nothing is trained",
    ),
    "no time": (
        FIT + "--trainer.max_time 00:00:00:00",
        "nothing was trained: max_time 00:00:00:00 was over before the first batch",
    ),
    "steps that are over": (
        FIT + "--ckpt_path a.ckpt --trainer.max_steps 3",
        "a.ckpt has 3 steps and max_steps is 3: there is nothing left to train",
    ),
    "epochs that are over": (
        FIT + "--ckpt_path a.ckpt --trainer.max_epochs 0",
        "a.ckpt has 1 epochs and max_epochs is 0: there is nothing left to train",
    ),
    "no batches of a training that goes on": (
        FIT + "--ckpt_path a.ckpt --trainer.max_steps 5 --trainer.limit_train_batches 0",
        "limit_train_batches is 0: nothing is trained",
    ),
    "no steps from weights": (
        FIT + "--init_from a.ckpt --trainer.max_steps 0",
        "max_steps is 0: nothing is trained",
    ),
    "no batches to test": (
        "test --ckpt_path a.ckpt --evaluate false --trainer.limit_test_batches 0",
        "limit_test_batches is 0: nothing is tested",
    ),
    "no batches to validate": (
        "validate --ckpt_path a.ckpt --evaluate false --trainer.limit_val_batches 0",
        "limit_val_batches is 0: nothing is validated",
    ),
    "a dry run": (FIT + "--trainer.max_steps 0 --trainer.fast_dev_run true", None),
    "a step": (FIT + "--trainer.max_steps 1 --test_after_fit false", None),
}


@pytest.fixture(scope="module")
def of_three_steps(tmp_path_factory) -> bytes:
    """A checkpoint that a training can go on from."""
    path = tmp_path_factory.mktemp("trained")
    line = FIT + f"--trainer.max_steps 3 --data.batch_size 400 --trainer.default_root_dir {path}"
    assert main(line.split()) == 0
    return (path / "GAN-Digits/version_0/checkpoints/last.ckpt").read_bytes()


@pytest.mark.parametrize("name", IDLE)
def test_what_has_nothing_to_do_says_so(name, of_three_steps, tmp_path, monkeypatch, capsys):
    line, says = IDLE[name]
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.ckpt").write_bytes(of_three_steps)
    capsys.readouterr()
    assert main(line.split()) == 0
    said = [text for text in capsys.readouterr().out.splitlines() if "nothing" in text]
    assert said == ([f"genzoo: {says}"] if says else [])
