"""Features that are kept on the disk: whole files of what they say they are, or none."""

import threading
import time
import warnings

import pytest
import torch

from genzoo.features import cache

pytestmark = pytest.mark.usefixtures("empty_cache")


def test_a_full_disk_is_a_warning_and_leaves_nothing_half_written(monkeypatch, tmp_path):
    """No file may grow beyond a mebibyte here, as none could on a disk with no more room."""
    resource = pytest.importorskip("resource")
    monkeypatch.setenv("GENZOO_CACHE", str(tmp_path))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, before[1]))
    try:
        with pytest.warns(UserWarning, match="could not be written, so it will be made again"):
            cache.save("key", {"features": torch.zeros(2**20)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert not list(tmp_path.iterdir()) and cache.load("key") is None


def test_runs_may_write_one_file_at_once():
    content = {"features": torch.arange(200_000.0), "logits": None}
    failures, stop = [], time.monotonic() + 1.5

    def work(save):
        while time.monotonic() < stop:
            if save:
                cache.save("key", content)
            elif (seen := cache.load("key", features=200_000)) is not None:
                failures.extend([] if torch.equal(seen["features"], content["features"]) else [1])
            else:
                failures.append(2)

    cache.save("key", content)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        threads = [threading.Thread(target=work, args=(i < 3,)) for i in range(5)]
        [thread.start() for thread in threads]
        [thread.join() for thread in threads]
    assert not failures
    assert [file.name for file in cache.folder().iterdir()] == ["key.pt"]


def test_a_digest_tells_apart_what_differs():
    x = torch.arange(6)
    different = [
        cache.digest(x),
        cache.digest(x.view(2, 3)),
        cache.digest(x.int()),
        cache.digest(x.flip(0)),
        cache.digest(x, "a"),
        cache.digest(x, "b"),
        cache.digest(x, {"a": 1}),
    ]
    assert len(set(different)) == len(different)
    assert cache.digest({"a": 1, "b": 2}) == cache.digest({"b": 2, "a": 1})
    assert cache.digest(x.view(2, 3).T) == cache.digest(x.view(2, 3).T.contiguous())
