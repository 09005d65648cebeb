"""Functions for undocumented parts of torch, mostly of modules.

`tests/test_lightning.py` has a test for each, which says what breaks if torch changes it.
"""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

# The base class of batch and instance normalisation, and those of batch norm and convolutions
NORM = nn.modules.batchnorm._NormBase
BATCH_NORM = nn.modules.batchnorm._BatchNorm
CONVOLUTION = nn.modules.conv._ConvNd


class Stored(nn.Module):
    """A module with further values in its state dictionary, besides parameters and buffers.

    A buffer would be on the GPU, and a training step that reads it would wait for the GPU. This
    class comes first among a module's base classes.
    """

    def stored(self) -> dict[str, Tensor]:
        """The further values, by name."""
        return {}

    def restore(self, name: str, value: Tensor) -> None:
        """Sets one of these values from a checkpoint."""

    def before_loading(self, state_dict: dict[str, Tensor], prefix: str) -> None:
        """Called with a checkpoint's tensors before loading, to convert those of older versions."""

    def _save_to_state_dict(self, destination: dict, prefix: str, keep_vars: bool) -> None:
        super()._save_to_state_dict(destination, prefix, keep_vars)
        for name, value in self.stored().items():
            destination[prefix + name] = value

    def _load_from_state_dict(
        self,
        state_dict: dict[str, Tensor],
        prefix: str,
        local_metadata: Any,
        strict: bool,
        missing_keys: list[str],
        unexpected_keys: list[str],
        error_msgs: list[str],
    ) -> None:
        self.before_loading(state_dict, prefix)
        found = missing_keys, unexpected_keys, error_msgs
        super()._load_from_state_dict(state_dict, prefix, local_metadata, strict, *found)
        for name in self.stored():
            key = prefix + name
            if key in state_dict:
                self.restore(name, state_dict[key])
            elif strict:
                missing_keys.append(key)
            if key in unexpected_keys:
                unexpected_keys.remove(key)


def compiled_call(network: nn.Module) -> Callable | None:
    """The compiled function that replaces `forward` after `network.compile()`, or None."""
    return network._compiled_call_impl


def set_compiled_call(network: nn.Module, call: Callable | None) -> None:
    """Sets the compiled function; None: the network runs uncompiled."""
    network._compiled_call_impl = call


def hooks_before(network: nn.Module) -> Iterator[Callable]:
    """A network's own pre-forward hooks, without those of its submodules."""
    yield from network._forward_pre_hooks.values()


def remove_hooks_before(network: nn.Module, kind: type) -> None:
    """Removes a network's own pre-forward hooks that are instances of a class."""
    for key, hook in list(network._forward_pre_hooks.items()):
        if isinstance(hook, kind):
            del network._forward_pre_hooks[key]


def state_without(layer: nn.Module, part: str, **parameters: nn.Parameter) -> dict[str, Any]:
    """The `__dict__` of a layer without one of its submodules, whose parameters are replaced by the
    given ones.

    Two layers of one class with equal such dictionaries compute the same function.
    """
    state = dict(layer.__dict__)
    state["_modules"] = {k: m for k, m in layer._modules.items() if k != part}
    state["_parameters"] = {**parameters, **layer._parameters}
    return state


def lerp_all(a: list[Tensor], b: list[Tensor], weight: float) -> None:
    """Sets a to a + weight (b - a), in place, for all pairs at once."""
    torch._foreach_lerp_(a, b, weight)


def recompile_limit(limit: int | None = None) -> int:
    """The number of graphs of one network after which torch.compile gives up; sets it, if given."""
    config = torch._dynamo.config
    if limit is not None:
        config.recompile_limit = limit
    return config.recompile_limit
