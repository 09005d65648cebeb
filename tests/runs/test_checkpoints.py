import os
import pickle
import shutil
import warnings
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import fsspec
import lightning as L
import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint

from genzoo.runs.checkpoints import (
    AtomicCheckpointIO,
    Checkpoints,
    NamedCheckpoint,
    load_model,
    read,
)
from genzoo.zoo import GAN, VAE, init_from
from tests.helpers.training import bits, loader, trainer
from tests.helpers.training import fit as training

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


class Numbers(L.Callback):
    """Logs a number that is best at the second validation, on the axis of its steps."""

    def on_validation_epoch_end(self, trainer, pl_module):
        if not trainer.sanity_checking:
            pl_module.log("fd/pixels", [3.0, 1.0, 2.0][trainer.current_epoch])
            pl_module.log("step", float(trainer.global_step))


def validated(tmp_path, model, *callbacks, **settings) -> Path:
    """Three epochs of five batches, with a validation at the end of each."""
    runner = L.Trainer(
        accelerator="cpu",
        devices=1,
        default_root_dir=tmp_path,
        logger=False,
        callbacks=[Numbers(), *callbacks],
        enable_progress_bar=False,
        enable_model_summary=False,
        max_epochs=3,
        **settings,
    )
    runner.fit(model, loader(bits(40)), loader(bits(8)))
    return tmp_path / "checkpoints"


@pytest.mark.parametrize("best", [ModelCheckpoint, NamedCheckpoint])
def test_the_best_of_a_user_stays_beside_ours(tmp_path, best):
    keeper = best(monitor="fd/pixels")
    folder = validated(tmp_path, small(), keeper, Checkpoints())
    names = {path.name: read(path)["global_step"] for path in folder.iterdir()}
    assert names == {
        "epoch=1-step=10.ckpt": 10,
        "last.ckpt": 15,
        "saved-epoch=2-step=15.ckpt": 15,
    }
    assert Path(keeper.best_model_path) == folder / "epoch=1-step=10.ckpt"
    assert keeper.best_model_score == 1


@pytest.mark.parametrize(
    "settings, says",
    [
        ({"save_last": True}, "save_last must be false in a ModelCheckpoint of .*checkpoints, got"),
        ({"filename": "saved-{epoch}-{step}"}, "filename must be another than that of the run's"),
        ({"filename": "last"}, "filename must be another than that of the run's"),
    ],
)
def test_names_of_ours_are_not_anothers(tmp_path, settings, says):
    with pytest.raises(ValueError, match=says):
        validated(tmp_path, small(), ModelCheckpoint(**settings), Checkpoints())
    validated(tmp_path, small(), ModelCheckpoint(tmp_path / "own", **settings), Checkpoints())


@pytest.mark.parametrize("kind", [VAE, GAN])
@pytest.mark.parametrize("saver", [Checkpoints, ModelCheckpoint])
def test_every_file_is_kept_under_its_own_step(tmp_path, saver, kind):
    every = saver(every_n_train_steps=1, save_top_k=-1)
    folder = validated(tmp_path, kind((1, 8, 8), width=4, latent_dim=2), every)
    steps = {path: int(path.stem.rpartition("step=")[2]) for path in folder.glob("*epoch*")}
    assert sorted(steps.values()) == list(range(1, 16))
    assert all(read(path)["global_step"] == step for path, step in steps.items())


def test_every_epoch_is_every_epoch(tmp_path):
    """Also where validations are seldom."""
    folder = validated(tmp_path, small(), Checkpoints(save_top_k=-1), check_val_every_n_epoch=3)
    assert {path.stem for path in folder.iterdir()} == {
        "last",
        *(f"saved-epoch={epoch}-step={5 * epoch + 5}" for epoch in range(3)),
    }


@pytest.mark.parametrize("name", ["fd/pixels", "fd_pixels"])
def test_a_number_with_a_slash_stands_in_a_name(tmp_path, name):
    keeper = NamedCheckpoint(monitor="fd/pixels", filename=f"{{epoch}}-{{{name}:.2f}}")
    folder = validated(tmp_path, small(), keeper, Checkpoints(filename=f"at-{{{name}}}"))
    assert {path.name for path in folder.iterdir()} == {
        "epoch=1-fd_pixels=1.00.ckpt",
        "at-fd_pixels=2.0.ckpt",
        "last.ckpt",
    }


def test_a_number_that_is_never_logged_is_said(tmp_path):
    with pytest.raises(
        ValueError, match="monitor must be .* got fd/pixls. Did you mean fd/pixels?"
    ):
        validated(tmp_path, small(), NamedCheckpoint(monitor="fd/pixls"))


