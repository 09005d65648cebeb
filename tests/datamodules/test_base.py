"""Splits, sizes, scaling and binarisation, which all data share."""

from dataclasses import dataclass, replace

import lightning as L
import numpy as np
import pytest
import torch

from genzoo.datamodules import (
    CIFAR10,
    MNIST,
    CelebA,
    Digits,
    FashionMNIST,
    ImageData,
    Images,
    MNIST10k,
)
from genzoo.images import to_uint8
from tests.helpers.training import trainer


class Numbered(ImageData):
    """100 images of 6x4 that are known by their label; with or without official parts."""

    raw_shape, class_names = (1, 6, 4), tuple(map(str, range(200)))
    test_size = 20

    def __init__(self, official=(), **kwargs):
        super().__init__(**kwargs)
        self.official = official

    def read(self):
        numbers = {"train": range(100), "val": range(100, 110), "test": range(150, 170)}
        return {
            part: Images(torch.full((len(n), 1, 6, 4), 7, dtype=torch.uint8), torch.tensor([*n]))
            for part, n in numbers.items()
            if part in ("train", *self.official)
        }

    def numbers(self, part) -> list[int]:
        return self.split(part).labels.tolist()


class Painted(ImageData):
    """Ten times the same image."""

    raw_shape, test_size = (1, 16, 16), 1

    def __init__(self, image, **kwargs):
        self.raw_shape, self.image = tuple(image.shape), image
        super().__init__(**kwargs)

    def read(self):
        return {"train": Images(self.image.repeat(10, 1, 1, 1), torch.full([10], -1))}


def test_splits_are_disjoint_and_whole():
    data = Numbered(val_size=15)
    parts = [set(data.numbers(part)) for part in ("train", "val", "test")]
    assert [len(part) for part in parts] == [65, 15, 20]
    assert set.union(*parts) == set(range(100))


def test_an_own_data_set_is_three_lines():
    class Mine(ImageData):
        raw_shape, class_names = (3, 5, 5), ("cat", "dog")

        def read(self):
            return {"train": Images(torch.zeros(50, 3, 5, 5, dtype=torch.uint8), torch.ones(50))}

    data = Mine(batch_size=8)
    assert [len(data.split(part)) for part in ("train", "val", "test")] == [40, 5, 5]
    x, y = next(iter(data.train_dataloader()))
    assert x.shape == (8, 3, 5, 5) and y.dtype == torch.int64


def test_splits_are_a_function_of_the_seed():
    def splits(seed):
        return [tuple(Numbered(seed=seed).numbers(part)) for part in ("train", "val", "test")]

    first = splits(1)
    torch.manual_seed(9)
    assert splits(1) == first
    assert all(a != b for a, b in zip(first, splits(2), strict=True))


def test_official_parts_are_kept():
    data = Numbered(official=("test",), val_size=0.25)
    assert data.numbers("test") == list(range(150, 170))
    assert len(data.numbers("val")) == 25  # of the training images
    assert set(data.numbers("val")) | set(data.numbers("train")) == set(range(100))
    data = Numbered(official=("val", "test"))
    assert data.numbers("val") == list(range(100, 110))
    assert sorted(data.numbers("train")) == list(range(100))


def test_fewer_training_images_are_the_first_and_nothing_else_moves():
    all_of_them, some = Numbered(), Numbered(num_train=30)
    assert some.numbers("train") == all_of_them.numbers("train")[:30]
    assert some.numbers("val") == all_of_them.numbers("val")
    assert some.numbers("test") == all_of_them.numbers("test")


def test_only_the_images_that_are_used_are_asked_for():
    asked = []

    class Lazy:
        def __len__(self):
            return 100

        def __getitem__(self, index):
            asked.extend(index.tolist())
            return Images(torch.zeros(len(index), 1, 6, 4, dtype=torch.uint8), index)

    class Files(Numbered):
        def read(self):
            return {"train": Lazy()}

    data = Files(num_train=3)
    data.setup("validate")
    assert asked == data.numbers("val") and len(asked) == 10
    data.setup("fit")
    assert asked == data.numbers("val") + data.numbers("train") and len(asked) == 13


def test_facts_are_there_before_the_data():
    data = Numbered(image_size=32)
    assert data.image_shape == (1, 32, 32) and Numbered().image_shape == (1, 6, 4)
    assert data.num_classes == 200 and data.class_names[3] == "3" and data.name == "Numbered"
    assert str(data) == "Numbered, (1, 32, 32), 200 classes" and not data._splits
    assert not data.conditional and Numbered(conditional=True).conditional
    assert Painted(torch.zeros(1, 2, 2, dtype=torch.uint8)).num_classes == 0


def test_setup_reads_what_the_stage_needs():
    data = Numbered()
    data.setup("test")
    assert set(data._splits) == {"test"}
    data.setup()
    assert set(data._splits) == {"train", "val", "test"}


