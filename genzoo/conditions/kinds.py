"""The kinds of conditions."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from ..batches import given, size, take, to
from ..checks import at_least, refuse_unless

BANK = 512  # training conditions that a checkpoint carries, at most


class Condition(ABC):
    """Base class of the kinds of conditions.

    Attributes:
        num_classes: K of classes; 0 of other kinds.
        entries: Entries of the vector by which a network can append it to its input; 0: it has no
            such form.
        from_data: Whether conditions must come from data, as captions; others can be drawn.
    """

    num_classes: int = 0
    entries: int = 0
    from_data: ClassVar[bool] = True

    @abstractmethod
    def check(self, y: Any, n: int, withheld: bool = False) -> None:
        """Checks that y is a condition of n images.

        Args:
            withheld: Whether the condition of some images may be withheld, as by `drop`.

        Raises:
            ValueError: y is not such a condition; the error tells what it must be.
        """

    def draw(self, n: int, device: Any = None, bank: Any = None) -> Any:
        """Random conditions of n images; rows of the bank if conditions must come from data.

        Args:
            bank: Conditions of training images.
        """
        if bank is None or not size(bank):
            raise ValueError(
                f"y must be given, {self.form(n)}: no conditions of training images are kept"
            )
        return to(take(bank, torch.randint(size(bank), (n,))), device)

    def drop(self, y: Any, share: float) -> Any:
        """y, withheld from a random share of the images (classifier-free guidance): the class is
        then -1, a text has no words, numbers and images are 0."""
        first = next(iter(y.values())) if isinstance(y, Mapping) else y
        return self.withhold(y, torch.rand(len(first), device=first.device) < share)

    @abstractmethod
    def withhold(self, y: Any, where: Tensor) -> Any:
        """y, withheld from the images where a tensor (n,) is true."""

    def arguments(self, y: Any) -> tuple[Any, ...]:
        """y as the `*condition` of networks and losses."""
        return given(y)

    def read(self, y: Any, dtype: torch.dtype) -> Any:
        """y of a loader's batch in the dtype of models: floats in theirs, integers int64."""
        return y.to(dtype) if y.is_floating_point() else y.long()

    def encode(self, text: str) -> Any:
        """A text as y of one or several images.

        Raises:
            ValueError: the text cannot be read; the error tells what can.
        """
        raise ValueError(f"y must be a file .npz for {self}, got {text!r}")

    def words(self, y: Any) -> list[str]:
        """Each condition as a short text; "" if it has none."""
        return [""] * size(y)

    def pictures(self, y: Any) -> Tensor | None:
        """Each condition as an image (n, C, H, W) in [-1, 1]; None if it is not an image."""
        return None

    @abstractmethod
    def form(self, n: int) -> str:
        """A description of y of n images."""

    def to_plain(self) -> dict[str, Any]:
        """The condition as numbers, text, lists and dictionaries, which `from_plain` reads."""
        return {"kind": type(self).__name__}


@dataclass(frozen=True)
class Nothing(Condition):
    """The condition of an unconditional model."""

    from_data = False

    def check(self, y: Any, n: int, withheld: bool = False) -> None:
        if y is not None:
            raise ValueError("y must be None: this model is unconditional")

    def draw(self, n: int, device: Any = None, bank: Any = None) -> None:
        return None

    def withhold(self, y: Any, where: Tensor) -> Any:
        return y

    def drop(self, y: Any, share: float) -> Any:
        return y

    def arguments(self, y: Any) -> tuple[Any, ...]:
        return ()

    def read(self, y: Any, dtype: torch.dtype) -> Any:
        return y

    def encode(self, text: str) -> None:
        raise ValueError(f"y must be left out: the model is unconditional, got {text!r}")

    def words(self, y: Any) -> list[str]:
        return []

    def form(self, n: int) -> str:
        return "None"


class _OneTensor(Condition):
    """A kind whose y is one tensor."""

    null: ClassVar[int] = 0  # value of a withheld condition

    def withhold(self, y: Tensor, where: Tensor) -> Tensor:
        return torch.where(where.view(-1, *[1] * (y.ndim - 1)), self.null, y)


