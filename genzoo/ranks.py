"""Work that is shared between processes, and results that all of them have.

With one process each of these does nothing. Tensors travel as tensors, on the strategy's device.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import lightning as L
import torch
from torch import Tensor, nn

T = TypeVar("T")


def merge(trainer: L.Trainer, own: dict[int, Tensor], sizes: list[int]) -> Tensor:
    """All blocks in order on every rank, where block i lies with rank i modulo their number."""
    if trainer.world_size == 1:
        return torch.cat([own[i] for i in range(len(sizes))])
    like = (own[0].shape[1:], own[0].dtype) if 0 in own else None
    shape, dtype = trainer.strategy.broadcast(like)
    device = trainer.strategy.root_device
    merged = torch.empty(sum(sizes), *shape, dtype=dtype)
    for i, part in enumerate(merged.split(sizes)):
        block = own[i] if i in own else part
        block = block.to(device, copy=True).contiguous()
        torch.distributed.broadcast(block, src=i % trainer.world_size)
        part.copy_(block)
    return merged


@contextmanager
def buffers_of_rank_zero(trainer: L.Trainer, model: nn.Module) -> Iterator[None]:
    """Lends rank 0's buffers (running statistics differ by rank) and gives a rank's own back."""
    buffers = list(model.buffers()) if trainer.world_size > 1 else []
    own = [buffer.clone() for buffer in buffers]
    for buffer in buffers:
        torch.distributed.broadcast(buffer, src=0)
    try:
        yield
    finally:
        for buffer, before in zip(buffers, own, strict=True):
            buffer.copy_(before)


def from_all_ranks(trainer: L.Trainer, value: T) -> list[T]:
    if trainer.world_size == 1:
        return [value]
    values: list[Any] = [None] * trainer.world_size
    torch.distributed.all_gather_object(values, value)
    return values


def from_rank_zero(trainer: L.Trainer, make: Callable[[], T]) -> T:
    """What rank 0 makes; what it raises, all raise, and nobody waits for ever."""
    outcome: tuple[Any, Exception | None] = None, None
    if trainer.is_global_zero:
        try:
            outcome = make(), None
        except Exception as error:
            if trainer.world_size == 1:
                raise
            outcome = None, error
    value, error = trainer.strategy.broadcast(outcome)
    if error is not None:
        raise error
    return value


def broadcast(trainer: L.Trainer, tensor: Tensor | None) -> Tensor | None:
    """Rank 0's tensor, or None where it has none."""
    if trainer.world_size == 1:
        return tensor
    like = None if tensor is None else (tensor.shape, tensor.dtype)
    like = trainer.strategy.broadcast(like)
    if like is None:
        return None
    shape, dtype = like
    device = trainer.strategy.root_device
    tensor = torch.empty(shape, dtype=dtype) if tensor is None else tensor
    tensor = tensor.to(device, copy=True)
    torch.distributed.broadcast(tensor, src=0)
    return tensor.cpu()
