"""What a condition is: values, what is refused in which words, and plain values and back."""

import json
import re

import pytest
import torch

from genzoo.batches import join, repeat, size, take, to
from genzoo.conditions import (
    Classes,
    ImageOf,
    Nothing,
    Together,
    Tokens,
    Vector,
    asked_of,
    from_plain,
    given_by,
)
from genzoo.zoo import ACGAN, CGAN, GAN
from genzoo.zoo.base import GenerativeModel
from tests.helpers.training import fit, trainer

WORDS = Tokens(("a", "red", "blue", "bird"), 4)
KINDS = {
    "nothing": Nothing(),
    "classes": Classes(3),
    "named": Classes(2, names=("cat", "dog")),
    "vector": Vector(2, names=("pose", "age")),
    "image": ImageOf((1, 2, 3)),
    "tokens": WORDS,
    "together": Together(caption=WORDS, box=Vector(4)),
}


def rows(condition, n: int):
    """Conditions as a batch has them."""
    if isinstance(condition, Together):
        return {name: rows(part, n) for name, part in condition.parts}
    if isinstance(condition, Classes):
        return torch.arange(n) % condition.num_classes
    if isinstance(condition, Tokens):
        return 1 + torch.arange(n)[:, None] * torch.arange(1, 5) % 4
    if isinstance(condition, Vector):
        return torch.arange(n * condition.entries).view(n, -1) / 10
    return torch.linspace(-1, 1, n * 6).view(n, 1, 2, 3) if condition != Nothing() else None


@pytest.mark.parametrize("name", KINDS)
def test_a_value_comes_back_from_plain_values(name):
    condition = KINDS[name]
    again = from_plain(json.loads(json.dumps(condition.to_plain())))
    assert again == condition and hash(again) == hash(condition)
    others = [other for other in KINDS if other != name]
    assert all(again != KINDS[other] for other in others)


@pytest.mark.parametrize("name", KINDS)
def test_what_fits_passes_and_what_is_dropped_differs(name):
    condition = KINDS[name]
    y = rows(condition, 6)
    condition.check(y, 6)
    kept, gone = condition.drop(y, 0.0), condition.drop(y, 1.0)
    if y is None:
        assert (kept, gone) == (None, None)
        return
    parts = y if isinstance(y, dict) else {"": y}
    for part, value in parts.items():
        null = -1 if isinstance(condition, Classes) else 0
        assert torch.equal((kept[part] if part else kept), value)
        assert ((gone[part] if part else gone) == null).all()
    condition.check(gone, 6, withheld=True)
    assert len(condition.words(y)) == size(y) == 6


def test_parts_of_an_image_are_dropped_together():
    y = KINDS["together"].drop(rows(KINDS["together"], 400), 0.5)
    gone = (y["caption"] == 0).all(1)
    assert torch.equal(gone[1:], (y["box"] == 0).all(1)[1:])  # the first box is 0, 0.1, ...
    assert 150 < gone.sum() < 250


