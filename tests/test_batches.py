"""Other people's loaders: what they give is trained on as if it were (x, y), or the first batch is
refused in a line that says what to change."""

from collections import UserDict, namedtuple

import lightning as L
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset, TensorDataset
from torchvision.datasets import ImageFolder
from torchvision.transforms import Compose, Grayscale, Normalize, PILToTensor, ToTensor

from genzoo.batches import unpack, with_images
from genzoo.callbacks.run import data_of
from genzoo.images import from_uint8, to_uint8
from genzoo.zoo import AMGAN, CGAN, GAN, RBM, VAE, Autoencoder, CatGAN, PixelCNN, SemiSupervisedGAN
from tests.helpers.training import bits, fit, trainer

Pair = namedtuple("Pair", "pictures names")
X, Y = bits(24), torch.arange(24) % 3


class Named(Dataset):
    """One image at a time, under the names of somebody else's data set."""

    def __init__(self, *names: str, images: torch.Tensor = X):
        self.names, self.images = names, images

    def __len__(self):
        return len(self.images)

    def __getitem__(self, i):
        return dict(zip(self.names, (self.images[i], Y[i].item()), strict=False))


def collated(make):
    """Batches of 8 that a collate function makes of (x, y)."""

    def collate(rows):
        return make(*map(torch.stack, zip(*rows, strict=True)))

    return DataLoader(TensorDataset(X, Y), 8, collate_fn=collate)


WITHOUT_LABELS = {
    "images": lambda: DataLoader(X, 8),
    "(x,)": lambda: DataLoader(TensorDataset(X), 8),
    "dictionary": lambda: DataLoader(Named("image"), 8),
    "bytes": lambda: DataLoader(to_uint8(X), 8),
}
WITH_LABELS = {
    "(x, y, more)": lambda: DataLoader(TensorDataset(X, Y, torch.randn(24, 5)), 8),
    "image and label": lambda: DataLoader(Named("image", "label"), 8),
    "pixel_values and labels": lambda: DataLoader(Named("pixel_values", "labels"), 8),
    "img and label, bytes": lambda: DataLoader(Named("img", "label", images=to_uint8(X)), 8),
    "a mapping": lambda: collated(lambda x, y: UserDict(y=y, x=x)),
    "a named tuple": lambda: collated(Pair),
    "a list, bytes": lambda: collated(lambda x, y: [to_uint8(x), y.to(torch.uint8)]),
    "doubles and shorts": lambda: collated(lambda x, y: (x.double(), y.to(torch.int16))),
}


def trained(build, loader) -> torch.Tensor:
    """The weights that four steps give."""
    torch.manual_seed(0)
    model = build()
    fit(model, loader, steps=4)
    return torch.cat([p.detach().flatten() for p in model.parameters()])


@pytest.mark.parametrize("form", [*WITHOUT_LABELS, *WITH_LABELS])
@pytest.mark.parametrize("kind", [GAN, VAE, PixelCNN, RBM, Autoencoder])
def test_whatever_the_form_the_training_is_that_of_pairs(kind, form):
    tiny = {PixelCNN: {"levels": 2, "width": 4, "layers": 3}, RBM: {"hidden": 6}}
    settings = tiny.get(kind, {"latent_dim": 2, "width": 16})
    loader = {**WITHOUT_LABELS, **WITH_LABELS}[form]()
    expected = trained(lambda: kind((1, 8, 8), **settings), DataLoader(TensorDataset(X, Y), 8))
    assert torch.equal(trained(lambda: kind((1, 8, 8), **settings), loader), expected)


@pytest.mark.parametrize("form", WITH_LABELS)
@pytest.mark.parametrize("kind", [CGAN, SemiSupervisedGAN])
def test_labels_come_with_it(kind, form):
    def build():
        return kind((1, 8, 8), 3, latent_dim=2, width=16)

    pairs = trained(build, DataLoader(TensorDataset(X, Y), 8))
    assert torch.equal(trained(build, WITH_LABELS[form]()), pairs)
    others = DataLoader(TensorDataset(X, (Y + 1) % 3), 8)
    assert not torch.equal(trained(build, others), pairs)


@pytest.mark.parametrize("form", WITHOUT_LABELS)
@pytest.mark.parametrize(
    "build",
    [
        lambda: CGAN((1, 8, 8), 3, latent_dim=2, width=8),
        lambda: VAE((1, 8, 8), 3, latent_dim=2, width=8),
        lambda: PixelCNN((1, 8, 8), 3, levels=2, width=4, layers=3),
        lambda: SemiSupervisedGAN((1, 8, 8), 3, latent_dim=2, width=8),
        lambda: CatGAN((1, 8, 8), 3, latent_dim=2, width=8),
        lambda: AMGAN((1, 8, 8), 3, latent_dim=2, width=8),
    ],
)
def test_who_learns_from_labels_says_that_there_are_none(build, form):
    model = build()
    message = rf"\(x, y\) with labels y for a {type(model).__name__} of 3 classes, got images alone"
    with pytest.raises(ValueError, match=message):
        fit(model, WITHOUT_LABELS[form](), steps=1)


