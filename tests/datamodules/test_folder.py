"""Images of any kind in any folder."""

import numpy as np
import pytest
import torch
from PIL import Image

from genzoo.datamodules import ImageFolder
from genzoo.datamodules.folder import decode
from tests.helpers.dataset_files import pixel, save


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


def test_parts_are_never_mixed(tmp_path):
    """Not two classes "test" and "train", and no test image in the training."""
    for at, (part, kind) in enumerate((p, k) for p in ("train", "Test") for k in ("cat", "dog")):
        for i in range(10):
            save(tmp_path / part / kind / f"{i}.png", color=(at, i, 0))
    data = ImageFolder(str(tmp_path), image_size=8, val_size=4)
    assert data.class_names == ("cat", "dog")
    splits = {part: data.split(part) for part in ("train", "val", "test")}
    assert {part: len(split) for part, split in splits.items()} == {
        "train": 16,
        "val": 4,
        "test": 20,
    }
    for part, split in splits.items():
        first = split.images[:, 0, 0, 0]
        assert set(first.tolist()) == ({2, 3} if part == "test" else {0, 1})
        assert torch.equal(split.labels, first.long() % 2)


def test_classes_called_by_numbers_are_in_their_order(tmp_path):
    for i in range(12):
        for j in range(3):
            save(tmp_path / str(i) / f"{j}.png", color=(i, 0, 0))
    data = ImageFolder(str(tmp_path), image_size=8)
    for part in ("train", "val", "test"):
        split = data.split(part)
        assert torch.equal(split.labels, split.images[:, 0, 0, 0].long())
    assert data.class_names == tuple(map(str, range(12)))


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


def test_five_images_say_what_to_type(tmp_path):
    for i in range(5):
        save(tmp_path / f"{i}.png", color=(i, 0, 0))
    data = ImageFolder(str(tmp_path), image_size=8)
    message = "batch_size must be at most the 3 training .* got 128: --data.batch_size 3"
    with pytest.raises(ValueError, match=message):
        data.train_dataloader()
    assert len(ImageFolder(str(tmp_path), image_size=8, batch_size=3).train_dataloader()) == 1


@pytest.mark.parametrize("how", ["crop", "pad", "stretch"])
def test_a_wide_image_becomes_square(tmp_path, how):
    pixels = np.full((16, 48), 40, np.uint8)
    pixels[:, 16:32] = 200
    for i in range(5):
        Image.fromarray(pixels).save(tmp_path / f"{i}.png")
    sizes = dict(image_size=12, channels=1, test_size=1, val_size=1)
    image = ImageFolder(str(tmp_path), square=how, **sizes).split("train").images[0, 0].int()
    middle = image[6]
    if how == "crop":
        assert (image == 200).all()
    elif how == "pad":  # a third of the height, on white
        assert (image[:3] > 225).all() and (image[-3:] > 225).all()
        assert middle[6] > 190 and middle[0] < 60
    else:
        assert (image == middle).all()
        assert middle[0] < 60 and middle[-1] < 60 and middle[6] > 190


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
        (dict(on_error="ignore"), "on_error must be raise or skip, got 'ignore'"),
        (dict(cache="yes"), "cache must be auto, always or never, got 'yes'"),
        (dict(square="fill"), "square must be crop, pad or stretch, got 'fill'"),
        (dict(conditional=True, image_size=-1), "image_size must be at least 1 for a folder"),
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
