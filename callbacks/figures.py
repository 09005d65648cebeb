"""Pictures: grids that a person can look at, and one way to give them to every logger.

A picture is uint8 (H, W, C) throughout. Loggers differ in what they make of floats, down to
images that come out black; bytes all of them show alike.
"""

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

import lightning as L
import numpy as np
import torch
from lightning.pytorch.loggers import TensorBoardLogger, WandbLogger
from lightning.pytorch.utilities import rank_zero_warn
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

VISIBLE = 64  # pixels a side that an image is enlarged to, at least
PAPER, INK = 245, 60  # grey levels of the page and of writing on it
GAP = 140  # between images: neither black nor white ones run into their neighbours


def grid(
    images: Tensor,
    columns: int = 8,
    padding: int | None = None,
    captions: Sequence[str] = (),
    rows: Sequence[str] = (),
) -> Tensor:
    """Images side by side, small ones enlarged in whole steps so that pixels stay pixels.

    Args:
        images: uint8 (N, C, H, W), grey or RGB.
        columns: Images in a row.
        padding: Pixels between images, after enlarging; None: as wide as a pixel of theirs.
        captions: A line under each image, cut to its width.
        rows: A line to the left of each row.

    Returns:
        uint8 (height, width, 3).
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
    for name, given in (("points", points), ("real", real)):
        if given.ndim != 2 or given.shape[1] != 2:
            raise ValueError(f"{name} must be points (n, 2) of the plane, got {tuple(given.shape)}")
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


def log_figure(trainer: L.Trainer, key: str, image: Tensor) -> Path:
    """Gives a picture to the folder of the run and to every logger that shows pictures.

    Must be called on all ranks; rank 0 writes. A folder or logger that fails is one warning.
    Nothing is written in Lightning's `fast_dev_run`.

    Args:
        key: Its name, as "test/samples".
        image: uint8 (H, W, C) or (C, H, W).

    Returns:
        The PNG, `<log_dir>/figures/<key>-step=<n>.png` with "-" for "/" in the key.
    """
    step = trainer.global_step
    directory = trainer.log_dir or trainer.default_root_dir
    path = figure_path(Path(directory), key, step)
    if not trainer.is_global_zero or trainer.fast_dev_run:
        return path
    pixels = to_picture(image)
    try:
        save_png(pixels, path)
    except OSError as error:
        rank_zero_warn(f"the picture {key} could not be written to {path}: {error}")
    for logger in trainer.loggers:
        try:
            if isinstance(logger, WandbLogger):
                logger.log_image(key, [pixels.numpy()], step=step)
            elif isinstance(logger, TensorBoardLogger):
                logger.experiment.add_image(key, pixels.numpy(), step, dataformats="HWC")
        except Exception as error:  # whatever a logger does, training goes on
            rank_zero_warn(f"{type(logger).__name__} did not take the picture {key}: {error}")
    return path


def figure_path(directory: Path, key: str, step: int) -> Path:
    """Where `log_figure` puts a picture."""
    return directory / "figures" / f"{key.replace('/', '-')}-step={step}.png"


def save_png(image: Tensor, path: Path) -> None:
    """Writes uint8 (H, W, C) in one move."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = tempfile.NamedTemporaryFile(dir=path.parent, suffix=".tmp", delete=False)
    try:
        with part as file:
            Image.fromarray(image.numpy()).save(file, format="PNG")
        os.chmod(part.name, 0o644)  # temporary files are private
        os.replace(part.name, path)
    finally:
        Path(part.name).unlink(missing_ok=True)


def to_picture(image: Tensor) -> Tensor:
    """uint8 (H, W, C), (C, H, W) or (H, W) to (H, W, 3)."""
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
