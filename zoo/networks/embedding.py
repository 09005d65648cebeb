"""Inputs of a denoising network beside the noisy image: how much noise it has, and a condition.

Numbers become sinusoids (Vaswani et al., 2017, https://arxiv.org/abs/1706.03762, sec. 3.5). A
condition becomes a vector, and what of it is an image, planes beside the noisy image. Any of it
may be dropped, which has an embedding of its own: classifier-free guidance needs the unconditional
model.
"""

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, pad, silu

from ...conditions import Classes, Condition, ImageOf, Nothing, Together, Tokens, Vector


def sinusoids(c: Tensor, entries: int) -> Tensor:
    """Numbers (B,) to (B, entries): sines and cosines of periods 2 pi to 20,000 pi."""
    half = entries // 2
    exponents = torch.arange(half, device=c.device, dtype=torch.float32) / max(1, half - 1)
    angles = c.float()[:, None] * torch.exp(-math.log(10_000) * exponents)
    return pad(torch.cat((angles.sin(), angles.cos()), dim=1), (0, entries % 2))


class NoiseLevel(nn.Module):
    """The amount of noise, (B,), to (B, outputs): sinusoids and two layers.

    Args:
        entries: Of the sinusoids.
        outputs: Of the embedding.
    """

    def __init__(self, entries: int, outputs: int):
        super().__init__()
        self.entries = entries
        self.first = nn.Linear(entries, outputs)
        self.second = nn.Linear(outputs, outputs)

    def forward(self, c: Tensor) -> Tensor:
        waves = sinusoids(c, self.entries).to(self.first.weight.dtype)
        return self.second(silu(self.first(waves)))


class ClassOrNone(nn.Embedding):
    """A class (B,), or -1 where there is none, to (B, outputs)."""

    def __init__(self, num_classes: int, outputs: int):
        super().__init__(num_classes + 1, outputs)
        self.none = num_classes

    def forward(self, y: Tensor) -> Tensor:
        return super().forward(torch.where(y < 0, self.none, y))


class Numbers(nn.Module):
    """Numbers (B, D) to (B, outputs); where all are 0, there are none."""

    def __init__(self, entries: int, outputs: int):
        super().__init__()
        self.body = nn.Sequential(
            nn.Linear(entries, outputs), nn.SiLU(), nn.Linear(outputs, outputs)
        )
        self.none = nn.Parameter(torch.zeros(outputs))

    def forward(self, y: Tensor) -> Tensor:
        known = (y != 0).any(1, keepdim=True)
        return torch.where(known, self.body(y), self.none)


class Words(nn.Module):
    """A text (B, L) to (B, outputs): the mean of its words, in any order; none has a code."""

    def __init__(self, words: int, outputs: int):
        super().__init__()
        self.words = nn.Embedding(words, outputs)

    def forward(self, y: Tensor) -> Tensor:
        known = (y > 0).to(self.words.weight.dtype)[..., None]  # (B, L, 1)
        mean = (self.words(y) * known).sum(1) / known.sum(1).clamp(min=1)
        return torch.where(known.any(1), mean, self.words.weight[0])


class ConditionEmbedding(nn.Module):
    """A condition of any kind to a vector (B, outputs), and to planes beside an image.

    Args:
        condition: Its kind.
        outputs: Entries of the vector.

    Attributes:
        planes: Channels of what of the condition is an image; 0: nothing is.
    """

    def __init__(self, condition: Condition, outputs: int):
        super().__init__()
        parts = dict(condition.parts) if isinstance(condition, Together) else {"": condition}
        self.named = isinstance(condition, Together)
        self.images = [name for name, part in parts.items() if isinstance(part, ImageOf)]
        self.planes = sum(parts[name].shape[0] for name in self.images)
        codes = {name: _code(part, outputs) for name, part in parts.items()}
        # A ModuleDict has no part called "".
        self.codes = nn.ModuleDict(
            {f"of_{n}": code for n, code in codes.items() if code is not None}
        )

    def vector(self, y: Any) -> Tensor | None:
        """(B, outputs), the sum of the parts; None where all of it is images."""
        codes = [code(self._part(y, name[3:])) for name, code in self.codes.items()]
        return sum(codes[1:], codes[0]) if codes else None

    def beside(self, x: Tensor, y: Any) -> Tensor:
        """x (B, C, H, W) and behind it the condition's planes, resized to its sides."""
        some = [self._part(y, name).to(x) for name in self.images]
        return torch.cat([x, *(interpolate(one, size=x.shape[2:]) for one in some)], dim=1)

    def _part(self, y: Any, name: str) -> Tensor:
        return y[name] if self.named else y


def _code(part: Condition, outputs: int) -> nn.Module | None:
    if isinstance(part, Classes):
        return ClassOrNone(part.num_classes, outputs)
    if isinstance(part, Vector):
        return Numbers(part.entries, outputs)
    if isinstance(part, Tokens):
        return Words(part.entries, outputs)
    if isinstance(part, ImageOf | Nothing):
        return None
    raise ValueError(f"condition must be of a kind that is known, got {part}")
