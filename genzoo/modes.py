"""Modes of networks, which come back as they were."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import torch
from torch import nn

from ._torch import compiled_call, set_compiled_call


@contextmanager
def evaluating(module: nn.Module, compiled: bool = False) -> Iterator[None]:
    """Evaluation mode without gradients; each part's own mode comes back afterwards.

    Args:
        compiled: Whether networks that torch.compile replaced stay so, as a part of each step of
            a training should.
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
    """Networks that torch.compile replaced run as they were written.

    Looking at a model is not worth another compilation, and a penalty on a gradient cannot be
    compiled: it descends a second derivative.
    """
    compiled = [(part, call) for part in module.modules() if (call := compiled_call(part))]
    for part, _ in compiled:
        set_compiled_call(part, None)
    try:
        yield
    finally:
        for part, call in compiled:
            set_compiled_call(part, call)
