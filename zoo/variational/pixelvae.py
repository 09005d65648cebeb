"""PixelVAE: A Latent Variable Model for Natural Images.

Gulrajani et al., 2016. https://arxiv.org/abs/1611.05013

In a VAE all pixels are independent given z, so z must contain all information, down to the texture.
A PixelCNN models texture easily, and needs many layers to model whole objects. Here the decoder is
a product of conditionals given z, computed by a few masked layers (sec. 3.1):

    p(x|z) = prod_i p(x_i | x_1, ..., x_{i-1}, z)

trained on the same bound as a VAE. Information that neighbouring pixels have need not be in z: so z
contains less, and global, information, and few layers suffice where a PixelCNN needs many. With
enough layers z is not used at all, and the KL divergence goes to 0 (sec. 4.1); it is logged as
`kl`.

The VAE's decoder maps z to a plane of the size of the image for each colour, and the planes are a
condition of every gated layer, as the location-dependent condition of Gated PixelCNN (1606.05328,
eq. 5).

Differs from the paper: one level of latents, fully connected networks around z and Adam for its
convolutions; the planes are a condition of every layer, and not appended to the features of the
first.
"""

import torch
from torch import Tensor, nn
from torch.distributions import Distribution
from torch.nn.functional import relu

from ...images import check_images, from_levels, to_levels
from ...modes import evaluating
from ..networks.gated import GatedStack
from ..networks.masked import MaskedConv2d
from ..pixelwise import Levels, draw
from .vae import VAE


class GatedDecoder(nn.Module):
    """Images and z's planes, (B, C, H, W) each, to logits (B, C, H, W, L) of their levels."""

    def __init__(self, image_shape: tuple[int, ...], levels: int, features: int, layers: int):
        super().__init__()
        colours = image_shape[0]
        self.levels = levels
        self.stack = GatedStack(colours, features, layers, condition=colours)
        self.mix = MaskedConv2d(features, features, 1, "B", colours)
        self.logits = MaskedConv2d(features, colours * levels, 1, "B", colours)

    def forward(self, x: Tensor, planes: Tensor) -> Tensor:
        h = self.logits(relu(self.mix(relu(self.stack(x, planes)))))
        return h.unflatten(1, (-1, self.levels)).movedim(2, -1)


class GivenPlanes(Distribution):
    """p(x|z), over images (B, C, H, W) on the grid of levels."""

    def __init__(self, network: nn.Module, planes: Tensor, levels: int):
        super().__init__(planes.shape[:1], planes.shape[1:], validate_args=False)
        self.network, self.planes, self.levels = network, planes, levels

    def conditionals(self, x: Tensor) -> Levels:
        """The distribution of each value given z and those before it."""
        return Levels(self.network(x, self.planes).to(x.dtype))

    def log_prob(self, value: Tensor) -> Tensor:
        """(B,) nats."""
        level = to_levels(value, self.levels)
        grid = from_levels(level, self.levels, self.planes.dtype)
        return self.conditionals(grid).log_prob(level).flatten(1).sum(1)

    def sample(self, method: str = "cached", uniforms: Tensor | None = None, **bar) -> Tensor:
        x = torch.zeros_like(self.planes)
        arguments = (self.conditionals, self.network, x, self.levels, None, method, uniforms)
        return draw(*arguments, **bar)


class PixelVAE(VAE):
    """A VAE with an autoregressive decoder.

    Args:
        width: Units of each hidden layer of the encoder and of the network from z to planes.
        levels: Number of values of a pixel, 2 to 256, evenly from -1 to 1; images are rounded to
            them.
        features: Channels of each of the two stacks of gated convolutions.
        layers: Number of layers of gated convolutions; the first has 7x7 kernels.
        warm_up: Steps over which the weight of the KL divergence rises from 0 to beta. Without it
            the masked layers learn first, and z may never be used.
    """

    Network: type[nn.Module] = GatedDecoder

    def __init__(
        self,
        image_shape: tuple[int, ...],
        num_classes: int = 0,
        latent_dim: int = 20,
        width: int = 400,
        levels: int = 256,
        features: int = 32,
        layers: int = 2,
        warm_up: int = 1000,
        lr: float = 1e-3,
        beta: float = 1.0,
    ):
        if not 2 <= levels <= 256:
            raise ValueError(f"levels must be in 2..256, got {levels}")
        if warm_up < 0:
            raise ValueError(f"warm_up must be 0 or more steps, got {warm_up}")
        super().__init__(image_shape, num_classes, latent_dim, width, lr=lr, beta=beta)
        self.levels, self.warm_up = levels, warm_up
        self.network = self.Network(self.image_shape, levels, features, layers)

    def likelihood(self, z: Tensor, *condition: Tensor) -> GivenPlanes:
        """p(x|z), over images (B, C, H, W)."""
        (planes,) = self.decoder(z, *condition)
        return GivenPlanes(self.network, planes, self.levels)

    def log_likelihood(self, x: Tensor, z: Tensor, *condition: Tensor) -> Tensor:
        """(B,) nats: log p(x|z) of the levels of x."""
        check_images(x, self.image_shape, "the data")
        return self.likelihood(z, *condition).log_prob(x)

    def divergence_weight(self) -> float:
        """Weight of the KL divergence in this training step."""
        if self.trainer.global_step >= self.warm_up:
            return self.beta
        return self.beta * self.trainer.global_step / self.warm_up

    def _mean(self, z: Tensor, *condition: Tensor) -> Tensor:
        n, (colours, *sides) = len(z), self.image_shape
        half = z.new_full((n, *sides, colours), 0.5)
        with evaluating(self):
            return self.likelihood(z, *condition).sample(uniforms=half)

    def decode(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        """Images (n, C, H, W) of latents (n, D): each pixel is its median given z and the earlier
        pixels."""
        return super().decode(z, y)

    def sample(
        self,
        n: int,
        y: Tensor | None = None,
        method: str = "cached",
        uniforms: Tensor | None = None,
        progress: bool = False,
    ) -> Tensor:
        """Draws images, exactly from the model: z, and then each pixel.

        Args:
            n: Number of images.
            y: Labels (n,); None: drawn at random.
            method: "cached", or "naive": a whole pass for each value, for comparison.
            uniforms: Random numbers (n, H, W, C) in [0, 1) for the pixels; None: drawn.
            progress: Whether to show a progress bar over rows.

        Returns:
            (n, C, H, W) in [-1, 1], on the grid of levels.
        """
        with evaluating(self):
            p = self.likelihood(self.prior(n), *self.given(n, self.labels(n, y)))
            return p.sample(method, uniforms, progress=progress)