def test_who_needs_no_labels_is_evaluated_without():
    model = CGAN((1, 8, 8), 3, latent_dim=2, width=8)
    runner = trainer()
    runner.test(model, DataLoader(X, 8), verbose=False)
    assert runner.state.finished and runner.num_test_batches == [-(-len(X) // 8)]


# What cannot be trained on

HARMED = X.clone()
HARMED[3, 0, 2, 2] = float("nan")
BAD = {
    "in [0, 1]": (
        X / 2 + 0.5,
        r"minimum of 0, which look as if in \[0, 1\]: scale them by 2 x - 1",
    ),
    "in 0..255": (
        to_uint8(X).float(),
        r"in \[-1, 1\], got \[0, 255\], which look as if in 0..255: scale them by x / 127.5 - 1",
    ),
    "normalised": (X * 2.1, r"the training data must give images in \[-1, 1\], got \[-2.1, 2.1\]$"),
    "NaN": (HARMED, "the training data must give finite images, got NaN"),
    "infinite": (X.where(X > 0, float("-inf")), "must give finite images"),
    "larger": (
        bits(24, (1, 16, 16)),
        r"must be \(B, 1, 8, 8\), got \(8, 1, 16, 16\): resize them, or give the model "
        r"image_shape=\(1, 16, 16\)",
    ),
    "in colour": (bits(24, (3, 8, 8)), r"must be \(B, 1, 8, 8\), got \(8, 3, 8, 8\): resize"),
    "channels last": (X.permute(0, 2, 3, 1), r"got \(8, 8, 8, 1\): x.permute\(0, 3, 1, 2\) puts"),
    "without channels": (X[:, 0], r"got \(8, 8, 8\): x\[:, None\] gives them a channel"),
    "vectors": (X.flatten(1), r"must be \(B, 1, 8, 8\), got \(8, 64\)$"),
    "integers": (to_uint8(X).long(), r"float images in \[-1, 1\], got torch.int64"),
}


@pytest.mark.parametrize("case", BAD)
@pytest.mark.parametrize(
    "build",
    [
        lambda: GAN((1, 8, 8), latent_dim=2, width=8),
        lambda: VAE((1, 8, 8), latent_dim=2, width=8, decoder="gaussian"),
        lambda: PixelCNN((1, 8, 8), levels=2, width=4, layers=3),
        lambda: RBM((1, 8, 8), hidden=6),
    ],
)
def test_a_bad_first_batch_is_refused_before_the_first_step(build, case):
    images, message = BAD[case]
    model = build()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(ValueError, match=message):
        fit(model, DataLoader(TensorDataset(images, Y), 8), steps=3)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_points_must_be_finite_and_may_be_anywhere():
    build = lambda: GAN((2,), latent_dim=2, width=8)  # noqa: E731
    fit(build(), DataLoader(torch.rand(24, 2) * 9, 8), steps=2)
    with pytest.raises(ValueError, match="must be finite points, got NaN or infinity"):
        fit(build(), DataLoader(torch.full((24, 2), float("nan")), 8), steps=2)
    with pytest.raises(ValueError, match=r"must be \(B, 2\), got \(8, 3\)$"):
        fit(build(), DataLoader(torch.randn(24, 3), 8), steps=2)


def test_one_light_image_is_not_yet_a_scale():
    """Where batches are small it takes eight images to tell."""
    light, dark = X[:2] / 4 + 0.5, -X[:2] / 4 - 0.5
    model = VAE((1, 8, 8), latent_dim=2, width=8, decoder="gaussian")
    fit(model, DataLoader(torch.cat((light, dark, light, light, light)), 2), steps=5)
    runner = trainer(max_epochs=1)
    with pytest.raises(ValueError, match="look as if in"):
        runner.fit(model, DataLoader(light.repeat(10, 1, 1, 1), 2))
    assert runner.global_step == 3
    fit(model, DataLoader(torch.full((16, 1, 8, 8), 0.25), 8), steps=1)  # says nothing of a scale


@pytest.mark.parametrize(
    ("batch", "got"),
    [
        ({"picture": X}, "a dictionary with picture"),
        ({"image": X, "img": X}, "a dictionary with image, img"),
        ({}, "a dictionary with nothing"),
        ({"image": [X]}, "list where images are due"),
        ([(X, Y)], "tuple where images are due"),
        ((X.numpy(), Y), "ndarray where images are due"),
        ((), "tuple"),
        (None, "NoneType"),
        ("image", "str"),
    ],
)
def test_other_batches_are_refused(batch, got):
    with pytest.raises(TypeError, match=rf"batches must be \(x, y\) or \(x,\).*, got {got}$"):
        unpack(batch)
    assert with_images(batch, torch.neg) is batch
    model = GAN((1, 8, 8), latent_dim=2, width=8)
    with pytest.raises(TypeError, match="batches must be"):
        fit(model, DataLoader([batch], batch_size=None, collate_fn=lambda given: given), steps=1)


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (torch.rand(24), r"y must be \(8,\) integers, got \(8,\) torch.float32"),
        (torch.zeros(24, 40).long(), r"y must be \(8,\) integers, got \(8, 40\)"),
        (["a cat"] * 24, r"y must be \(8,\) integers, got a list"),
        (Y + 1, r"y must be in {least}..2, got 1..3"),
        (Y - 2, r"y must be in {least}..2, got -2..0"),
    ],
    ids=["floats", "attributes", "captions", "from 1", "below -1"],
)
@pytest.mark.parametrize(("kind", "least"), [(CGAN, 0), (SemiSupervisedGAN, -1), (CatGAN, -1)])
def test_labels_that_name_no_class_are_refused(kind, least, y, message):
    rows = [{"image": image, "label": label} for image, label in zip(X, y, strict=True)]
    with pytest.raises(ValueError, match=message.format(least=least)):
        fit(kind((1, 8, 8), 3, latent_dim=2, width=8), DataLoader(rows, 8), steps=1)


