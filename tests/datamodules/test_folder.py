"""Images of any kind in any folder."""

import os

import numpy as np
import pytest
import torch
from PIL import Image

from genzoo.datamodules import ImageFolder
from genzoo.datamodules.folder import decode


def save(path, mode="RGB", color=None, size=(8, 8), **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, color or 0).save(path, **options)


def pixel(path, channels=3, size=8):
    """The colour of an image that has one."""
    colours = decode(path, size, channels).flatten(1).unique(dim=1)
    assert colours.shape[1] == 1
    return colours[:, 0].tolist()


@pytest.fixture
def animals(tmp_path):
    """Six cats and four dogs, known by their colour; a class may have folders of its own."""
    for i in range(6):
        save(tmp_path / "cat" / ("small" if i % 2 else "") / f"{i}.png", color=(i, 0, 0))
    for i in range(4):
        save(tmp_path / "dog" / f"{i}.PNG", color=(100 + i, 0, 0))
    (tmp_path / "dog" / "notes.txt").write_text("not an image")
    (tmp_path / ".thumbnails").mkdir()
    (tmp_path / ".thumbnails" / "0.png").write_bytes(b"hidden")
    (tmp_path / "cat" / "._0.png").write_bytes(b"hidden")
    (tmp_path / "empty").mkdir()
    return tmp_path


def test_sub_folders_are_classes(animals):
    data = ImageFolder(str(animals), image_size=8, val_size=2, test_size=3)
    assert data.class_names == ("cat", "dog") and data.num_classes == 2
    assert data.image_shape == (3, 8, 8) and data.name == animals.name
    splits = [data.split(part) for part in ("train", "val", "test")]
    assert [len(split) for split in splits] == [5, 2, 3]
    red = torch.cat([split.images[:, 0, 0, 0] for split in splits])
    assert sorted(red.tolist()) == [0, 1, 2, 3, 4, 5, 100, 101, 102, 103]
    assert torch.cat([split.labels for split in splits]).tolist() == (red >= 100).int().tolist()


def test_images_of_the_folder_itself_are_unlabelled(animals):
    save(animals / "stray.jpg", color=(200, 0, 0))
    with pytest.warns(UserWarning, match="beside the folders cat, dog: move stray.jpg to have"):
        data = ImageFolder(str(animals), image_size=8)
    assert data.num_classes == 0 and data.class_names == ()
    splits = [data.split(part) for part in ("train", "val", "test")]
    assert sum(len(split) for split in splits) == 11
    assert all((split.labels == -1).all() for split in splits)


def test_one_sub_folder_is_not_a_class(animals):
    assert ImageFolder(str(animals / "cat")).num_classes == 0  # some in it, some in small
    for path in (animals / "cat").glob("*.png"):
        path.unlink()
    assert ImageFolder(str(animals / "cat")).num_classes == 0


def test_the_split_does_not_depend_on_how_the_disk_lists_files(animals, monkeypatch):
    first = ImageFolder(str(animals), image_size=8).split("train")
    walk = os.walk

    def backwards(*arguments, **options):
        for place, folders, files in walk(*arguments, **options):
            folders.reverse()
            yield place, folders, files[::-1]

    monkeypatch.setattr("os.walk", backwards)
    assert torch.equal(ImageFolder(str(animals), image_size=8).split("train").images, first.images)


def test_what_shines_through_is_white(tmp_path):
    path = tmp_path / "image.png"
    save(path, "RGBA", (10, 20, 30, 0))
    assert pixel(path) == [255, 255, 255]
    save(path, "RGBA", (0, 0, 0, 51))  # a fifth black on white
    assert pixel(path) == [204, 204, 204] and pixel(path, channels=1) == [204]
    save(path, "RGBA", (10, 20, 30, 255))
    assert pixel(path) == [10, 20, 30]
    save(path, "LA", (0, 0))
    assert pixel(path) == [255, 255, 255]


def test_palettes_have_their_colours(tmp_path):
    path = tmp_path / "image.png"
    image = Image.new("P", (8, 8), 1)
    image.putpalette([0, 0, 0, 40, 80, 120])
    image.save(path)
    assert pixel(path) == [40, 80, 120]
    image.save(path, transparency=1)
    assert pixel(path) == [255, 255, 255]


