"""Ways to a condition: from plain values, from a number of classes, from a model, from data."""

from collections.abc import Mapping
from typing import Any

from .kinds import Classes, Condition, ImageOf, Nothing, Together, Tokens, Vector

KINDS = {kind.__name__: kind for kind in (Nothing, Classes, Vector, ImageOf, Tokens, Together)}


def from_plain(plain: Mapping[str, Any]) -> Condition:
    """The value that `to_plain` was asked of."""
    given = dict(plain)
    name = given.pop("kind", None)
    if name not in KINDS:
        raise ValueError(f"kind must be one of {', '.join(KINDS)}, got {name!r}")
    if name == "Together":
        return Together(**{part: from_plain(value) for part, value in given["parts"].items()})
    try:
        return KINDS[name](**given)
    except TypeError:
        raise ValueError(f"condition must be a {name} as to_plain gives it, got {plain}") from None


def condition_of(value: Any) -> Condition:
    """A condition of any way to say it: itself, plain values, the number of classes, None."""
    if isinstance(value, Condition):
        return value
    if isinstance(value, Mapping):
        return from_plain(value)
    return Classes(int(value)) if value else Nothing()


def asked_of(model: Any) -> Condition:
    """What a model asks for, whoever wrote it; one without `condition` may have `num_classes`."""
    condition = getattr(model, "condition", None)
    if isinstance(condition, Condition):
        return condition
    return condition_of(getattr(model, "num_classes", 0))


def given_by(data: Any) -> Condition:
    """What a DataModule gives, whoever wrote it; one without `condition` may be `conditional` and
    have `num_classes`."""
    condition = getattr(data, "condition", None)
    if isinstance(condition, Condition):
        return condition
    return condition_of(getattr(data, "num_classes", 0) if getattr(data, "conditional", 0) else 0)
