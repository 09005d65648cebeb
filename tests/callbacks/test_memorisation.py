"""Copies planted in known numbers, what must not be taken for copies, and what is said of both."""

import math

import pytest
import torch
import torch.nn.functional as F

from genzoo.callbacks.memorisation import Memorisation, _contradicted, _noticed
from genzoo.features import spaces
from genzoo.features.extractors import Instance
from genzoo.features.panels import beside_nearest
from genzoo.images import to_uint8
from genzoo.metrics.copies import pool
from genzoo.metrics.number import Number
from tests.helpers.evidence import Seen, evidence, pattern_means, smooth_images, texture


def moved(x, seed=0, most=1):
    """Each image by its own shift, zeros coming in."""
    generator = torch.Generator().manual_seed(seed)
    steps = torch.randint(-most, most + 1, (len(x), 2), generator=generator).tolist()
    padded = F.pad(x, (most,) * 4)
    height, width = x.shape[-2:]
    return torch.stack(
        [
            image[:, most + a : most + a + height, most + b : most + b + width]
            for image, (a, b) in zip(padded, steps, strict=True)
        ]
    )


def noisy(x, deviation=0.02, seed=5):
    noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(seed))
    return (x + 255 * deviation * noise).clamp(0, 255).round().byte()


def settings(**kwargs):
    return Memorisation(extractor="pixels", **({"most": 500} | kwargs))


@pytest.fixture(scope="module")
def data():
    return texture(1000, 0)[0], texture(800, 1)[0], texture(1000, 2)[0]


