"""Who is held out, when files come and go, and what a checkpoint says of it."""

import warnings

import pytest
import torch
from PIL import Image

from genzoo.datamodules import Digits, ImageFolder
from genzoo.datamodules.splits import cut
from genzoo.zoo import GAN
from tests.helpers.training import fit, trainer

NAMES = [f"{i:04d}.png" for i in range(1000)]


def split(names, **sizes) -> dict[str, str]:
    order, held = cut(len(names), sizes or {"test": 0.1, "val": 0.1}, 0, names)
    parts = {**held, "train": order}
    assert sum(map(len, parts.values())) == len(names)
    return {names[at]: part for part, index in parts.items() for at in index.tolist()}


def test_a_file_less_or_more_moves_no_other():
    before = split(NAMES)
    for some in (NAMES[1:], NAMES[::2], NAMES[500:] + NAMES[:100], [*NAMES, "new.png"]):
        after = split(some)
        assert all(after[name] == before[name] for name in set(some) & set(before))


def test_fractions_hold_on_average_and_counts_hold():
    found = list(split(NAMES, test=0.2, val=0.05).values())
    assert abs(found.count("test") - 200) < 4 * 160**0.5
    assert abs(found.count("val") - 50) < 4 * 48**0.5
    found = list(split(NAMES, test=30, val=7).values())
    assert (found.count("test"), found.count("val")) == (30, 7)
    before, after = split(NAMES, test=30, val=7), split(NAMES[1:], test=30, val=7)
    assert sum(after[name] != before[name] for name in after) <= 2  # over each border one
    mixed = split(NAMES, test=30, val=0.1)
    assert abs(list(mixed.values()).count("val") - 100) < 4 * 90**0.5
    assert {n for n in NAMES if mixed[n] == "test"} == {n for n in NAMES if before[n] == "test"}


def test_few_files_give_one_to_each_split():
    for count in range(3, 12):
        found = list(split(NAMES[:count]).values())
        assert min(found.count("test"), found.count("val"), found.count("train")) >= 1
    with pytest.raises(ValueError, match="val_size must leave images .* got 0.1 of 2 .*val_size 1"):
        split(NAMES[:2])


def test_seeds_hold_out_others():
    order, held = cut(1000, {"test": 0.1}, 0, NAMES)
    _, other = cut(1000, {"test": 0.1}, 1, NAMES)
    both = set(held["test"].tolist()) & set(other["test"].tolist())
    assert len(both) < 10 + 4 * 9**0.5
    assert torch.equal(cut(1000, {"test": 0.1}, 0, NAMES)[0], order)


# Folders


