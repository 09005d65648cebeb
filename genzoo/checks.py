"""Checks of arguments, with errors of one line: the constraint, and the value.

Reading a tensor on a GPU waits until the GPU has computed it. Such a wait in each training step
would leave the GPU idle, so there the results of checks are read some steps later, all at once.
"""

import errno
import re
import traceback
from collections.abc import Callable, Iterable, Mapping
from numbers import Integral
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # checks of plain arguments do not need torch
    from torch import Tensor

# Errors of writing to an open file, which do not name the file.
NO_ROOM = (errno.ENOSPC, errno.EFBIG, errno.EDQUOT, errno.EIO)
MOST = 1000  # number of deferred checks after which they are read


class PutOff:
    """The deferred checks of one training: tensors on a GPU whose values were not read yet."""

    def __init__(self) -> None:
        self._checks: list[tuple[Tensor, Callable[[], Exception]]] = []

    def __reduce__(self) -> tuple:
        return PutOff, ()  # a copy of the model has no checks

    def add(self, holds: "Tensor", error: Callable[[], Exception]) -> None:
        """Defers a check: `holds` has one entry, and `error` makes the exception."""
        self._checks.append((holds, error))
        if len(self._checks) >= MOST:
            self.look()

    def look(self) -> None:
        """Reads all checks, and raises the error of the first one that failed."""
        checks, self._checks = self._checks, []
        for holds, error in checks:
            if not holds:
                raise error()

    def forget(self) -> None:
        """Drops all checks, at the start of a training: the last one may have ended in an error."""
        self._checks = []


_in_step: Callable[[], bool] = bool  # whether a training step is running; bool() is False
_of_training = PutOff()  # the checks of this training


def refuse_unless(holds: "Tensor", error: Callable[[], Exception]) -> None:
    """Raises the error unless a condition, a tensor of one entry, holds.

    Within a training step on a GPU it is raised some steps later: see `put_off`.
    """
    if holds.device.type == "cpu" or not _in_step():
        if not holds:
            raise error()
        return
    _of_training.add(holds, error)


def put_off(while_in_step: Callable[[], bool], of_training: PutOff | None = None) -> None:
    """Defers checks of tensors on a GPU while `while_in_step()` holds, until `of_training.look`."""
    global _in_step, _of_training
    _in_step, _of_training = while_in_step, of_training or PutOff()


def in_words(error: Exception) -> str:
    """The message of an error in one line; for a full disk with the name of the file."""
    if isinstance(error, OSError) and error.errno in NO_ROOM and error.filename is None:
        if name := _written(error):
            error = OSError(error.errno, error.strerror, name)
    return " ".join(str(error).split())


def _written(error: OSError) -> str | None:
    """The file that was open for writing in the innermost frame of an error's traceback."""
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
        ValueError: names the first argument below the bound, and its value.
    """
    for name, value in arguments.items():
        if not value >= least:
            bound = f"at least {least}" if least else "0 or more"
            raise ValueError(f"{name} must be {bound}, got {value}")


# Least values of a model's arguments, by the name or by its last words.
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
    """Refuses numbers below the least value of their name, and NaN for other names.

    Raises:
        ValueError: names the first such argument, and its constraint.
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
    """Adam's two decay rates in [0, 1), as floats, since torch refuses (0, 0.9)."""
    if len(betas) != 2 or not all(0 <= beta < 1 for beta in betas):
        raise ValueError(f"betas must be two numbers in [0, 1), got {tuple(betas)}")
    return float(betas[0]), float(betas[1])


def shape_of_images(shape: tuple[int, ...]) -> tuple[int, ...]:
    """(C, H, W) of images, or (D,) of points, as a tuple.

    Raises:
        ValueError: for another shape, such as a volume or a sequence.
    """
    sizes = tuple(shape) if isinstance(shape, Iterable) else ()
    whole = all(isinstance(size, Integral) and size >= 1 for size in sizes)
    if len(sizes) not in (1, 3) or not whole:
        raise ValueError(f"image_shape must be (C, H, W), or (D,) for points, got {shape}")
    return sizes


def labelled(model: object, num_classes: int) -> None:
    """Refuses fewer than two classes for a model that is trained on labels.

    Raises:
        ValueError: names the option that gives a model the data's labels.
    """
    if num_classes < 2:
        raise ValueError(
            f"num_classes must be at least 2, got {num_classes}: {type(model).__name__} learns "
            "from labels (set --data.conditional true)"
        )
