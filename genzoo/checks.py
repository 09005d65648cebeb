"""What arguments must be, in one line: what must hold, and what was got.

What a tensor on a GPU holds is known only once the GPU has come so far. A step of training that
asked would leave it idle, so there the answers are looked at some steps later, all at once.
"""

from collections.abc import Callable

from torch import Tensor

MOST = 1000  # answers that are put off before they are looked at

_put_off: list[tuple[Tensor, Callable[[], Exception]]] = []
_in_step: Callable[[], bool] = bool  # whether a step of training is being made; bool(): False


def refuse_unless(holds: Tensor, error: Callable[[], Exception]) -> None:
    """Raises the error unless a condition, a tensor of one entry, holds.

    On a GPU, within a step, some steps later: see `put_off`.
    """
    if holds.device.type == "cpu" or not _in_step():
        if not holds:
            raise error()
        return
    _put_off.append((holds, error))
    if len(_put_off) >= MOST:
        look()


def put_off(while_in_step: Callable[[], bool]) -> None:
    """What is asked of tensors on a GPU is put off until `look`, while this holds."""
    global _in_step
    _in_step = while_in_step


def look() -> None:
    """Raises the error of the first condition put off that did not hold, if there is one."""
    asked, _put_off[:] = list(_put_off), []
    for holds, error in asked:
        if not holds:
            raise error()


def at_least(least: float, **arguments: float) -> None:
    """Refuses arguments below a bound, NaN included.

    Raises:
        ValueError: names the first one that is less, and its value.
    """
    for name, value in arguments.items():
        if not value >= least:
            bound = f"at least {least}" if least else "0 or more"
            raise ValueError(f"{name} must be {bound}, got {value}")


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