@dataclass(frozen=True)
class Classes(_OneTensor):
    """One of K classes: y int64 (n,).

    >>> classes = Classes(3, ("cat", "dog", "bird"))
    >>> classes.encode("bird, 0"), classes.words(torch.tensor([2, 0]))
    (tensor([2, 0]), ['bird', 'cat'])

    Args:
        num_classes: K, the number of classes.
        names: Names of the classes 0, 1, ..., all of them or none.
    """

    num_classes: int
    names: tuple[str, ...] = ()

    from_data = False
    null = -1

    def __post_init__(self) -> None:
        at_least(1, num_classes=self.num_classes)
        object.__setattr__(self, "names", tuple(self.names))
        if self.names and len(self.names) != self.num_classes:
            raise ValueError(
                f"names must be one for each of {self.num_classes} classes, got {len(self.names)}"
            )

    @property
    def entries(self) -> int:
        return self.num_classes

    def check(self, y: Any, n: int, withheld: bool = False) -> None:
        if not isinstance(y, Tensor):
            raise ValueError(f"y must be {self.form(n)}, got a {type(y).__name__}")
        if y.shape != (n,) or y.is_floating_point():
            raise ValueError(f"y must be {self.form(n)}, got {tuple(y.shape)} {y.dtype}")
        _within(y, -1 if withheld else 0, self.num_classes - 1)

    def draw(self, n: int, device: Any = None, bank: Any = None) -> Tensor:
        return torch.randint(self.num_classes, (n,), device=device)

    def encode(self, text: str) -> Tensor:
        """ "3", "cat" or "0,1,2"; a name comes before a number."""
        known = {name: label for label, name in enumerate(self.names)}
        asked = [text] if text in known else [word.strip() for word in text.split(",")]
        for word in asked:
            if word not in known and not word.isdecimal():
                kinds = "numbers or names of classes as 3, cat" if known else "numbers as 3"
                raise ValueError(f"y must be {kinds} or 0,1,2, got {text}")
        return torch.tensor([known[word] if word in known else int(word) for word in asked])

    def words(self, y: Tensor) -> list[str]:
        return [self.names[label] if self.names else str(label) for label in y.tolist()]

    def form(self, n: int) -> str:
        return f"({n},) integers"

    def to_plain(self) -> dict[str, Any]:
        return {**super().to_plain(), "num_classes": self.num_classes, "names": list(self.names)}


@dataclass(frozen=True)
class Vector(_OneTensor):
    """Numbers: y float (n, D).

    Args:
        entries: D, the count of numbers.
        names: Names of the numbers, all of them or none.
    """

    entries: int
    names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        at_least(1, entries=self.entries)
        object.__setattr__(self, "names", tuple(self.names))
        if self.names and len(self.names) != self.entries:
            raise ValueError(
                f"names must be one for each of {self.entries} numbers, got {len(self.names)}"
            )

    def check(self, y: Any, n: int, withheld: bool = False) -> None:
        _of_shape(y, (n, self.entries), self.form(n))
        refuse_unless(
            y.isfinite().all(), lambda: ValueError("y must be finite numbers, got NaN or infinity")
        )

    def encode(self, text: str) -> Tensor:
        """ "0.5,-1": D numbers."""
        words = text.split(",")
        try:
            y = torch.tensor([[float(word) for word in words]])
        except ValueError:
            y = torch.empty(0, 0)
        if y.shape[1] != self.entries or not y.isfinite().all():
            names = f" ({', '.join(self.names)})" if self.names else ""
            raise ValueError(f"y must be {self.entries} numbers{names} as 0.5,-1, got {text}")
        return y

    def words(self, y: Tensor) -> list[str]:
        names = [f"{name} " for name in self.names] or [""] * self.entries
        return [
            ", ".join(f"{name}{value:.3g}" for name, value in zip(names, row, strict=True))
            for row in y.tolist()
        ]

    def form(self, n: int) -> str:
        return f"({n}, {self.entries}) floats"

    def to_plain(self) -> dict[str, Any]:
        return {**super().to_plain(), "entries": self.entries, "names": list(self.names)}


