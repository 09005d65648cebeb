"""What arguments must be, in one line: what must hold, and what was got."""

from collections.abc import Iterable
from numbers import Integral


def at_least(least: float, **arguments: float) -> None:
    """Refuses arguments below a bound, NaN included.

    Raises:
        ValueError: names the first one that is less, and its value.
    """
    for name, value in arguments.items():
        if not value >= least:
            bound = f"at least {least}" if least else "0 or more"
            raise ValueError(f"{name} must be {bound}, got {value}")


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
