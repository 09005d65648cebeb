"""Encoders: images to latents, by any discriminator's body."""

from torch import Tensor, nn
from torch.distributions import Independent

from .distributions import gaussian
from .heads import Heads
from .regularisation import refuse_chance, unbound

REACH = 8.0  # log-variances lie between this and minus this: no precision without end


class Encoder(nn.Module):
    """Images, and labels where they are a condition of the body, to latents (B, D).

    Args:
        discriminator: Whose body is used; what is random or bound in it is taken out.
        latent_dim: D.
    """

    def __init__(self, discriminator: nn.Module, latent_dim: int):
        super().__init__()
        self.body = Heads(without_dropout(unbound(discriminator)), score=False, code=latent_dim)

    def forward(self, *seen: Tensor) -> Tensor:
        return self.body.judge(*seen)["code"]


class GaussianEncoder(Encoder):
    """Images to distributions over latents (B, D), of independent entries."""

    def __init__(self, discriminator: nn.Module, latent_dim: int):
        super().__init__(discriminator, 2 * latent_dim)

    def forward(self, *seen: Tensor) -> Independent:
        mean, raw = super().forward(*seen).chunk(2, dim=1)
        log_variance = REACH * (raw / REACH).tanh()
        return gaussian(mean, (log_variance / 2).exp())


def without_dropout(network: nn.Module) -> nn.Module:
    """The same network; what it says of an image is the same each time."""
    for module in network.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    refuse_chance(network, "what is compared must be the same each time")
    return network
