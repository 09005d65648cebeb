"""A disk cache of tensors for later runs: features of real images, classifiers of data sets.

A key is a hash of all that its tensors depend on, so files are never out of date and runs may share
the folder. Writes are atomic. A file that cannot be read gives a warning and is written again; a
disk that is full or read-only gives a warning, and the run continues.
"""

import hashlib
import json
import os
import pickle
from pathlib import Path

import torch
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor, nn

from ..files import whole


def folder() -> Path:
    """The folder: GENZOO_CACHE, or ~/.cache/genzoo. It may be deleted at any time."""
    return Path(os.environ.get("GENZOO_CACHE") or "~/.cache/genzoo").expanduser()


def digest(*parts: Tensor | str | bytes | dict | list | tuple) -> str:
    """sha256 of tensors (type, shape and values), bytes, and values that JSON can represent."""
    sha = hashlib.sha256()
    for part in parts:
        if isinstance(part, Tensor):
            part = part.detach().cpu().contiguous()
            sha.update(f"{part.dtype}{tuple(part.shape)}".encode())
            part = part.flatten().view(torch.uint8).numpy().data
        elif not isinstance(part, bytes):
            part = json.dumps(part, sort_keys=True).encode()
        sha.update(part)
        sha.update(b"\0")
    return sha.hexdigest()


def digest_weights(module: nn.Module) -> str:
    """sha256 of the names and values of all parameters and buffers."""
    return digest(*(part for item in sorted(module.state_dict().items()) for part in item))


def digest_file(path: Path) -> str:
    """sha256 of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def load(key: str, **lengths: int) -> dict | None:
    """The content saved under the key; None if there is no readable file.

    Args:
        lengths: Lengths of the tensors that the content must have, by name.
    """
    path = folder() / f"{key}.pt"
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        for name, length in lengths.items():
            if len(content[name]) != length:
                raise ValueError(f"{name} has length {len(content[name])}, not {length}")
        return content
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (
        OSError,
        RuntimeError,
        EOFError,
        ValueError,
        LookupError,
        TypeError,
        pickle.UnpicklingError,
    ) as error:
        reason = str(error).split("\n")[0]
        rank_zero_warn(f"the cache file {path} cannot be read and is made again: {reason}")
        return None


def save(key: str, content: dict[str, Tensor | str | int | float | None]) -> None:
    """Saves the content under the key; the write is atomic, since other runs may read."""
    path = folder() / f"{key}.pt"
    try:
        with whole(path) as file:
            torch.save(content, file)
    except (OSError, RuntimeError) as error:  # torch reports a full disk as RuntimeError
        why = error.__context__ if isinstance(error.__context__, OSError) else error
        rank_zero_warn(f"{path} could not be written, so it will be made again: {why}")
