"""The modules that a model calls directly, and calls whose results are copied."""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map_only


class Watch:
    """Records which modules of a model are called by the model itself, not by another module."""

    def __init__(self, model: nn.Module):
        self.model, self.direct, self.depth = model, set(), 0
        parts = [part for part in model.modules() if part is not model]
        self.hooks = [part.register_forward_pre_hook(self._enter) for part in parts]
        self.hooks += [part.register_forward_hook(self._leave, always_call=True) for part in parts]

    def _enter(self, part: nn.Module, inputs: Any) -> None:
        if not self.depth:
            self.direct.add(part)
        self.depth += 1

    def _leave(self, part: nn.Module, inputs: Any, outputs: Any) -> None:
        self.depth -= 1

    def called(self) -> list[nn.Module]:
        """These modules, if they have weights, with all members of their ModuleLists, which may be
        called later. Networks without any call are included whole. Removes the hooks."""
        for hook in self.hooks:
            hook.remove()
        for part in self.model.modules():
            if isinstance(part, nn.ModuleList) and self.direct.intersection(part):
                self.direct.update(part)
        for network in networks(self.model):
            if not self.direct.intersection(network.modules()):
                self.direct.add(network)
        return [part for part in self.model.modules() if part in self.direct and weighted(part)]


def networks(part: nn.Module) -> Iterator[nn.Module]:
    """The submodules of a model, with a list replaced by its members, as lists are not called."""
    for network in part.children():
        if isinstance(network, nn.ModuleList | nn.ModuleDict):
            yield from networks(network)
        else:
            yield network


def weighted(part: nn.Module) -> bool:
    """Whether a module has parameters."""
    return any(True for _ in part.parameters())


def kept(call: Callable) -> Callable:
    """The call with copies of its results: the next call of a CUDA graph overwrites them, while
    they may still be needed, as samples are after the discriminator's call on data."""

    def copied(*args, **kwargs):
        return tree_map_only(Tensor, torch.clone, call(*args, **kwargs))

    return copied
