"""Noise on what a network sees and computes, so that it does not learn images by heart."""

import torch
from torch import Tensor, nn

from ...checks import at_least


class GaussianNoise(nn.Module):
    """Adds N(0, deviation^2) in training, nothing in evaluation."""

    def __init__(self, deviation: float):
        super().__init__()
        self.deviation = deviation

    def forward(self, x: Tensor) -> Tensor:
        return x + self.deviation * torch.randn_like(x) if self.training else x


def noisy(network: nn.Module, on_input: float, hidden: float) -> nn.Sequential:
    """The network with noise on its input and behind each leaky ReLU.

    Args:
        network: Takes one tensor.
        on_input: Standard deviation; 0: none.
        hidden: Likewise.
    """
    at_least(0, input_noise=on_input, hidden_noise=hidden)
    activations = [name for name, m in network.named_modules() if isinstance(m, nn.LeakyReLU)]
    if hidden and not activations:
        raise ValueError(
            f"hidden_noise must be 0 for a network without leaky ReLU layers, got {hidden}"
        )
    for name in activations if hidden else ():
        activation = network.get_submodule(name)
        network.set_submodule(name, nn.Sequential(activation, GaussianNoise(hidden)))
    return nn.Sequential(GaussianNoise(on_input), network)
