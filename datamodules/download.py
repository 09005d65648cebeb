"""Files that may not be there: find them, fetch them, or say what is missing.

torchvision knows the addresses and does the fetching.
"""

from pathlib import Path


def on_disk(path: Path) -> Path | None:
    """This path or its gzipped twin, if one is there."""
    twins = (path, path.with_name(path.name + ".gz"))
    return next((twin for twin in twins if twin.exists()), None)


def find(path: Path, name: str, hint: str = ", or download it with --data.download true") -> Path:
    """As `on_disk`, for what must be there.

    Raises:
        FileNotFoundError: says what is missing and how to get it.
    """
    if found := on_disk(path):
        return found
    raise FileNotFoundError(
        f"{name} needs {path}, which is missing: set root to the folder that has it{hint}"
    )


def download(name: str, root: Path, dataset: type) -> None:
    """Has a data set of torchvision fetch its files.

    Raises:
        ConnectionError: says in one line why nothing came, and from where.
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
