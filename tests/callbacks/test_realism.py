"""The verdict on realism and its yardsticks."""

import math

import pytest
import torch

from genzoo.callbacks.realism import Realism, independent_pixels, way_to_real
from genzoo.metrics.frechet import Compared
from genzoo.metrics.number import Number
from tests.helpers.evidence import Seen, evidence, pattern_means, texture
from tests.helpers.intervals import contains


def settings(**kwargs):
    return Realism(extractor="pixels", **kwargs)


def test_independent_pixels_keep_each_places_values_and_nothing_else():
    images = texture(300, 0)[0]
    images[:, 0, 3, 4] = 9
    drawn = independent_pixels(images, 500, torch.Generator().manual_seed(0))
    assert drawn.shape == (500, 1, 12, 12) and drawn.dtype == torch.uint8
    assert (drawn[:, 0, 3, 4] == 9).all()
    means = images.float().mean(0), drawn.float().mean(0)
    assert (means[0] - means[1]).abs().max() < 25
    assert not (drawn.flatten(1)[:, None] == images.flatten(1)[None]).all(2).any()


def test_real_images_look_real_and_noisy_ones_do_not():
    train, held_out, fresh = (texture(n, i) for i, n in enumerate((2000, 1500, 1500)))
    extractor = Seen(pattern_means())
    good = settings().evaluate(evidence(train, held_out, fresh, extractor))
    assert good.flag == "good", good.verdict
    noise = torch.randint(0, 256, fresh[0].shape).byte()
    bad = settings().evaluate(evidence(train, held_out, noise, extractor))
    assert bad.flag == "bad", bad.verdict
    assert good.numbers["way_to_real"].value > 0.95 > 0.5 > bad.numbers["way_to_real"].value
    names = {"fd/toy", "fd/toy_held_out", "fd/toy_independent", "kd/toy", "is/toy", "recall"}
    assert names <= set(good.numbers) and "fid" not in good.numbers
    assert {"precision_held_out", "density", "coverage", "fd/toy_infinity"} <= set(good.numbers)
    for name, number in good.numbers.items():
        if name != "fd/toy_infinity_held_out":
            assert number.low <= number.value <= number.high, name
    assert contains(good.numbers["kd/toy"], 0) and not contains(bad.numbers["kd/toy"], 0)


def test_published_names_are_for_the_published_protocol():
    parts = [texture(n, i) for i, n in enumerate((80, 60, 60))]
    section = settings().evaluate(evidence(*parts, Seen(pattern_means(), reference=True)))
    assert {"fid", "kid", "inception_score", "fid_held_out"} <= set(section.numbers)
    assert not any("/" in name for name in section.numbers)
    assert "subsets of 60" in section.numbers["kid"].note


def test_too_few_images_for_the_features_are_named():
    parts = [texture(n, i) for i, n in enumerate((400, 50, 40))]
    section = settings().evaluate(evidence(*parts, Seen(width=100)))
    assert "40 images are too few for 100 features" in section.numbers["fd/toy"].note
    assert "is/toy" not in section.numbers and "fd/toy_infinity" not in section.numbers


def test_the_yardstick_is_made_once():
    train, held_out, fresh = (texture(n, i) for i, n in enumerate((200, 100, 100)))
    extractor, callback = Seen(), settings()
    given = evidence(train, held_out, fresh, extractor)
    first = callback.evaluate(given)
    calls = extractor.calls
    second = callback.evaluate(given)
    assert extractor.calls == calls and first.numbers == second.numbers
    other = evidence(train, held_out, fresh, extractor)
    calls = extractor.calls
    callback.evaluate(other)
    assert extractor.calls > calls  # other data, another yardstick


def test_where_real_images_are_independent_pixels_nobody_decides():
    noise = [torch.randint(0, 256, (150, 1, 6, 6)).byte() for _ in range(3)]
    section = settings().evaluate(evidence(*noise))
    assert section.flag == "unsure" and "do not tell real images" in section.verdict
    assert math.isnan(section.numbers["way_to_real"].value)


def compared(value, deviation=0.0, n=100):
    """A distance whose generated images have an influence of this deviation of the mean."""
    influence = torch.linspace(-1, 1, n).double()
    influence *= deviation * math.sqrt(n) / influence.std()
    return Compared(value, torch.zeros(n).double(), influence, 10)


def test_way_to_real_is_a_share_of_roots_less_the_floor():
    floor, ceiling = compared(21.0), compared(121.0)
    way = way_to_real(compared(46.0, 11 / 1.959964), floor, ceiling)
    assert (way.low, way.value, way.high) == pytest.approx((0.4, 0.5, 1 - 14**0.5 / 10))
    above = way_to_real(compared(17.0), floor, ceiling)
    assert above.low == above.value == pytest.approx(1.2)
    wider = way_to_real(compared(46.0), floor, ceiling, 0.02)
    assert (wider.low, wider.high) == pytest.approx((0.48, 0.52))
    for shares in ((21.0, 11.0, 0), (21.0, 0, 30.0)):  # of the floor, of the ceiling
        floor, ceiling = compared(21.0, shares[1]), compared(121.0, shares[2])
        shaky = way_to_real(compared(46.0), floor, ceiling)
        assert shaky.value == pytest.approx(0.5) and shaky.high - shaky.low > 0.1
    assert math.isnan(way_to_real(compared(30.0), floor, compared(25.0)).value)


