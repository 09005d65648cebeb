"""What arguments must be, in one line: what must hold, and what was got.

What a tensor on a GPU holds is known only once the GPU has come so far. A step of training that
asked would leave it idle, so there the answers are looked at some steps later, all at once.
"""

import errno
import re
import traceback
from collections.abc import Callable, Iterable, Mapping
from numbers import Integral
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # what checks a plain argument needs no torch
    from torch import Tensor

# A write that ends in one of these does not say to which file: only opening one does.
NO_ROOM = (errno.ENOSPC, errno.EFBIG, errno.EDQUOT, errno.EIO)
MOST = 1000  # answers that are put off before they are looked at


class PutOff:
    """What one training has asked of tensors on a GPU, and not looked at yet."""

    def __init__(self) -> None:
        self._asked: list[tuple[Tensor, Callable[[], Exception]]] = []

    def __reduce__(self) -> tuple:
        return PutOff, ()  # a copy of the model has asked nothing

    def ask(self, holds: "Tensor", error: Callable[[], Exception]) -> None:
        self._asked.append((holds, error))
        if len(self._asked) >= MOST:
            self.look()

    def look(self) -> None:
        """Raises the error of the first condition that did not hold, if there is one."""
        asked, self._asked = self._asked, []
        for holds, error in asked:
            if not holds:
                raise error()

    def forget(self) -> None:
        """As a training does that begins: the one before may have ended in an error."""
        self._asked = []


_in_step: Callable[[], bool] = bool  # whether a step of training is being made; bool(): False
_of_training = PutOff()  # of the one that makes it


def refuse_unless(holds: "Tensor", error: Callable[[], Exception]) -> None:
    """Raises the error unless a condition, a tensor of one entry, holds.

    On a GPU, within a step, some steps later: see `put_off`.
    """
    if holds.device.type == "cpu" or not _in_step():
        if not holds:
            raise error()
        return
    _of_training.ask(holds, error)


def put_off(while_in_step: Callable[[], bool], of_training: PutOff | None = None) -> None:
    """What is asked of tensors on a GPU is put off until this training looks, while this holds."""
    global _in_step, _of_training
    _in_step, _of_training = while_in_step, of_training or PutOff()


def in_words(error: Exception) -> str:
    """What an error says, in one line; of a disk that is full also which file has no room."""
    if isinstance(error, OSError) and error.errno in NO_ROOM and error.filename is None:
        if name := _written(error):
            error = OSError(error.errno, error.strerror, name)
    return " ".join(str(error).split())


def _written(error: OSError) -> str | None:
    """The file that was open, for writing, nearest to where an error was raised."""
    for frame, _ in reversed(list(traceback.walk_tb(error.__traceback__))):
        for value in frame.f_locals.values():
            name = getattr(value, "name", None) if hasattr(value, "fileno") else None
            if isinstance(name, str) and not str(getattr(value, "mode", "w")).startswith("r"):
                return name
    return None


def on_this_machine(**paths: object) -> None:
    """Refuses addresses where files of this machine are read or written.

    A `Path` of one has lost a slash, and would be a folder "https:".

    Raises:
        ValueError: names the first one, and its value.
    """
    for name, path in paths.items():
        if re.match(r"[A-Za-z][\w+.-]+:/", str(path)):
            raise ValueError(
                f"{name} must be a path on this machine, got {path}: fetch what lies there first"
            )


def at_least(least: float, **arguments: float) -> None:
    """Refuses arguments below a bound, NaN included.

    Raises:
        ValueError: names the first one that is less, and its value.
    """
    for name, value in arguments.items():
        if not value >= least:
            bound = f"at least {least}" if least else "0 or more"
            raise ValueError(f"{name} must be {bound}, got {value}")


# The least that an argument of a model may be, by its name or by how this ends.
LEAST = {
    "lr": 0,
    "momentum": 0,
    "weight": 0,
    "clip_norm": 0,
    "num_classes": 0,
    "latent_dim": 0,
    "layers": 0,
    "code_dim": 1,
    "features": 1,
    "kernel_dims": 1,
    "width": 1,
}


def numbers(arguments: Mapping[str, Any]) -> None:
    """Refuses numbers that no model can have by these names; those of other names pass.

    Raises:
        ValueError: names the first one, and what it must be.
    """
    for name, value in arguments.items():
        if not isinstance(value, (int, float)):
            continue
        known = [end for end in LEAST if name == end or name.endswith(f"_{end}")]
        if known:
            if value == float("inf"):
                raise ValueError(f"{name} must be finite, got {value}")
            at_least(LEAST[known[0]], **{name: value})
        elif value != value:
            raise ValueError(f"{name} must be a number, got {value}")


def decay_rates(betas: tuple[float, float]) -> tuple[float, float]:
    """Adam's two, in [0, 1), as floats: torch refuses (0, 0.9)."""
    if len(betas) != 2 or not all(0 <= beta < 1 for beta in betas):
        raise ValueError(f"betas must be two numbers in [0, 1), got {tuple(betas)}")
    return float(betas[0]), float(betas[1])


def shape_of_images(shape: tuple[int, ...]) -> tuple[int, ...]:
    """(C, H, W) of images, or (D,) of points, as a tuple.

    Raises:
        ValueError: it is neither, such as a volume or a sequence, which no evaluation can take.
    """
    sizes = tuple(shape) if isinstance(shape, Iterable) else ()
    whole = all(isinstance(size, Integral) and size >= 1 for size in sizes)
    if len(sizes) not in (1, 3) or not whole:
        raise ValueError(f"image_shape must be (C, H, W), or (D,) for points, got {shape}")
    return sizes


def labelled(model: object, num_classes: int) -> None:
    """Refuses fewer than two classes for a model that learns from labels.

    Raises:
        ValueError: says how the data is asked for its labels.
    """
    if num_classes < 2:
        raise ValueError(
            f"num_classes must be at least 2, got {num_classes}: {type(model).__name__} learns "
            "from labels (set --data.conditional true)"
        )
