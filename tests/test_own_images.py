"""A folder of one's own images on the command line, from the first training to samples by name."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from genzoo.datamodules import ImageFolder
from genzoo.zoo import SampleFolder
from tests.helpers.command_lines import FAST

FOLDER = "--data ImageFolder --data.root images --data.image_size 8 --data.channels 1"
GAN = f"--model GAN --model.width 8 {FOLDER} --data.batch_size 16 {FAST}"
LAST = "runs/GAN-ImageFolder/version_0/checkpoints/last.ckpt"


@pytest.fixture
def images(tmp_path) -> Path:
    """Twenty images in each of twelve folders, 0 to 11, as light as their number."""
    for label in range(12):
        folder = tmp_path / "images" / str(label)
        folder.mkdir(parents=True)
        for i in range(20):
            pixels = np.full((8, 8), 20 * label + i % 8, np.uint8)
            Image.fromarray(pixels).save(folder / f"{i}.png")
    return tmp_path / "images"


def renamed(images: Path) -> Path:
    for label, name in enumerate(("cat", "dog", "fish")):
        (images / str(label)).rename(images / name)
    return images


def test_samples_are_read_in_the_order_of_the_data(images):
    """By numbers and by names, also where the data's first number is not 0."""

    def agree() -> None:
        data = ImageFolder(str(images), image_size=8, channels=1, conditional=True)
        samples = SampleFolder(
            str(images), data.image_shape, data.num_classes, class_names=data.class_names
        )
        levels = samples.sample_at(0, samples.num_available)[:, 0, 0, 0].add(1).mul(127.5)
        given = samples.labels_at(0, samples.num_available)
        pairs = zip(levels, given, strict=True)
        split = data.split("train")
        means = {int(k): split.images[split.labels == k].float().mean() for k in given.unique()}
        assert len(means) == data.num_classes
        assert max(abs(level - means[int(k)]) for level, k in pairs) < 10

    agree()
    for path in (images / "0").glob("*.png"):
        path.unlink()
    agree()  # the class 1 is the first now
    renamed(images)
    agree()


def test_samples_by_another_name_are_refused(images):
    with pytest.raises(ValueError, match="by folders called cat, dog or of these names or an arr"):
        SampleFolder(str(renamed(images)), (1, 8, 8), 2, class_names=("cat", "dog"))


def test_the_command_line_tells_the_samples_what_the_classes_are_called(genzoo, images):
    shutil.copytree(images, "samples")
    renamed(images)
    line = f"test --model SampleFolder --model.path samples {FOLDER} --data.conditional true"
    line += " --evaluate false --trainer.accelerator cpu"
    renamed(Path("samples"))
    genzoo(line)
    Path("samples/cat").rename("samples/cow")
    assert "labels in 0..11, by folders called 3, 4, 5, " in genzoo(line, 1)
    line = f"fit {GAN} --data.conditional true --model.class_names [a]"
    assert "genzoo: GAN has no argument class_names" in genzoo(line, 2)


def test_a_class_is_drawn_by_its_name(genzoo, images):
    renamed(images)
    genzoo(f"fit {GAN} --data.conditional true")
    content = torch.load(LAST, weights_only=True)
    names = [*map(str, range(3, 12)), "cat", "dog", "fish"]
    assert content["class_names"] == names
    for asked, labels in (
        ("cat", [names.index("cat")]),
        ("dog,cat", [names.index("dog"), names.index("cat")]),
        ("3", [names.index("3")]),  # a name comes before a number
        ("2", [2]),
    ):
        genzoo(f"sample --ckpt_path {LAST} --n 4 --y {asked} --output {asked}.npz")
        given = np.load(f"{asked}.npz")["labels"].tolist()
        assert given == (labels * 4)[:4]
    message = genzoo(f"sample --ckpt_path {LAST} --y dgo --output x.npz", 2)
    assert "--y must be numbers or names of classes" in message and "Did you mean dog?" in message


def test_a_run_goes_on_and_is_tested_when_a_file_is_gone(genzoo, images, recwarn):
    genzoo(f"fit {GAN} --data.mirror true --data.shifts 1")
    (images / "3" / "3.png").unlink()
    fast = FAST.replace("--trainer.max_epochs 1", "--trainer.max_epochs 2")
    genzoo(f"fit {GAN.replace(FAST, fast)} --data.mirror true --data.shifts 1 --ckpt_path last")
    words = {
        str(word.message) for word in recwarn if "those of the checkpoint" in str(word.message)
    }
    assert words and all("none of the" in word for word in words)
    message = genzoo(f"test --ckpt_path {LAST} --data.seed 1 --evaluate false", 1)
    assert "the split must be that of the checkpoint, seed 0, " in message


def test_an_order_that_differs_is_refused(genzoo, images):
    genzoo(f"fit {GAN} --data.conditional true")
    (images / "3").rename(images / "30")
    message = genzoo(f"test --ckpt_path {LAST} --evaluate false", 1)
    assert "class_names must be those of the checkpoint, in their order: class 3 was '3', got" in (
        message
    )


def test_misuse_of_a_folder_is_one_line(genzoo, images):
    (images / "3" / "3.png").write_bytes(b"")
    (images / "4" / "3.png").write_bytes(b"x")
    assert "2 files must be whole image files, got" in genzoo(f"fit {GAN}", 1)
    for label in range(1, 12):
        (images / str(label)).rename(images.parent / f"away{label}")
    (images / "0").rename(images / "test")
    assert "must have a folder train beside test" in genzoo(f"fit {GAN}", 1)