@dataclass(frozen=True)
class ImageOf(_OneTensor):
    """An image: y float (n, C, H, W) in [-1, 1].

    Args:
        shape: (C, H, W) of the image.
    """

    shape: tuple[int, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "shape", tuple(self.shape))
        if len(self.shape) != 3 or any(side < 1 for side in self.shape):
            raise ValueError(f"shape must be (C, H, W), got {self.shape}")

    def check(self, y: Any, n: int, withheld: bool = False) -> None:
        _of_shape(y, (n, *self.shape), self.form(n))
        refuse_unless(
            (y.abs() <= 1).all(), lambda: ValueError("y must be in [-1, 1], got values outside")
        )

    def read(self, y: Tensor, dtype: torch.dtype) -> Tensor:
        """y in the dtype of models; uint8 images are scaled to [-1, 1]."""
        return y.to(dtype) / 127.5 - 1 if y.dtype == torch.uint8 else y.to(dtype)

    def pictures(self, y: Tensor) -> Tensor:
        return y

    def form(self, n: int) -> str:
        return f"({', '.join(map(str, (n, *self.shape)))}) floats in [-1, 1]"

    def to_plain(self) -> dict[str, Any]:
        return {**super().to_plain(), "shape": list(self.shape)}


@dataclass(frozen=True)
class Tokens(_OneTensor):
    """A text: y int64 (n, L). The first word of the vocabulary is 1; 0 is no word.

    >>> text = Tokens(("a", "red", "bird"), length=4)
    >>> text.encode("A red bird.")
    tensor([[1, 2, 3, 0]])
    >>> text.words(torch.tensor([[2, 3, 0, 0]]))
    ['red bird']

    Args:
        vocabulary: The words, in lower case.
        length: L, the maximum number of words.
    """

    vocabulary: tuple[str, ...]
    length: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "vocabulary", tuple(self.vocabulary))
        at_least(1, length=self.length)
        words = self.vocabulary
        if not words or len({*words}) != len(words) or any(plain(w) != [w] for w in words):
            raise ValueError(
                "vocabulary must be words in lower case, each once and without spaces or "
                f"punctuation around them, got {_few(words)}"
            )

    @property
    def entries(self) -> int:
        return len(self.vocabulary) + 1

    def check(self, y: Any, n: int, withheld: bool = False) -> None:
        if not isinstance(y, Tensor):
            raise ValueError(f"y must be {self.form(n)}, got a {type(y).__name__}")
        if y.shape != (n, self.length) or y.is_floating_point():
            raise ValueError(f"y must be {self.form(n)}, got {tuple(y.shape)} {y.dtype}")
        _within(y, 0, len(self.vocabulary))

    def encode(self, text: str) -> Tensor:
        """(1, L), of words of the vocabulary."""
        words, places = plain(text), {word: i + 1 for i, word in enumerate(self.vocabulary)}
        for word in words:
            if word not in places:
                raise ValueError(
                    f"y must be words that the data has, {_few(self.vocabulary)}, got {word!r}"
                )
        if not 1 <= len(words) <= self.length:
            raise ValueError(f"y must be 1 to {self.length} words, got {len(words)}")
        numbers = [places[word] for word in words]
        return torch.tensor([numbers + [0] * (self.length - len(numbers))])

    def words(self, y: Tensor) -> list[str]:
        return [" ".join(self.vocabulary[i - 1] for i in row if i > 0) for row in y.tolist()]

    def form(self, n: int) -> str:
        return f"({n}, {self.length}) integers"

    def to_plain(self) -> dict[str, Any]:
        words = list(self.vocabulary)
        return {**super().to_plain(), "vocabulary": words, "length": self.length}


