"""What of torch is used that it does not document, by plain names: what networks keep within.

`tests/test_lightning.py` says of each what breaks when a version of torch changes it.
"""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

# What batch and instance normalisation have in common, batch normalisation, and convolutions
NORM = nn.modules.batchnorm._NormBase
BATCH_NORM = nn.modules.batchnorm._BatchNorm
CONVOLUTION = nn.modules.conv._ConvNd


class Stored(nn.Module):
    """A module with more in its state dictionary than parameters and buffers.

    A buffer would be there as well, but on the GPU, and a step that depends on it would wait for
    all that the GPU has to do. Stands before a module's other classes.
    """

    def stored(self) -> dict[str, Tensor]:
        """What is to be stored, by name."""
        return {}

    def restore(self, name: str, value: Tensor) -> None:
        """Takes one of them from a file."""

    def before_loading(self, state_dict: dict[str, Tensor], prefix: str) -> None:
        """Called with a file's tensors before any is taken, so that older files can be met."""

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
    """What `network.compile()` has put before its `forward`, if anything."""
    return network._compiled_call_impl


def set_compiled_call(network: nn.Module, call: Callable | None) -> None:
    """None: the network runs as it was written."""
    network._compiled_call_impl = call


def hooks_before(network: nn.Module) -> Iterator[Callable]:
    """Those that see a network's inputs first, not those of its parts."""
    yield from network._forward_pre_hooks.values()


def remove_hooks_before(network: nn.Module, kind: type) -> None:
    """Those of a class."""
    for key, hook in list(network._forward_pre_hooks.items()):
        if isinstance(hook, kind):
            del network._forward_pre_hooks[key]


def state_without(layer: nn.Module, part: str, **parameters: nn.Parameter) -> dict[str, Any]:
    """All that a layer holds but one of its parts, and parameters in place of those of that part.

    Two layers of one class with this in their `__dict__` are equal.
    """
    state = dict(layer.__dict__)
    state["_modules"] = {k: m for k, m in layer._modules.items() if k != part}
    state["_parameters"] = {**parameters, **layer._parameters}
    return state


def lerp_all(a: list[Tensor], b: list[Tensor], weight: float) -> None:
    """a + weight (b - a) in place of a, of all pairs at once."""
    torch._foreach_lerp_(a, b, weight)


def recompile_limit(limit: int | None = None) -> int:
    """How many graphs torch.compile makes of one network before it gives up; sets it, if given."""
    config = torch._dynamo.config
    if limit is not None:
        config.recompile_limit = limit
    return config.recompile_limit
