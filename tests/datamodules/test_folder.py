"""Images of any kind in any folder."""

import os

import numpy as np
import pytest
import torch
from PIL import Image

from genzoo.datamodules import ImageFolder
from genzoo.datamodules.files import is_image, list_images, look
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


def test_all_broken_files_are_named_before_the_training(animals):
    """Those that a look finds at once; those that it does not, at once too, of all splits."""
    (animals / "cat" / "0.png").write_bytes(b"")
    (animals / "dog" / "0.PNG").write_bytes(b"no image at all")
    Image.new("F", (8, 8)).save(animals / "dog" / "floats.tif")
    with pytest.raises(ValueError, match="3 files must be whole image files, got") as error:
        ImageFolder(str(animals), image_size=8).setup("fit")
    for reason in (
        "cat/0.png (an empty file)",
        "dog/0.PNG (cannot identify image file)",
        "dog/floats.tif (32 bits a pixel, which has no one scale)",
    ):
        assert reason in str(error.value)


def test_files_that_are_cut_short_are_named_before_the_training_in_any_split(
    tmp_path,
):
    noise = np.random.default_rng(0).integers(0, 256, (20, 64, 64, 3), dtype=np.uint8)
    for i, pixels in enumerate(noise):
        Image.fromarray(pixels).save(tmp_path / f"{i:02d}.jpg")
    whole = ImageFolder(str(tmp_path), image_size=8, test_size=5, val_size=5)
    whole.setup("fit")
    for at in range(0, 20, 4):
        path = tmp_path / f"{at:02d}.jpg"
        path.write_bytes(path.read_bytes()[:1500])
    data = ImageFolder(str(tmp_path), image_size=8, test_size=5, val_size=5)
    with pytest.raises(ValueError, match="5 files must be whole .*truncated") as error:
        data.setup("fit")
    assert all(f"{at:02d}.jpg" in str(error.value) for at in range(0, 20, 4))
    data = ImageFolder(str(tmp_path), image_size=8, test_size=5, val_size=5, on_error="skip")
    with pytest.warns(UserWarning, match="broken files are left out, .: .*.jpg .image file is tr"):
        data.setup("fit")
    left = [data.split(part) for part in ("train", "val", "test")]
    assert sum(map(len, left)) == 15 and all(len(a) == len(a.labels) for a in left)
    known = [image.tolist() for p in ("train", "val", "test") for image in whole.split(p).images]
    assert all(image.tolist() in known for split in left for image in split.images)


def test_many_broken_files_are_one_line(tmp_path):
    for i in range(30):
        (tmp_path / f"{i:02d}.png").write_bytes(b"")
    with pytest.raises(ValueError, match=r"30 files .*19.png \(an empty file\) and 10 more$"):
        ImageFolder(str(tmp_path)).split("train")


def test_odd_images_have_a_word(tmp_path):
    for i in range(10):
        save(tmp_path / f"{i}.png", color=(i, 0, 0))
    save(tmp_path / "pixel.gif", size=(1, 1))
    with pytest.warns(UserWarning, match="have less than 8 pixels a side: pixel.gif, 1x1"):
        ImageFolder(str(tmp_path), image_size=8).split("train")
    (tmp_path / "pixel.gif").unlink()
    (tmp_path / "photo.heic").write_bytes(b"x")
    with pytest.warns(UserWarning, match="1 images in .* not read and are left out: photo.heic"):
        ImageFolder(str(tmp_path), image_size=8)


def test_twelve_bits_in_sixteen_have_a_word(tmp_path):
    values = np.random.default_rng(0).integers(0, 4096, (20, 8, 8)).astype(np.uint16)
    for i, pixels in enumerate(values):
        Image.fromarray(pixels).save(tmp_path / f"{i}.png")
    with pytest.warns(UserWarning, match="16 bits a pixel and values of 12, at most 4095 of 65535"):
        ImageFolder(str(tmp_path), image_size=8, channels=1).split("train")
    Image.fromarray(values[0] * 16).save(tmp_path / "0.png")  # these use all their bits
    assert not look(list_images(tmp_path), 8).dark


def test_whatever_pillow_opens_is_an_image(tmp_path):
    kinds = ["jfif", "jpe", "tga", "JP2", "pcx", "ico", "dds", "sgi"]
    for i, kind in enumerate(kinds):
        save(tmp_path / f"{i}.{kind}", color=(9 * i, 0, 0), size=(16, 16))
    assert len(list_images(tmp_path)) == len(kinds)
    data = ImageFolder(str(tmp_path), image_size=8, test_size=1, val_size=1)
    assert sum(len(data.split(part)) for part in ("train", "val", "test")) == len(kinds)
    assert is_image("a.AVIF") == (".avif" in Image.registered_extensions())
    assert not any(map(is_image, ("a.txt", "a", ".a.png", "a.eps", "a.mpg", "a.npz")))


def test_five_images_say_what_to_type(tmp_path):
    for i in range(5):
        save(tmp_path / f"{i}.png", color=(i, 0, 0))
    data = ImageFolder(str(tmp_path), image_size=8)
    message = "batch_size must be at most the 3 training .* got 128: --data.batch_size 3"
    with pytest.raises(ValueError, match=message):
        data.train_dataloader()
    assert len(ImageFolder(str(tmp_path), image_size=8, batch_size=3).train_dataloader()) == 1


def test_thumbnails_of_servers_are_passed_over(animals):
    save(animals / "cat" / "@eaDir" / "0.png" / "SYNOPHOTO_THUMB.jpg")
    save(animals / "__MACOSX" / "cat" / "0.png")
    assert len(ImageFolder(str(animals), image_size=8).paths) == 10


def test_links_are_followed_but_not_in_circles(animals):
    (animals / "dog" / "more").symlink_to(animals / "cat")
    (animals / "cat" / "again").symlink_to(animals)
    paths = list_images(animals)
    assert len(paths) == 6 + 4 + 6
    (animals / "cat" / "gone.png").symlink_to(animals / "nowhere.png")
    with pytest.raises(ValueError, match="cat/gone.png .No such file or directory., "):
        ImageFolder(str(animals), image_size=8).split("train")


def test_folders_that_cannot_be_read_are_refused_with_the_reason(animals, monkeypatch):
    scandir = os.scandir

    def guarded(path):
        if str(path).endswith("dog"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr("os.scandir", guarded)
    with pytest.raises(ValueError, match="can be read, with all below.*Permission denied: .*dog"):
        ImageFolder(str(animals))


def test_a_root_that_cannot_be_read_is_refused_with_the_reason(tmp_path):
    with pytest.raises(ValueError, match="root must be a folder that can be read, got .*too long"):
        ImageFolder(str(tmp_path / ("x" * 300)))
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="file, which is not a folder"):
        ImageFolder(str(tmp_path / "file"))


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
