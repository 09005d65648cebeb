"""Images from elsewhere: what is read, what is refused, and that each is looked at once."""

import io
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn

from genzoo.callbacks.evidence import draw
from genzoo.images import from_uint8, to_uint8
from genzoo.protocols import Finite, Sampler
from genzoo.run import Data as RealData
from genzoo.run import Run
from genzoo.zoo import GivenSamples, RealFolder, SampleFolder, Wrapped
from tests.helpers.toy_model_and_data import pictures


@pytest.fixture(autouse=True)
def _cache(tmp_path, monkeypatch):
    monkeypatch.setenv("GENZOO_CACHE", str(tmp_path / "cache"))


def colour(n: int = 12):
    """Images (n, 3, 6, 5), no two of them alike."""
    return torch.randint(0, 256, (n, 3, 6, 5), generator=torch.Generator().manual_seed(0)).byte()


def array(image: torch.Tensor):
    return image[0].numpy() if len(image) == 1 else image.movedim(0, -1).numpy()


def png(image: torch.Tensor) -> bytes:
    file = io.BytesIO()
    Image.fromarray(array(image)).save(file, "PNG")
    return file.getvalue()


def write(folder: Path, images: torch.Tensor, labels=None, kind: str = "folder") -> Path:
    """The images in one of the forms that are read."""
    names = [f"{i:03d}.png" for i in range(len(images))]
    if labels is not None:
        names = [f"{label}/{name}" for label, name in zip(labels, names, strict=True)]
    if kind == "folder":
        for name, image in zip(names, images, strict=True):
            (folder / "made" / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / "made" / name).write_bytes(png(image))
        return folder / "made"
    with zipfile.ZipFile(folder / "made.zip", "w") as archive:
        for name, image in zip(names, images, strict=True):
            archive.writestr(f"top/{name}", png(image))
    return folder / "made.zip"


def stored(folder: Path, **arrays) -> Path:
    np.savez(folder / "made.npz", **arrays)
    return folder / "made.npz"


def found(model: SampleFolder) -> torch.Tensor:
    return to_uint8(model.sample_at(0, model.num_available))


def same_set(a: torch.Tensor, b: torch.Tensor) -> bool:
    return sorted(a.flatten(1).tolist()) == sorted(b.flatten(1).tolist())


# What is read


@pytest.mark.parametrize("kind", ["folder", "zip"])
@pytest.mark.parametrize("images", [colour(), pictures(12)[0]], ids=["colour", "grey"])
@pytest.mark.parametrize("labels", [None, [0, 1, 2] * 4])
def test_files_come_back_to_the_byte(tmp_path, kind, images, labels):
    model = SampleFolder(str(write(tmp_path, images, labels, kind)), tuple(images.shape[1:]))
    assert model.num_available == 12 and model.image_shape == tuple(images.shape[1:])
    assert same_set(found(model), images)
    assert isinstance(model, Sampler) and isinstance(model, Finite)
    assert not list(model.parameters()) and model.labels_at(0, 12) is None


@pytest.mark.parametrize("layout", ["NHWC", "NCHW", "NHW", "unnamed"])
def test_arrays_in_any_layout(tmp_path, layout):
    images = pictures(12)[0] if layout == "NHW" else colour()
    given = {"NHWC": images.movedim(1, -1), "NHW": images[:, 0]}.get(layout, images).numpy()
    path = stored(tmp_path, **{"arr_0" if layout == "unnamed" else "images": given})
    assert same_set(found(SampleFolder(str(path), tuple(images.shape[1:]))), images)


def test_what_genzoo_sample_writes_is_read(tmp_path):
    from genzoo.cli.sample import write as write_samples

    images, labels = pictures(9)
    for output in (tmp_path / "s.npz", tmp_path / "s"):
        write_samples(images, labels, output)
        assert same_set(found(SampleFolder(str(output), (1, 8, 8))), images)
    model = SampleFolder(str(tmp_path / "s.npz"), (1, 8, 8), num_classes=3)
    assert sorted(model.labels_at(0, 9).tolist()) == sorted(labels.tolist())


