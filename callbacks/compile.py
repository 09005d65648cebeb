"""A model's networks through torch.compile while it trains."""

from collections.abc import Callable, Iterator
from typing import Any, Literal

import lightning as L
import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map_only

from .._torch import compiled_call, set_compiled_call

GRAPHS = 64  # of one network: one that grows needs two for each time that its side doubles


class Compile(L.Callback):
    """Faster steps for a minute's wait: `Trainer(callbacks=Compile())`.

    On the command line `--trainer.callbacks+=genzoo.callbacks.Compile`. The first batch, or the
    first few until each player had a turn, shows which networks, or which parts of them, the model
    calls: a discriminator whose features are asked for is compiled up to these. From then on they
    are compiled where they stand: weights, their names in a checkpoint and the numbers stay what
    they are, to rounding. Penalties on gradients (WGANGP, r1) run uncompiled, for want of second
    derivatives. After the training the networks are as they were.

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
        self._watch: Watch | None = None
        self._watched = 0  # batches that are still to be watched
        self._limit = 0

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._watch = Watch(pl_module)
        players = getattr(pl_module, "players", tuple)()  # of a game
        self._watched = max((player.every for player in players), default=1)
        self._limit = torch._dynamo.config.recompile_limit
        torch._dynamo.config.recompile_limit = max(GRAPHS, self._limit)

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
            torch._dynamo.config.recompile_limit, self._limit = self._limit, 0


class Watch:
    """Notes which parts of a model are called by the model itself, not by another part."""

    def __init__(self, model: nn.Module):
        self.model, self.seen, self.depth = model, set(), 0
        parts = [part for part in model.modules() if part is not model]
        self.hooks = [part.register_forward_pre_hook(self._enter) for part in parts]
        self.hooks += [part.register_forward_hook(self._leave, always_call=True) for part in parts]

    def _enter(self, part: nn.Module, inputs: Any) -> None:
        if not self.depth:
            self.seen.add(part)
        self.depth += 1

    def _leave(self, part: nn.Module, inputs: Any, outputs: Any) -> None:
        self.depth -= 1

    def called(self) -> list[nn.Module]:
        """These parts, as far as they have weights, and who stands in one list with them and has
        its turn later. A network of which nothing was called yet, as it is. Ends the watch."""
        for hook in self.hooks:
            hook.remove()
        for part in self.model.modules():
            if isinstance(part, nn.ModuleList) and self.seen.intersection(part):
                self.seen.update(part)
        for network in networks(self.model):
            if not self.seen.intersection(network.modules()):
                self.seen.add(network)
        return [part for part in self.model.modules() if part in self.seen and weighted(part)]


def networks(part: nn.Module) -> Iterator[nn.Module]:
    """A model's parts, and of lists of these their members, as a list is not called itself."""
    for network in part.children():
        if isinstance(network, nn.ModuleList | nn.ModuleDict):
            yield from networks(network)
        else:
            yield network


def weighted(part: nn.Module) -> bool:
    return any(True for _ in part.parameters())


def kept(call: Callable) -> Callable:
    """The same call, whose results are copies: a CUDA graph writes the next ones over its own,
    also where the first are still to be used, as samples are behind the scores of data."""

    def copied(*args, **kwargs):
        return tree_map_only(Tensor, torch.clone, call(*args, **kwargs))

    return copied