@pytest.mark.parametrize(
    "name, y, message",
    [
        ("nothing", torch.zeros(2), "y must be None: this model is unconditional"),
        ("classes", {"y": 1}, "y must be (2,) integers, got a dict"),
        ("classes", torch.zeros(2), "y must be (2,) integers, got (2,) torch.float32"),
        ("classes", torch.tensor([0]), "y must be (2,) integers, got (1,) torch.int64"),
        ("classes", torch.tensor([0, 3]), "y must be in 0..2, got 0..3"),
        ("classes", torch.tensor([-1, 2]), "y must be in 0..2, got -1..2"),
        ("vector", torch.zeros(2, 3), "y must be (2, 2) floats, got (2, 3) torch.float32"),
        ("vector", torch.zeros(2, 2).long(), "y must be (2, 2) floats, got (2, 2) torch.int64"),
        ("vector", torch.full((2, 2), torch.nan), "y must be finite numbers, got NaN or infinity"),
        ("image", torch.zeros(2, 1, 2, 2), "y must be (2, 1, 2, 3) floats in [-1, 1], got"),
        ("image", torch.full((2, 1, 2, 3), 1.5), "y must be in [-1, 1], got values outside"),
        ("image", torch.full((2, 1, 2, 3), torch.nan), "y must be in [-1, 1]"),
        ("tokens", torch.zeros(2, 3).long(), "y must be (2, 4) integers, got (2, 3) torch.int64"),
        ("tokens", torch.full((2, 4), 5), "y must be in 0..4, got 5..5"),
        ("together", torch.zeros(2), "y must be a dictionary of caption, box, got a"),
        ("together", {"box": 1}, "y must be a dictionary of caption, box, got one of box"),
        (
            "together",
            {"caption": torch.ones(2, 4).long(), "box": torch.zeros(2, 3)},
            "box of y must be (2, 4) floats, got (2, 3)",
        ),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(name, y, message):
    with pytest.raises(ValueError, match=re.escape(message)) as caught:
        KINDS[name].check(y, 2)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: Classes(0), "num_classes must be at least 1, got 0"),
        (lambda: Classes(3, ("a",)), "names must be one for each of 3 classes, got 1"),
        (lambda: Vector(2, ("a",)), "names must be one for each of 2 numbers, got 1"),
        (lambda: ImageOf((8, 8)), "shape must be (C, H, W), got (8, 8)"),
        (lambda: Tokens((), 3), "vocabulary must be words in lower case"),
        (lambda: Tokens(("a", "Red"), 3), "vocabulary must be words in lower case"),
        (lambda: Tokens(("a", "a"), 3), "each once"),
        (lambda: Tokens(("a",), 0), "length must be at least 1, got 0"),
        (lambda: Together(), "parts must be conditions, one at least"),
        (lambda: Together(a=Nothing()), "parts must not be Nothing or Together"),
        (lambda: from_plain({"kind": "os"}), "kind must be one of Nothing, Classes"),
        (lambda: from_plain({"kind": "Vector", "size": 2}), "condition must be a Vector as to_pl"),
    ],
)
def test_values_that_cannot_be(make, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        make()


@pytest.mark.parametrize(
    "name, text, words",
    [
        ("classes", "2", ["2"]),
        ("classes", "0, 2", ["0", "2"]),
        ("named", "dog", ["dog"]),
        ("vector", "0.5,-1", ["pose 0.5, age -1"]),
        ("tokens", "A red, RED bird.", ["a red red bird"]),
        ("together", "caption=a bird; box=0,0,1,0.5", ["a bird; 0, 0, 1, 0.5"]),
    ],
)
def test_what_is_written_is_read(name, text, words):
    y = KINDS[name].encode(text)
    KINDS[name].check(y, size(y))
    assert KINDS[name].words(y) == words


@pytest.mark.parametrize(
    "name, text, message",
    [
        ("classes", "cat", "y must be numbers as 3 or 0,1,2, got cat"),
        ("named", "cow", "y must be numbers or names of classes as 3, cat or 0,1,2, got cow"),
        ("vector", "1", "y must be 2 numbers (pose, age) as 0.5,-1, got 1"),
        ("vector", "1,nan", "y must be 2 numbers"),
        ("tokens", "a green bird", "y must be words that the data has, a, red, blue, bird, got 'g"),
        ("tokens", "a a a a a", "y must be 1 to 4 words, got 5"),
        ("tokens", " ", "y must be 1 to 4 words, got 0"),
        ("together", "caption=a", "y must be caption=...; box=..., or a file .npz, got caption=a"),
        ("image", "x", "y must be a file .npz for ImageOf(shape=(1, 2, 3)), got 'x'"),
        ("nothing", "3", "y must be left out: the model is unconditional, got '3'"),
    ],
)
def test_what_cannot_be_read_is_said(name, text, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        KINDS[name].encode(text)


def test_rows_are_drawn_whole():
    condition, bank = KINDS["together"], rows(KINDS["together"], 30)
    y = condition.draw(200, bank=bank)
    place = (y["box"][:, 0] * 10 / 4).round().long()  # which row of the bank it was
    assert torch.equal(y["caption"], bank["caption"][place]) and len(place.unique()) > 20
    with pytest.raises(ValueError, match=r"y must be given, a dictionary of caption \(5, 4\) int"):
        condition.draw(5)
    assert len({*Classes(3).draw(100).tolist()}) == 3
    both = Together(a=Classes(2), b=Classes(3)).draw(9)  # which need no data
    assert both["a"].shape == both["b"].shape == (9,)


def test_rows_of_any_kind_are_taken_joined_and_repeated():
    y = rows(KINDS["together"], 4)
    assert torch.equal(repeat(y, 2)["box"], y["box"].repeat_interleave(2, 0))
    halves = [take(y, slice(2)), take(y, torch.tensor([2, 3]))]
    assert torch.equal(join(halves)["caption"], y["caption"])
    assert to({"box": [[1, 2]]}, "cpu")["box"].shape == (1, 2)
    assert torch.equal(join([y["box"], y["box"]]), repeat(y["box"][None], 2).flatten(0, 1))


# Models


class Own(GenerativeModel):
    num_classes = 4


def test_a_number_of_classes_is_short_for_them():
    model = GAN((1, 4, 4), num_classes=3)
    assert model.condition == Classes(3) and model.num_classes == 3
    assert GAN((1, 4, 4)).condition == Nothing()
    assert "condition" not in model.hparams and model.hparams["num_classes"] == 3
    own = Own()
    assert own.condition == Classes(4) and own.num_classes == 4
    own.num_classes = 0
    assert own.condition == Nothing() and Own().num_classes == 4


def test_who_has_no_condition_is_asked_for_classes():
    class Theirs:
        num_classes, conditional = 5, False

    assert asked_of(Theirs()) == Classes(5)
    assert given_by(Theirs()) == Nothing()  # of data the classes may be nobody's condition
    Theirs.conditional = True
    assert given_by(Theirs()) == Classes(5)
    assert asked_of(object()) == given_by(object()) == Nothing()


def test_a_kind_that_the_networks_cannot_take_is_refused():
    with pytest.raises(ValueError, match="condition must be one of Nothing, Classes for a GAN, go"):
        GAN((1, 4, 4)).condition = WORDS
    with pytest.raises(ValueError, match="condition must be one of Classes for a ACGAN, got Vec"):
        ACGAN((1, 4, 4), 3, condition=Vector(2))
    with pytest.raises(ValueError, match="num_classes must be at least 2, got 0: CGAN"):
        CGAN((1, 4, 4))


@pytest.mark.parametrize("name", ["vector", "tokens"])
def test_the_zoos_networks_take_numbers_and_words(name, tmp_path):
    """Both players: by what they are shown, and by their sizes."""
    condition, x = KINDS[name], torch.rand(8, 1, 4, 4) * 2 - 1
    model = CGAN((1, 4, 4), condition=condition, latent_dim=2, width=8)
    y = rows(condition, 8)
    data = torch.utils.data.DataLoader([*zip(x, y, strict=True)], batch_size=4)
    runner = fit(model, data, steps=2)
    z, other = model.prior(8), condition.draw(8, bank=y.flip(0))
    assert not torch.equal(model.decode(z, y), model.decode(z, other))
    assert not torch.equal(model.score(x, y), model.score(x, other))
    with pytest.raises(ValueError, match="y must be \\(8, "):
        model.sample(8, y[:, :1])

    runner.save_checkpoint(tmp_path / "a.ckpt")
    again = CGAN.load_from_checkpoint(tmp_path / "a.ckpt", weights_only=True)
    assert again.condition == condition and torch.equal(again.bank, y)
    assert again.sample(3).shape == (3, 1, 4, 4)
    again.bank = None
    with pytest.raises(ValueError, match=r"y must be given, \(3, .*no conditions of training imag"):
        again.sample(3)


def test_a_model_may_keep_no_conditions():
    class Private(CGAN):
        bank_size = 0

    model = Private((1, 4, 4), condition=Vector(1), latent_dim=2, width=8)
    pairs = [(torch.zeros(1, 4, 4), torch.ones(1))] * 4
    fit(model, torch.utils.data.DataLoader(pairs, batch_size=2), steps=1)
    assert model.bank is None


def test_batches_without_the_condition_are_refused():
    model = CGAN((1, 4, 4), condition=Vector(2), latent_dim=2, width=8)
    x = torch.zeros(4, 1, 4, 4)
    with pytest.raises(
        ValueError, match=r"batches must be \(x, y\) with y \(2, 2\) floats for this"
    ):
        fit(model, torch.utils.data.DataLoader(x, batch_size=2), steps=1)
    pairs = [*zip(x, torch.zeros(4, 3), strict=True)]
    with pytest.raises(ValueError, match=r"y must be \(2, 2\) floats, got \(2, 3\)"):
        fit(model, torch.utils.data.DataLoader(pairs, batch_size=2), steps=1)


def test_a_checkpoint_of_another_condition_is_refused(tmp_path):
    """Words in another order mean other things."""
    model = CGAN((1, 4, 4), condition=WORDS, latent_dim=2, width=8)
    y = rows(WORDS, 4)
    pairs = torch.utils.data.DataLoader([*zip(torch.zeros(4, 1, 4, 4), y, strict=True)], 2)
    fit(model, pairs, steps=1).save_checkpoint(tmp_path / "a.ckpt")
    turned = Tokens(WORDS.vocabulary[::-1], 4)
    other = CGAN((1, 4, 4), condition=turned, latent_dim=2, width=8)
    with pytest.raises(ValueError, match="condition must be that of the checkpoint, Tokens"):
        trainer(max_steps=2).fit(other, pairs, ckpt_path=tmp_path / "a.ckpt")
