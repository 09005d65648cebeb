"""Verdicts about generators of known diversity, on evidence made by hand."""

import math

import pytest
import torch

from genzoo.callbacks.diversity import Diversity, pairs_panel

from .evidence import Seen, evidence, pattern_means, texture


def contains(number, value):
    return number.low <= value <= number.high


NAMES = ("ankle", "bag", "coat", "dress", "ear")


def settings():
    return Diversity(extractor="pixels")


@pytest.fixture(scope="module")
def real():
    return texture(1200, 0), texture(900, 1)


def judge(real, generated, means=True):
    extractor = Seen(pattern_means() if means else None)
    return settings().evaluate(evidence(*real, generated, extractor, NAMES))


def test_held_out_images_are_as_diverse_as_real_data(real):
    section = judge(real, texture(900, 2))
    assert section.flag == "good", section.verdict
    assert "at this sample size" in section.verdict and "no class is missing" in section.verdict
    number = section.numbers["support/pixels"]
    assert number.value == math.inf and number.low == pytest.approx(
        900 * 899 / 2 / 2.9957, rel=1e-4
    )
    assert number.note == "0 of 404,550 pairs collide"
    assert section.numbers["classes"].value == 5
    assert section.numbers["classes_effective"].value > 4.8
    assert section.figures["closest_pairs"].dtype == torch.uint8


def test_three_hundred_images_are_counted(real):
    images = texture(300, 5)[0]
    drawn = images[torch.randint(300, (900,))]
    drawn = (drawn.int() + torch.randint(-2, 3, drawn.shape)).clamp(0, 255).byte()
    section = judge(real, drawn)
    assert section.flag == "bad" and "repeat themselves in pixels like" in section.verdict
    for name in ("support", "support_poisson", "support_jackknife"):
        assert contains(section.numbers[f"{name}/pixels"], 300), name
    assert section.numbers["support_distinct/pixels"].value == pytest.approx(300, rel=0.1)
    assert section.numbers["support_half_chance/pixels"].value == pytest.approx(300, rel=0.6)
    assert section.numbers["support_real/pixels"].low > 10 * 300


def test_collapse_to_three_classes_is_named(real):
    images, labels = texture(2000, 3)
    only = images[(labels == 0) | (labels == 2)][:600]
    section = judge(real, only)
    assert section.flag == "bad"
    assert "collapse to 2 classes of 5 (" in section.verdict
    assert "ankle" in section.verdict and "coat" in section.verdict
    assert "bag" not in section.verdict
    missing = judge(real, images[labels != 3][:600])
    assert missing.flag == "bad" and "of 5 classes 1 is missing (dress)" in missing.verdict
    assert missing.numbers["classes"].value == 4
    wide = texture(1500, 0, classes=8), texture(1500, 1, classes=8)
    images, labels = texture(2000, 3, classes=8)
    extractor = Seen(pattern_means(classes=8))
    given = evidence(*wide, images[labels < 3][:600], extractor)
    verdict = settings().evaluate(given).verdict
    assert "collapse to 3 classes of 8" in verdict
    assert sorted(verdict.split("(")[1].split(")")[0].split(", ")) == ["0", "1", "2"]


def test_a_class_that_repeats_itself_is_named(real):
    """Ten images of one class, among 900 samples of which the others all differ."""
    images, labels = texture(900, 2)
    asked = labels == 3
    few = images[asked][:10]
    images[asked] = few[torch.randint(10, (int(asked.sum()),))]
    section = judge(real, (images, labels))
    number = section.numbers["support_per_class/pixels"]
    assert contains(number, 10) and "the least of 5 classes, dress" in number.note
    assert section.flag == "bad"
    assert "within dress the samples repeat themselves like" in section.verdict
    diverse = judge(real, texture(900, 2))
    assert diverse.numbers["support_per_class/pixels"].value == math.inf
    assert "support_per_class/pixels" not in judge(real, texture(900, 2)[0]).numbers


def test_one_image_over_and_over(real):
    section = judge(real, texture(1, 9)[0].expand(300, -1, -1, -1))
    assert section.flag == "bad" and "collapse to 1 class of 5" in section.verdict
    assert "like 1 (1 to 1) images" in section.verdict


def test_as_many_images_as_there_are_training_images(real):
    drawn = real[0][0][torch.randint(1200, (900,))]
    section = judge(real, drawn)
    assert contains(section.numbers["support/pixels"], 1200)
    assert section.flag == "unsure" and "There are 1,200 training images" in section.verdict


def test_few_samples_say_little(real):
    section = judge(real, texture(40, 2), means=False)
    assert section.flag == "unsure" and "too few to say" in section.verdict
    assert "classes" not in section.numbers
    with pytest.raises(ValueError, match="must be at least 3, got 2"):
        judge(real, texture(2, 2), means=False)


def test_a_classifier_of_other_classes_counts_none(real):
    wrong = Seen(pattern_means().flip(0)[:, torch.randperm(144)])
    section = settings().evaluate(evidence(*real, texture(300, 2), wrong, NAMES))
    assert "classes" not in section.numbers


def test_data_with_duplicates_is_compared_with_itself():
    """Binary images of four pixels: real data collides too, and the samples no more."""
    parts = [torch.randint(0, 2, (n, 1, 4, 4)).mul(255).byte() for n in (800, 400, 400)]
    section = settings().evaluate(evidence(*parts))
    assert section.numbers["support_real/pixels"].value < 1e6
    assert section.flag != "bad"
    few = parts[2][torch.randint(20, (400,))]
    assert settings().evaluate(evidence(*parts[:2], few)).flag == "bad"


def test_points_are_counted_without_pictures():
    class Points(Seen):
        def forward(self, x):
            return x, None

    parts = [torch.randn(n, 2) for n in (1000, 500)]
    ring = torch.randn(8, 2)[torch.randint(8, (500,))] + 1e-7 * torch.randn(500, 2)
    section = settings().evaluate(evidence(*parts, ring, Points()))
    assert section.flag == "bad" and not section.figures
    assert section.numbers["support/pixels"].value == pytest.approx(8, rel=0.2)


def test_pairs_panel_shows_three_images_a_pair():
    x = texture(50, 0)[0]
    wide, tall = pairs_panel(x, x[:20], pairs=2), pairs_panel(x, x[:20], pairs=20)
    assert wide.shape[1] == tall.shape[1] and wide.shape[0] < tall.shape[0]
    assert pairs_panel(x[:2], x).shape[2] == 3
