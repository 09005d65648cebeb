"""Conditions: what a model is given beside its noise, as values that data, models, evaluations and
the command line share.

    Classes(10)                         y int64 (n,)
    Vector(2, names=("pose", "age"))    y float (n, D)
    ImageOf((3, 64, 64))                y float (n, C, H, W) in [-1, 1]: a partner, a layout
    Tokens(("a", "red", "bird"), 8)     y int64 (n, L): a caption
    Together(caption=Tokens(...), box=Vector(4))    y a dictionary of these
    Nothing()                           no y

A DataModule says which one its batches carry, a model keeps it, a checkpoint has it as plain values
(`to_plain`). Networks and losses take `*condition`, which `arguments` makes of y: one of it, or
none where a model is unconditional.
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
