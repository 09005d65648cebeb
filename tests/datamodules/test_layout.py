"""What sub-folders mean, and where a file goes by its name."""

import re
from pathlib import PurePosixPath

import pytest
import torch

from genzoo.datamodules.layout import class_names, identities, labels, places, read


def files(*names: str) -> list[PurePosixPath]:
    return [PurePosixPath(name) for name in sorted(names)]


def of(part: str, *classes: str, count: int = 2) -> list[str]:
    folders = [f"{part}/{name}".strip("/") for name in classes or ("",)]
    return [f"{folder}/{i}.png".lstrip("/") for folder in folders for i in range(count)]


def test_places_are_a_function_of_name_and_seed():
    names = [f"{i}.png" for i in range(2000)]
    given = places(names, 0)
    assert torch.equal(places(names[::3], 0), given[::3])  # of nobody else's
    assert 0 <= given.min() and given.max() < 1 and len(given.unique()) == 2000
    quarters = (given * 4).long().bincount()
    assert (quarters - 500).abs().max() < 4 * 375**0.5  # four standard deviations
    other = places(names, 1)
    assert abs(torch.corrcoef(torch.stack([given, other]))[0, 1]) < 4 / 2000**0.5


def test_a_place_is_the_same_in_every_run_and_on_every_system():
    assert places(["cat/1.png"], 0).item() == pytest.approx(0.2826513683, abs=1e-9)
    assert places(["caf\u00e9.png"], 0).equal(places(["cafe\u0301.png"], 0))
    assert len(places(["\udcff.png"], 0)) == 1  # a name that is no text


def test_a_file_is_known_by_its_name_and_its_size():
    same, renamed, changed = identities(["a", "b", "a"], [1, 1, 2]).tolist()
    assert len({same, renamed, changed}) == 3
    assert identities(["a"], [1]).item() == same


def test_numbers_are_in_the_order_of_numbers():
    folders = {str(i) for i in range(12)}
    assert class_names(folders) == tuple(str(i) for i in range(12))
    assert class_names({"10", "9", "08"}) == ("08", "9", "10")
    assert class_names({"10", "9", "cat"}) == ("9", "10", "cat")


def test_labels_are_places_among_the_names():
    names = files(*of("", *map(str, range(12)), count=1))
    layout = read(names, "root")
    assert layout.class_names == tuple(map(str, range(12)))
    assert layout.labels.tolist() == [int(name.parts[0]) for name in names]


@pytest.mark.parametrize("train", ["train", "Train", "TRAIN"])
@pytest.mark.parametrize("val", ["val", "Valid", "validation"])
def test_parts_are_parts_in_any_case(train, val):
    names = files(*of(train, "cat", "dog"), *of(val, "dog", "cat"), *of("Test", "dog"))
    layout = read(names, "root")
    assert layout.class_names == ("cat", "dog") and not layout.words
    assert set(layout.parts) == {"train", "val", "test"}
    for part, folder in (("train", train), ("val", val), ("test", "Test")):
        chosen = [names[at] for at in layout.parts[part]]
        assert chosen == [name for name in names if name.parts[0] == folder]
    known = [layout.class_names[label] for label in layout.labels]
    assert known == [name.parts[1] for name in names]


def test_a_part_alone_is_cut_and_unlabelled_parts_stay_so():
    layout = read(files(*of("train", "cat", "dog")), "root")
    assert set(layout.parts) == {"train"} and layout.class_names == ("cat", "dog")
    layout = read(files(*of("train"), *of("test")), "root")
    assert layout.class_names == () and (layout.labels == -1).all()
    layout = read(files(*of("train", "cat", "dog"), *of("test")), "root")  # as competitions have it
    assert layout.labels.tolist() == [-1, -1, 0, 0, 1, 1]


@pytest.mark.parametrize("name", ["test", "Val", "train"])
def test_a_class_may_be_called_like_a_part_and_there_is_a_word_about_it(name):
    layout = read(files(*of("", name, "cat", "dog")), "root")
    assert set(layout.class_names) == {name, "cat", "dog"} and set(layout.parts) == {"train"}
    assert layout.words == [f"{name} in root is taken for a class, no part of the data"]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (
            of("train", "cat") + of("test", "cat") + of("extra"),
            "got root with test, train beside extra: give root/train, or move the others away",
        ),
        (of("val") + of("valid") + of("train"), "one folder for each .* got train, val, valid in"),
        (of("test", "cat", "dog"), "must have a folder train beside test.* give it itself, root/t"),
        (
            of("train", "cat", "dog") + of("test", "cow", "cat"),
            "the classes of test must be among those of train, cat, dog, got cow in root",
        ),
    ],
)
def test_what_cannot_be_told_is_refused(names, message):
    with pytest.raises(ValueError, match=message):
        read(files(*names), "root")


def test_oddities_have_a_word_each():
    layout = read(files("cover.jpg", *of("", "cat", "dog")), "root")
    (word,) = layout.words
    assert re.search("no image in root is labelled, .*cat, dog: move cover.jpg", word)
    assert layout.class_names == () and (layout.labels == -1).all()
    layout = read(files("cow/0.png", *of("", "cat", "dog")), "root")
    assert layout.words == ["cow in root: a class of one image, which is in one split only"]
    layout = read(files("cover.jpg", *of("train", "a", "b"), *of("test", "a")), "root")
    assert layout.words == ["root has pictures beside test, train, which are left out: cover.jpg"]
    assert layout.class_names == ("a", "b") and 0 not in layout.parts["train"]
    # A pile with a few folders in it is a pile.
    assert not read(files(*of("", count=9), *of("", "some", "more", count=1)), "root").words


def test_samples_lie_in_folders_called_like_classes_or_by_numbers():
    names = files("top/10/a.png", "top/2/a.png", "top/1/a.png")
    assert labels(names).tolist() == [1, 10, 2]
    ten = tuple(map(str, range(1, 11)))
    assert labels(names, ten).tolist() == [0, 9, 1]  # by their names, which begin with 1
    numbered = files("0/a.png", "1/a.png")
    assert labels(numbered, ("cat", "dog")).tolist() == [0, 1]
    assert labels(numbered, ("1", "0")).tolist() == [1, 0]
    assert labels(files("cat/1/a.png", "dog/0/a.png"), ("cat", "dog")).tolist() == [0, 1]
    assert labels(files("cat/a.png", "cow/a.png"), ("cat", "dog")).tolist() == [0, -1]
    assert labels(files("0/a.png", "2/a.png"), ("cat", "dog")).tolist() == [-1, -1]
    assert labels(files("a.png")).tolist() == [-1]
