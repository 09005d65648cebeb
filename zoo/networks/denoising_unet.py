"""The U-Net of Ho et al. (https://arxiv.org/abs/2006.11239, app. B), for images of 8 to 256 pixels.

Residual blocks on the way down, each kept, and on the way up, each beside one that was kept;
attention at some sides. An embedding of the noise is added within each block. The authors' networks
are numbers:

    8x8            width 32, multipliers (1, 2), blocks 1, attention ()
    CIFAR-10       width 128, multipliers (1, 2, 2, 2), blocks 2, attention (16,): 35.7 million
    256x256        width 128, multipliers (1, 1, 2, 2, 4, 4), blocks 2, attention (16,): 114 million
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, pixel_shuffle, pixel_unshuffle, silu

from ...conditions import Condition
from .embedding import ConditionEmbedding, NoiseLevel


def norm(channels: int) -> nn.GroupNorm:
    """Of 32 groups, and of fewer where a group would have less than four channels."""
    groups = max(1, min(32, channels // 4))
    while channels % groups:
        groups -= 1
    return nn.GroupNorm(groups, channels, eps=1e-6)


def zero(layer: nn.Module) -> nn.Module:
    """A layer that begins by saying nothing."""
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
    return layer


class Block(nn.Module):
    """(B, C, H, W) to (B, C', H, W): two convolutions beside a shortcut."""

    def __init__(self, before: int, after: int, entries: int, dropout: float):
        super().__init__()
        self.norm1, self.norm2 = norm(before), norm(after)
        self.first = nn.Conv2d(before, after, 3, padding=1)
        self.embedding = nn.Linear(entries, after)
        self.dropout = nn.Dropout(dropout)
        self.second = zero(nn.Conv2d(after, after, 3, padding=1))
        self.shortcut = nn.Conv2d(before, after, 1) if before != after else nn.Identity()

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        h = self.first(silu(self.norm1(x))) + self.embedding(embedding)[:, :, None, None]
        return self.shortcut(x) + self.second(self.dropout(silu(self.norm2(h))))


class Attention(nn.Module):
    """Each pixel attends to all, (B, C, H, W), beside a shortcut."""

    def __init__(self, channels: int, heads: int):
        super().__init__()
        self.heads = heads
        self.norm = norm(channels)
        self.project = nn.Conv2d(channels, 3 * channels, 1)  # query, key and value
        self.output = zero(nn.Conv2d(channels, channels, 1))

    def forward(self, x: Tensor) -> Tensor:
        projected = self.project(self.norm(x)).flatten(2).unflatten(1, (3, self.heads, -1))
        query, key, value = projected.transpose(-1, -2).unbind(1)  # (B, heads, H W, C / heads)
        h = nn.functional.scaled_dot_product_attention(query, key, value)
        return x + self.output(h.transpose(-1, -2).reshape(x.shape))


class Stage(nn.Module):
    """A block, and attention behind it at sides that have some."""

    def __init__(
        self, before: int, after: int, entries: int, dropout: float, heads: int, attends: bool
    ):
        super().__init__()
        self.block = Block(before, after, entries, dropout)
        self.attention = Attention(after, heads) if attends else nn.Identity()

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        return self.attention(self.block(x, embedding))


class Larger(nn.Module):
    """Both sides doubled."""

    def __init__(self, channels: int):
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(interpolate(x, scale_factor=2))


class DenoisingUNet(nn.Module):
    """Images and how noisy they are, to as many numbers; at first all are 0.

    Args:
        image_shape: (C, H, W).
        condition: What it is conditional on, beside the noise.
        width: Channels at the full side.
        blocks: Residual blocks at each side on the way down; there is one more on the way up.
        dropout: Share of features dropped in training.
        multipliers: Channels at each side in units of the width; each side is half the one before.
        attention: Sides, of the blocks' inputs, at which pixels attend to all others; in the middle
            they always do.
        heads: Of the attention.
        patch: Pixels of p by p become channels first, and again pixels at the end, by which all
            costs p^2 times less: a 32x32 network for a CPU.
    """

    default_width, default_blocks = 128, 2

    def __init__(
        self,
        image_shape: tuple[int, ...],
        condition: Condition,
        width: int,
        blocks: int,
        dropout: float = 0.0,
        multipliers: tuple[int, ...] = (1, 2, 2, 2),
        attention: tuple[int, ...] = (16,),
        heads: int = 1,
        patch: int = 1,
    ):
        super().__init__()
        refuse_sides(image_shape, multipliers, patch)
        if width % heads:
            raise ValueError(f"heads must divide the width, {width}, got {heads}")
        self.patch, entries = patch, 4 * width
        self.level = NoiseLevel(width, entries)
        self.condition = ConditionEmbedding(condition, entries)
        side, pixels = image_shape[-1] // patch, image_shape[0] * patch**2

        def stage(before: int, after: int) -> Stage:
            return Stage(before, after, entries, dropout, heads, side in attention)

        channels = (image_shape[0] + self.condition.planes) * patch**2
        self.first = nn.Conv2d(channels, width, 3, padding=1)
        now, kept, down, up = width, [width], [], []
        for level, times in enumerate(multipliers):
            if level:
                down.append(nn.Conv2d(now, now, 3, stride=2, padding=1))
                kept.append(now)
                side //= 2
            for _ in range(blocks):
                down.append(stage(now, times * width))
                now = times * width
                kept.append(now)
        self.down = nn.ModuleList(down)
        self.middle = nn.ModuleList(
            [Stage(now, now, entries, dropout, heads, True), Block(now, now, entries, dropout)]
        )
        for level, times in reversed([*enumerate(multipliers)]):
            for _ in range(blocks + 1):
                up.append(stage(now + kept.pop(), times * width))
                now = times * width
            if level:
                up.append(Larger(now))
                side *= 2
        self.up = nn.ModuleList(up)
        self.norm = norm(now)
        self.last = zero(nn.Conv2d(now, pixels, 3, padding=1))

    def forward(self, x: Tensor, c: Tensor, *condition: Any) -> Tensor:
        """c (B,): the amount of noise, in the paper's scale."""
        embedding = self.level(c)
        for y in condition:
            code = self.condition.vector(y)
            embedding = embedding if code is None else embedding + code
            x = self.condition.beside(x, y) if self.condition.planes else x
        embedding = silu(embedding)
        h = self.first(pixel_unshuffle(x, self.patch))
        kept = [h]
        for part in self.down:
            h = part(h, embedding) if isinstance(part, Stage) else part(h)
            kept.append(h)
        for part in self.middle:
            h = part(h, embedding)
        for part in self.up:
            h = (
                part(torch.cat((h, kept.pop()), dim=1), embedding)
                if isinstance(part, Stage)
                else part(h)
            )
        return pixel_shuffle(self.last(silu(self.norm(h))), self.patch)


def refuse_sides(image_shape: tuple[int, ...], multipliers: tuple[int, ...], patch: int) -> None:
    """Refuses images whose sides cannot be halved so often.

    Raises:
        ValueError: says what divides them.
    """
    if not multipliers or min(multipliers) < 1 or patch < 1:
        raise ValueError(f"multipliers and patch must be 1 or more, got {multipliers} and {patch}")
    unit = patch * 2 ** (len(multipliers) - 1)
    if len(image_shape) != 3 or any(side % unit for side in image_shape[1:]):
        raise ValueError(
            f"image_shape must be (C, H, W) with sides that {unit} divides, got "
            f"{tuple(image_shape)}: set --data.image_size, or fewer --model.multipliers"
        )
