"""A model's convolutions with the channels of a pixel beside each other in memory."""

import lightning as L
import torch
from torch import nn


class ChannelsLast(L.Callback):
    """Convolutions with channels last in memory: `Trainer(callbacks=ChannelsLast())`.

    On the command line `--trainer.callbacks+=genzoo.callbacks.ChannelsLast`. Weights, their names
    in a checkpoint and all results stay the same, up to rounding; after the training the memory
    layout is restored. Models without 2-D convolutions are left unchanged.

    A step of DCGAN at 32x32 takes a CPU core 0.85 to 0.88 times as long
    (tests/benchmarks/test_step_speed.py); on a GPU it was not measured yet.
    """

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        if stage == "fit":
            arrange(pl_module, torch.channels_last)

    def teardown(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        if stage == "fit":
            arrange(pl_module, torch.contiguous_format)


def arrange(module: nn.Module, order: torch.memory_format) -> None:
    """Sets the memory format of the weights of 2-D convolutions, and so of their outputs."""
    for part in module.modules():
        if isinstance(part, nn.Conv2d | nn.ConvTranspose2d):
            part.to(memory_format=order)
