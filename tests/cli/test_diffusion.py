"""From `genzoo fit` to the card and to images, by the command line."""

import json
from pathlib import Path

import numpy as np
import torch

from genzoo.images import to_uint8
from genzoo.runs.checkpoints import load_model

SMALL = (
    "--data Digits --data.conditional true --data.num_train 200 --trainer.accelerator cpu "
    "--trainer.enable_model_summary false --trainer.max_epochs 2 --evaluation.extractor pixels "
    "--evaluation.num_samples 200 --evaluation.every_n_epochs 0"
)
MODEL = "--model FlowMatching --model.width 16 --model.blocks 1 --model.steps 3"


def test_steps_guidance_and_sampler_from_the_checkpoint_and_from_the_line(genzoo):
    genzoo(f"fit {MODEL} --model.guidance 1.5 --model.lr 0.01 {SMALL}")
    path = "runs/FlowMatching-Digits/version_0/checkpoints/last.ckpt"
    (card,) = Path("runs").rglob("report.json")
    sections = json.loads(card.read_text())["sections"]
    real = next(section for section in sections if section["title"] == "realism")
    how = {name: real["protocol"][name] for name in ("sampler", "sampling_steps", "guidance")}
    assert how == {"sampler": "euler", "sampling_steps": 3, "guidance": 1.5}
    assert any(section["title"] == "likelihood" for section in sections)

    genzoo(f"sample --ckpt_path {path} --n 4 --y 1,2 --output a.npz --device cpu")
    genzoo(
        f"sample --ckpt_path {path} --n 4 --y 1,2 --output b.npz --device cpu "
        "--steps 5 --guidance 4 --sampler heun"
    )
    model, y = load_model(path), torch.tensor([1, 2, 1, 2])
    drawn = {}
    for name, how in {"a": {}, "b": {"steps": 5, "guidance": 4.0, "sampler": "heun"}}.items():
        torch.manual_seed(0)
        drawn[name] = to_uint8(model.sample(4, y, **how)).movedim(1, -1).numpy()
        with np.load(f"{name}.npz") as file:
            assert (file["images"] == drawn[name]).all()
    assert (drawn["a"] != drawn["b"]).any()

    line = f"sample --ckpt_path {path} --output c.npz --device cpu"
    assert "steps must be at least 1, got 0" in genzoo(f"{line} --steps 0", 1)
    assert "sampler must be one of euler, ddim" in genzoo(f"{line} --sampler rk45", 1)
    assert "--guidence" in genzoo(f"{line} --guidence 2", 2)


def test_who_draws_in_one_go_takes_no_steps(genzoo, trained):
    line = f"sample --ckpt_path {trained} --model own.Mean --n 2 --output a.npz"
    said = genzoo(f"{line} --steps 18", 2)
    assert "--steps must be left out, got 18: Mean takes none such" in said
    assert "--guidance must be left out, got 2.0" in genzoo(f"{line} --guidance 2", 2)