def test_grey_that_was_saved_as_colour_is_grey(tmp_path):
    images = pictures(4)[0]
    path = write(tmp_path, images.expand(-1, 3, -1, -1))
    assert same_set(found(SampleFolder(str(path), (1, 8, 8))), images)
    images = colour(3)
    images[1] = images[1, :1]  # some programs save such a one as grey
    path = write(tmp_path / "b", images)
    (path / "001.png").write_bytes(png(images[1, :1]))
    assert same_set(found(SampleFolder(str(path), (3, 6, 5))), images)


@pytest.mark.parametrize("kind", ["folder", "zip"])
def test_labels_stay_with_their_images(tmp_path, kind):
    images, labels = pictures(12)
    path = write(tmp_path, images, labels.tolist(), kind)
    model = SampleFolder(str(path), (1, 8, 8), num_classes=3)
    given = found(model)
    for i, label in enumerate(model.labels_at(0, 12)):
        assert any(torch.equal(given[i], image) for image in images[labels == label])
    assert model.labels_at(0, 4).unique().numel() > 1  # shuffled: the first are not of one class


# Each once


def test_blocks_are_a_partition(tmp_path):
    images = pictures(250)[0]
    model = SampleFolder(str(stored(tmp_path, images=images.numpy())), (1, 8, 8))
    run = Run(RealData(read=None))
    drawn = draw(run, model, 250, (1, 8, 8))
    assert same_set(drawn, images) and not torch.equal(drawn, images)
    assert torch.equal(draw(run, model, 120, (1, 8, 8), seed=5), drawn[:120])


def test_no_sample_comes_twice(tmp_path):
    images = pictures(20)[0]
    model = SampleFolder(str(stored(tmp_path, images=images.numpy())))
    assert same_set(to_uint8(model.sample(20)), images)
    assert len(to_uint8(model.sample(10)).unique(dim=0)) == 10
    for ask in (lambda: model.sample(21), lambda: model.sample_at(15, 6)):
        with pytest.raises(ValueError, match="n must be at most 20, .* made.npz, .* got 21"):
            ask()
    with pytest.raises(ValueError, match="y must be None"):
        model.sample(2, torch.tensor([0, 1]))


# What is refused


def test_what_is_not_there(tmp_path):
    for name in ("nowhere", "nowhere.zip", "nowhere.npz"):
        with pytest.raises(ValueError, match=f"path must be .* got .*{name}"):
            SampleFolder(str(tmp_path / name))
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="path must be a folder of images, got .*which has none"):
        SampleFolder(str(tmp_path / "empty"))
    zipfile.ZipFile(tmp_path / "empty.zip", "w").close()
    with pytest.raises(ValueError, match=r"path must be a \.zip of images, .* which has none"):
        SampleFolder(str(tmp_path / "empty.zip"))


@pytest.mark.parametrize("kind", ["folder", "zip"])
def test_a_broken_image_is_named(tmp_path, kind):
    if kind == "folder":
        path = write(tmp_path, colour(3))
        (path / "001.png").write_bytes(png(colour(1)[0])[:60])
    else:
        path = tmp_path / "made.zip"
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("000.png", png(colour(1)[0]))
            archive.writestr("001.png", b"nothing of the kind")
    with pytest.raises(ValueError, match=r"001\.png must be a whole image file, got"):
        SampleFolder(str(path))


def test_a_damaged_archive_is_one_line(tmp_path):
    path = write(tmp_path, colour(3), kind="zip")
    content = bytearray(path.read_bytes())
    content[content.index(b"IDAT") + 8] ^= 255  # its checksum tells
    path.write_bytes(content)
    with pytest.raises(ValueError, match="must be a whole image file"):
        SampleFolder(str(path))


def test_other_sizes_and_colours(tmp_path):
    path = str(write(tmp_path, colour(3)))
    wanted = {(3, 6, 6): "6x6 in colour", (1, 6, 5): "6x5 grey", (1, 8, 8): "8x8 grey"}
    for shape, said in wanted.items():
        with pytest.raises(ValueError, match=f"like the data, {said}, got 6x5 in colour"):
            SampleFolder(path, shape)
    with pytest.raises(ValueError, match="like the data, 8x8 in colour, got 8x8 grey"):
        SampleFolder(str(write(tmp_path / "grey", pictures(3)[0])), (3, 8, 8))
    (tmp_path / "made" / "001.png").write_bytes(png(pictures(1)[0][0]))
    with pytest.raises(ValueError, match=r"of one size, got 6x5 \(000.png\) and 8x8 \(001.png\)"):
        SampleFolder(path)


