"""`genzoo compare`: report cards side by side, without torch."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from ..checks import in_words
from ..files import write_whole
from ..report.compare import compare, read


def main(argv: Sequence[str] | None = None) -> int:
    """Runs `genzoo compare ...`; returns the exit code: 0, 1 for a failure, 2 for a misuse."""
    try:
        options = _parser().parse_args(argv)
        found = compare(read(options.runs), options.all)
        if options.output is not None:
            write_whole(options.output, found.to_markdown())
    except SystemExit as exit:
        return exit.code if isinstance(exit.code, int) else int(exit.code is not None)
    except (ValueError, OSError) as error:
        print(f"genzoo compare: {in_words(error)}", file=sys.stderr)
        return 1
    if options.json:
        print(found.to_json())
    else:
        found.print()
    return 0


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> None:
        self.exit(2, f"genzoo compare: {message}\n")


def _parser() -> _Parser:
    parser = _Parser(
        prog="genzoo compare",
        description="Prints report cards side by side. Numbers whose protocol (extractor, weights, "
        "numbers of images, split, data) differs from that of the first card are marked.",
        epilog="example: genzoo compare runs/*/version_0 --output table.md",
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("runs", nargs="+", type=Path, metavar="RUN", help="a run directory or its report.json")
    add("--all", action="store_true", help="all numbers, not only the most important ones")
    add("--output", type=Path, help="writes the table as Markdown")
    add("--json", action="store_true", help="prints JSON instead of a table")
    return parser
