"""Files behind an address: fetched whole or not at all, and one line that says why."""

import hashlib
import io
import shutil
from http.client import HTTPException
from pathlib import Path, PurePosixPath
from typing import IO
from urllib.error import URLError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

import torch

from .._lightning.checkpoint import opened
from ..files import whole

PATIENCE = 30.0  # seconds without an answer after which an address cannot be reached


def fetched(address: str) -> Path | IO[bytes]:
    """What lies behind an address: a file that is kept, or, where it is not of http(s), its bytes.

    A file is kept under its whole address, in torch's folder of checkpoints: two addresses may end
    in the same name.

    Raises:
        ConnectionError: names the address, why nothing came, and what can be done.
    """
    try:
        if not address.startswith(("http://", "https://")):
            with opened(address) as file:
                return io.BytesIO(file.read())
        path = kept(address)
        if not path.is_file():
            print(f"genzoo: fetching {address}", flush=True)
            _download(address, path)
        return path
    except Exception as error:  # each kind of address fails in its own way
        why = error.reason if type(error) is URLError else error
        raise ConnectionError(
            f"{address} could not be fetched ({' '.join(str(why).split())}): look whether the "
            "address is right and can be reached from here, or fetch the file by other means and "
            "give its path"
        ) from error


def kept(address: str) -> Path:
    """Where the file of an http(s) address is, or is to be."""
    name = PurePosixPath(urlsplit(address).path).name[-80:]
    key = hashlib.sha256(address.encode()).hexdigest()[:16]
    return Path(torch.hub.get_dir(), "checkpoints", f"{key}-{name}")


def _download(address: str, path: Path) -> None:
    request = Request(address, headers={"User-Agent": "genzoo"})
    with urlopen(request, timeout=PATIENCE) as answer, whole(path) as file:
        shutil.copyfileobj(answer, file)
        size = answer.headers.get("Content-Length")
        if size is not None and file.tell() != int(size):
            raise HTTPException(f"{file.tell()} of {size} bytes came")
