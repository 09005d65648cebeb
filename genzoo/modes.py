"""Contexts that change the mode of networks and restore it afterwards."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import torch
from torch import nn

from ._torch import compiled_call, set_compiled_call


@contextmanager
def evaluating(module: nn.Module, compiled: bool = False) -> Iterator[None]:
    """Evaluation mode without gradients; each submodule's own mode is restored afterwards.

    Args:
        compiled: Whether compiled networks stay compiled, as they should within training steps.
    """
    modes = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        with torch.no_grad(), nullcontext() if compiled else eager(module):
            yield
    finally:
        for part, training in modes:
            part.training = training


@contextmanager
def eager(module: nn.Module) -> Iterator[None]:
    """Compiled networks run uncompiled within it.

    An evaluation is not worth another compilation, and the penalty on a gradient cannot be
    compiled, since it needs second derivatives.
    """
    compiled = [(part, call) for part in module.modules() if (call := compiled_call(part))]
    for part, _ in compiled:
        set_compiled_call(part, None)
    try:
        yield
    finally:
        for part, call in compiled:
            set_compiled_call(part, call)
