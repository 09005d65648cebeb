"""Discriminators whose score of an image is minus the error of its reconstruction."""

from typing import Literal

from torch import Tensor, nn

from ...checks import at_least
from .heads import Heads
from .regularisation import refuse_chance


class Autoencoding(nn.Module):
    """An encoder and a decoder; the score is minus the error of the reconstruction.

    Args:
        discriminator: A network whose last layer gives scores. A layer that gives codes takes its
            place.
        decoder: A network from codes (B, code_dim), with labels (B,) if there are classes, to
            images.
        code_dim: Entries of the code.
        power: Exponent of the absolute error of a pixel: 1 or 2.
    """

    def __init__(
        self, discriminator: nn.Module, decoder: nn.Module, code_dim: int, power: Literal[1, 2]
    ):
        super().__init__()
        at_least(1, code_dim=code_dim)
        refuse_chance(discriminator, "an image must come back as it was")
        self.encoder = Heads(discriminator, score=False, code=code_dim)
        self.decoder, self.power = decoder, power

    def encode(self, *inputs: Tensor) -> Tensor:
        """Codes (B, code_dim) of images, or of images and labels."""
        return self.encoder.outputs(*inputs)["code"]

    def score_and_code(self, *inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Raw scores (B,), which are minus the mean error of a pixel, and codes (B, code_dim)."""
        x, *label = inputs
        code = self.encode(*inputs)
        error = (self.decoder(code, *label) - x).abs() ** self.power
        return -error.flatten(1).mean(1), code

    def judge(self, *inputs: Tensor) -> tuple[Tensor, Tensor]:
        """The earlier name of `score_and_code`."""
        return self.score_and_code(*inputs)

    def forward(self, *inputs: Tensor) -> Tensor:
        return self.score_and_code(*inputs)[0]

    def reconstruct(self, *inputs: Tensor) -> Tensor:
        """Images decoded from the codes of images, (B, C, H, W)."""
        return self.decoder(self.encode(*inputs), *inputs[1:])
