"""Training with torch.compile."""

from collections.abc import Callable
from typing import Literal

import lightning as L
import torch
from torch import nn

from .._torch import compiled_call, recompile_limit, set_compiled_call
from ..calls import Watch, kept

GRAPHS = 64  # limit for one network: a growing network needs two for each doubling of its side


class Compile(L.Callback):
    """Compiles a model's networks when training starts: `Trainer(callbacks=Compile())`.

    On the command line `--trainer.callbacks+=genzoo.callbacks.Compile`. During the first batch, or
    the first few until each player had a turn, the callback records which networks, or which
    modules of them, the model calls: if it uses a discriminator's features, only the part up to
    these is compiled. Then they are compiled in place: weights, their names in a checkpoint and all
    results stay the same, up to rounding. Penalties on gradients (WGANGP, r1) run uncompiled, since
    they need second derivatives. After the training the networks are uncompiled again.

    It is meant for GPUs, where it was not measured yet: a step of DCGAN at 32x32 takes a CPU core
    1.04 to 1.05 times as long (tests/benchmarks/test_step_speed.py).

    Args:
        mode: "default"; "reduce-overhead" (CUDA graphs); "max-autotune" (a longer compilation).
        backend: "inductor", which needs a C++ compiler, or another backend of torch.compile.
    """

    def __init__(
        self,
        mode: Literal["default", "reduce-overhead", "max-autotune"] = "default",
        backend: str | Callable = "inductor",
    ) -> None:
        super().__init__()
        self.mode, self.backend = mode, backend
        self._networks: list[nn.Module] = []
        self._watch: Watch | None = None
        self._watched = 0  # number of batches that are still recorded
        self._limit = 0

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._watch = Watch(pl_module)
        players = getattr(pl_module, "players", tuple)()  # of a game
        self._watched = max((player.every for player in players), default=1)
        self._limit = recompile_limit()
        recompile_limit(max(GRAPHS, self._limit))

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx) -> None:
        if self.mode != "default":
            torch.compiler.cudagraph_mark_step_begin()

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx) -> None:
        self._watched -= 1
        if self._watch is None or self._watched > 0:
            return
        self._networks, self._watch = self._watch.called(), None
        options = {"mode": self.mode} if self.backend == "inductor" else {}
        for network in self._networks:
            network.compile(backend=self.backend, **options)
            if self.mode != "default":
                set_compiled_call(network, kept(compiled_call(network)))

    def teardown(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        self._leave()

    def on_exception(self, trainer, pl_module, exception) -> None:  # Lightning calls no teardown
        self._leave()

    def _leave(self) -> None:
        if self._watch is not None:
            self._watch.called()
            self._watch = None
        for network in self._networks:
            set_compiled_call(network, None)
        self._networks = []
        if self._limit:
            recompile_limit(self._limit)
            self._limit = 0
