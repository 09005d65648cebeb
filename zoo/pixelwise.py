"""Sampling pixel by pixel, for models with a distribution of each value given the earlier ones.

The order is rows from the top, a row's pixels from the left, a pixel's colours in turn. A value is
drawn by inverting its distribution function at a uniform random number, so the same numbers give
the same images, however the distributions are computed.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext

import torch
from torch import Tensor, nn
from torch.distributions import Distribution
from tqdm import tqdm

from ..images import from_levels
from ..modes import evaluating
from .networks.masked import Place, caching


class Levels(Distribution):
    """The distribution of one of L levels for each pixel and colour, by logits (..., L).

    >>> Levels(torch.zeros(2, 4)).icdf(torch.tensor([0.1, 0.9]))
    tensor([0, 3])
    """

    def __init__(self, logits: Tensor):
        super().__init__(logits.shape[:-1], validate_args=False)
        self.logits = logits

    def __getitem__(self, index) -> "Levels":
        """The distribution of some of the pixels."""
        return Levels(self.logits[index])

    @property
    def probs(self) -> Tensor:
        return self.logits.softmax(-1)

    def log_prob(self, value: Tensor) -> Tensor:
        return self.logits.log_softmax(-1).gather(-1, value[..., None])[..., 0]

    def icdf(self, value: Tensor) -> Tensor:
        """The level at which the distribution function first exceeds a number in [0, 1)."""
        below = self.probs.cumsum(-1)
        # The sum is 1 up to rounding; the remainder must not select a level.
        return (below[..., :-1] <= (value * below[..., -1])[..., None]).sum(-1)


def draw(
    conditionals: Callable[[Tensor], Distribution],
    network: nn.Module,
    x: Tensor,
    levels: int,
    known: Tensor | None = None,
    method: str = "cached",
    uniforms: Tensor | None = None,
    progress: bool = False,
    margin: int = 0,
) -> Tensor:
    """Draws the values of images that are not known, in place.

    Args:
        conditionals: Images (n, C, H, W) on the grid of levels to a distribution of all their
            levels, each of which depends only on earlier values.
        network: The network that `conditionals` calls, which is cached.
        x: Images (n, C, H, W).
        levels: Number of levels.
        known: (n, 1, H, W), True where x stays; None: all values are drawn.
        method: "cached", or "naive": a whole pass for each value, for comparison.
        uniforms: Random numbers (n, H, W, C) in [0, 1); None: drawn.
        progress: Whether to show a progress bar over rows.
        margin: Columns on the right of an image that the layers also visit, though nothing is
            drawn there.
    """
    n, colours, height, width = x.shape
    if uniforms is None:
        uniforms = torch.rand(n, height, width, colours, device=x.device, dtype=x.dtype)
    if uniforms.shape != (n, height, width, colours):
        wanted, got = (n, height, width, colours), tuple(uniforms.shape)
        raise ValueError(f"uniforms must have shape {wanted}, got {got}")
    if method not in ("cached", "naive"):
        raise ValueError(f"method must be 'cached' or 'naive', got {method!r}")
    cached, uniforms = method == "cached", uniforms.to(x)
    nothing_to_draw = None if known is None else known.all(dim=0)[0].tolist()
    drawing = _one_by_one(network, n, width + margin) if cached else nullcontext(Place(width))
    with evaluating(network), drawing as place:
        for i in tqdm(range(height), "rows", disable=not progress):
            for j in range(width + margin):
                place.row, place.column = i, j
                if j >= width or nothing_to_draw and nothing_to_draw[i][j]:
                    if cached:
                        conditionals(x)  # the layers cache it
                    continue
                for colour in range(colours):
                    values = conditionals(x)
                    here = (slice(None), colour, *((0, 0) if cached else (i, j)))
                    level = values[here].icdf(uniforms[:, i, j, colour])
                    value = from_levels(level, levels, x.dtype)
                    if known is not None:
                        value = torch.where(known[:, 0, i, j], x[:, colour, i, j], value)
                    x[:, colour, i, j] = value
    return x


@contextmanager
def _one_by_one(network: nn.Module, n: int, width: int) -> Iterator[Place]:
    """Caching, and one thread for few images.

    Several threads do not speed up such small products. On cores with other work each of tens of
    thousands of products waits for the slower thread: ten to thirty times the time.
    """
    threads = torch.get_num_threads()
    if n <= 128:
        torch.set_num_threads(1)
    try:
        with caching(network, width) as place:
            yield place
    finally:
        torch.set_num_threads(threads)
