"""Finds the files of a data set, downloads them, or names those that are missing.

torchvision has the addresses and downloads.
"""

from collections.abc import Callable
from pathlib import Path


def on_disk(path: Path) -> Path | None:
    """This path, or the path with .gz, if it exists."""
    twins = (path, path.with_name(path.name + ".gz"))
    return next((twin for twin in twins if twin.exists()), None)


def find(path: Path, name: str, hint: str = ", or download it with --data.download true") -> Path:
    """As `on_disk`, for a required file.

    Raises:
        FileNotFoundError: the file does not exist; the error tells how to get it.
    """
    if found := on_disk(path):
        return found
    raise FileNotFoundError(
        f"{name} needs {path}, which is missing: set root to the folder that has it{hint}"
    )


def download(name: str, root: Path, fetch: Callable[[], object]) -> None:
    """Calls `fetch`, which downloads a data set.

    Raises:
        ConnectionError: the download failed, with the reason in one line.
    """
    try:
        fetch()
    except (OSError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise ConnectionError(f"{name} could not be downloaded to {root}: {reason}") from error
