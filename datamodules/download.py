"""Finds the files of a data set, downloads them, or names those that are missing.

torchvision has the addresses and downloads.
"""

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


def download(name: str, root: Path, dataset: type) -> None:
    """Downloads the files of a data set of torchvision.

    Raises:
        ConnectionError: the download failed, with the address and the reason in one line.
    """
    try:
        dataset(root, download=True)
    except (OSError, RuntimeError) as error:
        places = getattr(dataset, "mirrors", None) or [getattr(dataset, "url", "Google Drive")]
        reason = " ".join(str(error).split())
        raise ConnectionError(
            f"{name} could not be downloaded from {' or '.join(places)} to {root}: {reason}. Look "
            "whether that can be reached from here, or set root to a folder that has the files"
        ) from error
