"""Discriminators that judge an image by how it comes back from a code."""

from typing import Literal

from torch import Tensor, nn

from ...checks import at_least
from .heads import Heads
from .regularisation import refuse_chance


class Autoencoding(nn.Module):
    """An encoder and a decoder; the score is minus the error of the reconstruction.

    Args:
        discriminator: Gives scores by its last layer, in whose stead it gives codes here.
        decoder: Codes (B, code_dim), with labels (B,) if there are classes, to images.
        code_dim: Entries of the code.
        power: Of the error of each pixel.
    """

    def __init__(
        self, discriminator: nn.Module, decoder: nn.Module, code_dim: int, power: Literal[1, 2]
    ):
        super().__init__()
        at_least(1, code_dim=code_dim)
        refuse_chance(discriminator, "an image must come back as it was")
        self.encoder = Heads(discriminator, score=False, code=code_dim)
        self.decoder, self.power = decoder, power

    def encode(self, *seen: Tensor) -> Tensor:
        """(B, code_dim), of images, or of images and labels."""
        return self.encoder.judge(*seen)["code"]

    def judge(self, *seen: Tensor) -> tuple[Tensor, Tensor]:
        """Raw scores (B,), minus the mean error of a pixel, and codes (B, code_dim)."""
        x, *label = seen
        code = self.encode(*seen)
        error = (self.decoder(code, *label) - x).abs() ** self.power
        return -error.flatten(1).mean(1), code

    def forward(self, *seen: Tensor) -> Tensor:
        return self.judge(*seen)[0]

    def reconstruct(self, *seen: Tensor) -> Tensor:
        """(B, C, H, W)"""
        return self.decoder(self.encode(*seen), *seen[1:])
