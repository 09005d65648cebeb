"""Pictures of what explicit models know: completions, a latent plane, traversals.

    python examples/latent.py --data FOLDER          (three minutes on one CPU core)

Writes completions.png (upper halves of held-out digits, as they are and finished three times by
a Gated PixelCNN), manifold.png (the plane of a VAE with two latents) and traversals.png (each of
a VAE's ten latents led from -3 to 3, one row each).
"""

import argparse

import lightning as L
import torch
from torchvision.utils import save_image

from genzoo import latent
from genzoo.datamodules import MNIST10k
from genzoo.zoo import VAE, GatedPixelCNN


def trained(model, data, epochs):
    L.Trainer(max_epochs=epochs, logger=False, enable_checkpointing=False).fit(model, data)
    return model


def grid(images, name, columns):
    save_image(images, name, nrow=columns, normalize=True, value_range=(-1, 1), pad_value=0.5)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", default="data")
    root = parser.parse_args().data
    L.seed_everything(0)

    small = MNIST10k(root, image_size=14, binarise="threshold", batch_size=64)
    pixelcnn = GatedPixelCNN(small.image_shape, levels=2, width=24, layers=5, lr=3e-3)
    trained(pixelcnn, small, epochs=8)
    x = small.split("test").images[:16].float() / 127.5 - 1
    known = torch.zeros(len(x), 1, *x.shape[2:])
    known[:, :, :7] = 1
    half = torch.where(known == 1, x, 0.0)
    grid(
        torch.cat([x, half, *(pixelcnn.complete(x, known) for _ in range(3))]),
        "completions.png",
        16,
    )

    data = MNIST10k(root, binarise="threshold")
    plane = trained(VAE(data.image_shape, latent_dim=2), data, epochs=15)
    grid(latent.manifold(plane, side=16).flatten(0, 1), "manifold.png", 16)

    vae = trained(VAE(data.image_shape, latent_dim=10, beta=2.0), data, epochs=15)
    z = vae.encode(data.split("test").images[:1].float() / 127.5 - 1)[0]
    grid(latent.traverse(vae, z, steps=11).flatten(0, 1), "traversals.png", 11)