def test_scaling_goes_there_and_back():
    levels = torch.arange(256, dtype=torch.uint8).view(-1, 1, 1, 1)
    labels = torch.arange(256)
    x, y = Digits().on_after_batch_transfer((levels, labels), 0)
    assert x.dtype == torch.float32 and x.min() == -1 and x.max() == 1
    assert torch.equal(to_uint8(x), levels) and y is labels


def test_what_is_not_an_image_in_bytes_is_left_alone():
    """A class for each pixel is uint8 too, and floats are points or scaled already."""
    points, layout = torch.randn(3, 2), torch.randint(5, (3, 8, 8), dtype=torch.uint8)
    images = torch.full((3, 1, 8, 8), 255, dtype=torch.uint8)
    for made in (tuple, list):
        x, y = Digits().on_after_batch_transfer(made((images, layout)), 0)
        assert (x == 1).all() and y is layout
    batch = Digits().on_after_batch_transfer({"image": images, "layout": layout}, 0)
    assert (batch["image"] == 1).all() and batch["layout"] is layout
    x, y = Digits().on_after_batch_transfer((points, layout), 0)
    assert x is points and y is layout
    others = {"a": points, "b": layout}  # which of them are images nobody knows
    assert Digits().on_after_batch_transfer(others, 0) is others


@dataclass(frozen=True, eq=False)
class Captioned(Images):
    captions: torch.Tensor
    files: list[str]
    boxes: np.ndarray

    @property
    def conditions(self):
        return self.captions


class Captions(Numbered):
    """Each caption, file and box names its image's number."""

    def read(self):
        parts = super().read()
        return {part: self.captioned(data) for part, data in parts.items()}

    def captioned(self, data):
        numbers = data.labels
        captions = numbers[:, None].repeat(1, 7)
        files = [f"{i}.png" for i in numbers.tolist()]
        return Captioned(data.images, numbers, captions, files, numbers.numpy()[:, None] / 2)


@pytest.mark.parametrize("settings", [{}, {"num_train": 12}, {"official": ("val", "test")}])
def test_what_else_is_known_of_images_stays_with_them(settings):
    data = Captions(batch_size=4, **settings)
    for part in ("train", "val", "test"):
        found = data.split(part)
        assert type(found) is Captioned and len(found) > 0
        assert torch.equal(found.captions, found.labels[:, None].expand(-1, 7))
        assert found.files == [f"{i}.png" for i in found.labels.tolist()]
        assert found.boxes[:, 0].tolist() == [i / 2 for i in found.labels.tolist()]
    loaders = data.train_dataloader(), data.val_dataloader(), data.test_dataloader()
    for loader, part in zip(loaders, ("train", "val", "test"), strict=True):
        captions = torch.cat([y for _, y in loader])
        assert captions.shape[1:] == (7,)
        assert set(captions[:, 3].tolist()) <= set(data.numbers(part))


def test_captions_arrive_in_the_step():
    class Model(L.LightningModule):
        def test_step(self, batch):
            self.seen = batch[1]

    data, model = Captions(batch_size=100), Model()
    trainer().test(model, data, verbose=False)
    assert torch.equal(model.seen, data.split("test").captions)


@pytest.mark.parametrize("words", [["cat"], ["cat", "dog", "bird", "fish"]])
def test_what_is_not_known_of_each_image_is_no_field_of_images(words):
    """A vocabulary, say: some of its words would be taken for those of some images."""
    data = Captions().split("test")
    with pytest.raises(ValueError, match=f"files must have .* 20 images, got {len(words)}"):
        replace(data, files=words)
    with pytest.raises(ValueError, match="labels must have an entry for each of the 3 images"):
        Images(torch.zeros(3, 1, 2, 2), torch.zeros(2))


@pytest.mark.parametrize("precision", ["32-true", "64-true", "bf16-true"])
def test_images_come_in_the_dtype_of_the_model(precision):
    class Model(L.LightningModule):
        def test_step(self, batch):
            x, y = batch
            assert x.dtype == self.dtype and y.dtype == torch.int64
            self.seen = torch.equal(to_uint8(x), data.split("test").images)

    data, model = Digits(batch_size=250), Model()
    trainer(precision=precision).test(model, data, verbose=False)
    assert model.seen


def test_a_picture_is_cropped_to_its_middle():
    image = torch.arange(6 * 4, dtype=torch.uint8).view(1, 6, 4)
    cropped = Painted(image, image_size=4).split("test").images[0]
    assert torch.equal(cropped, image[:, 1:5])


def test_a_picture_is_padded_with_white_or_stretched():
    image = torch.arange(6 * 4, dtype=torch.uint8).view(1, 6, 4)
    padded = Painted(image, image_size=6, square="pad").split("test").images[0]
    assert torch.equal(padded[:, :, 1:5], image)
    assert (padded[:, :, [0, 5]] == 255).all()
    rows = torch.arange(0, 240, 40, dtype=torch.uint8).view(1, 6, 1).expand(1, 6, 4)
    stretched = Painted(rows, image_size=4, square="stretch").split("test").images[0, 0].int()
    assert (stretched == stretched[:, :1]).all() and (stretched[1:, 0] > stretched[:-1, 0]).all()
    assert abs(stretched.float().mean() - 100) < 1
    with pytest.raises(ValueError, match="square must be crop, pad or stretch, got 'fill'"):
        Painted(image, square="fill")


