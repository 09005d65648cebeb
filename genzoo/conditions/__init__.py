"""Conditions of models, as values that data, models, evaluations and the command line share.

    Classes(10)                         y int64 (n,)
    Vector(2, names=("pose", "age"))    y float (n, D)
    ImageOf((3, 64, 64))                y float (n, C, H, W) in [-1, 1]: a partner, a layout
    Tokens(("a", "red", "bird"), 8)     y int64 (n, L): a caption
    Together(caption=Tokens(...), box=Vector(4))    y a dictionary of these
    Nothing()                           no y

A DataModule defines the condition of its batches, a model keeps it, a checkpoint has it as plain
values (`to_plain`). Networks and losses have an argument `*condition`, which `arguments` makes of
y: one tensor, or none for an unconditional model.

    >>> Classes(3, ("cat", "dog", "bird")).encode("dog")
    tensor([1])
"""

from .kinds import (
    BANK,
    Classes,
    Condition,
    ImageOf,
    Nothing,
    Together,
    Tokens,
    Vector,
)
from .ways import KINDS, asked_of, condition_of, from_plain, given_by

__all__ = [
    "BANK",
    "KINDS",
    "Classes",
    "Condition",
    "ImageOf",
    "Nothing",
    "Together",
    "Tokens",
    "Vector",
    "asked_of",
    "condition_of",
    "from_plain",
    "given_by",
]
