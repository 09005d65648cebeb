"""Files that appear whole or not at all."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO


@contextmanager
def whole(path: str | Path) -> Iterator[IO[bytes]]:
    """A file to write to, which takes the path's place when all is written, with usual rights.

    Where the writing fails there is nothing half-written, and what the path was stays.

    Raises:
        OSError: whatever the disk says; its `filename` is the path.
    """
    path = Path(path)
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".tmp", delete=False) as file:
            temporary = Path(file.name)
            yield file
        temporary.chmod(0o644)  # temporary files are private
        temporary.replace(path)
    except OSError as error:
        if error.errno is not None:  # else it would lose its text
            error.filename = str(path)
        raise
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def write_whole(path: str | Path, text: str) -> None:
    """All of a text or nothing."""
    with whole(path) as file:
        file.write(text.encode("utf-8"))
