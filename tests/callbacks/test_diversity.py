"""Supports of known size, intervals that hold as often as they say, and classes by name."""

import math

import pytest
import torch

from genzoo.callbacks.diversity import (
    Birthday,
    Diversity,
    batches,
    class_shares,
    duplicate_threshold,
    effective_classes,
    missing_classes,
    pairs_panel,
)
from genzoo.metrics.neighbours import closest_pairs

from .evidence import Seen, evidence, pattern_means, texture


def contains(number, value):
    return number.low <= value <= number.high


def birthday(labels, size=None, seed=0):
    """Of samples that collide where their labels are equal."""
    points = labels.double()[:, None]
    return Birthday.of(points, 0.5, size or len(labels), seed)


# Collisions


def test_collisions_by_hand():
    """a b a c a b: pairs aa aa aa bb."""
    found = Birthday(torch.tensor([[2, 1, 2, 0, 2, 1]]), torch.tensor([[-1, -1, 0, -1, 2, 1]]))
    assert (found.colliding, found.pairs, found.size) == (4, 15, 6)
    number = found.support()
    assert number.value == 15 / 4 and number.low < 15 / 4 < number.high
    assert number.note == "4 of 15 pairs collide"
    with pytest.raises(ValueError, match="must be .batches, at least 3., got .1, 2. and .1, 2."):
        Birthday(torch.zeros(1, 2), torch.zeros(1, 2))


@pytest.mark.parametrize("size", [50, 500, 5000])
@pytest.mark.parametrize("atom, samples", [(0.0, 400), (0.1, 400), (0.1, 200)])
def test_the_interval_covers_as_often_as_it_says(size, atom, samples):
    """Uniform, and with one image of a tenth of the mass: 1 / sum p^2, 200 simulations.

    190 of 200 are 95 %; less than 184 has a chance of 1 % at 95 %.
    """
    p = torch.full((size,), (1 - atom) / (size - (atom > 0)))
    if atom:
        p[0] = atom
    truth = 1 / p.square().sum().item()
    covered = sum(
        contains(birthday(torch.multinomial(p, samples, replacement=True)).support(), truth)
        for _ in range(200)
    )
    assert covered >= 184


def test_equal_probabilities_alone_would_not_cover_a_heavy_image():
    """Why the interval spans two: Poisson's is blind to it."""
    p = torch.full((500,), 0.9 / 499)
    p[0] = 0.1
    truth = 1 / p.square().sum().item()
    draws = [birthday(torch.multinomial(p, 400, replacement=True)) for _ in range(60)]
    covered = sum(1 / b.poisson()[1] <= truth <= 1 / b.poisson()[0] for b in draws)
    assert covered < 30


def test_poisson_is_garwood():
    """Of ten events the textbook interval is 4.795 to 18.39; of none, one-sided, 0 to 2.996."""
    found = birthday(torch.cat([torch.arange(90), torch.arange(10)]))
    assert found.colliding == 10
    low, high = (end * found.pairs for end in found.poisson())
    assert (low, high) == (pytest.approx(4.795, abs=1e-3), pytest.approx(18.391, abs=1e-3))
    none = birthday(torch.arange(100))
    assert none.poisson()[0] == 0
    assert none.poisson()[1] * none.pairs == pytest.approx(2.9957, abs=1e-4)


def test_jackknife_is_leaving_out_one_sample():
    labels = torch.randint(20, (60,))
    found = birthday(labels)

    def share(x):
        equal = (x[:, None] == x[None]).double()
        return (equal.sum() - len(x)) / (len(x) * (len(x) - 1))

    without = torch.stack([share(labels[torch.arange(60) != i]) for i in range(60)])
    error = 2.3 * (59 / 60 * (without - without.mean()).square().sum()).sqrt().item()
    low, high = found.jackknife()
    q = share(labels).item()
    assert low == pytest.approx(min(q - error, q * math.exp(-error / q)))
    assert high == pytest.approx(max(q + error, q * math.exp(error / q)))


def test_no_collision_is_a_lower_bound():
    estimates = birthday(torch.arange(200)).estimates()
    pairs = 200 * 199 / 2
    for name in ("support", "support_poisson", "support_jackknife", "support_distinct"):
        number = estimates[name]
        assert number.value == number.high == math.inf
        assert number.low == pytest.approx(pairs / 2.9957, rel=1e-4)
    assert estimates["support_s_squared"].note.startswith("more than this")


def test_batches_are_disjoint_and_counted_together():
    x = torch.arange(1000)[:, None].double()
    parts = batches(x, 300)
    assert [len(part) for part in parts] == [300, 300, 300]
    assert len(torch.cat(parts).unique()) == 900
    assert [len(part) for part in batches(x[:50], 300)] == [50]
    found = birthday(torch.randint(100, (1000,)), 250)
    assert found.pairs == 4 * 250 * 249 / 2
    assert contains(found.support(), 100)


