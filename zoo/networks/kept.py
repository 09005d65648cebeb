"""Numbers that steer a training: in Python while it runs, in the file beside the weights."""

from typing import Any

import torch
from torch import Tensor, nn


class Kept(nn.Module):
    """A module of which some Python numbers stand in the state dictionary, as tensors.

    A buffer would be there as well, but on the GPU, and a step that depends on it would wait for
    all that the GPU has to do. Stands before a module's other classes.

    Attributes:
        kept: Names of attributes; those of the class say what each begins with, an int or a float.
    """

    kept: tuple[str, ...] = ()

    def _save_to_state_dict(self, destination: dict, prefix: str, keep_vars: bool) -> None:
        super()._save_to_state_dict(destination, prefix, keep_vars)
        for name in self.kept:
            kind = type(getattr(type(self), name))
            destination[prefix + name] = torch.tensor(kind(getattr(self, name)))

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
        found = missing_keys, unexpected_keys, error_msgs
        super()._load_from_state_dict(state_dict, prefix, local_metadata, strict, *found)
        for name in self.kept:
            key = prefix + name
            if key in state_dict:
                setattr(self, name, type(getattr(type(self), name))(state_dict[key]))
            elif strict:
                missing_keys.append(key)
            if key in unexpected_keys:
                unexpected_keys.remove(key)
