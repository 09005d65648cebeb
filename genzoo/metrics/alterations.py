"""Ways in which a copy may differ from its source."""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from ..images import from_uint8, to_uint8


def transformed(
    x: Tensor,
    turn: Tensor | float = 0.0,
    zoom: Tensor | float = 1.0,
    right: Tensor | float = 0.0,
    down: Tensor | float = 0.0,
    mirror: Tensor | float = 0.0,
) -> Tensor:
    """Images rotated by `turn` (degrees), zoomed (above 1: larger), shifted (shares of the side)
    and mirrored (1: yes).

    Values between pixels are interpolated linearly; beyond the border the border's value is taken.
    Each argument is a number, or one for each image (B,).
    """
    b = len(x)
    turn, zoom, right, down, mirror = (
        torch.as_tensor(value, dtype=x.dtype, device=x.device).expand(b)
        for value in (turn, zoom, right, down, mirror)
    )
    angle = turn * (math.pi / 180)
    height, width = x.shape[-2:]
    cos, sin = angle.cos() / zoom, angle.sin() / zoom
    flip = 1 - 2 * mirror
    # Rows of a map from places in the result to places in the image, both in -1..1.
    top = torch.stack([flip * cos, -sin * height / width, -2 * right * flip], 1)
    bottom = torch.stack([flip * sin * width / height, cos, -2 * down], 1)
    grid = F.affine_grid(torch.stack([top, bottom], 1), list(x.shape), align_corners=False)
    return F.grid_sample(x, grid, padding_mode="border", align_corners=False)


def blurred(x: Tensor, deviation: Tensor | float) -> Tensor:
    """Images blurred by a Gaussian; `deviation` is in pixels, a number or one per image (B,)."""
    deviation = torch.as_tensor(deviation, dtype=x.dtype, device=x.device).expand(len(x))
    reach = max(1, math.ceil(2.5 * deviation.max().item()))
    place = torch.arange(-reach, reach + 1, device=x.device, dtype=x.dtype)
    kernel = torch.exp(-0.5 * (place / deviation[:, None]).square())
    kernel = kernel / kernel.sum(1, keepdim=True)  # (B, taps)
    b, c, height, width = x.shape
    for across in (True, False):
        pad = (reach, reach, 0, 0) if across else (0, 0, reach, reach)
        wide = F.pad(x, pad, mode="replicate")
        axis = 3 if across else 2
        windows = wide.unfold(axis, 2 * reach + 1, 1)  # (B, C, H, W, taps)
        x = torch.einsum("bchwt,bt->bchw", windows, kernel)
    return x


def plant(images: Tensor, kind: str, generator: torch.Generator) -> Tensor:
    """Copies of images, altered in one way, each by its own random amount.

    Args:
        images: uint8 (n, C, H, W).
        kind: Name of the alteration, one of `kinds`.

    Returns:
        Altered copies, uint8 (n, C, H, W).
    """
    x = from_uint8(images)
    changed = _KINDS[kind](x, generator)
    return to_uint8(changed.clamp(-1, 1))


def kinds(side: int) -> dict[str, str]:
    """Descriptions of the alterations by their names, for images of `side` pixels."""
    return {
        "unchanged": "unchanged",
        "mirrored": "mirrored",
        "shifted": f"shifted by up to {_reach(side)} pixel{'s' if _reach(side) > 1 else ''}",
        "rotated": "rotated by up to 10 degrees",
        "zoomed": "zoomed by up to 15 %",
        "blurred": "blurred by up to 1 pixel",
        "noisy": "noisy by up to 0.1 of the range",
        "brightened": "brighter, darker or of other contrast by up to a fifth",
    }


def _reach(side: int) -> int:
    return max(1, side // 10)


def _uniform(n: int, low: float, high: float, generator: torch.Generator) -> Tensor:
    return torch.rand(n, generator=generator) * (high - low) + low


def _shift(x: Tensor, generator: torch.Generator) -> Tensor:
    """Shifts by whole pixels, of which at most one is 0."""
    reach = _reach(min(x.shape[-2:]))
    steps = torch.randint(1, (2 * reach + 1) ** 2, (len(x),), generator=generator)
    steps = (steps + (2 * reach + 1) ** 2 // 2) % (2 * reach + 1) ** 2
    down, right = steps // (2 * reach + 1) - reach, steps % (2 * reach + 1) - reach
    wide = F.pad(x, [reach] * 4, mode="replicate")
    height, width = x.shape[-2:]
    moved = [
        image[:, reach - d : reach - d + height, reach - r : reach - r + width]
        for image, d, r in zip(wide, down.tolist(), right.tolist(), strict=True)
    ]
    return torch.stack(moved)


def _rotate(x: Tensor, generator: torch.Generator) -> Tensor:
    return transformed(x, turn=_uniform(len(x), -10, 10, generator))


def _zoom(x: Tensor, generator: torch.Generator) -> Tensor:
    return transformed(x, zoom=_uniform(len(x), 0.87, 1.15, generator))


def _blur(x: Tensor, generator: torch.Generator) -> Tensor:
    return blurred(x, _uniform(len(x), 0.3, 1.0, generator))


def _noise(x: Tensor, generator: torch.Generator) -> Tensor:
    amount = _uniform(len(x), 0, 0.2, generator).view(-1, 1, 1, 1)
    return x + amount * torch.randn(x.shape, generator=generator)


def _brighten(x: Tensor, generator: torch.Generator) -> Tensor:
    gain, offset = (_uniform(len(x), *ends, generator) for ends in ((0.8, 1.2), (-0.2, 0.2)))
    return (x + 1) * gain.view(-1, 1, 1, 1) - 1 + offset.view(-1, 1, 1, 1)


_KINDS: dict[str, Callable[[Tensor, torch.Generator], Tensor]] = {
    "unchanged": lambda x, generator: x,
    "mirrored": lambda x, generator: x.flip(-1),
    "shifted": _shift,
    "rotated": _rotate,
    "zoomed": _zoom,
    "blurred": _blur,
    "noisy": _noise,
    "brightened": _brighten,
}
