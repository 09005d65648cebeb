"""Adversarial objectives beside each other: the same networks, the same steps, the same test.

    python examples/leaderboard/run.py --data FOLDER        (about 70 minutes on one CPU core)

Fashion-MNIST at 32x32. Every model has the same convolutional generator and discriminator, sees the
same number of batches, and both of its players move once with each, by the same learning rate.
(The classes' own rates and d_steps, from their papers, are for fifty times as many steps: after
these few a WGAN would not have begun.) Nothing is tuned but EBGAN's margin, once. Two have networks
of their own, as their papers are about these: LAPGAN and ProgressiveGAN.

The runs stay in `runs/leaderboard`, for `genzoo compare`; the table of medians and ranges over
seeds is printed and written to `table.md` beside them, the first eight samples of each to
`samples.png`. What was run before is not run again, so it can be stopped; `--names` and `--seeds`
choose.
"""

import argparse
import json
import time
from collections.abc import Iterable
from pathlib import Path
from statistics import median
from typing import Any

import lightning as L
import numpy as np
import torch
from PIL import Image

from genzoo.callbacks import Diversity, Memorisation, Realism, ReportCard, Samples
from genzoo.datamodules import FashionMNIST
from genzoo.report.figures import grid
from genzoo.zoo import conditional, gan, inference

SAME = {
    "network": "conv",
    "latent_dim": 64,
    "ema_decay": 0.99,
    "ema_warmup": False,
    "lr": 1e-3,
    "betas": (0.5, 0.999),
    "d_steps": 1,
}
MODELS: dict[str, tuple[type[L.LightningModule], dict[str, Any]]] = {
    "GAN": (gan.GAN, {}),
    "GAN, spectral_norm": (gan.GAN, {"spectral_norm": True}),
    "LSGAN": (gan.LSGAN, {}),
    "WGAN": (gan.WGAN, {}),
    "WGANGP": (gan.WGANGP, {}),
    "GeometricGAN": (gan.GeometricGAN, {}),
    "FGAN, kl": (gan.FGAN, {"divergence": "kl"}),
    "FGAN, pearson": (gan.FGAN, {"divergence": "pearson"}),
    "BGAN": (gan.BGAN, {}),
    "BoundarySeekingGAN": (gan.BoundarySeekingGAN, {}),
    "EBGAN": (gan.EBGAN, {}),
    "EBGAN, margin=1": (gan.EBGAN, {"margin": 1.0}),
    "BEGAN": (gan.BEGAN, {}),
    "ImprovedGAN": (gan.ImprovedGAN, {}),
    "GoGAN": (gan.GoGAN, {"num_stages": 2}),
    "AdaGAN": (gan.AdaGAN, {"num_components": 2}),
    "LAPGAN": (gan.LAPGAN, {"detail_width": 16}),
    "ProgressiveGAN": (gan.ProgressiveGAN, {"network": "own"}),
    "InfoGAN": (conditional.InfoGAN, {}),
    "CatGAN": (conditional.CatGAN, {}),
    "BiGAN": (inference.BiGAN, {}),
    "ALI": (inference.ALI, {}),
    "VAEGAN": (inference.VAEGAN, {}),
    "AAE": (inference.AAE, {}),
    "IAN": (inference.IAN, {}),
}
SHOWN = {
    "realism": ("fd/domain", "way_to_real", "precision", "recall", "density", "coverage"),
    "memorisation": ("copied/pixels",),
    "diversity": ("classes_effective",),
}


class Batches(L.Callback):
    """Stops a training after so many batches, whatever the steps of its players."""

    def __init__(self, count: int):
        self.count = count

    def on_train_batch_end(self, trainer, *_):
        seen = trainer.fit_loop.epoch_loop.total_batch_idx + 1
        trainer.should_stop = trainer.should_stop or seen >= self.count


