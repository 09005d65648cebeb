"""Which files of a folder are images, and what is said of broken ones."""

import os

import numpy as np
import pytest
import torch
from PIL import Image

from genzoo.datamodules import ImageFolder
from genzoo.datamodules.files import is_image, list_images, look
from genzoo.datamodules.folder import decode
from tests.helpers.dataset_files import save


def test_the_split_does_not_depend_on_how_the_disk_lists_files(animals, monkeypatch):
    first = ImageFolder(str(animals), image_size=8).split("train")
    walk = os.walk

    def backwards(*arguments, **options):
        for place, folders, files in walk(*arguments, **options):
            folders.reverse()
            yield place, folders, files[::-1]

    monkeypatch.setattr("os.walk", backwards)
    assert torch.equal(ImageFolder(str(animals), image_size=8).split("train").images, first.images)


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
