"""A model's networks through torch.compile while it trains."""

from collections.abc import Callable
from typing import Literal

import lightning as L
from torch import nn

from .._torch import set_compiled_call


class Compile(L.Callback):
    """Faster steps for a minute's wait: `Trainer(callbacks=Compile())`.

    On the command line `--trainer.callbacks+=genzoo.callbacks.Compile`. Each network that the model
    holds is compiled where it stands: weights, their names in a checkpoint and the numbers stay
    what they are, to rounding. Penalties on gradients (WGANGP, r1) run uncompiled, for want of
    second derivatives. After the training the networks are as they were.

    Meant for GPUs, where it was not measured yet: a step of DCGAN at 32x32 takes a CPU core 1.04 to
    1.05 times as long (tests/benchmarks/test_step_speed.py).

    Args:
        mode: "default"; "reduce-overhead" (CUDA graphs); "max-autotune" (longer still at first).
        backend: inductor, which needs a C++ compiler; any other that torch.compile takes.
    """

    def __init__(
        self,
        mode: Literal["default", "reduce-overhead", "max-autotune"] = "default",
        backend: str | Callable = "inductor",
    ) -> None:
        super().__init__()
        self.mode, self.backend = mode, backend
        self._networks: list[nn.Module] = []

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        if stage != "fit":
            return
        self._networks = [n for n in pl_module.children() if any(True for _ in n.parameters())]
        options = {"mode": self.mode} if self.backend == "inductor" else {}
        for network in self._networks:
            network.compile(backend=self.backend, **options)

    def teardown(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        for network in self._networks:
            set_compiled_call(network, None)
        self._networks = []
