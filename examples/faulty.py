"""Five generators of Fashion-MNIST that are faulty on purpose, and what the report card says.

    python examples/faulty.py --data FOLDER         (half an hour on a CPU core)
    genzoo compare cards/*

A kernel density estimate, which is a training image and a little noise; one that copies so that
it does not show, by moving, turning and blurring; one that has seen the images that are held out
from it; a collapsed GAN; and a VAE that has seen too few images too often. A report card is good
for something if it says so without being told. `--only collapsed_gan` makes one of them.
"""

import argparse

import lightning as L
import torch

from genzoo.callbacks import report_card
from genzoo.datamodules import FashionMNIST
from genzoo.images import from_uint8
from genzoo.metrics.alterations import blurred, transformed
from genzoo.zoo import GAN, VAE, Wrapped


def trained(model, data, **limits):
    L.Trainer(**limits, logger=False, enable_checkpointing=False, limit_val_batches=0).fit(
        model, data
    )
    return model


def overfitted_vae(data):
    """Five hundred images, each seen three hundred times."""
    few = FashionMNIST(data.root, batch_size=100, num_train=500)
    return trained(VAE(data.image_shape, decoder="gaussian"), few, max_epochs=300), few


def collapsed_gan(data):
    """The generator moves ten times for each move of its opponent, and runs to where it is best."""
    return trained(GAN(data.image_shape, lr=1e-3, g_steps=10), data, max_steps=3000), data


def copier(data):
    """Any of the training images, and a little noise."""
    images = data.split("train").images

    def kernel_density(n):
        x = from_uint8(images[torch.randint(len(images), (n,))])
        return (x + 0.1 * torch.randn_like(x)).clamp(-1, 1)

    return Wrapped(kernel_density, data.image_shape), data


def artful_copier(data):
    """Training images, each moved, turned, zoomed and blurred by amounts of its own; no noise."""
    images = data.split("train").images

    def altered_copies(n):
        x = from_uint8(images[torch.randint(len(images), (n,))])
        move, turn, zoom, blur = torch.rand(4, n) * 2 - 1
        x = transformed(x, turn=8 * turn, zoom=1 + 0.1 * zoom, right=0.07 * move, down=0.04 * turn)
        return blurred(x, 0.5 + 0.2 * blur).clamp(-1, 1)

    return Wrapped(altered_copies, data.image_shape), data


def leak(data):
    """The very images that it is tested with, and a little noise."""
    images = data.split("test").images

    def held_out_images(n):
        x = from_uint8(images[torch.randperm(len(images))[:n]])
        return (x + 0.02 * torch.randn_like(x)).clamp(-1, 1)

    return Wrapped(held_out_images, data.image_shape), data


MODELS = {
    "kernel_density": copier,
    "artful_copier": artful_copier,
    "leak": leak,
    "collapsed_gan": collapsed_gan,
    "overfitted_vae": overfitted_vae,
}

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", default="data", help="where FashionMNIST is, or is to be put")
    parser.add_argument("--only", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--samples", type=int, default=10_000)
    options = parser.parse_args()
    for name in options.only:
        L.seed_everything(0)
        data = FashionMNIST(options.data, download=True, batch_size=64)
        model, data = MODELS[name](data)
        report_card(model, data, f"cards/{name}", num_samples=options.samples).print()
