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
from genzoo.batches import size
from genzoo.conditions import BANK, asked_of
from genzoo.runs.checkpoints import load_model, read
from tests.helpers import user_conditions as kinds

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
    shutil.copy(kinds.__file__, tmp_path / "kinds.py")
    sys.modules.pop("kinds", None)
    asked = 255 - kinds.quarters(torch.tensor([3]))[0, 0]
    Image.fromarray(asked.numpy()).save(tmp_path / "asked.png")
    return tmp_path


def quarter(images: np.ndarray) -> list[int]:
    """The brightest quarter of images (n, 8, 8, 1)."""
    means = images.reshape(len(images), 2, 4, 2, 4).mean(axis=(2, 4))
    return means.reshape(len(images), 4).argmax(1).tolist()


def drawn(model: str, path: Path, *more: str) -> dict[str, np.ndarray]:
    """What `genzoo sample` writes."""
    name = f"{len(list(Path().glob('*.npz')))}.npz"
    args = ["--ckpt_path", str(path), "--model", f"kinds.{model}", "--output", name, *more]
    assert main(["sample", "--n", "12", "--device", "cpu", *args]) == 0
    with np.load(name) as file:
        return dict(file)


@pytest.mark.parametrize("model", PAIRS)
def test_each_kind_from_data_to_report_and_file(genzoo, folder, model):
    data, y = PAIRS[model]
    genzoo(f"fit --model kinds.{model} --data kinds.{data} {SMALL}")
    run = Path(f"runs/{model}-{data}/version_0")
    path = run / "checkpoints/last.ckpt"

    kept, condition = read(path), getattr(kinds, data)(conditional=True).condition
    assert kept["condition"] == kept["hyper_parameters"]["condition"] == condition.to_plain()
    again = load_model(path, getattr(sys.modules["kinds"], model))
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
    said = {section["protocol"].get("conditions") for section in report["sections"]}
    assert said == {"of test images" if condition.from_data else None}
    (samples,) = run.rglob("test-samples*.png")
    width = Image.open(samples).width  # images are 64 pixels wide, 8 between them
    assert width == 9 * 72 + 8 if model == "OfImage" else width > 8 * 72 + 8


def test_what_cannot_be_asked_for_is_said_in_one_line(genzoo, folder):
    """By data that a model cannot take, and by words that it does not know."""
    fit = f"fit --model {{}} --data kinds.{{}} {SMALL} --evaluate false --trainer.max_epochs 1"
    line = genzoo(fit.format("GAN", "Captioned"), 2)
    assert "GAN must take a condition of the kind Tokens, which Captioned gives, but takes" in line
    line = genzoo(fit.format("kinds.OfLabels", "Captioned"), 1)
    assert "condition must be one of Classes for a OfLabels, got Tokens(" in line
    line = genzoo(
        f'{fit.format("kinds.OfTokens", "Captioned")} --model.condition={{"kind":"Nothing"}}',
        2,
    )
    assert "--model.condition comes from the data, by --data.conditional true" in line

    genzoo(fit.format("kinds.OfTokens", "Captioned"))
    path = "runs/OfTokens-Captioned/version_0/checkpoints/last.ckpt"
    sample = f"sample --ckpt_path {path} --model kinds.OfTokens --y"
    said = "--y must be words that the data has, the, upper, lower, left, right, ..., got 'blue'"
    assert said in genzoo(f"{sample} blue", 2)
    np.savez("a.npz", other=np.zeros(3))
    assert "--y must be a file with arrays y, got other in a.npz" in genzoo(f"{sample} a.npz", 2)
    np.savez("b.npz", y=np.zeros((3, 2), dtype=int))
    line = genzoo(f"{sample} b.npz", 2)
    assert "--y must be (3, 4) integers, got (3, 2) torch.int64, in b.npz" in line
    line = genzoo(f"test --ckpt_path {path} --model kinds.OfTokens --data kinds.Placed", 2)
    assert "was made for condition" in line or "--data.conditional" in line
