"""Verdicts about generators of known diversity, on evidence made by hand."""

import math

import pytest
import torch

from genzoo.callbacks.diversity import Diversity, pairs_panel
from genzoo.metrics.neighbours import closest_pairs
from genzoo.metrics.number import written
from tests.helpers.evidence import Seen, evidence, pattern_means, texture


def contains(number, value):
    return number.low <= value <= number.high


NAMES = ("ankle", "bag", "coat", "dress", "ear")


def settings():
    return Diversity(extractor="pixels")


@pytest.fixture(scope="module")
def real():
    return texture(1200, 0), texture(600, 1)


def judge(real, generated, means=True):
    extractor = Seen(pattern_means() if means else None)
    return settings().evaluate(evidence(*real, generated, extractor, NAMES))


def test_held_out_images_are_as_diverse_as_real_data(real):
    section = judge(real, texture(600, 2))
    numbers = section.numbers
    assert section.flag == "good", section.verdict
    assert "compared with as many held-out images (600) the samples reach" in section.verdict
    assert "no class is missing. No two of 600 samples are nearer than" in section.verdict
    for name in ("recall_ratio", "coverage_ratio", "vendi_ratio", "vendi_within_ratio"):
        assert contains(numbers[name], 1), name
    assert "at least" not in section.verdict
    number = numbers["support/pixels"]  # no collision sets no limit
    assert (number.value, number.low, number.high) == (math.inf, None, None)
    assert number.note == "0 of 179,700 pairs collide, which sets no limit"
    closest = closest_pairs(texture(600, 2)[0], 1)[0].item()
    assert numbers["closest_pair/pixels"].value == closest
    twice = 2 * numbers["duplicate_below/pixels"].value
    assert numbers["closest_pair/pixels"].note.endswith(f"in batches of as many {written(twice)}")
    assert numbers["classes"].value == 5
    assert numbers["classes_effective"].value > 4.8
    assert section.figures["closest_pairs"].dtype == torch.uint8


def test_three_hundred_images_are_counted(real):
    images = texture(300, 5)[0]
    drawn = images[torch.randint(300, (600,))]
    drawn = (drawn.int() + torch.randint(-2, 3, drawn.shape)).clamp(0, 255).byte()
    section = judge(real, drawn)
    assert section.flag == "bad" and "repeat themselves in pixels like" in section.verdict
    assert "Look at the closest pairs of samples" in section.verdict
    assert contains(section.numbers["support/pixels"], 300)
    assert section.numbers["support_distinct/pixels"].value == pytest.approx(300, rel=0.1)
    assert section.numbers["support_half_chance/pixels"].value == pytest.approx(300, rel=0.6)
    assert section.numbers["support_real/pixels"].low > 10 * 300


def test_thirty_images_under_noise_collide_nowhere_and_are_bad(real):
    """The threshold of duplicates is below the noise: their number is not claimed to be large."""
    images = texture(30, 5)[0][torch.randint(30, (600,))]
    noise = 30 * torch.randn(images.shape)
    section = judge(real, (images + noise).round().clamp(0, 255).byte())
    number = section.numbers["support/pixels"]
    assert number.value == math.inf and number.low is None
    assert section.flag == "bad"
    assert "compared with as many held-out images (600) the samples reach" in section.verdict
    assert (
        "of the coverage" in section.verdict
        and "Look at training images that no" in section.verdict
    )
    assert section.figures["missing"].dtype == torch.uint8
    assert section.numbers["coverage_ratio"].high < 0.75
    assert "at least" not in section.verdict


def test_a_narrow_class_is_named_without_labels(real):
    """The classifier tells whose samples they are; all other classes are as wide as the data."""
    images, labels = texture(600, 2)
    few = images[labels == 3][:6]
    drawn = few[torch.randint(6, (int((labels == 3).sum()),))]
    images[labels == 3] = (drawn + 6 * torch.randn(drawn.shape)).round().clamp(0, 255).byte()
    section = judge(real, images)
    number = section.numbers["vendi_within_least"]
    assert number.note.startswith("the narrowest of 5 classes, dress; ")
    assert section.flag == "bad" and "within dress they vary" in section.verdict
    assert number.high < 0.75 < section.numbers["vendi_within_ratio"].high
    assert "vendi_within_least" not in judge(real, images, means=False).numbers


def test_collapse_to_three_classes_is_named(real):
    images, labels = texture(2000, 3)
    only = images[(labels == 0) | (labels == 2)][:600]
    section = judge(real, only)
    assert section.flag == "bad"
    assert "only 2 classes of 5 left (" in section.verdict
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
    assert "only 3 classes of 8 left" in verdict
    assert sorted(verdict.split("(")[1].split(")")[0].split(", ")) == ["0", "1", "2"]


def test_a_class_that_repeats_itself_is_named(real):
    """Ten images of one class, among 600 samples of which the others all differ."""
    images, labels = texture(600, 2)
    asked = labels == 3
    few = images[asked][:10]
    images[asked] = few[torch.randint(10, (int(asked.sum()),))]
    section = judge(real, (images, labels))
    number = section.numbers["support_per_class/pixels"]
    assert contains(number, 10) and number.note.startswith("the least, dress; ")
    assert section.flag == "bad"
    assert "within dress the samples repeat themselves like" in section.verdict
    diverse = judge(real, texture(600, 2))
    assert diverse.flag == "good" and "support_per_class/pixels" not in diverse.numbers


def test_one_image_over_and_over(real):
    section = judge(real, texture(1, 9)[0].expand(300, -1, -1, -1))
    assert section.flag == "bad" and "only 1 class of 5 left" in section.verdict
    assert "like 1 (1 to 1) images" in section.verdict


def test_as_many_images_as_there_are_training_images(real):
    drawn = real[0][0][torch.randint(1200, (600,))]
    section = judge(real, drawn)
    assert contains(section.numbers["support/pixels"], 1200)
    assert section.flag == "unsure" and "There are 1,200 training images" in section.verdict


@pytest.mark.parametrize("n", [8, 20, 60])
def test_few_held_out_images_say_little(real, n):
    """However many samples there are."""
    train, held_out = (
        (images[:k], labels[:k]) for (images, labels), k in zip(real, (400, n), strict=True)
    )
    section = judge((train, held_out), texture(600, 2), means=False)
    assert section.flag == "unsure"
    assert section.verdict == (
        f"{n} images of each kind are too few to say: it takes 100 at least."
    )
    assert ("recall_ratio" in section.numbers) == (n >= 12)
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
    number = section.numbers["support/pixels"]
    assert number.value < 1e6 and number.high is None  # no more repeats than real images have
    assert section.flag != "bad"
    few = parts[2][torch.randint(20, (400,))]
    section = settings().evaluate(evidence(*parts[:2], few))
    assert section.flag == "bad" and section.numbers["support_real/pixels"].value < 1e6


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
