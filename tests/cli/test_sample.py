"""Samples of a checkpoint, by the command line."""

import os
import weakref
from pathlib import Path

import pytest

from genzoo.zoo import GAN, VAE, PixelCNN
from genzoo.zoo import sample as sampling
from tests.helpers.command_lines import FAST


def test_last_is_sampled_from(genzoo):
    assert "there is no checkpoint in the folder runs" in genzoo("sample --ckpt_path last", 2)
    for model in ("VAE --model.decoder gaussian", "GAN"):
        genzoo(f"fit --model {model} --model.width 8 --test_after_fit false {FAST}")
    says = genzoo("sample --ckpt_path last --n 4")
    assert "genzoo: runs/GAN-Digits/version_0/checkpoints/last.ckpt\n" in says
    assert "4 images of GAN in samples.png" in says


def test_samples_without_room_are_named_and_none_is_left(genzoo, trained, monkeypatch):
    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("genzoo.zoo.sample.save", full)
    own = "--model own.Mean"
    says = genzoo(f"sample --ckpt_path {trained} {own} --n 3 --output drawn/all.png", 1)
    assert says == "genzoo: [Errno 28] No space left on device: 'drawn/all.png'"
    assert not list(Path("drawn").iterdir())


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