@pytest.fixture(scope="module")
def space(data, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GENZOO_CACHE", str(tmp_path_factory.mktemp("space")))
        train, held_out, _ = data
        return Instance(torch.cat([train, held_out])[pool(train, held_out).place], steps=60)


@pytest.fixture(scope="module")
def callback():
    return settings()


def test_fresh_images_are_no_copies(data, space, callback):
    section = callback.evaluate(evidence(*data, copies=space))
    assert section.flag == "good" and section.verdict.startswith("No copies"), section.verdict
    numbers = section.numbers
    for name in ("copied", "copied/pixels", "copied/instance", "copied/aligned", "copied/features"):
        assert numbers[name].low < 0.01 and numbers[name].high > 0
    assert numbers["asymmetry"].value > 0.01 and numbers["asymmetry/held_out"].value > 0.01
    assert numbers["planted/unchanged"].value < 0.05
    assert numbers["identical"].value == numbers["duplicates"].value == 0
    for name in ("c_t", "c_t/exchanged", "copied/authenticity"):
        assert abs(numbers[name].value) < 2
    assert "copies would be found from" in section.verdict.lower()
    for figure in section.figures.values():
        assert figure.dtype == torch.uint8 and figure.shape[-1] == 3
    assert set(section.figures) == {
        "nearest_training_images",
        "nearest_training_images_of_held_out",
    }
    assert section.protocol["copies_in"] == "instance"
    assert section.protocol["spaces"] == "pixels, features, instance, aligned"


@pytest.mark.parametrize("p", [0.05, 0.2, 1])
def test_copies_are_caught_and_counted(data, space, callback, p):
    train, held_out, fresh = data
    count = int(p * 1000)
    generated = torch.cat([noisy(train[:count]), fresh[count:]])
    section = callback.evaluate(evidence(train, held_out, generated, copies=space))
    assert section.flag == "bad" and section.verdict.startswith("Yes:"), section.verdict
    copied = section.numbers["copied"]
    assert copied.low <= p <= copied.high and copied.low > 0.5 * p
    assert copied.value == pytest.approx(p, abs=0.05)
    assert section.numbers["asymmetry"].value == 0.001


def test_moved_and_mirrored_copies_are_caught_and_counted():
    images = to_uint8(smooth_images(1300))
    train, held_out, fresh = images.split((500, 400, 400))
    copies = noisy(moved(train[:400]).flip(-1))
    both = torch.cat([train, held_out])[pool(train, held_out).place]
    space, callback = Instance(both, steps=150), settings()
    for p in (0.3, 1):
        count = int(p * 400)
        samples = torch.cat([copies[:count], fresh[count:]])
        section = callback.evaluate(evidence(train, held_out, samples, copies=space))
        copied = section.numbers["copied"]
        assert section.flag == "bad" and 0.25 * p < copied.low <= p, section.verdict
    assert settings().evaluate(evidence(train, held_out, samples)).numbers["copied"].low < 0.03


def test_in_the_validations_of_a_training_pixels_and_features_are_asked(data, callback):
    train, held_out, fresh = data
    generated = torch.cat([noisy(train[:200]), fresh[200:]])
    section = callback.evaluate(evidence(train, held_out, generated))
    assert section.flag == "bad"
    assert section.protocol["spaces"] == "pixels, features"
    planted = [name for name in section.numbers if name.startswith("planted/")]
    assert planted == ["planted/unchanged"]


def test_held_out_images_have_leaked(data, space, callback):
    train, held_out, fresh = data
    given = evidence(train, held_out, torch.cat([held_out[:300], fresh[:700]]), copies=space)
    section = callback.evaluate(given)
    assert section.flag == "bad" and "near-duplicates of held-out images" in section.verdict
    assert "leak" in given.findings and "copies" not in given.findings
    assert section.numbers["copied"].low == 0


def test_smooth_samples_are_near_to_everything_and_no_copies(data, space, callback):
    """The mean of each class, and little more: nearer to training images than any held-out one
    is, and as near to held-out images."""
    train, held_out, _ = data
    labels = texture(1000, 2)[1]
    smooth = (255 * pattern_means()[labels]).view(-1, 1, 12, 12)
    noise = torch.randn(smooth.shape, generator=torch.Generator().manual_seed(0))
    smooth = (smooth + 12 * noise).clamp(0, 255).byte()
    section = callback.evaluate(evidence(train, held_out, smooth, copies=space))
    assert section.flag != "bad" and section.numbers["copied"].low < 0.01, section.verdict


def test_a_few_training_images_over_and_over_are_copies(data, space, callback):
    """Here the permutation test has but three images to judge by, and cannot."""
    train, held_out, _ = data
    samples = noisy(train[:3].repeat(100, 1, 1, 1))
    section = callback.evaluate(evidence(train, held_out, samples, copies=space))
    assert section.numbers["asymmetry"].value > 0.01
    assert section.flag == "bad" and "3 different ones" in section.verdict, section.verdict
    # The same of held-out images is not the model's memory.
    samples = noisy(held_out[:3].repeat(100, 1, 1, 1))
    section = callback.evaluate(evidence(train, held_out, samples, copies=space))
    assert "copies of training images" not in section.verdict


def test_identical_images_are_copies_with_however_few_held_out_ones(data):
    train, held_out, _ = data
    section = settings().evaluate(evidence(train[:300], held_out[:20], train[:300]))
    assert section.flag == "bad" and section.numbers["identical"].value == 1


def test_duplicates_in_the_data_are_named(data):
    train, held_out, fresh = data
    doubled = torch.cat([held_out[:300], train[:7]])
    section = settings().evaluate(evidence(train, doubled, fresh))
    assert "7 held-out images are training images, too." in section.verdict
    assert section.numbers["duplicates"].value == pytest.approx(7 / 307)
    assert section.flag != "bad"


def test_too_few_samples_decide_nothing(data):
    train, held_out, fresh = data
    section = settings().evaluate(evidence(train, held_out, fresh[:60]))
    assert section.flag == "unsure" and "It takes more samples" in section.verdict
    with pytest.raises(ValueError, match="samples must be at least 20, got 19"):
        settings().evaluate(evidence(train, held_out, fresh[:19]))
    with pytest.raises(ValueError, match="held-out images must be at least 20, got 5"):
        settings().evaluate(evidence(train, held_out[:5], fresh))


def test_real_images_are_looked_at_once(data, space, monkeypatch):
    made = []
    plant = spaces.plant
    monkeypatch.setattr(spaces, "plant", lambda *args: made.append(args) or plant(*args))
    callback = settings()
    given = evidence(*(part[:300] for part in data), copies=space)
    copies = given.through("instance")
    given.through = lambda choice: copies
    first = callback.evaluate(given)
    assert len(made) == 7
    assert first.numbers == callback.evaluate(given).numbers
    assert len(made) == 7


def test_constant_samples_and_constant_data_are_no_error(data):
    train, held_out, _ = data
    black = torch.zeros(100, 1, 12, 12, dtype=torch.uint8)
    section = settings().evaluate(evidence(train, held_out, black))
    assert section.flag in ("good", "unsure")
    with pytest.raises(ValueError, match="real images must differ, some trained on"):
        settings().evaluate(evidence(black, black[:60], black[:50]))


def test_points_have_no_alterations_and_no_pictures():
    class Points(Seen):
        def forward(self, x):
            return x, None

    train = torch.randn(600, 2)
    parts = train, torch.randn(400, 2), train[:400] + 1e-4 * torch.randn(400, 2)
    section = settings().evaluate(evidence(*parts, Points()))
    assert section.flag == "bad" and not section.figures
    assert section.protocol["spaces"] == "pixels"
    fresh = settings().evaluate(evidence(*parts[:2], torch.randn(400, 2), Points()))
    assert fresh.flag != "bad" and "planted/unchanged" in fresh.numbers


def test_panel_is_a_row_for_each_image():
    train = texture(30, 0)[0]
    assert beside_nearest(train[:4], train).shape == beside_nearest(train[4:8], train).shape
    small, large = beside_nearest(train[:2], train, k=2), beside_nearest(train[:4], train, k=5)
    assert small.shape[0] < large.shape[0] and small.shape[1] < large.shape[1]
    with pytest.raises(ValueError, match="most must be at least 20, got 1"):
        settings(most=1)
    with pytest.raises(ValueError, match="num_samples_fit must be at least 20, got 19"):
        settings(num_samples_fit=19)


def test_another_test_that_contradicts_is_heard():
    """C_T and authenticity count where they say it of training images, and not of held-out ones."""

    def numbers(c_t, exchanged, copied=(0, 0.1), back=(0, 0.1)):
        ends = {"c_t": c_t, "c_t/exchanged": exchanged}
        ends |= {"copied/authenticity": copied, "copied/authenticity/exchanged": back}
        return {name: Number(sum(e) / 2, *e) for name, e in ends.items()}

    assert _contradicted(numbers((-9, -8), (-1, 1))) == "C_T"
    assert _contradicted(numbers((-9, -8), (-10, -7))) == ""  # smooth
    assert _contradicted(numbers((-1, 1), (-1, 1), (0.3, 0.4), (0, 0.2))) == "authenticity"
    assert _contradicted(numbers((-1, 1), (-1, 1), (0.3, 0.4), (0.2, 0.35))) == ""
    undefined = numbers((-9, -8), (-1, 1)) | {"c_t": Number(math.nan)}
    assert _contradicted(undefined) == ""


def test_the_power_of_the_test_is_said_in_words():
    shares = {"unchanged": 0.012, "mirrored": 0.02, "shifted": 0.041, "rotated": math.nan}
    words = {kind: kind for kind in shares} | {"rotated": "rotated by up to 10 degrees"}
    numbers = {f"planted/{kind}": Number(share) for kind, share in shares.items()}
    assert _noticed(numbers, words) == (
        "copies would be found from 2 % on if unchanged or mirrored; from 5 % on if shifted; not "
        "at all if rotated by up to 10 degrees"
    )
    nothing = {f"planted/{kind}": Number(math.nan) for kind in shares}
    assert _noticed(nothing, words) == "copies would not be found"
