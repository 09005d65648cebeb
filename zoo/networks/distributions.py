"""torch's distributions of many independent entries.

Torch's checks of arguments are off: each check would make the host wait for the GPU.
"""

from torch import Tensor
from torch.distributions import Bernoulli, Independent, Normal


def gaussian(mean: Tensor, deviation: Tensor, dims: int = 1) -> Independent:
    """N(mean, deviation^2) of each entry; the last `dims` dimensions are one event.

    >>> gaussian(torch.zeros(4, 2), torch.ones(4, 2)).log_prob(torch.zeros(4, 2)).shape
    torch.Size([4])
    """
    return Independent(Normal(mean, deviation, validate_args=False), dims)


def standard_gaussian(like: Tensor, dims: int = 1) -> Independent:
    """N(0, 1) of each entry of a tensor of the shape of `like`."""
    mean, deviation = like.new_zeros(like.shape), like.new_ones(like.shape)
    return gaussian(mean, deviation, dims)


def coins(dims: int, **chance: Tensor) -> Independent:
    """Bits in {0, 1}, with `probs` or `logits` of 1; the last `dims` dimensions are one event."""
    return Independent(Bernoulli(**chance, validate_args=False), dims)
