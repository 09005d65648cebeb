"""LinearAutoencoder: principal component analysis by gradient descent.

Bourlard and Kamp, 1988, Auto-association by multilayer perceptrons and singular value
decomposition. https://doi.org/10.1007/BF00332918
Baldi and Hornik, 1989, Neural networks and principal component analysis: Learning from examples
without local minima. https://doi.org/10.1016/0893-6080(89)90014-2

Encoder and decoder share one matrix:

    z = W^T (x - b),    x^ = W z + b,    min_{W, b}  E |x - x^|^2

All local minima are global (Baldi and Hornik, sec. 3). At a minimum the columns of W are an
orthonormal basis of the span of the first D principal directions, and b is the mean, up to a vector
of this span. The basis is not determined: every rotation of it has the same error.
"""

import math

import torch
from torch import Tensor, nn

from .autoencoder import Autoencoder


class Projection(nn.Module):
    """Images to codes, z = W^T (x - b)."""

    def __init__(self, image_shape: tuple[int, ...], latent_dim: int, num_classes: int, width: int):
        super().__init__()
        pixels = math.prod(image_shape)
        self.weight = nn.Parameter(torch.randn(pixels, latent_dim) / math.sqrt(pixels))  # W
        self.bias = nn.Parameter(torch.zeros(pixels))

    def forward(self, x: Tensor) -> Tensor:
        return (x.flatten(1) - self.bias) @ self.weight


class Expansion(Projection):
    """Codes to images, x^ = W z + b."""

    def __init__(self, image_shape: tuple[int, ...], latent_dim: int, num_classes: int, width: int):
        super().__init__(image_shape, latent_dim, num_classes, width)
        self.image_shape = tuple(image_shape)

    def forward(self, z: Tensor) -> Tensor:
        return (z @ self.weight.T + self.bias).unflatten(1, self.image_shape)


class LinearAutoencoder(Autoencoder):
    """An autoencoder of one matrix, which finds the principal subspace of the images.

    Values of decoded images may be outside [-1, 1]; `decode` clamps them, `decoder(z)` does not.
    """

    Encoder: type[nn.Module] = Projection
    Decoder: type[nn.Module] = Expansion

    def __init__(
        self,
        image_shape: tuple[int, ...],
        num_classes: int = 0,
        latent_dim: int = 30,
        lr: float = 1e-3,
    ):
        super().__init__(image_shape, num_classes, latent_dim, width=0, lr=lr)
        self.decoder.weight, self.decoder.bias = self.encoder.weight, self.encoder.bias
