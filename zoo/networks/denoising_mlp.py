"""A fully connected network that takes noise out of points and of small images."""

import math
from typing import Any

from torch import Tensor, nn
from torch.nn.functional import silu

from ...conditions import Condition
from .embedding import ConditionEmbedding, NoiseLevel


class Block(nn.Module):
    """(B, width) to the same: two layers beside a shortcut, the embedding added between them."""

    def __init__(self, width: int, dropout: float):
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.first = nn.Linear(width, width)
        self.embedding = nn.Linear(width, width)
        self.dropout = nn.Dropout(dropout)
        self.second = nn.Linear(width, width)

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        h = silu(self.first(self.norm(x)) + self.embedding(embedding))
        return x + self.second(self.dropout(h))


class TimeMLP(nn.Module):
    """Points or images and how noisy they are, to as many numbers; at first all are 0.

    Args:
        image_shape: (C, H, W), or (D,) for points.
        condition: What it is conditional on, beside the noise.
        width: Units of each layer.
        blocks: Residual blocks of two layers each.
        dropout: Share of hidden units dropped in training.
    """

    default_width, default_blocks = 256, 3

    def __init__(
        self,
        image_shape: tuple[int, ...],
        condition: Condition,
        width: int,
        blocks: int,
        dropout: float = 0.0,
    ):
        super().__init__()
        self.level = NoiseLevel(width, width)
        self.condition = ConditionEmbedding(condition, width)
        channels = image_shape[0] + self.condition.planes
        self.first = nn.Linear(channels * math.prod(image_shape[1:]), width)
        self.blocks = nn.ModuleList(Block(width, dropout) for _ in range(blocks))
        self.norm = nn.LayerNorm(width)
        self.last = nn.Linear(width, math.prod(image_shape))
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)

    def forward(self, x: Tensor, c: Tensor, *condition: Any) -> Tensor:
        """c (B,): the amount of noise, in the paper's scale."""
        embedding = self.level(c)
        inputs = x
        for y in condition:
            code = self.condition.vector(y)
            embedding = embedding if code is None else embedding + code
            inputs = self.condition.beside(x, y) if self.condition.planes else x
        h, embedding = self.first(inputs.flatten(1)), silu(embedding)
        for block in self.blocks:
            h = block(h, embedding)
        return self.last(silu(self.norm(h))).view_as(x)