def test_the_number_of_different_samples():
    """k = N (1 - (1 - 1 / N)^s); the inverse is exact, and its interval covers."""
    covered = 0
    for _ in range(60):
        number = birthday(torch.randint(1000, (800,))).support_of_distinct()
        covered += contains(number, 1000)
    assert covered >= 53
    one = birthday(torch.zeros(50)).support_of_distinct()
    assert one.value == pytest.approx(1, abs=1e-6)


def test_half_of_the_batches():
    """For N = 10,000 the chance is a half at s = 1.177 sqrt(N) = 118: 0.72 s^2 is N, s^2 is not."""
    found = birthday(torch.randint(10_000, (20_000,)), 5000).support_by_halves()
    assert found["support_half_chance"].value == pytest.approx(10_000, rel=0.3)
    ratio = found["support_s_squared"].value / found["support_half_chance"].value
    assert ratio == pytest.approx(2 * math.log(2))
    curve = birthday(torch.randint(10_000, (5000,))).curve()
    shares = [share for _, share in curve]
    assert curve[0] == (2, pytest.approx(0, abs=0.002)) and shares[-1] == 1
    by_law = [1 - math.exp(-s * (s - 1) / 2 / 10_000) for s, _ in curve]
    assert max(abs(a - b) for a, b in zip(shares, by_law, strict=True)) < 0.3


def test_the_threshold_is_half_the_smallest_distance_of_different_images():
    real = texture(400, 0)[0]
    smallest = closest_pairs(real, 1)[0].item()
    assert duplicate_threshold(real, 400) == pytest.approx(smallest / 2)
    assert duplicate_threshold(torch.cat([real, real[:5]]), 405) == pytest.approx(smallest / 2)
    assert duplicate_threshold(real, 100) >= smallest / 2
    with pytest.raises(ValueError, match="at least two different images, got copies of one"):
        duplicate_threshold(real[:1].expand(9, -1, -1, -1), 9)
    with pytest.raises(ValueError, match="must be at least 2 images, got 1 and 9"):
        duplicate_threshold(real[:1], 9)


# Classes


def test_class_shares_undo_confusion():
    """A classifier that takes 0 for 1 in a third of cases, and nobody draws 1."""
    torch.manual_seed(1)
    table = torch.tensor([[2 / 3, 1 / 3, 0.0], [0.1, 0.9, 0.0], [0.0, 0.0, 1.0]])

    def answers(labels):
        said = torch.multinomial(table[labels], 1)[:, 0]
        return torch.nn.functional.one_hot(said, 3).float()

    known = torch.arange(3000) % 3
    drawn = torch.arange(2000) % 2 * 2  # 0 and 2
    shares = class_shares(answers(drawn))
    assert shares[1] > 0.14
    undone = class_shares(answers(drawn), (answers(known), known))
    torch.testing.assert_close(undone, torch.tensor([0.5, 0, 0.5]).double(), rtol=0, atol=0.03)
    few = class_shares(answers(drawn), (answers(known[:30]), known[:30]))
    assert few[1] > 0.14  # ten of each tell too little


def test_effective_classes():
    assert effective_classes(torch.full((10,), 0.1).double()) == pytest.approx(10)
    assert effective_classes(torch.tensor([1.0, 0, 0]).double()) == pytest.approx(1)


def test_missing_needs_evidence():
    even = torch.full((10,), 0.1).double()
    none = torch.tensor([0.0] + [1 / 9] * 9).double()
    assert missing_classes(none, even, 1000) == [0]
    assert missing_classes(none, even, 10) == []
    rare = torch.tensor([0.03] + [0.97 / 9] * 9).double()
    assert missing_classes(rare, even, 10_000) == []
    for i in range(50):
        generator = torch.Generator().manual_seed(i)
        labels = torch.randint(10, (150,), generator=generator)
        assert missing_classes(labels.bincount(minlength=10) / 150, even, 150) == []


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: class_shares(torch.zeros(0, 3)), r"logits must be \(n, K\) and not empty"),
        (lambda: class_shares(torch.full((9, 3), math.nan)), "logits must be finite"),
        (
            lambda: class_shares(torch.zeros(9, 3), (torch.zeros(9, 3), torch.full((9,), 3))),
            r"labels must be in 0\.\.2, got 3\.\.3",
        ),
    ],
)
def test_bad_logits_are_one_clear_line(call, message):
    with pytest.raises(ValueError, match=message):
        call()


# The evaluation

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
