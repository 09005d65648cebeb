"""Pictures: grids of images, plots of points, and PNG files.

All pictures are uint8 (H, W, C): loggers treat floats differently, up to images that are all black,
but show uint8 alike.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from ..files import whole

VISIBLE = 64  # least number of pixels of the longer side, to which small images are enlarged
PAPER, INK = 245, 60  # grey levels of the background and of text
GAP = 140  # grey level between images, which separates black and white images alike


def grid(
    images: Tensor,
    columns: int = 8,
    padding: int | None = None,
    captions: Sequence[str] = (),
    rows: Sequence[str] = (),
) -> Tensor:
    """A grid of images; small ones are enlarged by a whole factor, so that pixels stay sharp.

    Args:
        images: uint8 (N, C, H, W), grey or RGB.
        columns: Number of images in a row.
        padding: Pixels between images, after enlarging; None: the size of an enlarged pixel.
        captions: A line of text under each image, cut to its width.
        rows: A line of text to the left of each row.

    Returns:
        uint8 (height, width, 3).

    >>> grid(torch.zeros(6, 1, 32, 32, dtype=torch.uint8), columns=3).shape
    torch.Size([134, 200, 3])
    """
    if images.ndim != 4 or images.shape[1] not in (1, 3) or images.dtype != torch.uint8:
        raise ValueError(
            "images must be uint8 (N, C, H, W), grey or RGB, "
            f"got {images.dtype} {tuple(images.shape)}"
        )
    if not len(images) or columns < 1:
        raise ValueError(f"a grid must have images and columns, got {len(images)} and {columns}")
    factor = max(1, -(-VISIBLE // max(images.shape[-2:])))
    padding = max(2, factor) if padding is None else padding
    images = images.expand(-1, 3, -1, -1).permute(0, 2, 3, 1).cpu()
    images = images.repeat_interleave(factor, 1).repeat_interleave(factor, 2)
    height, width = images.shape[1:3]
    columns = min(columns, len(images))
    line = 14 if captions else 0
    left = max((round(ImageFont.load_default().getlength(row)) + 8 for row in rows), default=0)
    cell = height + line + padding, width + padding
    count = -(-len(images) // columns)
    shape = count * cell[0] + padding, left + columns * cell[1] + padding, 3
    page = torch.full(shape, PAPER, dtype=torch.uint8)
    if not captions:
        page[:, left:] = GAP
    for i, image in enumerate(images):
        top, start = padding + i // columns * cell[0], left + padding + i % columns * cell[1]
        page[top : top + height, start : start + width] = image
    if not captions and not rows:
        return page
    picture = Image.fromarray(page.numpy())
    draw, font = ImageDraw.Draw(picture), ImageFont.load_default()
    for i, caption in enumerate(captions[: len(images)]):
        while caption and font.getlength(caption) > width:
            caption = caption[:-1]
        place = left + padding + i % columns * cell[1], padding + i // columns * cell[0] + height
        draw.text(place, caption, fill=(INK,) * 3, font=font)
    for i, row in enumerate(rows[:count]):
        middle = padding + i * cell[0] + height // 2
        draw.text((4, middle), row, fill=(INK,) * 3, font=font, anchor="lm")
    return _tensor(picture)


def scatter(points: Tensor, real: Tensor, side: int = 384) -> Tensor:
    """Points of the plane in blue over real ones in grey, on a square around the real ones.

    Args:
        points: float (n, 2); real: float (m, 2).

    Returns:
        uint8 (side, side, 3).
    """
    for name, cloud in (("points", points), ("real", real)):
        if cloud.ndim != 2 or cloud.shape[1] != 2:
            raise ValueError(f"{name} must be points (n, 2) of the plane, got {tuple(cloud.shape)}")
    low, high = real.min(dim=0).values, real.max(dim=0).values
    centre, half = (low + high) / 2, 0.6 * (high - low).max().clamp(min=1e-6)
    twice = 2 * side  # drawn at twice the size, so that dots are round
    picture = Image.new("RGB", (twice, twice), (255,) * 3)
    draw = ImageDraw.Draw(picture)
    for cloud, colour in ((real, (190, 190, 190)), (points, (31, 90, 180))):
        places = (cloud - centre) / (2 * half) * torch.tensor([1.0, -1.0]) + 0.5  # y points up
        for x, y in places.mul(twice).nan_to_num(-1e3).clamp(-1e3, 1e4).tolist():
            draw.ellipse((x - 3, y - 3, x + 3, y + 3), fill=colour)
    return _tensor(picture.resize((side, side), Image.Resampling.LANCZOS))


def save_png(image: Tensor, path: Path) -> None:
    """Writes an image, uint8 (H, W, C), as a PNG file; the write is atomic."""
    with whole(path) as file:
        Image.fromarray(image.numpy()).save(file, format="PNG")


def to_picture(image: Tensor) -> Tensor:
    """A picture (H, W, 3) of an image, uint8 (H, W, C), (C, H, W) or (H, W)."""
    if image.dtype != torch.uint8 or image.ndim not in (2, 3):
        got = f"{image.dtype} {tuple(image.shape)}"
        raise ValueError(f"a picture must be uint8 (H, W, C) or (C, H, W), got {got}")
    image = image.detach().cpu()
    image = image[..., None] if image.ndim == 2 else image
    if image.shape[-1] not in (1, 3):
        image = image.permute(1, 2, 0)
    if image.shape[-1] not in (1, 3):
        raise ValueError(f"a picture must be grey or RGB, got {tuple(image.shape)}")
    return image.expand(-1, -1, 3).contiguous()


def _tensor(picture: Image.Image) -> Tensor:
    return torch.from_numpy(np.array(picture.convert("RGB")))
