"""Convolutions of earlier pixels only, with a cache of their inputs for sampling.

The order is that of reading: rows from the top, a row from the left, a pixel's colours in turn.
A mask keeps each output of a convolution to inputs earlier in that order (van den Oord et al.,
2016, https://arxiv.org/abs/1601.06759), so one pass over an image gives the conditionals of all
its pixels. Sampling needs them one pixel after another, and a whole pass for each pixel would
repeat nearly all computations of the pixels before (Ramachandran et al., 2017,
https://arxiv.org/abs/1704.06001). Within `caching` the same layers, called by the same model,
therefore compute one pixel only; sampling an image then takes about the arithmetic of one pass.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, pad


@dataclass
class Place:
    """The pixel to be drawn next, shared by a sampler and the layers that serve it."""

    width: int  # of the image
    row: int = 0
    column: int = 0

    def at(self, stride: int) -> "Place":
        """The same place in features of which one stands for `stride` pixels each way."""
        return self if stride == 1 else _Strided(self, stride)


class _Strided(Place):
    def __init__(self, place: Place, stride: int):
        self.place, self.stride = place, stride

    width = property(lambda self: -(-self.place.width // self.stride))  # rounded up
    row = property(lambda self: self.place.row // self.stride)
    column = property(lambda self: self.place.column // self.stride)


class Cached(nn.Module):
    """A layer with two ways to compute one function.

    A subclass writes `whole`, the layer on images, and `stepper(place)`, which gives the same
    layer as a function of one pixel at a time, called for all pixels in order. A stepper answers
    (n, C, 1, 1): a later layer's takes what an earlier layer's gave, the first layer's takes the
    unfinished images (n, C, H, W). It must bear to be called for one pixel again, as each colour
    is drawn.
    """

    step: Callable | None = None
    stride_in: int = 1  # pixels of the image, each way, for which one of the layer's inputs stands

    def forward(self, *inputs):
        return self.whole(*inputs) if self.step is None else self.step(*inputs)


@contextmanager
def caching(network: nn.Module, width: int) -> Iterator[Place]:
    """Within this context the network computes the pixel at the given Place, from cached inputs.

    All layers between cached layers must act on each pixel separately. Weights are read once, on
    entry.

    Raises:
        TypeError: a convolution has a larger kernel and no cache.
    """
    for name, module in network.named_modules():
        if isinstance(module, nn.Conv2d) and not isinstance(module, Cached):
            if module.kernel_size != (1, 1):
                raise TypeError(f'{name} remembers nothing (use MaskedConv2d, or method="naive")')
    place = Place(width)
    layers = [module for module in network.modules() if isinstance(module, Cached)]
    try:
        for layer in layers:
            layer.step = layer.stepper(place.at(layer.stride_in))
        yield place
    finally:
        for layer in layers:
            layer.step = None


class MaskedConv2d(Cached, nn.Conv2d):
    """A convolution of earlier pixels and, at its own pixel, earlier colours.

    >>> layer = MaskedConv2d(1, 1, 3, "A")
    >>> layer.mask[0, 0]  # rows above, and pixels on the left
    tensor([[1., 1., 1.],
            [1., 0., 0.]])

    Features belong to colours in equal parts, in order: of 12 features and three colours, 0 to 3
    are red. Rows below the pixel, which every mask hides, have no weights; nor have, in a
    kernel of one row, columns on its right.

    Args:
        kernel_size: k, odd, or (k of rows, k of columns).
        kind: "A", for the first layer, excludes the same colour of its own pixel; "B" includes it.
        colours: Number of values of a pixel, drawn in turn.
        gates: Number of equal blocks of outputs; in each block features belong to colours as
            above, so that the gates of a feature belong to its colour.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int],
        kind: str,
        colours: int = 1,
        gates: int = 1,
    ):
        size = (kernel_size,) * 2 if isinstance(kernel_size, int) else tuple(kernel_size)
        if not all(k % 2 for k in size):
            raise ValueError(f"kernel_size must be odd, got {kernel_size}")
        if kind not in ("A", "B"):
            raise ValueError(f"kind must be 'A' or 'B', got {kind!r}")
        if out_channels % gates:
            raise ValueError(
                f"out_channels must be a multiple of {gates} gates, got {out_channels}"
            )
        features = out_channels // gates
        if min(in_channels, features) < colours:
            got = f"{in_channels} and {features}"
            raise ValueError(f"channels must be at least one for each of {colours}, got {got}")
        above, beside = size[0] // 2, size[1] // 2
        right = beside if above else 0
        super().__init__(in_channels, out_channels, (above + 1, beside + 1 + right))
        self.kind, self.margin = kind, (beside, right, above, 0)  # left, right, top, bottom
        colour_in = torch.arange(in_channels) * colours // in_channels
        colour_out = (torch.arange(features) * colours // features).repeat(gates)[:, None]
        mask = torch.ones_like(self.weight)
        mask[:, :, -1, beside + 1 :] = 0
        mask[:, :, -1, beside] = colour_in < colour_out if kind == "A" else colour_in <= colour_out
        self.register_buffer("mask", mask, persistent=False)

    def whole(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to (B, C', H, W)."""
        return conv2d(pad(x, self.margin), self.weight * self.mask, self.bias)

    def stepper(self, place: Place) -> Callable[[Tensor], Tensor]:
        weight = self.weight * self.mask
        if self.kind == "A":
            return _Glance(weight, self.bias, self.margin, place)
        if self.kernel_size == (1, 1):
            return _Point(weight, self.bias)
        return Memory(weight, self.bias, self.margin, place)


class _Glance:
    """The first layer at one pixel: its input is the images themselves."""

    def __init__(self, weight: Tensor, bias: Tensor, margin: tuple[int, ...], place: Place):
        self.weight, self.bias, self.place = weight, bias, place
        self.left, self.right, self.above, _ = margin

    def __call__(self, x: Tensor) -> Tensor:
        i, j, width = self.place.row, self.place.column, x.shape[3]
        top, left = max(i - self.above, 0), max(j - self.left, 0)
        view = x[:, :, top : i + 1, left : j + self.right + 1]
        # Where the view ends at a border, so does the kernel.
        first, last = self.left - j + left, self.left + min(width - j, self.right + 1)
        weight = self.weight[:, :, self.above - i + top :, first:last]
        return torch.addmm(self.bias, view.flatten(1), weight.flatten(1).T).view(len(x), -1, 1, 1)


class _Point:
    """A 1x1 convolution at one pixel, or of a row: nothing to remember."""

    def __init__(self, weight: Tensor, bias: Tensor):
        self.weight, self.bias = weight, bias
        self.of_one = weight[:, :, 0, 0].T.contiguous()

    def __call__(self, x: Tensor) -> Tensor:
        if x.shape[3] > 1:
            return conv2d(x, self.weight, self.bias)
        return torch.addmm(self.bias, x.flatten(1), self.of_one).view(len(x), -1, 1, 1)


class Memory:
    """A later layer at one pixel: it keeps its input of this row and of the rows in its kernel.

    The contribution of the rows above is computed once for a whole row, so that a pixel needs one
    small product, with its neighbours on the left. Channels come last in memory, so that the
    features of neighbours are contiguous.
    """

    def __init__(self, weight: Tensor, bias: Tensor, margin: tuple[int, ...], place: Place):
        self.bias, self.place, self.row = bias, place, -1
        self.above = weight[:, :, :-1].contiguous()  # (C', C, rows above, k)
        self.beside, self.right, *_ = margin
        left = weight[:, :, -1, : self.beside + 1]
        self.left = left.permute(2, 1, 0).flatten(0, 1)  # (taps * C, C')
        self.kept: Tensor | None = None  # (rows above + 1, n, left + W + right, C)

    def __call__(self, x: Tensor) -> Tensor:
        if self.row != self.place.row:
            self._next_row(x)
        j = self.place.column
        self.current[:, j + self.beside] = x.flatten(1)
        view = self.current[:, j : j + self.beside + 1].flatten(1)  # (n, taps * C), no copy
        return torch.addmm(self.from_above[:, j], view, self.left).view(len(x), -1, 1, 1)

    def _next_row(self, x: Tensor) -> None:
        self.row = self.place.row
        if self.kept is None:
            n, channels, rows = len(x), x.shape[1], self.above.shape[2] + 1
            columns = self.beside + self.place.width + self.right
            self.kept = x.new_zeros(rows, n, columns, channels)
        else:
            self.kept = self.kept.roll(-1, dims=0)  # the oldest row will be overwritten
        self.current = self.kept[-1]
        if self.above.shape[2]:
            rows = self.kept[:-1].permute(1, 3, 0, 2)  # (n, C, rows above, left + W + right)
            above = conv2d(rows, self.above, self.bias)[:, :, 0]  # (n, C', W)
            self.from_above = above.transpose(1, 2).contiguous()
        else:
            self.from_above = self.bias.expand(len(x), self.place.width, -1)


class ThisPixel(Cached):
    """Images; while one is drawn, their pixel."""

    def whole(self, x: Tensor) -> Tensor:
        return x

    def stepper(self, place: Place) -> Callable[[Tensor], Tensor]:
        return lambda x: x[:, :, place.row : place.row + 1, place.column : place.column + 1]


class OncePerRow:
    """A layer of the rows above, in sampling: called at each pixel, it computes a row once, since
    the rows above are complete.

    The layer gives features for the next layer of its kind, here of the row (n, C, 1, W), and the
    input of other layers at each pixel, here of the pixel (n, C', 1, 1).
    """

    def __init__(self, layer: Callable[..., tuple[Tensor, Tensor]], place: Place):
        self.layer, self.place, self.row = layer, place, -1

    def __call__(self, *inputs) -> tuple[Tensor, Tensor]:
        if self.row != self.place.row:
            self.row = self.place.row
            self.features, row = self.layer(*inputs)
            self.pixels = row.movedim(3, 0).contiguous()  # (W, n, C', 1)
        return self.features, self.pixels[self.place.column, ..., None]


class ClassBias(nn.Embedding):
    """A bias of the class, the same at every pixel (van den Oord et al., 2016,
    https://arxiv.org/abs/1606.05328, eq. 4). Labels (B,) to (B, C, 1, 1)."""

    def reset_parameters(self) -> None:
        nn.init.normal_(self.weight, std=0.3)  # at 1, the classes' biases kill units of a ReLU

    def forward(self, y: Tensor) -> Tensor:
        return super().forward(y)[:, :, None, None]
