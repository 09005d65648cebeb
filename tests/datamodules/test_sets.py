"""The data sets that are known by name: their formats, their parts, and what is said of a fault."""

import gzip

import numpy as np
import pytest
import torch
from PIL import Image

from genzoo.datamodules import CIFAR10, MNIST, CelebA, Digits, FashionMNIST, MNIST10k
from genzoo.datamodules.celeba import ATTRIBUTES
from genzoo.images import from_uint8, to_levels
from tests.datamodules.files import grey, idx, mnist_layout, write


def test_digits_keep_their_17_levels():
    from sklearn.datasets import load_digits

    data = Digits()
    assert [len(data.split(part)) for part in ("train", "val", "test")] == [1297, 250, 250]
    assert data.image_shape == (1, 8, 8) and data.num_classes == 10
    splits = [data.split(part) for part in ("train", "val", "test")]
    images = torch.cat([split.images for split in splits])
    assert images.unique().tolist() == [round(255 * level / 16) for level in range(17)]
    levels = to_levels(from_uint8(images), 17).view(-1, 64)
    labels = torch.cat([split.labels for split in splits])
    ours = sorted(zip(levels.tolist(), labels.tolist(), strict=True))
    pixels, targets = load_digits(return_X_y=True)
    assert ours == sorted(zip(pixels.astype(int).tolist(), targets.tolist(), strict=True))


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


def test_files_that_are_there_are_not_fetched(tmp_path, monkeypatch):
    mnist_layout(tmp_path, zipped=True)
    monkeypatch.setattr("torchvision.datasets.MNIST.download", lambda self: pytest.fail("fetched"))
    assert len(MNIST(str(tmp_path), download=True).split("test")) == 10


@pytest.mark.parametrize("kind", [MNIST, FashionMNIST, CIFAR10, CelebA, MNIST10k])
def test_missing_files_are_named(tmp_path, kind):
    hint = "set root" if kind is MNIST10k else "download it with --data.download true"
    with pytest.raises(FileNotFoundError, match=f"{kind.__name__} needs {tmp_path}/.* {hint}"):
        kind(str(tmp_path)).split("train")


@pytest.mark.parametrize(
    ("kind", "place"),
    [
        (MNIST, "https?://.*/mnist/"),
        (FashionMNIST, "https?://.*fashion-mnist"),
        (CIFAR10, "https://www.cs.toronto.edu/"),
        (CelebA, "Google Drive"),
    ],
)
def test_a_closed_network_is_said_in_one_line(tmp_path, monkeypatch, kind, place):
    def closed(self):
        raise OSError("no route\nto host")

    monkeypatch.setattr(f"torchvision.datasets.{kind.__name__}.download", closed)
    says = f"{kind.__name__} could not be downloaded from {place}.* to .*: no route to host. Look"
    with pytest.raises(ConnectionError, match=says):
        kind(str(tmp_path), download=True).split("train")


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


def test_cifar10_is_read_by_torchvision(tmp_path, monkeypatch):
    import pickle

    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    rows = np.random.default_rng(0).integers(0, 256, (60, 3072), dtype=np.uint8)
    names = [f"data_batch_{i}" for i in range(1, 6)] + ["test_batch"]
    for at, name in enumerate(names):
        batch = {"data": rows[at * 10 : at * 10 + 10], "labels": list(range(10))}
        (folder / name).write_bytes(pickle.dumps(batch))
    with pytest.raises(FileNotFoundError, match="CIFAR10 needs .*batches.meta"):
        CIFAR10(str(tmp_path)).split("test")
    (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": list(CIFAR10.class_names)}))
    with pytest.raises(ValueError, match="CIFAR-10 unaltered, got another checksum"):
        CIFAR10(str(tmp_path)).split("test")
    monkeypatch.setattr("torchvision.datasets.cifar.check_integrity", lambda *_: True)
    data = CIFAR10(str(tmp_path))
    assert data.image_shape == (3, 32, 32) and data.num_classes == 10
    test = data.split("test")
    assert torch.equal(test.images, torch.from_numpy(rows[50:]).view(-1, 3, 32, 32))
    assert test.labels.tolist() == list(range(10))
    assert [len(data.split(part)) for part in ("train", "val")] == [45, 5]


@pytest.fixture
def faces(tmp_path):
    """Nine grey faces of 178x218 with a white stripe above the central square."""
    folder = tmp_path / "celeba"
    (folder / "img_align_celeba").mkdir(parents=True)
    rows, partition = [], []
    for i in range(9):
        pixels = np.full((218, 178, 3), 20 * i, np.uint8)
        pixels[:20] = 255
        Image.fromarray(pixels).save(folder / "img_align_celeba" / f"{i:06}.jpg", quality=95)
        marks = [" 1" if (i % 2 == 0) == (name == "Smiling") else "-1" for name in ATTRIBUTES]
        rows.append(f"{i:06}.jpg {' '.join(marks)}")
        partition.append(f"{i:06}.jpg {i // 3}")
    header = " ".join(ATTRIBUTES) + " "
    (folder / "list_attr_celeba.txt").write_text("\n".join(["9", header, *rows]) + "\n")
    (folder / "list_eval_partition.txt").write_text("\n".join(partition) + "\n")
    return tmp_path


def test_celeba_has_its_official_parts(faces):
    data = CelebA(str(faces))
    assert data.image_shape == (3, 64, 64) and data.num_classes == 0
    for at, part in enumerate(("train", "val", "test")):
        split = data.split(part)
        assert split.images.shape == (3, 3, 64, 64) and split.labels.tolist() == [-1] * 3
        greys = sorted(split.images.float().mean(dim=(1, 2, 3)).tolist())
        assert greys == pytest.approx([20 * (3 * at + i) for i in range(3)], abs=3)  # no stripe
    assert len(CelebA(str(faces), num_train=2).split("train")) == 2


def test_an_attribute_of_celeba_is_a_label(faces):
    data = CelebA(str(faces), attribute="Smiling", image_size=8, conditional=True)
    assert data.num_classes == 2 and data.class_names == ("not Smiling", "Smiling")
    assert data.split("val").labels.tolist() == [0, 1, 0]  # faces 3, 4 and 5
    other = CelebA(str(faces), attribute="Young", image_size=8)
    assert other.split("val").labels.tolist() == [1, 0, 1]


def test_celeba_refuses_what_is_not_there(faces):
    with pytest.raises(ValueError, match="attribute must be one of 5_o_Clock.*, got 'Smile'"):
        CelebA(str(faces), attribute="Smile")
    with pytest.raises(ValueError, match="image_size must be at least 1 for CelebA, got 0"):
        CelebA(str(faces), image_size=0)
    (faces / "celeba" / "img_align_celeba" / "000007.jpg").unlink()
    with pytest.raises(ValueError, match="000007.jpg must be a whole image file"):
        CelebA(str(faces)).split("test")
    (faces / "celeba" / "list_attr_celeba.txt").write_text("1\nSmiling\n000000.jpg 1\n")
    with pytest.raises(ValueError, match="list_attr_celeba.txt must begin with a count"):
        CelebA(str(faces)).split("test")


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