def test_what_nobody_asked_for_may_stand_beside_the_images():
    """Captions are no matter to a model that is told nothing."""
    rows = [{"image": image, "label": "a cat", "id": i} for i, image in enumerate(X)]
    model = GAN((1, 8, 8), latent_dim=2, width=8)
    before = [p.clone() for p in model.generator.parameters()]
    fit(model, DataLoader(rows, 8), steps=3)
    assert not any(map(torch.equal, before, model.generator.parameters()))


# Batches of one


def normed(**settings):
    return GAN((1, 8, 8), latent_dim=2, width=8, **settings)


def test_a_last_batch_of_one_image_is_told_before_it_ends_the_first_epoch():
    lone = DataLoader(X[:17], 8)
    message = r"at least 2 images where .*, got 1 in the last: drop_last=True in the DataLoader"
    model = normed()
    before = [p.clone() for p in model.parameters()]
    with pytest.raises(ValueError, match=message):
        trainer(max_epochs=1).fit(model, lone)
    assert all(torch.equal(p, q) for p, q in zip(model.parameters(), before, strict=True))
    with pytest.raises(ValueError, match=message):
        fit(normed(), lone, steps=3)
    trainer(max_epochs=1).fit(normed(), DataLoader(X[:17], 8, drop_last=True))
    trainer(max_epochs=1).fit(normed(), DataLoader(X[:18], 8))
    trainer(max_epochs=1).fit(normed(), DataLoader(X[:16], 8))
    trainer(max_epochs=1).fit(VAE((1, 8, 8), latent_dim=2, width=8), lone)  # normalises nothing
    trainer(max_epochs=1).fit(normed(network="conv"), lone)  # over the pixels too
    fit(normed(), lone, steps=2)  # ends before
    trainer(max_epochs=1, limit_train_batches=2).fit(normed(), lone)


def test_batches_of_one_image_are_told_what_they_cannot_do():
    message = "at least 2 images where .*, got 1: a larger batch_size in the DataLoader mends it"
    with pytest.raises(ValueError, match=message):
        fit(normed(), DataLoader(X, 1), steps=1)
    fit(VAE((1, 8, 8), latent_dim=2, width=8), DataLoader(X, 1), steps=2)


# Where batches come from


@pytest.fixture
def folder(tmp_path):
    """Twelve grey pictures of 8x8 in two classes' folders."""
    for i, image in enumerate(to_uint8(X[:12])):
        place = tmp_path / "pictures" / ("cat", "dog")[i % 2]
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image[0].numpy()).save(place / f"{i}.png")
    return tmp_path / "pictures"


def test_torchvisions_image_folder(folder):
    """With `ToTensor` alone it is said what is missing; with that, or as bytes, it trains."""

    def train(*transforms):
        data = ImageFolder(folder, Compose([Grayscale(), *transforms]))
        model = CGAN((1, 8, 8), 2, latent_dim=2, width=8)
        fit(model, DataLoader(data, 12), steps=2)
        return model.generator.body[0].weight

    with pytest.raises(ValueError, match=r"look as if in \[0, 1\]: scale them by 2 x - 1"):
        train(ToTensor())
    torch.manual_seed(0)
    scaled = train(ToTensor(), Normalize(0.5, 0.5))
    torch.manual_seed(0)
    torch.testing.assert_close(train(PILToTensor()), scaled)


