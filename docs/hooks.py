"""What mkdocs calls: code in pages comes from the files themselves, so that it cannot drift.

A line `<!-- source: zoo/gan/gan.py GAN.players -->` becomes the code of that class, function or
method; with `*` for a name, the whole file; without, the whole file, folded. What is not there ends
the build.
"""

import ast
import re
import shutil
import textwrap
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SOURCE = re.compile(r"^<!-- source: (\S+)(?: (\S+))? -->$", re.MULTILINE)


def source(path: str, name: str | None = None) -> str:
    """The text of a file, or of what is defined there under a dotted name, decorators included.

    Raises:
        ValueError: nothing of this name is defined there.
    """
    text = (ROOT / path).read_text(encoding="utf-8")
    if name in (None, "*"):
        return text.rstrip()
    node: ast.AST = ast.parse(text)
    for part in name.split("."):
        inner = [n for n in ast.iter_child_nodes(node) if getattr(n, "name", None) == part]
        if not inner:
            raise ValueError(f"{path} must define {name}, got no {part}")
        node = inner[0]
    first = min([node.lineno, *(d.lineno for d in node.decorator_list)])
    return textwrap.dedent("\n".join(text.split("\n")[first - 1 : node.end_lineno]))


def included(found: re.Match) -> str:
    path, name = found.groups()
    code = source(path, name)
    if name:
        language = "yaml" if path.endswith(".yaml") else "python"
        return f'```{language} title="{path}"\n{code}\n```'
    block = textwrap.indent(f"```python\n{code}\n```", "    ")
    return f'??? example "{path}"\n\n{block}'


def on_page_markdown(markdown: str, **_: object) -> str:
    return SOURCE.sub(included, markdown)


def on_startup(**_: object) -> None:
    """The package as it is installed, for what reads the reference out of the code.

    At the start, since the reader of code looks which of its folders exist before `on_config`.
    """
    package = ROOT / "build" / "reference" / "genzoo"
    shutil.rmtree(package.parent, ignore_errors=True)
    shutil.copytree(ROOT / "genzoo", package, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("zoo", "datamodules", "callbacks"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, package / name, ignore=ignored)
