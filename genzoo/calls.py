"""Which parts of a model are called by the model itself, and calls whose results are kept."""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map_only


class Watch:
    """Notes which parts of a model are called by the model itself, not by another part."""

    def __init__(self, model: nn.Module):
        self.model, self.called, self.depth = model, set(), 0
        parts = [part for part in model.modules() if part is not model]
        self.hooks = [part.register_forward_pre_hook(self._enter) for part in parts]
        self.hooks += [part.register_forward_hook(self._leave, always_call=True) for part in parts]

    def _enter(self, part: nn.Module, inputs: Any) -> None:
        if not self.depth:
            self.called.add(part)
        self.depth += 1

    def _leave(self, part: nn.Module, inputs: Any, outputs: Any) -> None:
        self.depth -= 1

    def called(self) -> list[nn.Module]:
        """These parts, as far as they have weights, and who stands in one list with them and has
        its turn later. A network of which nothing was called yet, as it is. Ends the watch."""
        for hook in self.hooks:
            hook.remove()
        for part in self.model.modules():
            if isinstance(part, nn.ModuleList) and self.called.intersection(part):
                self.called.update(part)
        for network in networks(self.model):
            if not self.called.intersection(network.modules()):
                self.called.add(network)
        return [part for part in self.model.modules() if part in self.called and weighted(part)]


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
