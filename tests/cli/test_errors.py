"""Misuse and failure are one line and a code, and a bug keeps its traceback."""

from pathlib import Path

import pytest
import torch

from tests.helpers.command_lines import OWN


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


def test_a_failure_has_a_traceback_where_it_is_wanted(genzoo, monkeypatch):
    monkeypatch.setenv("GENZOO_DEBUG", "1")
    with pytest.raises(ValueError, match="batch_size must be"):
        genzoo("fit --model GAN --data.batch_size 0 --evaluate false")


def test_a_bug_of_somebody_elses_keeps_its_traceback(genzoo):
    with pytest.raises(ArithmeticError):
        genzoo(f"fit {OWN} --model.lr -1")
