"""Atomic writes: a file appears completely or not at all."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO


@contextmanager
def whole(path: str | Path) -> Iterator[IO[bytes]]:
    """An open file that replaces the path when all is written, with permissions 644.

    If writing fails, no partial file is left, and a file that was at the path stays unchanged.

    Raises:
        OSError: the disk's error; its `filename` is the path.
    """
    path = Path(path)
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".tmp", delete=False) as file:
            temporary = Path(file.name)
            yield file
        temporary.chmod(0o644)  # temporary files are readable by the owner only
        temporary.replace(path)
    except OSError as error:
        if error.errno is None:  # not an error of the disk
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def write_whole(path: str | Path, text: str) -> None:
    """Writes a text to a file, completely or not at all."""
    with whole(path) as file:
        file.write(text.encode("utf-8"))