@dataclass(frozen=True, init=False)
class Together(Condition):
    """Several conditions by name: y is a dictionary of their y.

    >>> both = Together(digit=Classes(10), box=Vector(2))
    >>> both.encode("digit=3; box=0,1")
    {'digit': tensor([3]), 'box': tensor([[0., 1.]])}

    Args:
        parts: The conditions, by name.
    """

    parts: tuple[tuple[str, Condition], ...]

    def __init__(self, **parts: Condition):
        if not parts or not all(isinstance(part, Condition) for part in parts.values()):
            raise ValueError(f"parts must be conditions, one at least, got {parts}")
        bare = [n for n, part in parts.items() if isinstance(part, Nothing | Together)]
        if bare:
            raise ValueError(f"parts must not be Nothing or Together, got {parts[bare[0]]}")
        object.__setattr__(self, "parts", tuple(parts.items()))

    def __getitem__(self, name: str) -> Condition:
        return dict(self.parts)[name]

    def check(self, y: Any, n: int, withheld: bool = False) -> None:
        names = [name for name, _ in self.parts]
        if not isinstance(y, Mapping) or {*y} != {*names}:
            got = f"one of {', '.join(map(str, y))}" if isinstance(y, Mapping) else f"a {type(y)}"
            raise ValueError(f"y must be a dictionary of {', '.join(names)}, got {got}")
        for name, part in self.parts:
            try:
                part.check(y[name], n, withheld)
            except ValueError as error:
                raise ValueError(f"{name} of {error}") from None

    def draw(self, n: int, device: Any = None, bank: Any = None) -> dict[str, Any]:
        if not any(part.from_data for _, part in self.parts):
            return {name: part.draw(n, device) for name, part in self.parts}
        # Whole rows: parts drawn separately would give pairs that the data do not have.
        return super().draw(n, device, bank)

    def withhold(self, y: Mapping[str, Any], where: Tensor) -> dict[str, Any]:
        """y, all of whose parts are withheld together."""
        return {name: part.withhold(y[name], where) for name, part in self.parts}

    def read(self, y: Mapping[str, Any], dtype: torch.dtype) -> dict[str, Any]:
        return {name: part.read(y[name], dtype) for name, part in self.parts}

    def encode(self, text: str) -> dict[str, Any]:
        """ "caption=a red bird; box=0,0,1,1"."""
        given = dict(part.partition("=")[::2] for part in text.split(";"))
        given = {name.strip(): value.strip() for name, value in given.items()}
        names = [name for name, _ in self.parts]
        if {*given} != {*names}:
            form = "; ".join(f"{name}=..." for name in names)
            raise ValueError(f"y must be {form}, or a file .npz, got {text}")
        return {name: part.encode(given[name]) for name, part in self.parts}

    def words(self, y: Mapping[str, Any]) -> list[str]:
        each = [part.words(y[name]) for name, part in self.parts]
        return ["; ".join(filter(None, row)) for row in zip(*each, strict=True)]

    def pictures(self, y: Mapping[str, Any]) -> Tensor | None:
        """The first part that is an image."""
        each = (part.pictures(y[name]) for name, part in self.parts)
        return next((x for x in each if x is not None), None)

    def form(self, n: int) -> str:
        return "a dictionary of " + ", ".join(f"{name} {part.form(n)}" for name, part in self.parts)

    def to_plain(self) -> dict[str, Any]:
        return {**super().to_plain(), "parts": {name: part.to_plain() for name, part in self.parts}}


def plain(text: str) -> list[str]:
    """Words of a text in lower case, without punctuation around them."""
    return [word for word in (w.strip(".,;:!?\"'()") for w in text.lower().split()) if word]


def _few(words: Sequence[str]) -> str:
    return ", ".join(words[:5]) + (", ..." if len(words) > 5 else "")


def _of_shape(y: Any, shape: tuple[int, ...], form: str) -> None:
    if not isinstance(y, Tensor):
        raise ValueError(f"y must be {form}, got a {type(y).__name__}")
    if y.shape != shape or not y.is_floating_point():
        raise ValueError(f"y must be {form}, got {tuple(y.shape)} {y.dtype}")


def _within(y: Tensor, least: int, most: int) -> None:
    if not y.numel():
        return
    low, high = y.min(), y.max()
    refuse_unless(
        (low >= least) & (high <= most),
        lambda: ValueError(f"y must be in {least}..{most}, got {low.item()}..{high.item()}"),
    )