def test_collapsed_images_are_a_bad_verdict_and_no_error():
    train, held_out = texture(300, 0), texture(200, 1)
    black = torch.zeros(200, 1, 12, 12, dtype=torch.uint8)
    section = settings().evaluate(evidence(train, held_out, black, Seen(pattern_means())))
    assert section.flag == "bad" and section.numbers["recall"].value == 0


def test_points_are_taken_too():
    class Points(Seen):
        def forward(self, x):
            self.calls += 1
            return x, None

    points = [torch.randn(n, 2) @ torch.tensor([[1.0, 0.9], [0.0, 0.3]]) for n in (500, 200, 200)]
    section = settings().evaluate(evidence(*points, Points()))
    assert section.numbers["fd/toy"].value < section.numbers["fd/toy_independent"].value


def test_too_few_samples_are_refused_when_asked_for():
    with pytest.raises(ValueError, match="num_samples_fit must be at least 10, got 5"):
        settings(num_samples_fit=5)
    with pytest.raises(ValueError, match="most must be at least 10, got 3"):
        settings(most=3)


# What is known of the generator


def test_rows_beside_each_other_are_of_equal_counts():
    """A perfect generator of many samples beside few held-out images: the distances agree, and
    that of all samples, which is less biased, has a row of its own."""
    train, held_out, fresh = (texture(n, i) for i, n in enumerate((1500, 150, 1500)))
    numbers = settings().evaluate(evidence(train, held_out, fresh, Seen(width=32))).numbers
    ours, held = numbers["fd/toy"].value, numbers["fd/toy_held_out"].value
    assert ours == pytest.approx(held, rel=0.25)
    assert numbers["fd/toy_all"].value < 0.5 * held
    assert "all 1,500 samples" in numbers["fd/toy_all"].note
    assert "of 150 samples" in numbers["fd/toy"].note
    for name in ("kd/toy", "precision", "recall", "density", "coverage"):
        assert f"{name}_held_out" in numbers
    assert numbers["coverage"].note == numbers["coverage_held_out"].note  # the same expectation
    equal = settings().evaluate(evidence(train, fresh, fresh, Seen(width=32))).numbers
    assert "fd/toy_all" not in equal


@pytest.mark.parametrize("seed", range(5))
def test_the_way_does_not_depend_on_the_number_of_images(seed):
    """Half-and-half blends of two images: as far from real at 120 as at 1,000; never good, at 30
    neither."""
    train, held_out, one, two = (texture(1000, 4 * seed + i)[0] for i in range(4))
    blends = ((one.int() + two.int()) // 2).byte()
    ways = {}
    for n in (30, 120, 1000):
        given = evidence(train, held_out[:n], blends[:n], Seen(width=48))
        section = settings().evaluate(given)
        ways[n] = section.numbers["way_to_real"].value
        assert section.flag != "good", section.verdict
    assert section.flag == "bad" and section.verdict.startswith("No: ")
    assert abs(ways[120] - ways[1000]) < 0.12, ways


def test_of_few_images_nobody_says_yes():
    train, held_out, fresh = (texture(n, i) for i, n in enumerate((2000, 99, 99)))
    section = settings().evaluate(evidence(train, held_out, fresh, Seen(pattern_means())))
    assert section.flag == "unsure"
    callback = settings()
    assert callback._flag(Number(0.97, 0.95, 1.01), 99) == "unsure"
    assert callback._flag(Number(0.97, 0.95, 1.01), 100) == "good"


def test_samples_nearer_than_held_out_images_are_not_good_without_a_word():
    """Copies of few training images and held-out images of another kind: the way is above 1."""
    train = texture(1500, 0)
    held_out = texture(1000, 1, temperature=0.5)
    section = settings().evaluate(evidence(train, held_out, train[0][:1000], Seen()))
    assert section.numbers["way_to_real"].low > 1
    assert section.flag == "unsure" and "Suspicious: " in section.verdict
    assert "memorisation" in section.verdict


def test_the_panels_show_what_was_planted():
    train, held_out, fresh = (texture(n, i)[0] for i, n in enumerate((600, 400, 400)))
    fresh[7] = 255
    section = settings().evaluate(evidence(train, held_out, fresh, Seen()))
    assert set(section.figures) == {"least_real", "not_reached"}
    assert "least real" in section.verdict
    panel = section.figures["least_real"]
    assert panel.dtype == torch.uint8 and panel.shape[2] == 3
    assert (panel == 255).all(2).sum() >= 12 * 12  # the white one is among the least real


def test_a_class_that_is_not_real_is_named():
    """Of five classes one is noise; the labels that were asked for tell it."""
    train, held_out, (fresh, labels) = (texture(n, i) for i, n in enumerate((900, 700, 700)))
    fresh[labels == 3] = torch.randint(0, 256, fresh[labels == 3].shape).byte()
    names = ("a", "b", "c", "shirt", "e")
    given = evidence(train, held_out, (fresh, labels), Seen(), names)
    section = settings().evaluate(given)
    assert "worst is shirt, with a precision of 0%" in section.verdict
    assert "worst: shirt, 0.00" in section.numbers["precision_per_class"].note
    assert section.numbers["precision_per_class_held_out"].value > 0.5