@pytest.mark.parametrize(
    "arrays, message",
    [
        ({"images": np.array([{}, {}], dtype=object)}, "an .npz of plain arrays.*allow_pickle"),
        ({"a": np.zeros(3), "b": np.zeros(3)}, "no array `images` among a, b"),
        ({"images": np.zeros((3, 8, 8, 3))}, "uint8 in 0..255, got float64"),
        ({"images": np.zeros((3, 8, 8, 2), np.uint8)}, r"got \(3, 8, 8, 2\)"),
        ({"images": np.zeros((0, 8, 8), np.uint8)}, r"got \(0, 8, 8, 1\)"),
        (
            {"images": np.zeros((3, 8, 8), np.uint8), "labels": np.zeros(2, int)},
            r"labels must be \(3,\) integers, got int64 \(2,\)",
        ),
    ],
)
def test_arrays_that_are_no_images(tmp_path, arrays, message):
    with pytest.raises(ValueError, match=message):
        SampleFolder(str(stored(tmp_path, **arrays)))


def test_a_file_that_is_no_array(tmp_path):
    (tmp_path / "x.npz").write_bytes(b"PK\x03\x04 and nothing more")
    with pytest.raises(ValueError, match="path must be an .npz of plain arrays"):
        SampleFolder(str(tmp_path / "x.npz"))


def test_members_that_point_outside_write_nothing(tmp_path):
    home = tmp_path / "a" / "b"
    home.mkdir(parents=True)
    images = colour(2)
    with zipfile.ZipFile(home / "made.zip", "w") as archive:
        archive.writestr("../../outside.png", png(images[0]))
        archive.writestr("/root.png", png(images[1]))
        archive.writestr("__MACOSX/._root.png", b"no image")
    before = sorted(tmp_path.rglob("*"))
    assert same_set(found(SampleFolder(str(home / "made.zip"))), images)
    assert sorted(tmp_path.rglob("*")) == before


def test_labels_that_are_missing_or_impossible(tmp_path):
    images = pictures(4)[0]
    for labels in (None, [0, 1, 2, 3], ["a", "b", "0", "1"]):
        with pytest.raises(ValueError, match=r"must have labels in 0\.\.2, by folders"):
            SampleFolder(str(write(tmp_path / str(labels), images, labels)), (1, 8, 8), 3)


# Generators


def test_a_callable_is_a_model():
    model = Wrapped(lambda n: np.zeros((n, 1, 4, 4), np.uint8) + 255, low=0, high=255)
    assert isinstance(model, Sampler) and not isinstance(model, Finite)
    assert torch.equal(model.sample(3), torch.ones(3, 1, 4, 4))
    bytes_ = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16)
    assert torch.equal(Wrapped(lambda n: bytes_, low=0, high=255).sample(1), from_uint8(bytes_))


