"""Logging of numbers and pictures to all loggers of a Trainer, and to the folder of the run."""

from pathlib import Path

import lightning as L
from lightning.pytorch.loggers import TensorBoardLogger, WandbLogger
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor

from ..report.card import Section
from ..report.figures import save_png, to_picture


def publish(
    trainer: L.Trainer, pl_module: L.LightningModule, section: Section, prefix: str = ""
) -> None:
    """Logs numbers and figures to all loggers. Must be called on all ranks, with equal numbers."""
    values = {f"{prefix}{name}": number.value for name, number in section.numbers.items()}
    log_numbers(pl_module, values)
    pl_module.log("step", float(trainer.global_step))  # the x axis of figures
    for name, figure in section.figures.items():
        log_figure(trainer, f"{prefix}{section.title}/{name}", figure)


def log_numbers(pl_module: L.LightningModule, values: dict[str, float]) -> None:
    """Logs values that are the same on all ranks."""
    for name, value in values.items():
        # The maximum of equal values is exact, their mean is rounded.
        pl_module.log(name, float(value), batch_size=1, sync_dist=True, reduce_fx="max")


def log_figure(trainer: L.Trainer, key: str, image: Tensor) -> Path:
    """Writes a picture to the folder of the run, and logs it to every logger that shows pictures.

    Must be called on all ranks; rank 0 writes. A failure of the folder or of a logger gives a
    warning. Nothing is written in Lightning's `fast_dev_run`.

    Args:
        key: Name of the picture, such as "test/samples".
        image: uint8 (H, W, C) or (C, H, W).

    Returns:
        Path of the PNG file, `<log_dir>/figures/<key>-step=<n>.png` with "-" for "/" in the key.
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
        except Exception as error:  # no failure of a logger ends a training
            rank_zero_warn(f"{type(logger).__name__} did not take the picture {key}: {error}")
    return path


def figure_path(directory: Path, key: str, step: int) -> Path:
    """The path at which `log_figure` writes a picture."""
    return directory / "figures" / f"{key.replace('/', '-')}-step={step}.png"
