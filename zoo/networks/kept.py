"""Numbers that control a training: Python numbers while it runs, saved with the weights."""

from functools import partial

import torch
from torch import Tensor, nn

from ..._torch import Stored


class Kept(Stored):
    """A module that saves some Python numbers in its state dictionary, as tensors.

    Attributes:
        kept: Names of these attributes. The attributes of the class are their initial values, each
            an int or a float.
    """

    kept: tuple[str, ...] = ()

    def stored(self) -> dict[str, Tensor]:
        own = {name: torch.tensor(self._kind(name)(getattr(self, name))) for name in self.kept}
        return super().stored() | own

    def restore(self, name: str, value: Tensor) -> None:
        if name in self.kept:
            setattr(self, name, self._kind(name)(value))
        else:
            super().restore(name, value)

    def _kind(self, name: str) -> type:
        return type(getattr(type(self), name))


def renamed(module: nn.Module, **names: str) -> None:
    """Lets a module load files in which its parts had other names.

    Args:
        module: The module.
        names: The name of today of each earlier name.
    """
    module.register_load_state_dict_pre_hook(partial(_rename, names))


def _rename(
    names: dict[str, str], module: nn.Module, state_dict: dict[str, Tensor], prefix: str, *_
) -> None:
    for earlier, name in names.items():
        for key in [key for key in state_dict if key.startswith(f"{prefix}{earlier}.")]:
            rest = key.removeprefix(f"{prefix}{earlier}")
            state_dict[f"{prefix}{name}{rest}"] = state_dict.pop(key)
