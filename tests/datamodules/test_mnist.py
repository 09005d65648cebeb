"""MNIST and its relatives: their formats, their parts, and what is said of a fault."""

import gzip

import numpy as np
import pytest
import torch

from genzoo.datamodules import CIFAR10, MNIST, CelebA, FashionMNIST, MNIST10k
from tests.helpers.dataset_files import grey, idx, mnist_layout, write


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("kind", [MNIST, FashionMNIST])
def test_idx_files_are_read_plain_or_gzipped(tmp_path, kind, zipped):
    folder = mnist_layout(tmp_path, kind.__name__, zipped=zipped)
    before = sorted(folder.iterdir())
    data = kind(str(tmp_path), val_size=8)
    assert data.image_shape == (1, 28, 28) and data.num_classes == 10 == len(data.class_names)
    assert [len(data.split(part)) for part in ("train", "val", "test")] == [32, 8, 10]
    images, labels = grey(10)
    assert torch.equal(data.split("test").images, torch.from_numpy(images)[:, None])
    assert data.split("test").labels.tolist() == labels.tolist()
    images, labels = grey(40)
    for part in ("train", "val"):
        split = data.split(part)
        numbers = split.images[:, 0, 0, 0].long()
        assert torch.equal(split.images, torch.from_numpy(images)[numbers][:, None])
        assert torch.equal(split.labels, numbers % 10)
    assert sorted(folder.iterdir()) == before  # nothing written beside them


def test_32_pixels_are_reached_by_a_border(tmp_path):
    mnist_layout(tmp_path)
    small, large = (MNIST(str(tmp_path), image_size=size) for size in (0, 32))
    images = large.split("test").images
    assert images.shape == (10, 1, 32, 32) == (10, *large.image_shape)
    assert torch.equal(images[..., 2:-2, 2:-2], small.split("test").images)
    assert images.long().sum() == small.split("test").images.long().sum()  # the border is black
    resized = MNIST(str(tmp_path), image_size=14).split("test").images
    assert resized.shape == (10, 1, 14, 14)


@pytest.mark.parametrize("kind", [MNIST, FashionMNIST, CIFAR10, CelebA, MNIST10k])
def test_missing_files_are_named(tmp_path, kind):
    hint = "set root" if kind is MNIST10k else "download it with --data.download true"
    with pytest.raises(FileNotFoundError, match=f"{kind.__name__} needs {tmp_path}/.* {hint}"):
        kind(str(tmp_path)).split("train")


def packed(data: bytes) -> bytes:
    """Without the time, so that tests are the same on all workers."""
    return gzip.compress(data, mtime=0)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (packed(idx(grey(10)[0]))[:-20], "images-idx3-ubyte.gz must be a whole gzip file"),
        (b"no gzip at all", "must be a whole gzip file"),
        (packed(idx(grey(10)[0])[:-5]), "must hold the 7840 bytes .* got 7835"),
        (packed(idx(grey(10)[0]) + b"x"), "must hold the 7840 bytes .* got 7841"),
        (packed(b"\x89PNG 12345"), r"must be an IDX file of bytes, got .*PNG"),
        (packed(b"\0\0"), "must be an IDX file of bytes"),
        (packed(idx(np.zeros((10, 8, 8), np.uint8))), r"28x28, got \(10, 8, 8\)"),
        (packed(idx(grey(9)[0])), r"labels-idx1-ubyte.gz must hold 9 labels, got \(10,\)"),
    ],
    ids=["cut off", "not packed", "short", "long", "no IDX", "tiny", "8x8", "few labels"],
)
def test_damaged_idx_files_are_named(tmp_path, data, message):
    folder = mnist_layout(tmp_path, zipped=True)
    (folder / "t10k-images-idx3-ubyte.gz").write_bytes(data)
    with pytest.raises(ValueError, match=message):
        MNIST(str(tmp_path)).split("train")


def test_mnist10k_is_split_by_the_seed(tmp_path):
    (tmp_path / "MNIST10k").mkdir()
    images, labels = grey(100)
    write(tmp_path / "MNIST10k" / "images-idx3-ubyte", idx(images), zipped=True)
    write(tmp_path / "MNIST10k" / "labels-idx1-ubyte", idx(labels), zipped=True)
    data = MNIST10k(str(tmp_path))
    numbers = [data.split(part).images[:, 0, 0, 0].tolist() for part in ("train", "val", "test")]
    assert [len(part) for part in numbers] == [80, 10, 10]
    assert sorted(sum(numbers, [])) == list(range(100))
    assert "training" in MNIST10k.__doc__ and "test number" in MNIST10k.__doc__


@pytest.mark.data
def test_the_real_fashion_mnist(real_data):
    folder = real_data / "FashionMNIST" / "raw"
    before = sorted(folder.iterdir())
    data = FashionMNIST(str(real_data))
    assert [len(data.split(part)) for part in ("train", "val", "test")] == [54000, 6000, 10000]
    counts = [data.split(part).labels.bincount() for part in ("train", "val", "test")]
    assert (counts[0] + counts[1]).tolist() == [6000] * 10 and counts[2].tolist() == [1000] * 10
    pixels = torch.cat([data.split(part).images for part in ("train", "val")]).float() / 255
    assert pixels.mean().item() == pytest.approx(0.2860, abs=1e-4)  # widely used constants
    assert pixels.std().item() == pytest.approx(0.3530, abs=1e-4)
    assert sorted(folder.iterdir()) == before


@pytest.mark.data
def test_the_real_mnist10k(real_data):
    data = MNIST10k(str(real_data))
    splits = [data.split(part) for part in ("train", "val", "test")]
    assert [len(split) for split in splits] == [8000, 1000, 1000]
    counts = torch.cat([split.labels for split in splits]).bincount()
    # What the first 10,000 training labels of MNIST are known to hold.
    assert counts.tolist() == [1001, 1127, 991, 1032, 980, 863, 1014, 1070, 944, 978]
    mean = torch.cat([split.images for split in splits]).float().mean().item() / 255
    assert mean == pytest.approx(0.1307, abs=0.002)  # all 60,000: 0.1307
