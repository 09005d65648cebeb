"""The recurrences of `networks.recurrent` as their equations say, one cell after another."""

import torch
from torch import Tensor, sigmoid, tanh

from genzoo.zoo.networks.recurrent import Cells, DiagonalCells, DiagonalCellsFromRight, RowCells

NEIGHBOURS = {  # (rows down, columns right) of those whose states a cell hears, and whose memory
    RowCells: ([(-1, -1), (-1, 0), (-1, 1)], (-1, 0)),
    DiagonalCells: ([(-1, 0), (0, -1)], (0, -1)),
    DiagonalCellsFromRight: ([(-1, 0), (0, 1)], (0, 1)),
}


def cell_by_cell(cells: Cells, gates: Tensor) -> Tensor:
    """What `cells.whole(gates)` is, in H * W steps."""
    neighbours, (memory_down, memory_right) = NEIGHBOURS[type(cells)]
    n, _, height, width = gates.shape
    outside = gates.new_zeros(n, gates.shape[1] // 4)
    h, c = {}, {}
    for i in range(height):
        for j in reversed(range(width)) if memory_right > 0 else range(width):
            total = gates[:, :, i, j]
            for weight, (down, right) in zip(cells.weight, neighbours, strict=True):
                total = total + h.get((i + down, j + right), outside) @ weight.T
            o, f, enter, g = total.chunk(4, dim=1)
            before = c.get((i + memory_down, j + memory_right), outside)
            c[i, j] = sigmoid(f) * before + sigmoid(enter) * tanh(g)
            h[i, j] = sigmoid(o) * tanh(c[i, j])
    rows = [torch.stack([h[i, j] for j in range(width)], -1) for i in range(height)]
    if memory_right > 0:
        rows = [0 * rows[0], *rows[:-1]]  # for the row below
    return torch.stack(rows, -2)
