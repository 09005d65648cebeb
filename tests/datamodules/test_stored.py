"""Images on the disk: the same bytes as in memory, one file for all, whole or not there."""

import copy
import multiprocessing
import os
import pickle
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from genzoo.callbacks.run import data_of
from genzoo.datamodules import ImageFolder, stored
from genzoo.datamodules import folder as folders
from genzoo.zoo import GAN
from tests.helpers.training import fit, trainer


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("GENZOO_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def folder(tmp_path, cache):
    """Sixty noisy images of two classes."""
    pixels = np.random.default_rng(0).integers(0, 256, (60, 10, 12, 3), dtype=np.uint8)
    for i, image in enumerate(pixels):
        path = tmp_path / "images" / "ab"[i % 2] / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(path)
    return tmp_path / "images"


def data(folder, cache="always", **arguments) -> ImageFolder:
    return ImageFolder(str(folder), image_size=8, batch_size=10, cache=cache, **arguments)


def test_images_on_the_disk_are_those_in_memory(folder, cache):
    memory, disk = data(folder, "never"), data(folder)
    for part in ("train", "val", "test"):
        here, there = memory.split(part), disk.split(part)
        assert torch.equal(there.images, here.images) and torch.equal(there.labels, here.labels)
        index = torch.tensor([2, 0, 2])
        assert torch.equal(there[index].images, here.images[index])
        assert torch.equal(there[index].labels, here.labels[index])
    assert len(list(cache.iterdir())) == 1
    for (x, y), (a, b) in zip(memory.train_dataloader(), disk.train_dataloader(), strict=True):
        assert torch.equal(x, a) and torch.equal(y, b) and a.is_contiguous()


def test_files_are_decoded_once(folder, cache, monkeypatch):
    first = data(folder).split("train").images
    monkeypatch.setattr(stored.ImageFiles, "decode_into", None)  # nobody may call it
    monkeypatch.setattr(folders, "look", None)
    assert torch.equal(data(folder).split("train").images, first)
    data(folder, seed=3).split("test")  # another split of the same file


def test_other_bytes_are_another_file(folder, cache):
    def count(**arguments) -> int:
        data(folder, **arguments).split("val")
        return len(list(cache.glob("*.bytes")))

    assert count() == 1 and count(square="pad") == 2 and count(channels=1) == 3
    before = data(folder).split("train").images
    path = folder / "a" / "0.png"
    known = path.stat()
    Image.new("RGB", (12, 10), "red").save(path)
    os.utime(path, ns=(known.st_atime_ns, known.st_mtime_ns + 1000))
    assert count() == 4
    assert torch.equal(
        data(folder).split("train").images, data(folder, "never").split("train").images
    )
    assert len(before) == len(data(folder).split("train"))


@pytest.mark.parametrize("count, where", [(10, "disk"), (1000, "memory")])
def test_large_sets_are_on_the_disk_and_small_ones_in_memory(
    folder, cache, monkeypatch, count, where
):
    monkeypatch.setattr(folders, "LARGE", count * 3 * 8 * 8)
    kind = type(data(folder, "auto").split("train"))
    assert (kind is stored.StoredImages) == (where == "disk")
    assert cache.exists() == (where == "disk")
    assert type(data(folder, "auto", num_train=1, val_size=1, test_size=1).split("train")) is not (
        stored.StoredImages
    )
    assert type(data(folder, "always", binarise="threshold").split("train")) is not (
        stored.StoredImages
    )


def test_a_killed_writer_leaves_nothing_that_counts(folder, cache, monkeypatch):
    def die(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(stored.ImageFiles, "decode_into", die)
        data(folder).split("train")
    assert not list(cache.iterdir())
    data(folder).split("train")
    (path,) = cache.iterdir()
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.warns(UserWarning, match="was cut short and is made again"):
        data(folder).split("train")
    data(folder).split("train")  # without a word


def test_all_broken_files_are_named_at_once_or_left_out(folder, cache):
    for name in ("a/0.png", "b/1.png", "b/3.png"):
        whole = (folder / name).read_bytes()
        (folder / name).write_bytes(whole[: len(whole) // 2])  # the header is whole
    with pytest.raises(ValueError, match="3 files must be whole image files, got .*a/0.*b/1.*b/3"):
        data(folder).split("val")
    assert not list(cache.iterdir())
    with pytest.warns(UserWarning, match="files are left out, 3: .*a/0.png .image file is trunc"):
        module = data(folder, on_error="skip")
        parts = [module.split(part) for part in ("train", "val", "test")]
    assert sum(map(len, parts)) == 57
    assert sum(len(part.images) for part in parts) == 57
    again = data(folder, on_error="skip")
    with pytest.warns(UserWarning, match="left out, 3: .*a/0.png .broken., .*b/1.png") as words:
        assert sum(len(again.split(part)) for part in ("train", "val", "test")) == 57
    assert len(words) == 1
    with pytest.raises(ValueError, match="3 files must be whole image files"):
        data(folder).split("val")  # of the file that is there


def test_a_disk_that_is_full_is_said_before_the_work(folder, cache, monkeypatch):
    usage = type("Usage", (), {"free": 100})
    monkeypatch.setattr(stored.shutil, "disk_usage", lambda path: usage)
    monkeypatch.setattr(stored.ImageFiles, "decode_into", None)
    with pytest.raises(
        OSError, match="GENZOO_CACHE must be a folder with 0.0 GB left .*data.cache"
    ):
        data(folder).split("train")


@pytest.mark.parametrize("at_once", [True, False])
def test_each_row_is_the_image(folder, cache, monkeypatch, at_once):
    if not at_once:  # as on systems that cannot read from a place
        monkeypatch.delattr(os, "preadv")
    expected = data(folder, "never").split("train").images
    images = data(folder).split("train")
    for at in torch.arange(len(images)):
        assert torch.equal(images[at[None]].images[0], expected[at])
    assert len(images[torch.empty(0, dtype=torch.long)]) == 0


def test_threads_read_at_once(folder, cache, monkeypatch):
    expected = data(folder, "never").split("train").images
    images = data(folder).split("train")
    at = torch.arange(len(images)).repeat(20)
    for preadv in (True, False):
        if not preadv:
            monkeypatch.delattr(os, "preadv")
        with ThreadPoolExecutor(4) as pool:
            for found in pool.map(lambda _: images[at].images, range(8)):
                assert torch.equal(found, expected[at])


def test_a_file_that_is_cut_while_it_is_read_is_said(folder, cache):
    images = data(folder).split("train")
    os.truncate(images.data.path, 10)
    with pytest.raises(OSError, match="the cache file .* was cut short: delete it"):
        images[torch.arange(3)]


def test_copies_open_the_file_themselves(folder, cache):
    images = data(folder).split("train")
    for again in (pickle.loads(pickle.dumps(images)), copy.deepcopy(images)):
        assert torch.equal(again.images, images.images)
        assert again.data.file.fileno() != images.data.file.fileno()
    assert len(pickle.dumps(images)) < 5000


def _write(folder, results):
    results.put(data(folder).split("train").images.sum().item())


def test_processes_that_write_at_once_share_one_file(folder, cache):
    context = multiprocessing.get_context("fork")
    results = context.Queue()
    writers = [context.Process(target=_write, args=(folder, results)) for _ in range(3)]
    for writer in writers:
        writer.start()
    found = {results.get(timeout=60) for _ in writers}
    for writer in writers:
        writer.join()
    assert found == {data(folder, "never").split("train").images.sum().item()}
    assert len(list(cache.iterdir())) == 1


def test_an_evaluation_reads_no_more_than_it_asks_for(folder, cache, monkeypatch):
    runner = SimpleNamespace(datamodule=data(folder, "never"))
    expected = data_of(runner).read("train", 20)
    runner = SimpleNamespace(datamodule=data(folder))
    monkeypatch.setattr(stored.StoredImages, "images", None)  # nobody asks for all
    found = data_of(runner).read("train", 20)
    assert torch.equal(found.images, expected.images) and len(found.images) == 20
    assert torch.equal(found.labels, expected.labels)


def test_training_and_test_go_on_the_disk_as_in_memory(folder, cache):
    def train(where) -> torch.Tensor:
        torch.manual_seed(0)
        model, module = GAN((3, 8, 8), width=4), data(folder, where)
        fit(model, module, 6)
        trainer().test(model, module, verbose=False)
        return torch.cat([parameter.detach().flatten() for parameter in model.parameters()])

    assert torch.equal(train("always"), train("never"))