def settings(name: str, batches: int) -> dict:
    """Of a model: the rest of its arguments, of which stages take half of the steps each."""
    own = MODELS[name][1]
    if name == "GoGAN":
        own = {**own, "stage_steps": batches // 2}
    if name == "AdaGAN":
        own = {**own, "stage_steps": batches // 2 - 200, "classifier_steps": 200}
    if name == "ProgressiveGAN":  # grown after the first half of the batches
        own = {**own, "stage_steps": batches // 12}
    return own


def run(name: str, seed: int, folder: Path, options) -> None:
    L.seed_everything(seed, verbose=False)
    data = FashionMNIST(options.data, image_size=32, batch_size=64)
    own = {"width": options.width, **settings(name, options.batches)}
    model = MODELS[name][0](data.image_shape, **{**SAME, **own})
    asked = {"num_samples": options.samples, "num_real": options.real}
    trainer = L.Trainer(
        max_epochs=-1,
        limit_val_batches=0,
        logger=False,
        default_root_dir=folder,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[
            Batches(options.batches),
            Realism(**asked),
            Memorisation(**asked, shifts=0, mirror=False),  # moved copies are dear to look for
            Diversity(**asked),
            Samples(),
            ReportCard(),
        ],
    )
    start = time.process_time()
    trainer.fit(model, data)
    print(f"{name}, seed {seed}: {time.process_time() - start:.0f} CPU-seconds of training")
    trainer.test(model, data, verbose=False)


def numbers(folder: Path) -> dict[str, float]:
    card = json.loads((folder / "report.json").read_text())
    found = {section["title"]: section["numbers"] for section in card["sections"]}
    return {
        name: float(found[title][name]["value"])  # JSON has no infinity: "inf"
        for title, names in SHOWN.items()
        for name in names
        if name in found.get(title, {})
    }


def board(root: Path) -> dict[str, dict[str, list[float]]]:
    """Each model's numbers, of all seeds; nearest to the data first."""
    rows = {}
    for name in MODELS:
        cards = [numbers(path.parent) for path in sorted(root.glob(f"{name}/*/report.json"))]
        if cards:
            rows[name] = {key: [card[key] for card in cards] for key in cards[0]}
    order = sorted(rows, key=lambda name: median(rows[name]["fd/domain"]))
    return {name: rows[name] for name in order}


def table(rows: dict[str, dict[str, list[float]]]) -> str:
    """Medians of the seeds, lowest and highest behind them."""
    heads = list(next(iter(rows.values())))
    lines = [f"| Model | {' | '.join(heads)} |", f"|---|{'---|' * len(heads)}"]
    for name, found in rows.items():
        cells = [
            f"{median(values):.3g} ({min(values):.3g} to {max(values):.3g})"
            for values in found.values()
        ]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def picture(root: Path, names: Iterable[str]) -> Image.Image:
    """The upper row of each model's grid of samples, of its first seed."""
    strips = []
    for name in names:
        path = min(root.glob(f"{name}/*/figures/test-samples*.png"))
        page = torch.from_numpy(np.array(Image.open(path).convert("L")))
        side = page.shape[1] // 8  # of an image and the gap before it
        strips.append(page[:side, : 8 * side].unflatten(1, (8, side)).movedim(1, 0)[:, None])
    return Image.fromarray(grid(torch.cat(strips), padding=0, rows=list(names)).numpy())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", default="data")
    parser.add_argument("--runs", type=Path, default=Path("runs/leaderboard"))
    parser.add_argument("--batches", type=int, default=1000, help="of 64 images, of each model")
    parser.add_argument("--width", type=int, default=8, help="channels at half the full side")
    parser.add_argument("--samples", type=int, default=1000, help="of each model in the test")
    parser.add_argument("--real", type=int, default=5000, help="training images in the test")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--names", nargs="+", default=list(MODELS), choices=MODELS)
    options = parser.parse_args()
    for seed in options.seeds:
        for name in options.names:
            folder = options.runs / name / f"seed{seed}"
            if not (folder / "report.json").exists():
                run(name, seed, folder, options)
                print(name, seed, numbers(folder), flush=True)
    rows = board(options.runs)
    shown = table(rows)
    picture(options.runs, rows).save(options.runs / "samples.png")
    (options.runs / "table.md").write_text(shown + "\n")
    print(shown)
