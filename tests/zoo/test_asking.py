"""A condition of each kind, from the data to the picture, by the command line."""

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from genzoo.__main__ import main
from genzoo.conditions import BANK, asked_of, size
from genzoo.runs.checkpoints import load_model, read
from tests.zoo import asking

SMALL = (
    "--data.conditional true --data.batch_size 60 --trainer.accelerator cpu --trainer.max_epochs 9 "
    "--trainer.enable_model_summary false --evaluation.extractor pixels "
    "--evaluation.num_samples 200 --evaluation.every_n_epochs 0"
)
PAIRS = {
    "OfClasses": ("Quarters", "d"),
    "OfVector": ("Placed", "1,1"),
    "OfImage": ("Paired", "asked.png"),
    "OfTokens": ("Captioned", "the lower, RIGHT corner"),
    "OfBoth": ("Parted", "row=lower; right=1"),
}


@pytest.fixture
def folder(genzoo, tmp_path):
    shutil.copy(Path(asking.__file__), tmp_path)
    sys.modules.pop("asking", None)
    asked = 255 - asking.quarters(torch.tensor([3]))[0, 0]
    Image.fromarray(asked.numpy()).save(tmp_path / "asked.png")
    return tmp_path


def quarter(images: np.ndarray) -> list[int]:
    """The brightest quarter of images (n, 8, 8, 1)."""
    means = images.reshape(len(images), 2, 4, 2, 4).mean(axis=(2, 4))
    return means.reshape(len(images), 4).argmax(1).tolist()


def drawn(model: str, path: Path, *more: str) -> dict[str, np.ndarray]:
    """What `genzoo sample` writes."""
    name = f"{len(list(Path().glob('*.npz')))}.npz"
    args = ["--ckpt_path", str(path), "--model", f"asking.{model}", "--output", name, *more]
    assert main(["sample", "--n", "12", "--device", "cpu", *args]) == 0
    with np.load(name) as file:
        return dict(file)


@pytest.mark.parametrize("model", PAIRS)
def test_each_kind_from_data_to_report_and_file(genzoo, folder, model):
    data, y = PAIRS[model]
    genzoo(f"fit --model asking.{model} --data asking.{data} {SMALL}")
    run = Path(f"runs/{model}-{data}/version_0")
    path = run / "checkpoints/last.ckpt"

    kept, condition = read(path), getattr(asking, data)(conditional=True).condition
    assert kept["condition"] == kept["hyper_parameters"]["condition"] == condition.to_plain()
    again = load_model(path, getattr(sys.modules["asking"], model))
    assert asked_of(again) == condition

    # Asked for the lower right; then for what training images had.
    assert quarter(drawn(model, path, "--y", y)["images"]) == [3] * 12
    found = drawn(model, path)
    assert len({*quarter(found["images"])}) > 1
    if condition.from_data:
        again = drawn(model, path, "--y", "1.npz")  # which has what was asked for
        assert quarter(again["images"]) == quarter(found["images"])
        assert size(kept["bank"]) == BANK

    (card,) = run.rglob("report.json")
    report = json.loads(card.read_text())
    (real,) = (s for s in report["sections"] if s["title"].startswith("Does it look real"))
    said = real["protocol"].get("conditions")
    assert said == ("of test images" if condition.from_data else None)
    assert list(run.rglob("samples*.png"))
