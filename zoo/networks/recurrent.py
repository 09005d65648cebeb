"""LSTM cells on the grid of an image, a line of them at a time: rows or diagonals.

Besides its input a cell gets the states of neighbours that come before it in reading order. The
contribution of the input to the gates is computed for the whole image at once; only the recurrence
is sequential (van den Oord et al., 2016,
https://arxiv.org/abs/1601.06759, eq. 3):

    [o, f, i, g] = [sigmoid, sigmoid, sigmoid, tanh](gates + K * states of the line before)
    c' = f c + i g,   h = o tanh(c')

In sampling the states of the pixels before are kept, so that one cell is computed for each pixel
(see `masked`).
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from .masked import Cached, Place


def cell(gates: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
    """The state h and memory c, (h, ...), of cells with gates (4h, ...) whose memory was c."""
    opening, g = gates.split((3 * len(c), len(c)))
    o, f, i = opening.sigmoid().chunk(3)
    c = f * c + i * g.tanh()
    return o * c.tanh(), c


def hear(gates: Tensor, h: Tensor, weights: tuple[Tensor, ...], n: int) -> Tensor:
    """Adds the recurrent input from the line before (h, P * n) to a line's gates (4h, P * n).

    Cell p gets the states of p - 1, p and, if there is a third weight (4h, h), p + 1.
    """
    for neighbour, weight in enumerate(weights):
        shift = (1 - neighbour) * n
        gates = torch.addmm(gates, weight, pad(h, (shift, -shift)) if shift else h)
    return gates


def scan(gates: Tensor, weight: Tensor) -> Tensor:
    """States (B, h, P, T) of T lines of P cells, one line after another; gates (B, 4h, P, T)."""
    n, _, length, _ = gates.shape
    h = c = gates.new_zeros(weight.shape[2], length * n)
    states, weights = [], weight.unbind()
    # Images last: shifting cells is then shifting columns, and a gate's numbers lie together.
    for line in gates.permute(3, 1, 2, 0).flatten(2).unbind():  # (4h, P * B)
        h, c = cell(hear(line, h, weights, n), c)
        states.append(h)
    return torch.stack(states).unflatten(2, (length, n)).permute(3, 1, 2, 0)


def skew(x: Tensor) -> Tensor:
    """Moves row i to the right by i: diagonals (i, j), i + j = t, become columns t.

    (B, C, H, W) to (B, C, H, W + H - 1), with zeros on both sides. Each row of W + H numbers is
    read as one of W + H - 1, so that every row begins one number later.
    """
    height, width = x.shape[2:]
    return pad(x, (0, height)).flatten(2)[..., :-height].unflatten(2, (height, width + height - 1))


def unskew(x: Tensor, width: int) -> Tensor:
    """The inverse, (B, C, H, W + H - 1) to (B, C, H, W)."""
    height = x.shape[2]
    return pad(x.flatten(2), (0, height)).unflatten(2, (height, width + height))[..., :width]


class Cells(Cached):
    """Gates (B, 4h, H, W), the input's share, to states (B, h, H, W).

    Args:
        width: h.
    """

    heard: int  # cells of the line before that are inputs of a cell

    def __init__(self, width: int):
        super().__init__()
        bound = (self.heard * width) ** -0.5
        weight = torch.empty(self.heard, 4 * width, width).uniform_(-bound, bound)
        self.weight = nn.Parameter(weight)


class RowCells(Cells):
    """Cells from the top, row by row: (i, j) gets (i-1, j-1), (i-1, j), (i-1, j+1)."""

    heard = 3

    def whole(self, gates: Tensor) -> Tensor:
        return scan(gates.mT, self.weight).mT

    def stepper(self, place: Place) -> Callable[[Tensor], Tensor]:
        return _Row(self.weight, place)


class DiagonalCells(Cells):
    """Cells from the upper left, diagonal by diagonal: (i, j) gets (i-1, j) and (i, j-1)."""

    heard = 2

    def whole(self, gates: Tensor) -> Tensor:
        return unskew(scan(skew(gates), self.weight), gates.shape[3])

    def stepper(self, place: Place) -> Callable[[Tensor], Tensor]:
        return _LeftToRight(self.weight, place)


class DiagonalCellsFromRight(DiagonalCells):
    """Cells from the upper right: (i, j) gets (i-1, j) and (i, j+1); used in the row below.

    What was heard from the right comes later than the pixel (i, j), but not than (i+1, j).
    """

    def whole(self, gates: Tensor) -> Tensor:
        states = super().whole(gates.flip(3)).flip(3)
        return pad(states, (0, 0, 1, -1))

    def stepper(self, place: Place) -> Callable[[Tensor], Tensor]:
        return _RightToLeft(self.weight, place)


class _Row:
    """The cells of a row one at a time; the input from the row above is computed at its start."""

    def __init__(self, weight: Tensor, place: Place):
        self.weights, self.place, self.row = weight.unbind(), place, -1
        self.h: Tensor | None = None  # (h, W, n), as c: this row, up to the pixel

    def __call__(self, gates: Tensor) -> Tensor:
        gates, j = gates.flatten(1).T, self.place.column  # (4h, n)
        if self.row != self.place.row:
            self._next_row(gates)
        h, c = cell(gates + self.from_above[:, j], self.c_above[:, j])
        self.h[:, j], self.c[:, j] = h, c
        return h.T[:, :, None, None]

    def _next_row(self, gates: Tensor) -> None:
        self.row, width, n = self.place.row, self.place.width, gates.shape[1]
        if self.h is None:
            self.h = self.c = gates.new_zeros(len(gates) // 4, width, n)
        nothing = gates.new_zeros(len(gates), width * n)
        from_above = hear(nothing, self.h.flatten(1), self.weights, n)
        self.from_above, self.c_above = from_above.view(-1, width, n), self.c
        self.h, self.c = torch.empty_like(self.h), torch.empty_like(self.c)


class _Chain:
    """A row of diagonal cells, one after the other."""

    def __init__(self, weight: Tensor, width: int):
        self.above, self.before = weight.unbind()
        self.width, self.h = width, None  # (h, 1 + W, n), as c, with a cell before the first

    def next_row(self, gates: Tensor) -> None:
        if self.h is None:
            self.h = gates.new_zeros(self.above.shape[1], 1 + self.width, gates.shape[-1])
            self.c = torch.zeros_like(self.h)
        from_above = self.above @ self.h[:, 1:].flatten(1)
        self.from_above = from_above.view(-1, self.width, gates.shape[-1])

    def cell(self, j: int, gates: Tensor) -> Tensor:
        gates = torch.addmm(gates + self.from_above[:, j], self.before, self.h[:, j])
        h, c = cell(gates, self.c[:, j])
        self.h[:, j + 1], self.c[:, j + 1] = h, c
        return h


class _LeftToRight:
    """A cell for each pixel."""

    def __init__(self, weight: Tensor, place: Place):
        self.chain, self.place, self.row = _Chain(weight, place.width), place, -1

    def __call__(self, gates: Tensor) -> Tensor:
        gates = gates.flatten(1).T  # (4h, n)
        if self.row != self.place.row:
            self.row = self.place.row
            self.chain.next_row(gates)
        return self.chain.cell(self.place.column, gates).T[:, :, None, None]


class _RightToLeft:
    """Gates are kept until the row is complete; then its cells are computed, for the row below."""

    def __init__(self, weight: Tensor, place: Place):
        self.chain, self.place, self.row = _Chain(weight, place.width), place, -1
        self.gates: Tensor | None = None  # (W, 4h, n)

    def __call__(self, gates: Tensor) -> Tensor:
        gates, j = gates.flatten(1).T, self.place.column
        if self.row != self.place.row:
            self._next_row(gates)
        self.gates[j] = gates
        return self.states[:, j].T[:, :, None, None]

    def _next_row(self, gates: Tensor) -> None:
        self.row = self.place.row
        if self.gates is None:
            self.gates = gates.new_zeros(self.place.width, *gates.shape)
            self.states = gates.new_zeros(len(gates) // 4, self.place.width, gates.shape[1])
            return
        self.chain.next_row(gates)
        states = [self.chain.cell(j, g) for j, g in enumerate(self.gates.flip(0))]
        self.states = torch.stack(states[::-1], dim=1)