def test_the_root_is_where_genzoo_data_says(monkeypatch):
    monkeypatch.delenv("GENZOO_DATA", raising=False)
    assert Digits().root == "data" and Digits(root="x").root == "x"
    monkeypatch.setenv("GENZOO_DATA", "/somewhere")
    assert Digits().root == "/somewhere" and Digits(root="x").root == "x"
    for kind in (MNIST, FashionMNIST, MNIST10k, CIFAR10, CelebA):
        data = kind()
        with pytest.raises(FileNotFoundError, match="needs /somewhere/.* is missing"):
            data.split("train")
    monkeypatch.setenv("GENZOO_DATA", "")
    assert Digits().root == "data"


def test_shrinking_does_not_alias():
    """One white dot in each 4x4 block is dark grey from afar; single pixels are black or white."""
    dots = torch.zeros(1, 32, 32, dtype=torch.uint8)
    dots[:, ::4, ::4] = 255
    small = Painted(dots, image_size=8).split("test").images
    assert small.shape == (1, 1, 8, 8)
    assert (small.float() - 255 / 16).abs().max() < 8  # at the rim a little lighter


def test_threshold_is_at_half():
    image = torch.tensor([[[0, 127], [128, 255]]], dtype=torch.uint8)
    black_and_white = Painted(image, binarise="threshold").split("train").images
    assert black_and_white.dtype == torch.uint8
    assert black_and_white[0].tolist() == [[[0, 0], [255, 255]]]


def test_static_binarisation_is_drawn_once():
    first, second, other = (
        Digits(binarise="static", seed=seed).split("test").images for seed in (0, 0, 1)
    )
    assert torch.equal(first, second)
    assert set(first.unique().tolist()) == {0, 255}
    assert not torch.equal(first, other)
    data = Digits(binarise="static")
    assert data.split("val").images is data.split("val").images
    assert not torch.equal(data.split("val").images, data.split("test").images)


def test_static_binarisation_has_the_grey_values_as_its_mean():
    grey = Digits().split("train").images.float().mean(dim=0)
    white = Digits(binarise="static").split("train").images.float().mean(dim=0)
    error = 127.5 / 1297**0.5  # the largest standard error of a mean of 0 and 255
    assert (grey - white).abs().max() < 4 * error
    assert (grey - white).abs().mean() > 0
    certain = Painted(torch.tensor([[[0, 255]]], dtype=torch.uint8), binarise="static")
    assert certain.split("train").images.unique(dim=0).tolist() == [[[[0, 255]]]]


def test_a_training_set_smaller_than_a_batch_is_refused():
    with pytest.raises(ValueError, match=r"batch_size must be at most the 30 training .* got 31"):
        Numbered(num_train=30, batch_size=31).train_dataloader()
    assert len(Numbered(num_train=30, batch_size=30).train_dataloader()) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (dict(batch_size=0), "batch_size must be at least 1, got 0"),
        (dict(image_size=-1), "image_size must be 0 or more pixels, got -1"),
        (dict(binarise="soft"), "binarise must be none, threshold or static, got 'soft'"),
        (dict(seed=-1), "seed must be 0 or more, got -1"),
        (dict(num_train=-5), r"num_train must be 0 \(all\) or more, got -5"),
        (dict(val_size=0), "val_size must be a fraction between 0 and 1 or a count, got 0"),
        (dict(val_size=1.5), "val_size must be a fraction between 0 and 1 or a count, got 1.5"),
        (dict(val_size=float("inf")), "val_size must be a fraction .* got inf"),
        (dict(val_size=80), "val_size must leave images for every split, got 80 of 100"),
        (dict(val_size=0.001), "val_size must leave images for every split, got 0.001 of 100"),
        (dict(labels_per_class=-1), "labels_per_class must be 0 or more, got -1"),
        (dict(labels_per_class=5), "conditional must be True with labels_per_class 5, got False"),
        (dict(num_train=71), "num_train must be at most the 70 training images, got 71"),
    ],
)
def test_impossible_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        Numbered(**arguments).split("train")


def test_an_own_data_set_that_contradicts_itself_is_refused():
    class Wide(Numbered):
        raw_shape = (1, 6, 5)

    with pytest.raises(ValueError, match=r"raw_shape must be .* \(1, 6, 4\), got \(1, 6, 5\)"):
        Wide().split("val")

    class Nameless(Numbered):
        class_names = ("zero", "one")

    with pytest.raises(ValueError, match="class_names must name every label, got 2 names"):
        Nameless().split("train")
    with pytest.raises(ValueError, match="conditional must be False for images without labels"):
        Painted(torch.zeros(1, 2, 2, dtype=torch.uint8), conditional=True)
    with pytest.raises(ValueError, match="part must be one of train, val, test, got 'valid'"):
        Numbered().split("valid")
