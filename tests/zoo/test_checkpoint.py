import os
import pickle
from pathlib import Path

import lightning as L
import pytest
import torch

from genzoo.zoo import GAN
from genzoo.zoo.checkpoint import AtomicCheckpointIO, Checkpoints, load_model, read
from tests.toys import bits, loader
from tests.toys import fit as training

FAST = "--evaluate false --trainer.accelerator cpu --trainer.enable_model_summary false"


class Malicious:
    def __reduce__(self):
        return os.mkdir, ("ran",)


@pytest.fixture
def malicious(tmp_path, monkeypatch) -> Path:
    """A checkpoint that makes a folder "ran" when it is unpickled."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "malicious.ckpt"
    torch.save({"state_dict": {}, "hyper_parameters": {"lr": Malicious()}}, path)
    return path


def small(**settings) -> GAN:
    return GAN((1, 8, 8), latent_dim=2, width=4, **settings)


def save(model: L.LightningModule, path: Path, **origin) -> Path:
    torch.save({"state_dict": model.state_dict(), "pytorch-lightning_version": "2", **origin}, path)
    return path


# Writing


def test_a_save_that_fails_leaves_the_one_before(tmp_path, monkeypatch):
    path = tmp_path / "folder/last.ckpt"
    AtomicCheckpointIO().save_checkpoint({"state_dict": {"a": torch.ones(3)}}, path)

    def cut_off(content, file):
        file.write(b"half of it")
        raise OSError("no space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(torch, "save", cut_off)
        with pytest.raises(OSError, match="no space left"):
            AtomicCheckpointIO().save_checkpoint({}, path)
    assert read(path)["state_dict"]["a"].tolist() == [1, 1, 1]
    assert [p.name for p in path.parent.iterdir()] == ["last.ckpt"]


def test_the_file_never_has_half_of_it(tmp_path, monkeypatch):
    """The one before is in its place, whole, while the next is being written."""
    path = tmp_path / "last.ckpt"
    AtomicCheckpointIO().save_checkpoint({"state_dict": {}, "n": 1}, path)
    write, seen = torch.save, []

    def slowly(content, file):
        file.write(b"half")
        seen.append(read(path)["n"])
        file.seek(0)
        write(content, file)

    monkeypatch.setattr(torch, "save", slowly)
    AtomicCheckpointIO().save_checkpoint({"state_dict": {}, "n": 2}, path)
    assert (seen, read(path)["n"]) == ([1], 2)


def fit(tmp_path, callback: Checkpoints, **settings) -> Path:
    trainer = L.Trainer(
        accelerator="cpu",
        devices=1,
        default_root_dir=tmp_path,
        logger=False,
        callbacks=[callback],
        plugins=[AtomicCheckpointIO()],
        enable_progress_bar=False,
        enable_model_summary=False,
        **settings,
    )
    trainer.fit(small(), loader(bits(40)))
    return tmp_path / "checkpoints"


@pytest.mark.parametrize(
    "every, stop, steps",
    [
        ({"every_n_train_steps": 4}, {"max_steps": 7}, {7}),
        ({"every_n_train_steps": 4, "save_top_k": -1}, {"max_steps": 10}, {4, 8, 10}),
        ({"every_n_epochs": 2}, {"max_epochs": 3}, {15}),
        ({"save_top_k": -1}, {"max_epochs": 2}, {5, 10}),
    ],
)
def test_the_end_of_training_is_saved(tmp_path, every, stop, steps):
    folder = fit(tmp_path, Checkpoints(**every), **stop)
    found = {int(path.stem.partition("step=")[2]) for path in folder.glob("saved*")}
    assert found == steps
    assert read(folder / "last.ckpt")["global_step"] == max(steps)


# Reading


@pytest.mark.parametrize("forced", ["0", "1"])
def test_a_checkpoint_that_would_run_code_is_refused(malicious, monkeypatch, forced):
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", forced)
    for load in (read, load_model, AtomicCheckpointIO().load_checkpoint):
        with pytest.raises(ValueError, match="was refused: it holds (posix|nt).mkdir"):
            load(malicious)
    trainer = L.Trainer(logger=False, plugins=[AtomicCheckpointIO()], accelerator="cpu")
    with pytest.raises(ValueError, match="was refused"):
        trainer.test(small(), loader(bits(8)), ckpt_path=malicious, weights_only=False)
    assert not Path("ran").exists()
    torch.load(malicious, weights_only=False)
    assert Path("ran").exists()  # it would have


@pytest.mark.parametrize("command", ["fit", "test", "sample"])
def test_the_command_line_refuses_it_in_one_line(genzoo, malicious, command):
    model = "" if command == "sample" else f"--model GAN {FAST}"
    assert "was refused" in genzoo(f"{command} --ckpt_path {malicious} {model}", 1)
    assert not Path("ran").exists()


def test_an_address_is_read_as_a_file_is(monkeypatch):
    asked = {}

    def download(url, map_location=None, weights_only=None):
        asked.update(url=url, weights_only=weights_only)
        return {"state_dict": {}}

    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", download)
    read("https://example.org/model.ckpt")
    assert asked == {"url": "https://example.org/model.ckpt", "weights_only": True}


def test_what_is_no_checkpoint_is_said_to_be_none(tmp_path):
    with pytest.raises(FileNotFoundError, match="no checkpoint at .*none.ckpt"):
        read(tmp_path / "none.ckpt")
    with pytest.raises(FileNotFoundError, match="no checkpoint at"):
        read(tmp_path)
    whole = save(small(), tmp_path / "whole.ckpt")
    cut = tmp_path / "cut.ckpt"
    cut.write_bytes(whole.read_bytes()[:-200])
    with pytest.raises(ValueError, match="cut.ckpt is no checkpoint, or was cut short"):
        read(cut)
    for name, content in (("text", b"hello"), ("empty", b""), ("pickle", pickle.dumps([1]))):
        path = tmp_path / name
        path.write_bytes(content)
        with pytest.raises(ValueError, match=f"{name} is no "):
            read(path)
    torch.save({"weights": 1}, path)
    with pytest.raises(ValueError, match="has no state_dict"):
        read(path)


# A model from its file alone


def test_a_model_comes_back_from_the_command_lines_file(genzoo, tmp_path):
    genzoo(f"fit --model GAN --model.width 8 --model.ema_decay 0.5 {FAST} --trainer.max_steps 3")
    path = Path("runs/GAN-Digits/version_0/checkpoints/last.ckpt")
    model, again = load_model(path), load_model(path)
    assert isinstance(model, GAN) and not model.training
    for name, value in read(path)["state_dict"].items():
        assert torch.equal(model.state_dict()[name], value)
    torch.manual_seed(0)
    first = model.sample(3)
    torch.manual_seed(0)
    assert torch.equal(again.sample(3), first)


def test_a_model_comes_back_from_pythons_file(tmp_path):
    model = small(lr=3e-3)
    trainer = training(model, loader(bits(40)), 2)
    trainer.save_checkpoint(tmp_path / "m.ckpt")
    again = load_model(tmp_path / "m.ckpt", GAN)
    assert again.lr == 3e-3
    assert torch.equal(again.generator(torch.ones(1, 2)), model.eval().generator(torch.ones(1, 2)))


@pytest.mark.parametrize(
    "class_path, says",
    [
        (None, "does not say which class"),
        ("nowhere.Mean", r"not genzoo's is not imported .*load_model\(path, model_class=Mean\)"),
        ("os.getcwd", "os.getcwd, and a class that is not genzoo's is not imported"),
        ("genzoo.zoo.checkpoint.read", "genzoo.zoo.checkpoint.read, which is no LightningModule"),
        ("genzoo.zoo.Gone", "genzoo.zoo.Gone, which is not there"),
    ],
)
def test_a_class_that_is_not_found_is_named(tmp_path, class_path, says):
    made = {"model": {"class_path": class_path, "init_args": {}}}
    path = save(small(), tmp_path / "m.ckpt", origin=made)
    with pytest.raises(ValueError, match=says):
        load_model(path)


def test_a_class_whose_file_moved_is_found(tmp_path):
    arguments = {"image_shape": [1, 8, 8], "latent_dim": 2, "width": 4}
    made = {"model": {"class_path": "genzoo.zoo.old.place.GAN", "init_args": arguments}}
    assert isinstance(load_model(save(small(), tmp_path / "m.ckpt", origin=made)), GAN)


def test_a_class_in_a_checkpoint_is_not_built(tmp_path):
    """Where a parser would build what a file names, only what the caller gives is used."""
    arguments = {"image_shape": [1, 8, 8], "latent_dim": 2, "width": {"class_path": "os.getcwd"}}
    made = {"model": {"class_path": "genzoo.zoo.GAN", "init_args": arguments}}
    path = save(small(), tmp_path / "m.ckpt", origin=made)
    with pytest.raises(ValueError, match=r"an object for width.*load_model\(path, width=...\)"):
        load_model(path)
    assert load_model(path, width=4).hparams.width == 4


def test_weights_that_do_not_fit_are_said_in_one_line(tmp_path):
    arguments = {"image_shape": [1, 8, 8], "latent_dim": 3, "width": 4}
    made = {"model": {"class_path": "genzoo.zoo.GAN", "init_args": arguments}}
    path = save(small(), tmp_path / "m.ckpt", origin=made)
    with pytest.raises(ValueError, match="m.ckpt does not fit GAN: size mismatch for") as error:
        load_model(path)
    assert "\n" not in str(error.value)
