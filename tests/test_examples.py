"""Every example runs, on generated data."""

import json
import runpy
from pathlib import Path

import lightning as L
import numpy as np
import pytest
import yaml
from PIL import Image

from genzoo.__main__ import main
from tests.helpers.dataset_files import mnist_layout

ROOT = Path(__file__).parents[1]
LARGE = sorted((ROOT / "examples" / "64").glob("*.yaml"))  # at 64 pixels in colour
EXAMPLES = sorted({*(ROOT / "examples").rglob("*.yaml")} - {*LARGE})
# So that two steps cost seconds: what is wide is narrow here, and both players move.
NARROW = {"pixelcnn_pp": {"width": 4, "layers": 1}, "wgan_gp": {"d_steps": 1, "width": 16}}
NARROW["geometric_gan"] = NARROW["wgan_gp"]


@pytest.fixture
def data(tmp_path, monkeypatch) -> Path:
    """A folder of images that is a Fashion-MNIST too; what is written goes elsewhere."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("genzoo.features.spaces.CANDIDATES", 2)  # of moved copies: a short look
    folder = tmp_path / "data"
    mnist_layout(folder, "FashionMNIST", train=260, test=130)
    pictures = np.random.default_rng(0).integers(0, 256, (260, 20, 20, 3), dtype=np.uint8)
    for i, picture in enumerate(pictures):
        Image.fromarray(picture).save(folder / f"{i}.png")
    return folder


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_a_yaml_runs(path, data, capsys):
    fast = ["--trainer.fast_dev_run", "true", "--trainer.accelerator", "cpu"]
    root = [] if "Digits" in path.read_text() else ["--data.root", str(data)]
    code = main(["fit", "--config", str(path), *fast, *root])
    out, err = capsys.readouterr()
    assert code == 0, out + err
    assert "Has it memorised?" in out


@pytest.mark.parametrize("path", LARGE, ids=lambda path: path.stem)
def test_an_example_at_64_pixels_takes_two_steps(path, data, capsys):
    line = f"fit --config {path} --data.root {data} --data.batch_size 2 --evaluate false"
    narrow = " ".join(f"--model.{k} {v}" for k, v in NARROW.get(path.stem, {}).items())
    quick = "--trainer.fast_dev_run 2 --trainer.accelerator cpu --test_after_fit false"
    assert main(f"{line} {narrow} {quick}".split()) == 0, capsys.readouterr()


def test_ten_examples_are_at_64_pixels_in_colour_on_any_folder():
    """And of models that have a page, which shows them."""
    assert len(LARGE) == 10
    for path in LARGE:
        told = yaml.safe_load(path.read_text())
        data = told["data"]["init_args"]
        assert told["data"]["class_path"] == "ImageFolder" and data["image_size"] == 64
        assert "levels" not in told["model"]["init_args"] and data.get("channels", 3) == 3
        assert (ROOT / "results" / "models" / path.name).is_file()


def test_the_python_quickstart_runs(data, monkeypatch):
    quick = {"fast_dev_run": True, "accelerator": "cpu", "logger": False}
    trainer = L.Trainer
    monkeypatch.setattr(L, "Trainer", lambda **settings: trainer(**{**settings, **quick}))
    runpy.run_path(str(ROOT / "examples" / "quickstart.py"), run_name="__main__")
    assert Path("digits.png").is_file()


def test_the_subclass_runs(data, monkeypatch, capsys):
    monkeypatch.syspath_prepend(str(ROOT / "examples"))
    line = "fit --model subclass.Mine --data Digits --data.conditional true --evaluate false"
    code = main([*line.split(), "--trainer.fast_dev_run", "true", "--trainer.accelerator", "cpu"])
    assert code == 0, capsys.readouterr()


def test_the_leaderboard_puts_the_nearest_first(tmp_path):
    script = runpy.run_path(str(ROOT / "examples" / "leaderboard" / "run.py"), run_name="board")
    for name, distances in {"GAN": (30.0, 10.0, 50.0), "LSGAN": (20.0, 21.0, 90.0)}.items():
        for seed, distance in enumerate(distances):
            figures = tmp_path / name / f"seed{seed}" / "figures"
            figures.mkdir(parents=True)
            # So a card writes what is not a number.
            found = {"fd/domain": {"value": distance}, "recall": {"value": "nan"}}
            card = {"sections": [{"title": "realism", "numbers": found}]}
            (figures.parent / "report.json").write_text(json.dumps(card))
            colour = 255 if name == "GAN" else 0
            page = Image.new("RGB", (530, 530), (colour,) * 3)
            page.save(figures / "test-samples-step=9.png")
    rows = script["board"](tmp_path)
    assert list(rows) == ["LSGAN", "GAN"]
    *_, upper, lower = script["table"](rows).splitlines()
    assert upper == "| LSGAN | 21 (20 to 90) | nan (nan to nan) |"
    assert lower == "| GAN | 30 (10 to 50) | nan (nan to nan) |"
    strips = np.array(script["picture"](tmp_path, rows))[:, -500:]
    upper, lower = np.array_split(strips, 2)
    assert upper.max() == 0
    assert lower.min() == 255
