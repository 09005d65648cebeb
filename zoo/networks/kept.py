"""Numbers that steer a training: in Python while it runs, in the file beside the weights."""

import torch
from torch import Tensor

from ..._torch import Stored


class Kept(Stored):
    """A module of which some Python numbers stand in the state dictionary, as tensors.

    Attributes:
        kept: Names of attributes; those of the class say what each begins with, an int or a float.
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
