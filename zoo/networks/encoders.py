"""Encoders: networks from images to latents, made of any discriminator's body."""

from torch import Tensor, nn
from torch.distributions import Independent

from .distributions import gaussian
from .heads import Heads
from .regularisation import refuse_chance, without_regularisation

REACH = 8.0  # log-variances are in [-REACH, REACH], so no precision is infinite


class Encoder(nn.Module):
    """Images, with labels if the body has a condition, to latents (B, D).

    Args:
        discriminator: The network whose body is used; its dropout and regularisation are removed.
        latent_dim: D, entries of a latent.
    """

    def __init__(self, discriminator: nn.Module, latent_dim: int):
        super().__init__()
        self.body = Heads(
            without_dropout(without_regularisation(discriminator)), score=False, code=latent_dim
        )

    def forward(self, *inputs: Tensor) -> Tensor:
        return self.body.outputs(*inputs)["code"]


class GaussianEncoder(Encoder):
    """Images to distributions over latents (B, D), of independent entries."""

    def __init__(self, discriminator: nn.Module, latent_dim: int):
        super().__init__(discriminator, 2 * latent_dim)

    def forward(self, *inputs: Tensor) -> Independent:
        mean, raw = super().forward(*inputs).chunk(2, dim=1)
        log_variance = REACH * (raw / REACH).tanh()
        return gaussian(mean, (log_variance / 2).exp())


def without_dropout(network: nn.Module) -> nn.Module:
    """The same network without dropout: its output for an image is always the same."""
    for module in network.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    refuse_chance(network, "what is compared must be the same each time")
    return network
