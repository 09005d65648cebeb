"""Public methods of public classes say what they do."""

import inspect
from collections.abc import Iterator

import pytest

from tests.helpers.public import PUBLIC


def functions(kind: type) -> Iterator[tuple[str, str | None]]:
    """The public methods and properties that a class defines, with their own docstrings."""
    for name, value in vars(kind).items():
        if isinstance(value, staticmethod | classmethod | property):
            value = getattr(value, "__func__", None) or value.fget
        if inspect.isfunction(value) and not name.startswith("_"):
            yield name, value.__doc__


def undocumented(kind: type) -> list[str]:
    """Its methods without a docstring, but for those that a base class documents, ours or
    Lightning's."""
    found = []
    for base in kind.__mro__:
        if not base.__module__.startswith(("genzoo.", "tests.")):
            continue
        bases = base.__mro__[1:]
        for name, doc in functions(base):
            if not doc and not any(getattr(vars(b).get(name), "__doc__", None) for b in bases):
                found.append(f"{base.__module__}.{base.__name__}.{name}")
    return found


@pytest.mark.parametrize("name", PUBLIC)
def test_every_public_method_says_what_it_does(name):
    assert undocumented(PUBLIC[name]) == []


def test_a_method_without_a_docstring_is_found():
    class Base:
        def said(self):
            """This one."""

        @property
        def size(self):
            return 1

    class Mine(Base):
        def said(self):
            return 1

        def new(self):
            return 2

        def _own(self):
            return 3

    names = [name.rpartition(".")[2] for name in undocumented(Mine)]
    assert names == ["new", "size"]


if __name__ == "__main__":
    print("\n".join(sorted({name for kind in PUBLIC.values() for name in undocumented(kind)})))