def test_a_named_checkpoint_goes_on_with_the_state_of_lightnings():
    settings = dict(monitor="fd/pixels", mode="max")
    assert NamedCheckpoint(**settings).state_key == ModelCheckpoint(**settings).state_key
    assert Checkpoints().state_key != ModelCheckpoint().state_key


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


@pytest.fixture
def served(tmp_path, monkeypatch):
    """A folder, and the address at which its files are to be had."""
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    folder = tmp_path / "served"
    folder.mkdir()

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *args):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=folder)) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield folder, f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_an_address_is_read_as_a_file_is_and_fetched_once(served, capsys):
    folder, address = served
    models = [small() for _ in range(2)]
    for name, model in zip("ab", models, strict=True):
        (folder / name).mkdir()
        save(model, folder / name / "last.ckpt")
    for name, model in zip("ab", models, strict=True):  # of one name, as all checkpoints are
        found = read(f"{address}/{name}/last.ckpt")
        torch.testing.assert_close(found["state_dict"], model.state_dict(), rtol=0, atol=0)
    (folder / "a" / "last.ckpt").unlink()
    read(f"{address}/a/last.ckpt")
    assert capsys.readouterr().out.count("genzoo: fetching ") == 2


def test_what_was_fetched_and_is_none_is_fetched_anew(served):
    folder, address = served
    (folder / "a.ckpt").write_text("<html>")
    with pytest.raises(ValueError, match="http.*a.ckpt is no checkpoint, or was cut short"):
        read(f"{address}/a.ckpt")
    save(small(), folder / "a.ckpt")
    read(f"{address}/a.ckpt")


def test_half_of_a_file_is_not_kept(served, monkeypatch):
    folder, address = served
    save(small(), folder / "a.ckpt")
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "copyfileobj", lambda source, file: file.write(source.read(100)))
        with pytest.raises(ConnectionError, match=r"not be fetched \(100 of \d+ bytes"):
            read(f"{address}/a.ckpt")
    read(f"{address}/a.ckpt")


def test_a_file_of_any_address_that_fsspec_knows(served):
    model = small()
    save(model, served[0] / "a.ckpt")
    with fsspec.open("memory://a.ckpt", "wb") as file:
        file.write((served[0] / "a.ckpt").read_bytes())
    torch.testing.assert_close(read("memory://a.ckpt")["state_dict"], model.state_dict())


def test_a_folder_whose_name_begins_like_an_address(served, monkeypatch):
    monkeypatch.chdir(served[0])
    save(small(), Path("http-models.ckpt"))
    assert read("http-models.ckpt")["state_dict"]


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
        ("genzoo.runs.checkpoints.read", "checkpoints.read, which is no LightningModule"),
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


@pytest.mark.parametrize(
    "change, says",
    [
        (lambda w: w.pop("generator.body.0.weight"), "it has no generator.body.0.weight$"),
        (lambda w: w.pop("generator.body.0.bias"), "it has no generator.body.0.bias$"),
        (
            lambda w: [w.pop(name) for name in list(w) if name.endswith("bias")],
            "it has no .*bias and .* more$",
        ),
        (
            lambda w: [w.pop(name) for name in [n for n in w if n.endswith("weight")][:3]],
            "it has no .* and 2 more$",
        ),
        (lambda w: w.update(more=torch.ones(1)), "the model has no more$"),
        (
            lambda w: w.update({f"generator._orig_mod.{k}": w.pop(k) for k in list(w)}),
            "saved from a network that torch.compile had wrapped",
        ),
    ],
)
def test_why_weights_do_not_fit_is_said(genzoo, tmp_path, change, says):
    weights = small().state_dict()
    change(weights)
    arguments = {"image_shape": [1, 8, 8], "latent_dim": 2, "width": 4}
    made = {"model": {"class_path": "genzoo.zoo.GAN", "init_args": arguments}}
    torch.save({"state_dict": weights, "origin": made}, "m.ckpt")
    with pytest.raises(ValueError, match=f"m.ckpt does not fit GAN: .*{says}"):
        load_model("m.ckpt")
    with pytest.raises(ValueError, match=says):
        init_from(small(), "m.ckpt")


def returned(model: GAN) -> list[str]:
    """The biases that layers got back from normalisation layers that were taken out."""
    layers = ((name, m) for name, m in model.named_modules() if hasattr(m, "got_bias_back"))
    return [f"{name}.bias" for name, _ in layers]


