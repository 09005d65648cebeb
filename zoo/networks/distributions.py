"""torch's distributions of many independent entries.

Without torch's checks of their arguments: each would have the host wait until the GPU has them.
"""

from torch import Tensor
from torch.distributions import Bernoulli, Independent, Normal


def gaussian(mean: Tensor, deviation: Tensor, dims: int = 1) -> Independent:
    """N(mean, deviation^2) of each entry; the last so many dimensions make one event."""
    return Independent(Normal(mean, deviation, validate_args=False), dims)


def standard_gaussian(like: Tensor, dims: int = 1) -> Independent:
    """N(0, 1) of each entry of a tensor of this shape."""
    mean, deviation = like.new_zeros(like.shape), like.new_ones(like.shape)
    return gaussian(mean, deviation, dims)


def coins(dims: int, **chance: Tensor) -> Independent:
    """Bits in {0, 1}; `probs` or `logits` of being 1. The last so many dimensions are one event."""
    return Independent(Bernoulli(**chance, validate_args=False), dims)
