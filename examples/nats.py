"""The explicit densities of the zoo beside each other: nats of held-out binary digits.

    python examples/nats.py --data FOLDER            (20 minutes on one CPU core)

Static binarisation of `MNIST10k` at 14x14; every model of every seed has the same CPU time. So
it is an order at that budget: what learns more in a step, but takes longer for it, may lose.
"""

import argparse
import time

import lightning as L
import torch

from genzoo.datamodules import MNIST10k
from genzoo.zoo import VAE, DiagonalBiLSTM, GatedPixelCNN, PixelCNN, PixelVAE, RowLSTM


class CPUTime(L.Callback):
    """Stops a training after so many seconds of this process' own time."""

    def __init__(self, seconds: float):
        self.seconds = seconds

    def on_train_start(self, trainer, model):
        self.end = time.process_time() + self.seconds

    def on_train_batch_end(self, trainer, *_):
        trainer.should_stop = trainer.should_stop or time.process_time() > self.end


def models(shape):
    yield "independent pixels", None
    yield "VAE", lambda: VAE(shape, width=200, latent_dim=12)
    yield (
        "PixelVAE, 1 layer",
        lambda: PixelVAE(
            shape, width=200, latent_dim=12, levels=2, features=16, layers=1, warm_up=0, lr=3e-3
        ),
    )
    yield "PixelCNN, 1 layer", lambda: PixelCNN(shape, levels=2, width=16, layers=1, lr=3e-3)
    yield "PixelCNN, 4 layers", lambda: PixelCNN(shape, levels=2, width=16, layers=4, lr=3e-3)
    yield "Gated PixelCNN", lambda: GatedPixelCNN(shape, levels=2, width=16, layers=4, lr=3e-3)
    yield "Row LSTM", lambda: RowLSTM(shape, levels=2, width=16, layers=2, lr=3e-3)
    yield "Diagonal BiLSTM", lambda: DiagonalBiLSTM(shape, levels=2, width=16, layers=2, lr=3e-3)


def independent(data) -> float:
    """Nats of test images under the training images' means, pixel by pixel."""
    bits = {part: (data.split(part).images > 127).double() for part in ("train", "test")}
    chance = (bits["train"].sum(0) + 1) / (len(bits["train"]) + 2)
    return (
        -torch.distributions.Bernoulli(chance)
        .log_prob(bits["test"])
        .flatten(1)
        .sum(1)
        .mean()
        .item()
    )


def nats(model, x) -> float:
    """Of images: exact, or by 50 importance samples."""
    model.eval()
    measure = getattr(model, "log_prob", None) or model.importance_weighted
    with torch.no_grad():
        return -torch.cat([measure(block) for block in x.split(250)]).mean().item()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", default="data")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    options = parser.parse_args()
    torch.set_num_threads(1)
    data = MNIST10k(options.data, image_size=14, binarise="static", batch_size=64)
    test = data.split("test").images.float() / 127.5 - 1
    for name, build in models(data.image_shape):
        if build is None:
            print(f"{name:20} {independent(data):6.2f}", flush=True)
            continue
        found, steps = [], []
        for seed in options.seeds:
            L.seed_everything(seed, verbose=False)
            model = build()
            trainer = L.Trainer(
                max_epochs=-1,
                callbacks=[CPUTime(options.seconds)],
                limit_val_batches=0,
                logger=False,
                enable_checkpointing=False,
                enable_progress_bar=False,
                enable_model_summary=False,
            )
            trainer.fit(model, data)
            steps.append(trainer.global_step)
            found.append(nats(model, test))
        values = "  ".join(f"{value:6.2f}" for value in found)
        print(f"{name:20} {values}   steps {steps}", flush=True)