@pytest.mark.parametrize("versioned", [False, True])
@pytest.mark.parametrize("part", ["one", "all"])
def test_a_bias_that_is_missing_is_made_up_in_a_file_from_before_it_only(versioned, part, tmp_path):
    """Layers in front of a norm had no bias, also where the norm was taken out: in old files all
    of these are missing. A file that lacks some, or that says its version, is damaged."""
    model = GAN((1, 32, 32), latent_dim=2, width=4, network="conv", spectral_norm=True).eval()
    biases = returned(model)
    assert len(biases) > 1 and not any(model.state_dict()[name].any() for name in biases)
    x = torch.rand(4, 1, 32, 32) * 2 - 1
    expected = model.raw_scores(x)
    training(model, loader(x, 4), 0).save_checkpoint(tmp_path / "m.ckpt")
    checkpoint = read(tmp_path / "m.ckpt")
    if not versioned:
        del checkpoint["genzoo_version"]
    for name in biases if part == "all" else biases[1:2]:
        del checkpoint["state_dict"][name]
    torch.save(checkpoint, tmp_path / "m.ckpt")
    if part == "all" and not versioned:
        assert torch.equal(load_model(tmp_path / "m.ckpt").raw_scores(x), expected)
        return
    others = f" and {len(biases) - 1} more" if part == "all" else ""
    first = biases[0] if part == "all" else biases[1]
    with pytest.raises(ValueError, match=f"m.ckpt does not fit GAN: it has no {first}{others}$"):
        load_model(tmp_path / "m.ckpt")


@pytest.mark.parametrize("weight", ["generator.body.0.weight", "generator.body.0.bias"])
def test_the_command_line_says_why_weights_do_not_fit(genzoo, weight):
    weights = small().state_dict()
    del weights[weight]
    arguments = {"image_shape": [1, 8, 8], "latent_dim": 2, "width": 4}
    made = {"model": {"class_path": "genzoo.zoo.GAN", "init_args": arguments}}
    version = {"pytorch-lightning_version": L.__version__}
    torch.save({"state_dict": weights, "origin": made, **version}, "m.ckpt")
    says = genzoo(f"test --ckpt_path m.ckpt {FAST}", 1)
    assert "the checkpoint does not fit the model: it has no " + weight in says
    assert not list(Path("runs").glob("*/version_*"))


def test_init_from_takes_the_weights_alone(tmp_path):
    first = training(small(), loader(bits(40)), 3)
    first.save_checkpoint(tmp_path / "m.ckpt")
    model = init_from(small(lr=1e-9), tmp_path / "m.ckpt")
    for name, value in read(tmp_path / "m.ckpt")["state_dict"].items():
        assert torch.equal(model.state_dict()[name], value)
    runner = training(model, loader(bits(40)), 2)
    assert runner.global_step == 2 and runner.optimizers[0].param_groups[0]["lr"] == 1e-9
    assert runner.optimizers[0].state_dict()["state"][0]["step"] == 2


def test_a_rate_that_a_resumed_training_does_not_take_is_said(tmp_path):
    training(small(lr=2e-4), loader(bits(40)), 3).save_checkpoint(tmp_path / "m.ckpt")
    runner, model = trainer(max_epochs=-1, max_steps=5), small(lr=1e-5)
    with pytest.warns(UserWarning, match="lr 1e-05 has no effect: .* with lr 0.0002. .*init_from"):
        runner.fit(model, loader(bits(40)), ckpt_path=tmp_path / "m.ckpt")
    runner.save_checkpoint(tmp_path / "n.ckpt")
    made = read(tmp_path / "n.ckpt")
    assert made["hyper_parameters"]["lr"] == 2e-4 == model.lr
    assert [group["lr"] for o in made["optimizer_states"] for group in o["param_groups"]] == [
        2e-4,
        2e-4,
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        small(lr=2e-4).on_load_checkpoint(made)
        assert load_model(tmp_path / "n.ckpt", GAN, lr=1e-5).lr == 1e-5


def test_weights_that_do_not_fit_are_said_in_one_line(tmp_path):
    arguments = {"image_shape": [1, 8, 8], "latent_dim": 3, "width": 4}
    made = {"model": {"class_path": "genzoo.zoo.GAN", "init_args": arguments}}
    path = save(small(), tmp_path / "m.ckpt", origin=made)
    with pytest.raises(ValueError, match="m.ckpt does not fit GAN: size mismatch for") as error:
        load_model(path)
    assert "\n" not in str(error.value)
