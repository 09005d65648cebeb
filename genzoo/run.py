"""Where an evaluation takes place, without the Trainer that it may take place in.

A `Run` is made once, at the door. Metrics, features and reports are given what they need of it. All
that concerns several processes is here: with one of them it does nothing.
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
BLOCK = 100  # images that are drawn or looked at together; a part of the protocol


class Real(NamedTuple):
    """Images of one split: uint8 (N, C, H, W), or points float (N, D); labels (N,) or None; y of
    other kinds that batches carry, or None."""

    images: Tensor
    labels: Tensor | None
    y: Any = None

    def given(self, model: Any) -> tuple[Any, ...]:
        """The `*condition` that a model has for these images; () where the data has none."""
        condition = asked_of(model)
        if not condition.from_data:
            return condition.arguments(self.labels)
        dtype = getattr(model, "dtype", torch.float32)
        return () if self.y is None else (condition.read(self.y, dtype),)


@dataclass(frozen=True)
class Data:
    """Real images, wherever they come from.

    Args:
        read: Gives at most so many images of a split, "train", "val" or "test".
        name: What a report calls them; "" where they have no name.
        class_names: What labels 0, 1, ... are called.
        protocol: What must be known of the data to repeat the numbers.
        unanswerable: Why these data cannot answer a question, by the evaluation's title.
    """

    read: Callable[[str, int], Real]
    name: str = ""
    class_names: tuple[str, ...] = ()
    protocol: dict[str, str | int | float] = field(default_factory=dict)
    unanswerable: dict[str, str] = field(default_factory=dict)


class Unmeasurable(ValueError):
    """What one rank found that cannot be measured, and all of them say."""


def unfollowed(iterable: Iterable[T], description: str, total: int) -> Iterable[T]:
    """Shows no progress."""
    return iterable


@dataclass
class Run:
    """One evaluation of a model.

    Args:
        data: The real images.
        split: Of the held-out images, "val" or "test".
        stage: "fit", "validate" or "test"; during fit what cannot be measured is no error.
        step: Training steps that the model has taken.
        trial: Whether the code is tried and not the model, as in Lightning's `fast_dev_run`.
        folder: Of the run, where reports and pictures go.
        rank: Of this process.
        world: Number of processes.
        device: Where networks run.
        protocol: What must be known of it to repeat the numbers, as versions.
        follow: Shows how far a loop is: (iterable, description, total) to the same items.
        kept: What the evaluations of one run share, by a key that says all of it.
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
        """Before the names of numbers and pictures of test images."""
        return "test/" if self.split == "test" else ""

    def warn(self, text: str) -> None:
        """Says it once, whatever the number of ranks."""
        if self.rank == 0:
            warnings.warn(text, stacklevel=2)

    def real(self, part: str, limit: int) -> Real:
        """Images of "train", "val" or "test", at most so many; read once."""
        key = ("real", part, limit)
        if key not in self.kept:
            self.kept[key] = self.data.read(part, limit)
        return self.kept[key]

    def in_blocks(
        self, sizes: list[int], work: Callable[[int, slice], tuple[Tensor | None, ...]], what: str
    ) -> tuple[Tensor | None, ...]:
        """Does a piece of work for each block of images, shared among the ranks.

        Args:
            sizes: Images in each block.
            work: Gives, for the number of a block and its place among all images, tensors
                (images, ...), or None for those that there are none of.
            what: Is done, in a word or two.

        Returns:
            Each of the tensors for all images in order, on the CPU of every rank.

        Raises:
            Unmeasurable: on all ranks, what `work` raised on one.
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
        """All blocks in order on every rank, where block i lies with rank i modulo their number."""
        if self.world == 1:
            return torch.cat([own[i] for i in range(len(sizes))])
        shape, dtype = self._said_by_zero((own[0].shape[1:], own[0].dtype) if 0 in own else None)
        merged = torch.empty(sum(sizes), *shape, dtype=dtype)
        for i, part in enumerate(merged.split(sizes)):
            block = own[i] if i in own else part
            block = block.to(self.device, copy=True).contiguous()
            torch.distributed.broadcast(block, src=i % self.world)
            part.copy_(block)
        return merged

    @contextmanager
    def buffers_of_rank_zero(self, model: nn.Module) -> Iterator[None]:
        """Lends rank 0's buffers (running statistics differ by rank), then gives back one's own."""
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
        if self.world == 1:
            return [value]
        values: list[Any] = [None] * self.world
        torch.distributed.all_gather_object(values, value)
        return values

    def from_rank_zero(self, make: Callable[[], T]) -> T:
        """What rank 0 makes; what it raises, all raise, so that none waits for another."""
        outcome: tuple[Any, Exception | None] = None, None
        if self.rank == 0:
            try:
                outcome = make(), None
            except Exception as error:
                if self.world == 1:
                    raise
                outcome = None, error
        value, error = self._said_by_zero(outcome)
        if error is not None:
            raise error
        return value

    def broadcast(self, tensor: Tensor | None) -> Tensor | None:
        """Rank 0's tensor, or None where it has none."""
        if self.world == 1:
            return tensor
        like = self._said_by_zero(None if tensor is None else (tensor.shape, tensor.dtype))
        if like is None:
            return None
        shape, dtype = like
        tensor = torch.empty(shape, dtype=dtype) if tensor is None else tensor
        tensor = tensor.to(self.device, copy=True)
        torch.distributed.broadcast(tensor, src=0)
        return tensor.cpu()

    def _said_by_zero(self, value: Any) -> Any:
        """Any object of rank 0, which must be small."""
        if self.world == 1:
            return value
        values = [value]
        torch.distributed.broadcast_object_list(values, src=0)
        return values[0]


def blocks(count: int) -> list[int]:
    """How many images each block has, of so many."""
    return [len(block) for block in torch.arange(count).split(BLOCK)]