def test_a_module_is_given_latents():
    class Generator(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Sequential(nn.Linear(3, 16), nn.Dropout(0.5))

        def forward(self, z):
            return self.layer(z.flatten(1)).sigmoid().view(-1, 1, 4, 4)

    for latent in (3, (3, 1, 1)):
        model = Wrapped(Generator(), (1, 4, 4), latent_dim=latent, low=0).train()
        # high is 1 by default, and 0..1 is brought to -1..1
        torch.manual_seed(1)
        x = model.sample(5)
        torch.manual_seed(1)
        expected = 2 * model.generate.eval()(torch.randn(5, 3)) - 1
        torch.testing.assert_close(x, expected)
        assert not x.requires_grad and len(list(model.parameters())) == 2
        assert model.name == "Generator"


def test_a_conditional_generator_is_told_the_labels():
    def generate(n, y):
        return (y.view(-1, 1, 1, 1) / 2.0 - 0.5).expand(n, 1, 2, 2)

    model = Wrapped(generate, num_classes=3)
    assert model.sample(3, torch.tensor([2, 0, 1]))[:, 0, 0, 0].tolist() == [0.5, -0.5, 0.0]
    assert set(model.sample(60)[:, 0, 0, 0].tolist()) == {0.5, -0.5, 0.0}


def test_a_range_that_was_not_declared():
    with pytest.warns(UserWarning, match=r"look as if in \[0, 1\]: Wrapped\(..., low=0\)"):
        Wrapped(lambda n: torch.rand(n, 1, 4, 4)).sample(8)
    with pytest.raises(ValueError, match=r"<lambda> must give images in \[-1, 1\], got \[0, 255\]"):
        Wrapped(lambda n: torch.tensor([0.0, 255]).expand(n, 1, 4, 2), (1, 4, 2)).sample(1)
    with pytest.raises(ValueError, match="high must be greater than low, 1, got 0"):
        Wrapped(lambda n: None, low=1, high=0)
    with pytest.raises(TypeError, match="generate must be callable, got a int"):
        Wrapped(3)


# What others give


class Carrier:
    """As diffusers' and pythae's outputs: images under a name of their own."""

    def __init__(self, **named):
        self.__dict__.update(named)


def forms(x):
    """The same bytes (n, 3, H, W) in every form that is in use."""
    last = x.movedim(1, -1).numpy()
    pillow = [Image.fromarray(image) for image in last]
    return {
        "tensor": x,
        "array": x.numpy(),
        "channels last": last,
        "channels last, a tensor": x.movedim(1, -1),
        "long": x.long(),
        "pillow": pillow,
        "pillow in a tuple": (pillow, None),
        "tuple": (x,),
        "tuple with labels": (last, np.zeros(len(x))),
        "list of images": list(last),
        "list of batches": [x[:3], x[3:]],
        "images": Carrier(images=pillow),
        "reconstruction": Carrier(reconstruction=x, z=torch.zeros(len(x), 2)),
        "dictionary": {"recon_x": x},
        "floats": from_uint8(x),
        "floats, channels last": from_uint8(x).movedim(1, -1).double().numpy(),
        "half": Carrier(sample=from_uint8(x, torch.float64)),
    }


@pytest.mark.parametrize("name", forms(colour(5)))
@pytest.mark.parametrize("shape", [None, (3, 6, 5)])
def test_any_form_is_taken(name, shape):
    x = colour(5)
    model = Wrapped(lambda n: forms(x)[name], shape)
    torch.testing.assert_close(model.sample(5), from_uint8(x))
    assert torch.equal(to_uint8(model.sample(5)), x)
    given = GivenSamples(forms(x)[name], shape)
    assert same_set(found(given), x) and isinstance(given, Finite)


def test_grey_forms():
    x = pictures(4)[0]
    pillow = [Image.fromarray(image[0].numpy()) for image in x]
    for given in (x[:, 0], x[:, 0].numpy(), x.movedim(1, -1), pillow, list(x[:, 0].numpy())):
        for shape in (None, (1, 8, 8)):
            assert torch.equal(to_uint8(Wrapped(lambda n, g=given: g, shape).sample(4)), x)
    flat = Wrapped(lambda n: from_uint8(x).flatten(1), (1, 8, 8))
    assert torch.equal(to_uint8(flat.sample(4)), x)
    bits = Wrapped(lambda n: x[:, 0] > 90)
    assert torch.equal(bits.sample(4), (x > 90).float() * 2 - 1)


def test_a_known_shape_says_which_axis_is_which():
    x = torch.rand(4, 3, 5, 3) * 2 - 1  # both ends could be the colours
    assert torch.equal(Wrapped(lambda n: x).sample(4), x)
    assert torch.equal(Wrapped(lambda n: x, (3, 3, 5)).sample(4), x.movedim(-1, 1))


@pytest.mark.parametrize(
    "given, error, said",
    [
        ("noise", TypeError, "must give images: a tensor, .* got a str"),
        (Carrier(latents=torch.zeros(2, 4)), TypeError, "got a Carrier"),
        ([], TypeError, "got a list"),
        (
            [np.zeros((2, 2)), np.zeros((3, 3))],
            ValueError,
            r"of one size and kind, got \(2, 2\) and",
        ),
        ([Image.new("L", (2, 3)), Image.new("L", (4, 3))], ValueError, "one size, got 3x2 and 3x4"),
        (torch.full((2, 1, 4, 4), 300), ValueError, "bytes in 0..255 or floats, got torch.int64"),
        (torch.eye(4)[None, None].expand(2, 1, 4, 4).byte(), ValueError, "no more than 0 and 1"),
    ],
)
def test_what_is_no_image_is_refused_by_name(given, error, said):
    with pytest.raises(error, match=said):
        Wrapped(lambda n: given).sample(2)


def test_given_floats_in_0_to_1_are_named():
    with pytest.raises(ValueError, match=r"look as if in \[0, 1\]: scale them by 2 x - 1"):
        GivenSamples(np.random.rand(5, 8, 8, 3))
    with pytest.raises(ValueError, match=r"labels must be \(5,\)"):
        GivenSamples(colour(5), labels=[0, 1])
    labelled = GivenSamples(colour(5), labels=[0, 1, 2, 0, 1])
    for image, label in zip(found(labelled), labelled.labels_at(0, 5), strict=True):
        assert [0, 1, 2, 0, 1][(colour(5) == image).flatten(1).all(1).nonzero().item()] == label


def test_bits_in_files_are_named(tmp_path):
    images = (pictures(6)[0] > 90).byte()
    with pytest.raises(ValueError, match="must have bytes in 0..255, .* multiply them by 255"):
        SampleFolder(str(stored(tmp_path, images=images.numpy())))
    with pytest.raises(ValueError, match=r"uint8 in 0..255, got float32 .* save \(255 \* x\)"):
        SampleFolder(str(stored(tmp_path, images=images.float().numpy())))


# Resized


@pytest.mark.parametrize("how", ["bicubic", "bilinear", "area"])
def test_resizing_is_asked_for_and_stands_in_the_protocol(tmp_path, how):
    images = torch.arange(4, dtype=torch.uint8).view(4, 1, 1, 1).expand(4, 3, 16, 16) * 50
    path = str(write(tmp_path, images))
    with pytest.raises(ValueError, match="8x8 in colour, got 16x16 in colour .resize: bicubic"):
        SampleFolder(path, (3, 8, 8))
    model = SampleFolder(path, (3, 8, 8), resize=how)
    assert same_set(found(model), images[..., :8, :8])  # of one colour, before and after
    assert model.sample_protocol == {"samples_resized": f"{how}, from 16x16"}
    npz = SampleFolder(str(stored(tmp_path, images=images.numpy())), (3, 8, 8), resize=how)
    assert same_set(found(npz), images[..., :8, :8])
    assert SampleFolder(path, (3, 16, 16), resize=how).sample_protocol == {}


def test_resizing_is_that_of_pillow(tmp_path):
    image = torch.randint(0, 256, (1, 1, 16, 16), generator=torch.Generator().manual_seed(0)).byte()
    path = str(write(tmp_path, image))
    given = Image.fromarray(image[0, 0].numpy())
    for how in (Image.Resampling.BICUBIC, Image.Resampling.BILINEAR, Image.Resampling.BOX):
        name = {"BOX": "area"}.get(how.name, how.name.lower())
        ours = found(SampleFolder(path, (1, 8, 8), resize=name))[0, 0].int()
        theirs = torch.from_numpy(np.array(given.resize((8, 8), how))).int()
        assert (ours - theirs).abs().max() <= 1


def test_images_of_several_sizes_are_brought_to_one(tmp_path):
    path = write(tmp_path, torch.zeros(3, 1, 8, 8, dtype=torch.uint8))
    (path / "003.png").write_bytes(png(torch.zeros(1, 12, 12, dtype=torch.uint8)))
    assert SampleFolder(str(path), (1, 6, 6), resize="area").sample_protocol == {
        "samples_resized": "area, from 8x8, 12x12"
    }
    (path / "004.png").write_bytes(png(torch.zeros(1, 12, 20, dtype=torch.uint8)))
    with pytest.raises(ValueError, match="004.png must have the sides of 6x6 .* 12x20: crop it"):
        SampleFolder(str(path), (1, 6, 6), resize="area")
    with pytest.raises(ValueError, match="resize must be none without an image_shape"):
        SampleFolder(str(path), resize="area")
    with pytest.raises(ValueError, match="resize must be none, bicubic, .* got 'lanczos'"):
        SampleFolder(str(path), (1, 6, 6), resize="lanczos")


# Real images without a training set


def test_halves_of_real_images(tmp_path):
    images = pictures(9)[0]
    for source in (str(write(tmp_path, images)), images.numpy()):
        data = RealFolder(source)
        parts = data.split("train").images, data.split("test").images
        assert [len(part) for part in parts] == [4, 5] and same_set(torch.cat(parts), images)
        assert data.image_shape == (1, 8, 8) and data.num_classes == 0
        assert torch.equal(RealFolder(source).split("val").images, parts[1])
        assert not torch.equal(RealFolder(source, seed=1).split("val").images, parts[1])
    (batch,) = data.test_dataloader()
    assert torch.equal(to_uint8(batch[0]), parts[1])
    with pytest.raises(ValueError, match="at least 4 images, got 3"):
        RealFolder(images[:3])


# On the command line


TEST = "--data Digits --evaluation.extractor pixels --trainer.accelerator cpu"


def test_no_checkpoint_is_needed(genzoo, tmp_path):
    images = torch.randint(0, 256, (300, 1, 8, 8), dtype=torch.uint8)
    write(tmp_path, images, kind="zip")
    genzoo(f"test --model SampleFolder --model.path made.zip {TEST}")
    report = json.loads(Path("runs/SampleFolder-Digits/version_0/report.json").read_text())
    protocols = [section["protocol"] for section in report["sections"]]
    assert len(protocols) == 3 and {p["n_generated"] for p in protocols} == {300}
    assert report["model"] == "made.zip"
    flags = {section["title"]: section["flag"] for section in report["sections"]}
    assert flags["realism"] == "bad"  # noise


def test_folder_against_folder_in_one_line(genzoo, tmp_path):
    drawn, real = (pictures(n, side=16, seed=seed)[0] for n, seed in ((60, 1), (120, 2)))
    write(tmp_path / "a", drawn)
    write(tmp_path / "b", F.avg_pool2d(real.float(), 2).byte())
    line = "test --model SampleFolder --model.path a/made --model.resize area --data RealFolder"
    genzoo(f"{line} --data.path b/made --evaluation.extractor pixels --trainer.accelerator cpu")
    report = json.loads(Path("runs/SampleFolder-RealFolder/version_0/report.json").read_text())
    memory, realism, diversity = report["sections"]
    assert memory["flag"] == "unsure" and not memory["numbers"]
    assert memory["verdict"].startswith("This cannot be asked: nobody says which of the images in")
    assert "way_to_real" in realism["numbers"] and diversity["numbers"]
    protocol = realism["protocol"]
    assert protocol["samples_resized"] == "area, from 16x16"
    assert protocol["real_images"].startswith("a random half of made as training images")
    assert (protocol["n_train"], protocol["n_held_out"], protocol["n_generated"]) == (60, 60, 60)


def test_what_cannot_be_asked_is_refused(genzoo):
    """As `report_card` refuses it; what tests itself, or finds codes, has something to say."""
    line = genzoo(f"test --model own.Plain {TEST}", 1)
    assert "a report card compares samples, but Plain has no sample(n)" in line
    genzoo(f"test --model own.Plain --evaluate false {TEST}")


def test_misuse_is_one_line(genzoo, tmp_path):
    line = genzoo(f"test --model SampleFolder --model.path nowhere {TEST}", 1)
    assert "path must be a folder, a .zip or an .npz of images, got nowhere" in line
    write(tmp_path, colour(2))
    line = genzoo(f"test --model SampleFolder --model.path made {TEST}", 1)
    assert "must be like the data, 8x8 grey, got 6x5 in colour" in line
    line = genzoo(f"fit --model SampleFolder --model.path made {TEST}", 1)
    assert "like the data" in line
    write(tmp_path / "b", torch.zeros(3, 1, 8, 8, dtype=torch.uint8))
    line = genzoo(f"fit --model SampleFolder --model.path b/made {TEST}", 1)
    assert "training_step" in line
