"""The setting of an evaluation, independent of Lightning's Trainer.

A callback makes a `Run` once, and passes it to metrics, features and reports. All communication
between processes is here; with one process it does nothing.
"""

import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import torch
import torch.distributed
from torch import Tensor, nn

from .conditions import asked_of

T = TypeVar("T")
BLOCK = 100  # images that are generated or processed together; a part of the protocol


class Real(NamedTuple):
    """Real images of one split: uint8 (N, C, H, W), or points float (N, D); their labels (N,) or
    None; and conditions y of other kinds, or None."""

    images: Tensor
    labels: Tensor | None
    y: Any = None

    def given(self, model: Any) -> tuple[Any, ...]:
        """The arguments `*condition` of a model for these images; () if there are none."""
        condition = asked_of(model)
        if not condition.from_data:
            return condition.arguments(self.labels)
        dtype = getattr(model, "dtype", torch.float32)
        return () if self.y is None else (condition.read(self.y, dtype),)


@dataclass(frozen=True)
class Data:
    """A source of real images.

    Args:
        read: Function of a split, "train", "val" or "test", and of the largest number of images,
            which gives the split's images.
        name: Name of the data in a report; "" if it has none.
        class_names: Names of the labels 0, 1, ...
        protocol: Settings of the data that are needed to repeat the numbers.
        unanswerable: Reasons why these data do not suffice for an evaluation, by its title.
    """

    read: Callable[[str, int], Real]
    name: str = ""
    class_names: tuple[str, ...] = ()
    protocol: dict[str, str | int | float] = field(default_factory=dict)
    unanswerable: dict[str, str] = field(default_factory=dict)


class Unmeasurable(ValueError):
    """Samples cannot be evaluated; if one rank finds this, all ranks raise it."""


def unfollowed(iterable: Iterable[T], description: str, total: int) -> Iterable[T]:
    """The iterable, without a display of progress."""
    return iterable