@pytest.fixture
def folder(tmp_path):
    """Three hundred images of two classes, known by their colour."""
    for i in range(300):
        path = tmp_path / "images" / ("cat" if i % 2 else "dog") / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), (i % 256, i // 256, 50)).save(path)
    return tmp_path / "images"


def data(folder, **arguments) -> ImageFolder:
    return ImageFolder(str(folder), image_size=8, batch_size=50, **arguments)


def colours(images) -> set[tuple[int, ...]]:
    return {tuple(image[:, 0, 0].tolist()) for image in images.images}


def splits(folder, **arguments) -> dict[str, set]:
    module = data(folder, **arguments)
    return {part: colours(module.split(part)) for part in ("train", "val", "test")}


def test_one_file_less_in_a_folder_of_300_redraws_nothing(folder):
    before = splits(folder)
    assert sum(map(len, before.values())) == 300
    (folder / "dog" / "0.png").unlink()
    gone = {(0, 0, 50)}
    assert splits(folder) == {part: some - gone for part, some in before.items()}


def test_the_place_of_the_folder_does_not_matter(folder):
    before = splits(folder)
    assert splits(folder.rename(folder.with_name("moved"))) == before


def test_fewer_training_files_are_the_first_and_nothing_else_moves(folder):
    whole, some = splits(folder), splits(folder, num_train=60)
    assert some["train"] < whole["train"] and len(some["train"]) == 60
    assert (some["val"], some["test"]) == (whole["val"], whole["test"])


# What a checkpoint remembers


def small(**arguments) -> GAN:
    return GAN((3, 8, 8), width=4, **arguments)


@pytest.fixture
def checkpoint(folder, tmp_path):
    """Of a GAN after two steps."""
    runner = fit(small(), data(folder), 2)
    runner.save_checkpoint(tmp_path / "c.ckpt")
    return tmp_path / "c.ckpt"


def test(path, module, model=None) -> list[str]:
    """Tests a checkpoint on this data; gives the warnings."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        trainer().test(model or small(), module, ckpt_path=path, weights_only=True, verbose=False)
    return [str(word.message) for word in said if "images" in str(word.message)]


test.__test__ = False


def test_the_same_data_are_tested_without_a_word(folder, checkpoint):
    assert test(checkpoint, data(folder)) == []
    assert test(checkpoint, data(folder, num_train=100)) == []  # no other image is held out
    content = torch.load(checkpoint, weights_only=True)["ImageFolder"]
    assert len(content["trained_on"]) == content["images"]["train"] > 200


def test_a_file_less_is_a_word(folder, checkpoint):
    (folder / "dog" / "0.png").unlink()
    (word,) = test(checkpoint, data(folder))
    assert "not all those of the checkpoint (300 then, 299 now); none of the " in word


def test_a_changed_file_is_another_file(folder, checkpoint):
    Image.new("RGB", (16, 16), (1, 2, 3)).save(folder / "dog" / "0.png", compress_level=0)
    assert "(300 then, 300 now)" in test(checkpoint, data(folder))[0]


@pytest.mark.parametrize("other", [{"seed": 1}, {"val_size": 0.3}, {"test_size": 60}])
def test_a_split_that_holds_out_what_was_trained_on_is_refused(folder, checkpoint, other):
    with pytest.raises(ValueError) as error:
        test(checkpoint, data(folder, **other))
    told = data(folder, **other)
    told.setup()
    held = len(told.split("val")) + len(told.split("test"))
    before = splits(folder)["train"]
    known = sum(
        colour in before for part in ("val", "test") for colour in colours(told.split(part))
    )
    assert known > 10 and f"{known} of the {held} images that are held out" in str(error.value)
    assert "must be that of the checkpoint, seed 0, test_size 0.1, val_size 0.1, got" in str(
        error.value
    )


def test_a_count_that_moves_an_image_over_the_border_says_so(folder, tmp_path):
    module = data(folder, test_size=20, val_size=20)
    fit(small(), module, 1).save_checkpoint(tmp_path / "c.ckpt")
    gone = min(colours(module.split("test")))
    (number,) = (i for i in range(300) if (i % 256, i // 256, 50) == gone)
    (folder / ("cat" if number % 2 else "dog") / f"{number}.png").unlink()
    (word,) = test(tmp_path / "c.ckpt", data(folder, test_size=20, val_size=20))
    assert "(300 then, 299 now); 1 of the 40 that are held out were trained on" in word


def test_other_data_altogether_are_a_word(folder, checkpoint, tmp_path):
    for i in range(100):
        (tmp_path / "other").mkdir(exist_ok=True)
        Image.new("RGB", (9, 9), (i, 0, 0)).save(tmp_path / "other" / f"n{i}.png")
    (word,) = test(checkpoint, data(tmp_path / "other"))
    assert "(300 then, 100 now); none of the" in word


def test_a_checkpoint_that_does_not_say_is_a_word(folder, checkpoint):
    content = torch.load(checkpoint, weights_only=True)
    assert set(content["ImageFolder"]) == {"rule", "images", "fingerprint", "trained_on"}
    del content["ImageFolder"], content["class_names"]
    torch.save(content, checkpoint)
    (word,) = test(checkpoint, data(folder))
    assert "does not say which images of images it was trained on" in word


def test_data_without_names_are_compared_by_how_they_are_split(tmp_path):
    model = GAN((1, 8, 8), width=4)
    fit(model, Digits(), 1).save_checkpoint(tmp_path / "c.ckpt")
    assert test(tmp_path / "c.ckpt", Digits(), GAN((1, 8, 8), width=4)) == []
    (word,) = test(tmp_path / "c.ckpt", Digits(seed=1), GAN((1, 8, 8), width=4))
    assert "with seed 0, test_size 250, val_size 250, but with seed 1, " in word
    assert "images may be held out that were trained on" in word


def test_a_resumed_run_compares_too(folder, checkpoint):
    with pytest.raises(ValueError, match="the split must be that of the checkpoint"):
        runner = trainer(max_epochs=-1, max_steps=4)
        runner.fit(small(), data(folder, seed=3), ckpt_path=checkpoint, weights_only=True)


def test_other_classes_than_the_model_knows_are_refused(folder, tmp_path):
    fit(small(num_classes=2), data(folder, conditional=True), 1).save_checkpoint(
        tmp_path / "c.ckpt"
    )
    path = tmp_path / "c.ckpt"
    assert test(path, data(folder, conditional=True), small(num_classes=2)) == []
    (folder / "cat").rename(folder / "zebra")
    with pytest.raises(ValueError, match="in their order: class 0 was 'cat', got 'dog'"):
        test(path, data(folder, conditional=True), small(num_classes=2))
