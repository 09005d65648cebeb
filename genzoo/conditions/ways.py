"""Conditions from plain values, from a number of classes, from a model and from data."""

from collections.abc import Mapping
from typing import Any

from .kinds import Classes, Condition, ImageOf, Nothing, Together, Tokens, Vector

KINDS = {kind.__name__: kind for kind in (Nothing, Classes, Vector, ImageOf, Tokens, Together)}


def from_plain(plain: Mapping[str, Any]) -> Condition:
    """The condition of which `to_plain` gave these values.

    >>> from_plain(Classes(3).to_plain()) == Classes(3)
    True
    """
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
    """A condition from itself, from plain values, from a number of classes or from None.

    >>> condition_of(3), condition_of(None)
    (Classes(num_classes=3, names=()), Nothing())
    """
    if isinstance(value, Condition):
        return value
    if isinstance(value, Mapping):
        return from_plain(value)
    return Classes(int(value)) if value else Nothing()


def asked_of(model: Any) -> Condition:
    """The condition of any model; if it has no `condition`, its `num_classes` is used."""
    condition = getattr(model, "condition", None)
    if isinstance(condition, Condition):
        return condition
    return condition_of(getattr(model, "num_classes", 0))


def given_by(data: Any) -> Condition:
    """The condition of any DataModule; if it has no `condition`, its `conditional` and
    `num_classes` are used."""
    condition = getattr(data, "condition", None)
    if isinstance(condition, Condition):
        return condition
    return condition_of(getattr(data, "num_classes", 0) if getattr(data, "conditional", 0) else 0)