def test_grey_and_colour_become_what_is_asked_for(tmp_path):
    path = tmp_path / "image.png"
    save(path, "L", 77)
    assert pixel(path, 1) == [77] and pixel(path, 3) == [77, 77, 77]
    save(path, "RGB", (255, 0, 0))
    assert pixel(path, 1) == [76]  # 0.299 of 255
    save(path, "1", 1)
    assert pixel(path, 3) == [255] * 3
    Image.fromarray(np.full((8, 8), 257 * 99, np.uint16)).save(path)
    assert pixel(path, 1) == [99]  # 16 bits
    save(tmp_path / "print.jpg", "CMYK", (0, 0, 0, 255))
    assert pixel(tmp_path / "print.jpg") == [0, 0, 0]


def test_photographs_are_turned_upright(tmp_path):
    pixels = np.zeros((8, 8), np.uint8)
    pixels[:4] = 255  # white above, and the camera lay on its side
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees clockwise
    Image.fromarray(pixels).save(tmp_path / "turned.png", exif=exif)
    upright = decode(tmp_path / "turned.png", 8, 1)[0]
    assert (upright[:, 4:] == 255).all() and (upright[:, :4] == 0).all()


def test_a_wide_photograph_is_cropped_to_its_middle(tmp_path):
    pixels = np.zeros((16, 48, 3), np.uint8)
    pixels[:, 16:32] = (0, 200, 0)
    Image.fromarray(pixels).save(tmp_path / "wide.png")
    assert pixel(tmp_path / "wide.png", size=4) == [0, 200, 0]


def test_a_broken_file_is_named(animals):
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    broken = animals / "dog" / "cut.jpg"
    Image.fromarray(noise).save(broken)
    whole = broken.read_bytes()
    for data in (whole[: len(whole) // 2], b"", b"GIF89a?", whole[200:]):
        broken.write_bytes(data)
        message = "dog/cut.jpg must be a whole image file, got: ."
        with pytest.raises(ValueError, match=message) as error:
            for part in ("train", "val", "test"):
                ImageFolder(str(animals), image_size=8).split(part)
        assert "\n" not in str(error.value)


def test_a_broken_png_is_named(tmp_path):
    path = tmp_path / "image.png"
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path)
    whole = path.read_bytes()
    for data in (whole[: len(whole) // 2], whole[:60], whole[:100] + b"\0" * 50 + whole[150:]):
        path.write_bytes(data)
        with pytest.raises(ValueError, match="image.png must be a whole image file"):
            decode(path, 8, 3)
    Image.new("F", (8, 8)).save(tmp_path / "floats.tif")
    with pytest.raises(ValueError, match="floats.tif must be a whole image .* no one scale"):
        decode(tmp_path / "floats.tif", 8, 3)


def test_folders_without_images_are_refused(tmp_path):
    with pytest.raises(ValueError, match="root must be a folder of images, got .*which has none"):
        ImageFolder(str(tmp_path))
    with pytest.raises(ValueError, match="got .*nowhere, which is not a folder"):
        ImageFolder(str(tmp_path / "nowhere"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (dict(image_size=0), "image_size must be at least 1 for a folder, got 0"),
        (dict(channels=4), r"channels must be 3 \(colour\) or 1 \(grey\), got 4"),
        (dict(test_size=0), "test_size must be a fraction between 0 and 1 or a count, got 0"),
        (dict(test_size=10), "test_size must leave images for every split, got 10 of 10"),
    ],
)
def test_impossible_arguments_are_refused(animals, arguments, message):
    with pytest.raises(ValueError, match=message):
        ImageFolder(str(animals), **arguments).split("train")


@pytest.mark.data
def test_the_real_emoji(real_data):
    folder = real_data / "emoji" / "emoji-datasource-google" / "img" / "google" / "64"
    data = ImageFolder(str(folder), image_size=16, num_train=20, val_size=20, test_size=20)
    images = data.split("train").images
    assert len(data.paths) == 3786 and images.shape == (20, 3, 16, 16)
    assert (images[:, :, 0, 0] == 255).float().mean() > 0.5  # corners are see-through, so white
