"""Diagonal BiLSTM: Pixel Recurrent Neural Networks.

van den Oord, Kalchbrenner and Kavukcuoglu, 2016. https://arxiv.org/abs/1601.06759

`RowLSTM` with cells that depend on all earlier pixels (sec. 3.2). Two LSTMs cross the image from
its upper corners, a diagonal at a time. From the left, the cell at (i, j) gets the states of (i-1,
j) and (i, j-1), so its receptive field is all pixels above and to the left; from the right, it gets
those of (i-1, j) and (i, j+1). As (i, j+1) comes after (i, j), the output from the right is used in
the row below, whose pixels all come later. In an image whose row i is moved to the right by i,
diagonals are columns: H + W - 1 steps, each a convolution of two rows, for H * W cells.

Differs from the paper, in which one pixel has no influence: the inputs at (i, j) from the row above
are features, which depend only on the pixels before them, so none depends on the last pixel of the
row above. Here images have one more, empty, column on the right, whose features depend on it. The
LSTM from the right, whose states are used a row later, needs no masks of colours. Otherwise as in
`PixelCNN`.
"""

from collections.abc import Callable

from torch import Tensor, nn
from torch.nn.functional import pad

from ..networks.masked import Cached, ClassBias, MaskedConv2d, Place
from ..networks.recurrent import DiagonalCells, DiagonalCellsFromRight
from .row_lstm import RecurrentNet, RowLSTM


class DiagonalBlock(nn.Module):
    """2h features to the gates of h cells in either direction, and back to 2h (fig. 5, right)."""

    def __init__(self, width: int, colours: int, num_classes: int):
        super().__init__()
        self.input_to_left = MaskedConv2d(2 * width, 4 * width, 1, "B", colours, gates=4)
        self.input_to_right = nn.Conv2d(2 * width, 4 * width, 1)
        self.label = ClassBias(num_classes, 8 * width) if num_classes else None
        self.from_left = DiagonalCells(width)
        self.from_right = DiagonalCellsFromRight(width)
        self.widen = MaskedConv2d(width, 2 * width, 1, "B", colours)

    def forward(self, x: Tensor, y: Tensor | None) -> Tensor:
        left, right = self.input_to_left(x), self.input_to_right(x)
        if self.label is not None:
            of_left, of_right = self.label(y).chunk(2, dim=1)
            left, right = left + of_left, right + of_right
        return x + self.widen(self.from_left(left) + self.from_right(right))


class EmptyColumn(Cached):
    """A column of zeros on the right of images. In sampling, the layers visit its pixels after the
    last pixel of each row."""

    def whole(self, x: Tensor) -> Tensor:
        return pad(x, (0, 1))

    def stepper(self, place: Place) -> Callable[[Tensor], Tensor]:
        return lambda x: x


class DiagonalNet(RecurrentNet):
    """The network of table 1 with blocks that depend on all earlier pixels."""

    Block: type[nn.Module] = DiagonalBlock

    def __init__(self, *sizes):
        super().__init__(*sizes)
        self.empty_column = EmptyColumn()

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        return super().forward(self.empty_column(x), y)[..., : x.shape[3]]


class DiagonalBiLSTM(RowLSTM):
    """Exact likelihood by LSTMs over diagonals, which see every pixel before.

    Arguments as `RowLSTM`.
    """

    Network: type[nn.Module] = DiagonalNet
    margin = 1
