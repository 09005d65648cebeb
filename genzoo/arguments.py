"""The arguments of a class and their meaning, with those that it takes for its base classes.

A model is written as its difference from another: its constructor names the arguments that it adds
or changes, its docstring describes them, and **kwargs takes the others. A reader of `help(WGANGP)`
wants all of them. So the docstring of a class that is `Described` is completed, when it is first
asked for, by what the base classes say of the arguments that the class takes and does not describe
itself. An argument that a class gives to its base class itself is not among them.

Docstrings are read here as text and constructors as syntax trees, so that `genzoo models` can do
the same without importing torch.
"""

import ast
import inspect
import re
import textwrap
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

WIDTH = 96  # columns of a completed docstring, without the indent of a class
_NEW = re.compile(r" {4}(\**\w+(?:, \**\w+)*)(?: \([^)]*\))?: *(.*)")


def described(doc: str | None) -> dict[str, str]:
    """What the section `Args:` of a docstring says of each argument, in one line.

    >>> described('''A network.
    ...
    ...     Args:
    ...         height, width: Pixels of a side,
    ...             both above 0.
    ...     ''')
    {'height': 'Pixels of a side, both above 0.', 'width': 'Pixels of a side, both above 0.'}
    """
    found: dict[str, str] = {}
    names: list[str] = []
    for line in _cut(doc)[1]:
        if new := _NEW.match(line):
            names = [name.lstrip("*") for name in new[1].split(", ")]
            found |= dict.fromkeys(names, new[2].strip())
        else:
            found |= {name: f"{found[name]} {line.strip()}".strip() for name in names}
    return found


def completed(doc: str | None, meanings: Mapping[str, str]) -> str:
    """A docstring whose section `Args:` is of these arguments, in this order."""
    before, _, behind = _cut(doc)
    section = []
    for name, meaning in meanings.items():
        section += wrapped(f"    {name}: {meaning}", " " * 8)
    parts = (before, ["Args:", *section] if section else [], behind)
    return "\n\n".join("\n".join(part).strip("\n") for part in parts if any(part))


def wrapped(text: str, indent: str, columns: int = WIDTH) -> list[str]:
    """The lines of a text, of which those but the first are indented."""
    first = "" if text.startswith(" ") else indent
    lines = textwrap.TextWrapper(
        max(columns, 40), first, indent, break_long_words=False, break_on_hyphens=False
    )
    return lines.wrap(text)


def _cut(doc: str | None) -> tuple[list[str], list[str], list[str]]:
    """The lines before the section `Args:`, those in it, and those behind."""
    lines = inspect.cleandoc(doc or "").split("\n")
    if "Args:" not in lines:
        return lines, [], []
    start = lines.index("Args:")
    end = start + 1
    while end < len(lines) and (not lines[end] or lines[end].startswith(" ")):
        end += 1
    return lines[:start], [line for line in lines[start + 1 : end] if line], lines[end:]


class Handed(NamedTuple):
    """What a constructor gives to that of its base class.

    Args:
        count: Arguments by their place.
        names: Arguments by their name.
        rest: Whether it hands on **kwargs.
    """

    count: int = 0
    names: frozenset[str] = frozenset()
    rest: bool = True


def handed_on(init: ast.FunctionDef) -> Handed:
    """What a constructor gives to that of its base class, by `super().__init__(...)`."""
    for node in ast.walk(init):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
            continue
        base = node.func.value
        is_super = isinstance(base, ast.Call) and getattr(base.func, "id", "") == "super"
        if node.func.attr == "__init__" and is_super:
            names = frozenset(k.arg for k in node.keywords if k.arg)
            count = sum(not isinstance(argument, ast.Starred) for argument in node.args)
            return Handed(count, names, any(k.arg is None for k in node.keywords))
    return Handed(rest=False)


def parameters(kind: type, fixed: bool = False) -> dict[str, inspect.Parameter]:
    """What a class can be given by name, over all constructors to which it hands on the rest.

    Args:
        kind: The class.
        fixed: Whether arguments that it gives to its base classes itself are among them.
    """
    found: dict[str, inspect.Parameter] = {}
    handed, by_place = Handed(), True
    for base in kind.__mro__:
        init = vars(base).get("__init__")
        if not inspect.isfunction(init):
            continue
        every = [*inspect.signature(init).parameters.values()][1:]
        named = [p for p in every if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
        given = {p.name for p in named[: handed.count]} | handed.names
        for p in named:
            if p.name in given or p.name in found:
                continue
            keyword = p.kind is p.KEYWORD_ONLY or not by_place
            found[p.name] = p.replace(kind=p.KEYWORD_ONLY) if keyword else p
        if not any(p.kind is p.VAR_KEYWORD for p in every):
            break
        handed = Handed() if fixed else _handed_on(init)
        if not handed.rest:
            break
        by_place = by_place and any(p.kind is p.VAR_POSITIONAL for p in every)
    return found


def _handed_on(init: Any) -> Handed:
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(init)))
    except (OSError, TypeError, SyntaxError):  # of a class that no file holds
        return Handed()
    return next((handed_on(n) for n in tree.body if isinstance(n, ast.FunctionDef)), Handed())


def meanings(kind: type) -> dict[str, str]:
    """What a class and its base classes say of each argument that it can be given, in the order of
    its signature. Those of which none says anything are left out."""
    said: dict[str, str] = {}
    for base in kind.__mro__:
        own = vars(base).get("__doc__")
        own = own.own if isinstance(own, _Doc) else own
        for doc in (own, getattr(vars(base).get("__init__"), "__doc__", None)):
            if isinstance(doc, str):
                said = described(doc) | said
    return {p.name: said[p.name] for p in _in_order(parameters(kind)) if p.name in said}


def _in_order(taken: Mapping[str, inspect.Parameter]) -> Iterable[inspect.Parameter]:
    """By their place first, and of these none that is needed behind one that is not."""
    optional = False
    places, names = [], []
    for p in taken.values():
        needed = p.default is p.empty
        if p.kind is p.KEYWORD_ONLY or (needed and optional):
            names.append(p.replace(kind=p.KEYWORD_ONLY))
        else:
            optional |= not needed
            places.append(p)
    return places + names


class _Doc:
    """The docstring of a class, completed when it is asked for."""

    def __init__(self, own: str | None):
        self.own = own

    def __get__(self, instance: Any, kind: type) -> str | None:
        docs = (vars(base).get("__doc__") for base in kind.__mro__)
        owns = (doc.own if isinstance(doc, _Doc) else None for doc in docs)
        doc = next(filter(None, owns), None)  # without its own it has that of a base class
        return doc and completed(doc, meanings(kind))


class _Signature:
    """The signature of a class, with the arguments that it hands on."""

    def __get__(self, instance: Any, kind: type) -> inspect.Signature:
        if instance is not None:
            raise AttributeError("__signature__")  # an instance that can be called has its own
        return inspect.Signature([*_in_order(parameters(kind))])


class Described:
    """Base of classes whose docstring and signature show all arguments, inherited ones too."""

    __signature__ = _Signature()

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.__doc__ = _Doc(vars(cls).get("__doc__"))
