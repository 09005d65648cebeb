"""Two stacks of gated convolutions whose receptive field has no blind spot.

van den Oord et al., 2016, https://arxiv.org/abs/1606.05328. The receptive field of the vertical
stack is the rows above a pixel; that of the horizontal stack is the pixels on the left, and each of
its layers also gets the features of the vertical stack. The vertical stack does not depend on the
horizontal one and needs no mask: the input of its first layer is the rows above, and later layers
may use its own features of the whole row. (The paper shifts its output down by a row; here the
input is shifted, once, which is equivalent.) Both stacks are gated, and may have a condition s (eq.
4 and 5):

    y = tanh(W_f * x + V_f s) . sigmoid(W_g * x + V_g s)                               (eq. 5)
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, pad

from ...checks import at_least
from .kept import renamed
from .masked import Cached, MaskedConv2d, OncePerRow, Place


def gate(x: Tensor) -> Tensor:
    """Values times gates: (B, 2C, ...) to (B, C, ...)."""
    value, opening = x.chunk(2, dim=1)
    return value.tanh() * opening.sigmoid()


class VerticalConv2d(Cached, nn.Conv2d):
    """A convolution over whole rows, without a mask.

    Args:
        kernel_size: (rows, columns), columns odd.
        kind: "A", for the first layer: the last of the rows is the one above the pixel. "B": it is
            the pixel's own.
        stride: 2 answers for every other row and column.
        stride_in: Pixels of the image, each way, for which one of the input's stands.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: tuple[int, int],
        kind: str,
        stride: int = 1,
        stride_in: int = 1,
    ):
        rows, columns = kernel_size
        if rows < 1 or columns % 2 == 0:
            raise ValueError(f"kernel_size must be rows and odd columns, got {kernel_size}")
        if kind not in ("A", "B"):
            raise ValueError(f"kind must be 'A' or 'B', got {kind!r}")
        super().__init__(in_channels, out_channels, kernel_size, stride)
        self.kind, self.above, self.beside = kind, rows - (kind == "B"), columns // 2
        self.stride_in = stride_in

    def whole(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to (B, C', H, W), sides divided by the stride and rounded up."""
        x = x[:, :, :-1] if self.kind == "A" else x
        x = pad(x, (self.beside, self.beside, self.above, 0))
        return conv2d(x, self.weight, self.bias, self.stride)

    def stepper(self, place: Place) -> Callable[[Tensor], Tensor | None]:
        """Of a row at a time: (n, C, 1, W), or the first layer's unfinished images, to a row; a
        layer with a stride gives None for rows that it leaves out."""
        return (_RowsAbove if self.kind == "A" else _RowMemory)(self, place)


class _RowsAbove:
    """The first layer on one row: it looks at the images themselves."""

    def __init__(self, layer: VerticalConv2d, place: Place):
        self.layer, self.place = layer, place

    def __call__(self, x: Tensor) -> Tensor:
        i, layer = self.place.row, self.layer
        rows = x[:, :, max(i - layer.above, 0) : i]
        margin = (layer.beside, layer.beside, layer.above - rows.shape[2], 0)
        return conv2d(pad(rows, margin), layer.weight, layer.bias)


class _RowMemory:
    """A later layer on one row: it keeps the rows above that are in its kernel."""

    def __init__(self, layer: VerticalConv2d, place: Place):
        self.layer, self.place, self.row = layer, place, -1
        self.kept: Tensor | None = None  # (n, C, rows above + 1, margin + W + margin)

    def __call__(self, row: Tensor) -> Tensor | None:
        if self.row != self.place.row:  # else it comes again, as another pixel is drawn
            self.row, layer = self.place.row, self.layer
            row = pad(row, (layer.beside, layer.beside))
            if self.kept is None:
                self.kept = torch.zeros_like(row).expand(-1, -1, layer.above + 1, -1)
            self.kept = torch.cat((self.kept[:, :, 1:], row), dim=2)
            left_out = self.row % layer.stride[0]
            convolved = (self.kept, layer.weight, layer.bias, layer.stride)
            self.answer = None if left_out else conv2d(*convolved)
        return self.answer


class VerticalLayer(Cached):
    """The vertical half of a layer, with its output for the horizontal half.

    Features (B, C, H, W) and a condition (B, D, H, W), (B, D, 1, 1) or None, to features
    (B, width, H, W) and a term that is added before the horizontal gate, (B, 2 * width, H, W).
    """

    def __init__(self, channels: int, width: int, kernel_size: int, kind: str, condition: int):
        super().__init__()
        kernel = (kernel_size // 2 + 1, kernel_size)
        self.look = VerticalConv2d(channels, 2 * width, kernel, kind)
        self.across = nn.Conv2d(2 * width, 2 * width, 1, bias=False)
        self.condition = nn.Conv2d(condition, 4 * width, 1, bias=False) if condition else None
        renamed(self, told="condition")

    def whole(self, v: Tensor, condition: Tensor | None) -> tuple[Tensor, Tensor]:
        v = self.look(v)
        across = self.across(v)
        if self.condition is not None:
            vertical, horizontal = self.condition(condition).chunk(2, dim=1)
            v, across = v + vertical, across + horizontal
        return gate(v), across

    def stepper(self, place: Place) -> Callable:
        row = OncePerRow(self.whole, place)

        def step(v: Tensor, condition: Tensor | None) -> tuple[Tensor, Tensor]:
            if condition is not None and condition.shape[2] > 1:
                condition = condition[:, :, place.row : place.row + 1]
            return row(v, condition)

        return step


class GatedLayer(nn.Module):
    """One layer of both stacks (fig. 2).

    Args:
        channels: Channels of the input; only the first layer's may differ from `width`.
        width: Features of each stack.
        kernel_size: k, odd: the vertical kernel has k columns and k // 2 + 1 rows, the horizontal
            one the pixel and k // 2 pixels on its left.
        kind: "A" for the first layer, of images, which excludes the pixel itself and has no
            residual connection; "B" for the others.
        colours: Number of values of a pixel, drawn in turn.
        condition: D, channels of the condition; 0: there is none.
    """

    def __init__(
        self,
        channels: int,
        width: int,
        kernel_size: int,
        kind: str,
        colours: int = 1,
        condition: int = 0,
    ):
        if kernel_size % 2 == 0 or kind == "A" and kernel_size < 3:
            raise ValueError(f"kernel_size must be odd, 3 at least for kind A, got {kernel_size}")
        super().__init__()
        self.residual = kind == "B"
        self.vertical = VerticalLayer(channels, width, kernel_size, kind, condition)
        look = (channels, 2 * width, (1, kernel_size), kind, colours)
        self.horizontal = MaskedConv2d(*look, gates=2)
        self.mix = MaskedConv2d(width, width, 1, "B", colours)

    def forward(
        self, v: Tensor, h: Tensor, condition: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Features of both stacks, and the condition, to features of both stacks."""
        v, above = self.vertical(v, condition)
        found = self.mix(gate(self.horizontal(h) + above))
        return v, h + found if self.residual else found


class GatedStack(nn.Module):
    """Images (B, C, H, W) to features (B, width, H, W), each of which depends on the earlier pixels
    within its receptive field only.

    Args:
        colours: C, values that make a pixel; features belong to them in equal parts.
        width: Features of each stack.
        layers: Gated layers, the first included.
        kernel_size: k of the layers after the first.
        first_kernel_size: k of the first.
        condition: D, channels of a condition; 0: there is none.
    """

    def __init__(
        self,
        colours: int,
        width: int,
        layers: int,
        kernel_size: int = 3,
        first_kernel_size: int = 7,
        condition: int = 0,
    ):
        super().__init__()
        at_least(1, layers=layers)
        first = GatedLayer(colours, width, first_kernel_size, "A", colours, condition)
        later = (width, width, kernel_size, "B", colours, condition)
        self.layers = nn.ModuleList([first, *(GatedLayer(*later) for _ in range(layers - 1))])

    def forward(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        """The condition: (B, D, H, W), or (B, D, 1, 1) where it is the same everywhere; within
        `caching` it must be given whole, and the same for all pixels."""
        v = h = x
        for layer in self.layers:
            v, h = layer(v, h, condition)
        return h
