"""The models and data sets of the package, read from its files without importing it.

Importing torch takes seconds, which a list of models should not need, and a list kept by hand would
become outdated. So files are parsed, and the exports of a folder's `__init__.py` are followed to
their classes.
"""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from . import __path__ as roots
from .arguments import Handed, completed, described, handed_on


@dataclass(frozen=True)
class Entry:
    """One class of the package.

    Args:
        name: Name of the class, for the command line.
        family: Name of its folder; "" for data sets.
        summary: One line.
        doc: The docstrings of its file and of the class, without the section `Args:`.
        arguments: Arguments of its constructor and those of base classes, as source code.
        path: Its file.
        meanings: What its docstring, or that of a base class, says of each argument by its name.
    """

    name: str
    family: str
    summary: str
    doc: str
    arguments: tuple[str, ...]
    path: Path
    meanings: dict[str, str]

    def meaning(self, argument: str) -> str:
        """Of one of `arguments`, as it is written there; "" where no docstring describes it."""
        return self.meanings.get(argument.partition(":")[0].partition(" =")[0], "")


def models() -> list[Entry]:
    """The models, with families in alphabetical order, and each family in its folder's order.

    External samples, which belong to no family, come last.
    """
    zoo = _folder("zoo")
    external = zoo / "external"
    families = sorted({init.parent for init in zoo.glob("*/__init__.py")} - {external})
    entries = [
        entry
        for family in families
        for entry in _exported(family, "LightningModule", family.name)
        if entry.path.is_relative_to(family)
    ]
    return entries + [*_exported(external, "LightningModule", "external")]


def data() -> list[Entry]:
    """The data sets in their folder's order, without their base class.

    Data that only external samples are compared with come last.
    """
    folder, zoo = _folder("datamodules"), _folder("zoo")
    entries = _exported(folder, "LightningDataModule", "")
    others = _exported(zoo, "LightningDataModule", "")
    return [entry for entry in entries if entry.path != folder / "base.py"] + [*others]


def _folder(name: str) -> Path:
    return next(path for root in roots if (path := Path(root, name)).is_dir())


@cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def _exported(folder: Path, kind: str, family: str) -> Iterator[Entry]:
    init = folder / "__init__.py"
    for node in _tree(init).body:
        if isinstance(node, ast.ImportFrom) and node.level:
            for alias in node.names:
                found = _resolve(init, alias.asname or alias.name)
                if found and _descends(*found, kind):
                    yield _entry(*found, family)


def _resolve(path: Path, name: str) -> tuple[Path, ast.ClassDef] | None:
    """The class of this name in a file, followed through relative imports."""
    for node in _tree(path).body:
        if isinstance(node, ast.ClassDef) and node.name == name:
            return path, node
        if isinstance(node, ast.ImportFrom) and node.level:
            for alias in node.names:
                source = _source(path, node)
                if source not in (None, path) and (alias.asname or alias.name) == name:
                    return _resolve(source, alias.name)
    return None


def _source(path: Path, node: ast.ImportFrom) -> Path | None:
    module = path.parents[node.level - 1].joinpath(*(node.module or "").split("."))
    for source in (module / "__init__.py", module.with_suffix(".py")):
        if source.is_file():
            return source
    return None


def _bases(path: Path, node: ast.ClassDef) -> Iterator[tuple[Path, ast.ClassDef]]:
    for base in node.bases:
        if isinstance(base, ast.Name) and (found := _resolve(path, base.id)):
            yield found


def _descends(path: Path, node: ast.ClassDef, kind: str) -> bool:
    names = (ast.unparse(base).split(".")[-1] for base in node.bases)
    return kind in names or any(_descends(*base, kind) for base in _bases(path, node))


def _models(path: Path) -> Iterator[ast.ClassDef]:
    for node in _tree(path).body:
        if isinstance(node, ast.ClassDef) and _descends(path, node, "LightningModule"):
            yield node


def _entry(path: Path, node: ast.ClassDef, family: str) -> Entry:
    own, paper = ast.get_docstring(node) or "", ast.get_docstring(_tree(path)) or ""
    summary = _sentence(own)
    if paper and (not own or (family and len(list(_models(path))) == 1)):  # the file is the paper
        summary = _sentence(paper).removeprefix(f"{node.name}: ")
    doc = "\n\n".join(filter(None, (paper, completed(own, {}))))
    written = _arguments(path, node)
    known = _meanings(path, node)
    means = {name: known[name] for name in written if name in known}
    return Entry(node.name, family, summary, doc, tuple(written.values()), path, means)


def _sentence(doc: str) -> str:
    """The first paragraph of a docstring, in one line."""
    return " ".join(doc.partition("\n\n")[0].split())


def _arguments(path: Path, node: ast.ClassDef) -> dict[str, str]:
    """Arguments of `__init__` by name, as source code, and those of the base class if it passes
    **arguments to it, without those that it sets itself."""
    init = next((n for n in node.body if getattr(n, "name", "") == "__init__"), None)
    found: dict[str, str] = {}
    if init is not None:
        positional = init.args.posonlyargs + init.args.args
        defaults = [None] * (len(positional) - len(init.args.defaults)) + init.args.defaults
        every = [*zip(positional, defaults, strict=True)][1:]
        every += zip(init.args.kwonlyargs, init.args.kw_defaults, strict=True)
        for argument, default in every:
            kind = f": {ast.unparse(argument.annotation)}" if argument.annotation else ""
            end = f" = {ast.unparse(default)}" if default else ""
            found[argument.arg] = f"{argument.arg}{kind}{end}"
    handed = Handed() if init is None else handed_on(init)
    if init is None or (init.args.kwarg and handed.rest):
        for base in _bases(path, node):
            names = _arguments(*base)
            given = {*list(names)[: handed.count], *handed.names}
            found |= {n: text for n, text in names.items() if n not in found | dict.fromkeys(given)}
    return found


def _meanings(path: Path, node: ast.ClassDef) -> dict[str, str]:
    found: dict[str, str] = {}
    for base in _bases(path, node):
        found = _meanings(*base) | found
    return found | described(ast.get_docstring(node))