@dataclass
class Run:
    """One evaluation of a model.

    Args:
        data: The real images.
        split: Split of the held-out images, "val" or "test".
        stage: "fit", "validate" or "test"; during fit, samples that cannot be evaluated give a
            warning in place of an error.
        step: Number of training steps of the model.
        trial: Whether the code is tested and not the model, as in Lightning's `fast_dev_run`.
        folder: Folder of the run, for reports and pictures.
        rank: Rank of this process.
        world: Number of processes.
        device: Device on which networks run.
        protocol: Versions and settings that are needed to repeat the numbers.
        follow: Shows the progress of a loop: from (iterable, description, total) to the items.
        kept: Values that the evaluations of one run share; a key determines its value.
    """

    data: Data
    split: str = "test"
    stage: str = "test"
    step: int = 0
    trial: bool = False
    folder: Path = field(default_factory=Path)
    rank: int = 0
    world: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    protocol: dict[str, str] = field(default_factory=dict)
    follow: Callable[[Iterable[Any], str, int], Iterable[Any]] = unfollowed
    kept: dict[tuple, Any] = field(default_factory=dict)

    @property
    def prefix(self) -> str:
        """Prefix of the names of numbers and pictures: "test/" for test images."""
        return "test/" if self.split == "test" else ""

    def warn(self, text: str) -> None:
        """Warns on rank 0 only."""
        if self.rank == 0:
            warnings.warn(text, stacklevel=2)

    def real(self, part: str, limit: int) -> Real:
        """At most `limit` images of "train", "val" or "test"; they are read once."""
        key = ("real", part, limit)
        if key not in self.kept:
            self.kept[key] = self.data.read(part, limit)
        return self.kept[key]

    def in_blocks(
        self, sizes: list[int], work: Callable[[int, slice], tuple[Tensor | None, ...]], what: str
    ) -> tuple[Tensor | None, ...]:
        """Processes images in blocks, which are divided among the ranks.

        Args:
            sizes: Number of images in each block.
            work: Function of a block's number and of its slice of all images, which gives tensors
                (images, ...); some of them may be None for all blocks.
            what: Description of the work for the display of progress, in a word or two.

        Returns:
            The tensors for all images in order, on the CPU of every rank.

        Raises:
            Unmeasurable: on all ranks, if `work` raised it on one.
        """
        starts = [sum(sizes[:i]) for i in range(len(sizes))]
        own: dict[int, tuple[Tensor | None, ...]] = {}
        problem = ""
        ours = range(self.rank, len(sizes), self.world)
        for i in self.follow(ours, what, len(ours)):
            try:
                own[i] = work(i, slice(starts[i], starts[i] + sizes[i]))
            except Unmeasurable as error:
                problem = str(error)
                break
        if problem := next(filter(None, self.from_all_ranks(problem)), ""):
            raise Unmeasurable(problem)
        kinds = [[x is not None for x in own[i]] for i in sorted(own)[:1]]
        present = next(filter(None, self.from_all_ranks(kinds and kinds[0])))
        return tuple(
            self.merge({i: parts[k] for i, parts in own.items()}, sizes) if there else None
            for k, there in enumerate(present)
        )

    def merge(self, own: dict[int, Tensor], sizes: list[int]) -> Tensor:
        """All blocks in order, on every rank; block i comes from rank i modulo `world`."""
        if self.world == 1:
            return torch.cat([own[i] for i in range(len(sizes))])
        shape, dtype = self._broadcast((own[0].shape[1:], own[0].dtype) if 0 in own else None)
        merged = torch.empty(sum(sizes), *shape, dtype=dtype)
        for i, part in enumerate(merged.split(sizes)):
            block = own[i] if i in own else part
            block = block.to(self.device, copy=True).contiguous()
            torch.distributed.broadcast(block, src=i % self.world)
            part.copy_(block)
        return merged

    @contextmanager
    def buffers_of_rank_zero(self, model: nn.Module) -> Iterator[None]:
        """The model has rank 0's buffers within it, since running statistics differ by rank."""
        buffers = list(model.buffers()) if self.world > 1 else []
        own = [buffer.clone() for buffer in buffers]
        for buffer in buffers:
            torch.distributed.broadcast(buffer, src=0)
        try:
            yield
        finally:
            for buffer, before in zip(buffers, own, strict=True):
                buffer.copy_(before)

    def from_all_ranks(self, value: T) -> list[T]:
        """The values of all ranks."""
        if self.world == 1:
            return [value]
        values: list[Any] = [None] * self.world
        torch.distributed.all_gather_object(values, value)
        return values

    def from_rank_zero(self, make: Callable[[], T]) -> T:
        """The result of `make` on rank 0; its error is raised on all ranks, so that none waits."""
        outcome: tuple[Any, Exception | None] = None, None
        if self.rank == 0:
            try:
                outcome = make(), None
            except Exception as error:
                if self.world == 1:
                    raise
                outcome = None, error
        value, error = self._broadcast(outcome)
        if error is not None:
            raise error
        return value

    def broadcast(self, tensor: Tensor | None) -> Tensor | None:
        """Rank 0's tensor, or None if it is None there."""
        if self.world == 1:
            return tensor
        like = self._broadcast(None if tensor is None else (tensor.shape, tensor.dtype))
        if like is None:
            return None
        shape, dtype = like
        tensor = torch.empty(shape, dtype=dtype) if tensor is None else tensor
        tensor = tensor.to(self.device, copy=True)
        torch.distributed.broadcast(tensor, src=0)
        return tensor.cpu()

    def _broadcast(self, value: Any) -> Any:
        """Rank 0's object of any kind, which must be small."""
        if self.world == 1:
            return value
        values = [value]
        torch.distributed.broadcast_object_list(values, src=0)
        return values[0]


def blocks(count: int) -> list[int]:
    """The numbers of images in the blocks of `count` images.

    >>> blocks(250)
    [100, 100, 50]
    """
    return [len(block) for block in torch.arange(count).split(BLOCK)]
