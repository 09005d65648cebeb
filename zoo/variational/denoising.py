"""DenoisingAutoencoder: Extracting and Composing Robust Features with Denoising Autoencoders.

Vincent, Larochelle, Bengio and Manzagol, 2008. https://doi.org/10.1145/1390156.1390294
At length: Vincent et al., 2010, https://jmlr.org/papers/v11/vincent10a.html

An image is corrupted, and the network predicts the clean image:

    min  E_x E_{x~ ~ C(x~|x)} |x - r(x~)|^2,    r = decoder after encoder

Copying the input is not a solution, so the code needs no bottleneck to be informative.
The loss is over all pixels, corrupted or not, and corruption is drawn anew at every step.

At the optimum r(x~) = E[x | x~]. For Gaussian noise of standard deviation sigma this gives the
score of the noisy density (Miyasawa, 1961; for small sigma of the data's own: Alain and Bengio,
2012, https://arxiv.org/abs/1211.4246, thm 2),

    (r(x~) - x~) / sigma^2 = grad log p_sigma(x~),    p_sigma = p * N(0, sigma^2 I),

the quantity that diffusion models estimate, exact for any sigma.

Differs from the paper: deep and trained at once, not layer by layer; Gaussian noise, which is
from the second paper, besides masking; squared error.
"""

from typing import Literal

import torch
from torch import Tensor

from ...modes import evaluating
from .autoencoder import Autoencoder

Corruption = Literal["masking", "gaussian", "salt_and_pepper"]


class DenoisingAutoencoder(Autoencoder):
    """An autoencoder that reconstructs clean images from corrupted ones.

    Args:
        latent_dim: D, numbers in a code; it may exceed the number of pixels. `sample` draws from
            the Gaussian of the codes of corrupted images, on which the decoder is trained.
        corruption: "gaussian" adds noise; "masking" makes pixels black, -1; "salt_and_pepper"
            makes them black or white with equal probability. For points only "gaussian".
        amount: Standard deviation of the noise, on [-1, 1] (twice what it is on [0, 1]); or the
            share of values, each colour separately, that are made black or white.
    """

    def __init__(
        self,
        image_shape: tuple[int, ...],
        num_classes: int = 0,
        latent_dim: int = 250,
        width: int = 1000,
        corruption: Corruption = "masking",
        amount: float = 0.25,
        lr: float = 1e-3,
    ):
        super().__init__(image_shape, num_classes, latent_dim, width, lr)
        if corruption not in ("masking", "gaussian", "salt_and_pepper"):
            known = "'masking', 'gaussian' or 'salt_and_pepper'"
            raise ValueError(f"corruption must be {known}, got {corruption!r}")
        if corruption != "gaussian" and len(image_shape) == 1:
            raise ValueError(f"corruption must be 'gaussian' for points, got {corruption!r}")
        if corruption == "gaussian" and not amount > 0:
            raise ValueError(f"amount must be above 0, got {amount}")
        if corruption != "gaussian" and not 0 < amount <= 1:
            raise ValueError(f"amount must be a share of pixels in (0, 1], got {amount}")
        self.corruption, self.amount = corruption, amount

    def corrupt(self, x: Tensor) -> Tensor:
        """One draw of C(x~|x)."""
        if self.corruption == "gaussian":
            return x + self.amount * torch.randn_like(x)
        u = torch.rand_like(x)
        hidden = torch.where(u < self.amount, -1.0, x)
        if self.corruption == "masking":
            return hidden
        return torch.where(u < self.amount / 2, 1.0, hidden)

    def denoise(self, x: Tensor) -> Tensor:
        """Expected clean images, (B, C, H, W), given corrupted images."""
        return self.reconstruct(x)

    def score(self, x: Tensor, sigma: float | None = None) -> Tensor:
        """grad log p_sigma(x), of the shape of x, where p_sigma is the density of data plus noise.

        Args:
            sigma: Standard deviation of the noise, which must be that of training; None: the same.

        Raises:
            ValueError: the model was trained with other noise.
        """
        if self.corruption != "gaussian":
            raise ValueError(f"corruption must be 'gaussian' for a score, got {self.corruption!r}")
        if sigma not in (None, self.amount):
            raise ValueError(f"sigma must be the noise of training, {self.amount}, got {sigma}")
        with evaluating(self):
            return (self.decoder(self.encoder(x)) - x) / self.amount**2
