"""Masked convolutions that halve an image's sides and double them again, and remember.

Salimans et al., 2017, https://arxiv.org/abs/1701.05517, sec. 2.3. Half as many rows and columns
need a quarter of the work, and the order of drawing is kept: at half the size a pixel stands for
four, and depends only on pixels before the first of them. In sampling the smaller image is computed
at every fourth pixel only, and its features are cached for the other three (Ramachandran et al.,
2017, https://arxiv.org/abs/1704.06001).
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, conv_transpose2d, pad

from .masked import Cached, Memory, Place


class CornerConv2d(Cached, nn.Conv2d):
    """A 2x2 convolution of a pixel and its neighbours above, on the left and between them; with
    stride 2, at the first of each four pixels.

    Args:
        stride_in: Pixels of the image, each way, for which one of the input's stands.
    """

    def __init__(self, in_channels: int, out_channels: int, stride_in: int, stride: int = 1):
        super().__init__(in_channels, out_channels, 2, stride)
        self.stride_in = stride_in

    def whole(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to (B, C', H, W), sides divided by the stride and rounded up."""
        return conv2d(pad(x, (1, 0, 1, 0)), self.weight, self.bias, self.stride)

    def stepper(self, place: Place) -> Callable:
        if self.stride == (1, 1):
            return Memory(self.weight, self.bias, (1, 0, 1, 0), place)
        return _EveryFourth(self, place)


class _EveryFourth:
    """A halving layer at one pixel: it keeps all pixels, and gives None except at each fourth."""

    def __init__(self, layer: CornerConv2d, place: Place):
        self.place, self.row, self.bias = place, -1, layer.bias
        self.weight = layer.weight.permute(2, 3, 1, 0).flatten(1, 2)  # (2 rows, 2 * C, C')
        self.kept: Tensor | None = None  # (2 rows, n, 1 + W, C)

    def __call__(self, x: Tensor) -> Tensor | None:
        i, j = self.place.row, self.place.column
        if self.kept is None:
            self.kept = x.new_zeros(2, len(x), 1 + self.place.width, x.shape[1])
        elif self.row != i:
            self.kept = self.kept.flip(0)  # the older row will be overwritten
        self.row = i
        self.kept[1, :, 1 + j] = x.flatten(1)
        if i % 2 or j % 2:
            return None
        above, own = (row[:, j : j + 2].flatten(1) for row in self.kept)
        out = torch.addmm(self.bias, above, self.weight[0]).addmm(own, self.weight[1])
        return out.view(len(x), -1, 1, 1)


class CornerTransposed2d(Cached, nn.ConvTranspose2d):
    """The doubling layer: each pixel becomes four, by one product each. Sides as those of
    `like`."""

    def __init__(self, in_channels: int, out_channels: int, stride_in: int):
        super().__init__(in_channels, out_channels, 2, 2)
        self.stride_in = stride_in

    def whole(self, x: Tensor, like: Tensor) -> Tensor:
        x = conv_transpose2d(x, self.weight, self.bias, 2)
        return x[:, :, : like.shape[2], : like.shape[3]]

    def stepper(self, place: Place) -> Callable:
        return _OneOfFour(self, place)


class _OneOfFour:
    """A doubling layer at one pixel: it keeps a row of the smaller image."""

    def __init__(self, layer: CornerTransposed2d, place: Place):
        self.bias, self.place = layer.bias, place
        self.weight = layer.weight.permute(2, 3, 0, 1).contiguous()  # (2, 2, C, C')
        self.kept: dict[int, Tensor] = {}  # by column

    def __call__(self, x: Tensor | None, like: Tensor) -> Tensor:
        i, j = self.place.row, self.place.column
        if x is not None:
            self.kept[j // 2] = x.flatten(1)
        x = self.kept[j // 2]
        return torch.addmm(self.bias, x, self.weight[i % 2, j % 2]).view(len(x), -1, 1, 1)


class RowTransposed2d(Cached, nn.ConvTranspose2d):
    """The doubling layer of the stream of whole rows, 2x3."""

    def __init__(self, in_channels: int, out_channels: int, stride_in: int):
        super().__init__(in_channels, out_channels, (2, 3), 2)
        self.stride_in = stride_in

    def whole(self, x: Tensor, like: Tensor) -> Tensor:
        x = conv_transpose2d(x, self.weight, self.bias, 2)
        return x[:, :, : like.shape[2], 1 : like.shape[3] + 1]

    def stepper(self, place: Place) -> Callable:
        return _RowOfTwo(self, place)


class _RowOfTwo:
    """One row of two, computed from the row that they share."""

    def __init__(self, layer: RowTransposed2d, place: Place):
        self.layer, self.place, self.row = layer, place, -1

    def __call__(self, x: Tensor | None, like: Tensor) -> Tensor:
        if self.row != self.place.row:
            self.row = self.place.row
            if x is not None:
                self.kept = x
            weight = self.layer.weight[:, :, self.row % 2][:, :, None]
            out = conv_transpose2d(self.kept, weight, self.layer.bias, (1, 2))
            self.out = out[..., 1 : like.shape[3] + 1]
        return self.out
