"""Noise on the input and the activations of a network, against memorising images."""

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
    """The network with Gaussian noise on its input and behind each leaky ReLU.

    Args:
        network: A network of one input.
        on_input: Standard deviation of the noise on the input; 0: none.
        hidden: Standard deviation of the noise behind each leaky ReLU; 0: none.
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