def test_the_hooks_of_a_data_module_come_first():
    class Own(L.LightningDataModule):
        def train_dataloader(self):
            return DataLoader(Named("a", "b", images=to_uint8(X)), 8)

        def on_before_batch_transfer(self, batch, dataloader_idx):
            assert set(batch) == {"a", "b"}
            return {"c": batch["a"], "label": batch["b"]}

        def on_after_batch_transfer(self, batch, dataloader_idx):
            assert set(batch) == {"c", "label"}
            return {"image": from_uint8(batch["c"]), "label": batch["label"]}

    def build():
        return CGAN((1, 8, 8), 3, latent_dim=2, width=8)

    pairs = trained(build, DataLoader(TensorDataset(X, Y), 8))
    assert torch.equal(trained(build, Own()), pairs)


def test_callbacks_and_steps_see_pairs_and_a_prediction_what_the_loader_gave():
    seen = {}

    class Watcher(L.Callback):
        def on_train_batch_end(self, trainer, model, outputs, batch, batch_idx):
            seen["callback"] = batch

    class Own(VAE):
        def validation_step(self, batch, batch_idx):
            seen["validation"] = batch

        def predict_step(self, batch, batch_idx):
            return batch["image"]

    model, loader = Own((1, 8, 8), latent_dim=2, width=8), DataLoader(Named("image", "label"), 24)
    runner = trainer(max_epochs=1, callbacks=[Watcher()])
    runner.fit(model, loader, loader)
    for x, y in seen.values():
        assert torch.equal(x, X) and torch.equal(y, Y)
    (predicted,) = runner.predict(model, loader)
    assert torch.equal(predicted, X)


@pytest.mark.parametrize("form", [*WITHOUT_LABELS, *WITH_LABELS])
def test_an_evaluation_reads_the_same(form):
    loader = {**WITHOUT_LABELS, **WITH_LABELS}[form]()
    runner = trainer(max_epochs=1)
    runner.fit(VAE((1, 8, 8), latent_dim=2, width=8), loader)
    images, labels, *_ = data_of(runner).read("train", 100)
    assert torch.equal(images, to_uint8(X))
    assert labels is None if form in WITHOUT_LABELS else torch.equal(labels.long(), Y)


@pytest.mark.parametrize("form", [*WITHOUT_LABELS, *WITH_LABELS])
def test_only_the_images_of_a_batch_are_changed(form):
    (batch, *_) = {**WITHOUT_LABELS, **WITH_LABELS}[form]()
    x, y = unpack(batch)
    changed_x, changed_y = unpack(with_images(batch, lambda x: x.flatten(1)))
    assert torch.equal(changed_x, x.flatten(1)) and changed_y is y
    assert x.ndim == 4  # the batch that was given is as it was


def test_a_layout_of_bytes_stays_what_it_is():
    """Classes of pixels are uint8 like the images, and no brightness."""
    layouts = torch.randint(3, (24, 8, 8), dtype=torch.uint8)
    seen = []

    class Own(GAN):
        def training_step(self, batch, batch_idx):
            seen.append(batch[1])
            super().training_step(batch, batch_idx)

    loader = DataLoader(TensorDataset(to_uint8(X), layouts), 8)
    fit(Own((1, 8, 8), latent_dim=2, width=8), loader, steps=3)
    assert torch.equal(torch.cat(seen), layouts)


def test_the_command_line_says_it_in_one_line(genzoo):
    start = "fit --model GAN --model.width 8 --evaluate false --trainer.accelerator cpu "
    said = genzoo(start + "--data own.Unscaled", 1)
    assert said.endswith("which look as if in [0, 1]: scale them by 2 x - 1")
    said = genzoo(start + "--data own.Unnamed", 1)
    assert said.endswith("got a dictionary with picture, label")
    genzoo(start + "--data own.Named --trainer.max_epochs 1")


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("width 0", "width must be at least 1, got 0"),
        ("width -4", "width must be at least 1, got -4"),
        ("lr -1", "lr must be 0 or more, got -1.0"),
        ("betas [2,3]", "betas must be two numbers in [0, 1), got (2.0, 3.0)"),
        ("clip_norm -1", "clip_norm must be 0 or more, got -1.0"),
    ],
)
def test_the_command_line_refuses_numbers_that_cannot_be(genzoo, option, message, tmp_path):
    said = genzoo(f"fit --model GAN --data own.Noise --model.{option} --evaluate false", 1)
    assert said == f"genzoo: {message}"
    assert not (tmp_path / "runs").exists()
