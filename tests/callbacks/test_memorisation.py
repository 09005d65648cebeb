"""Copies planted in known numbers, and what must not be taken for copies."""

import gzip
import math

import pytest
import torch
import torch.nn.functional as F

from genzoo.callbacks.memorisation import (
    Asymmetry,
    Memorisation,
    authentic,
    copied_by_authenticity,
    copied_fraction,
    data_copying,
    detectable_fraction,
    middle,
    near_pairs,
    nearest_transformed,
    panel,
    permutation_test,
    quantile,
    transforms,
)
from genzoo.metrics.neighbours import nearest

from .evidence import Seen, evidence, pattern_means, texture


def contains(number, value):
    return number.low <= value <= number.high


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


def noisy(x, deviation=0.02):
    return (x + 255 * deviation * torch.randn(x.shape)).clamp(0, 255).round().byte()


# Transforms


def test_transforms_are_all_windows_and_mirrors_the_middle_first():
    x = torch.arange(30, dtype=torch.uint8).view(1, 1, 5, 6)
    seen = list(transforms(x, 1, mirror=True))
    assert len(seen) == 18 and torch.equal(seen[0], x[..., 1:4, 1:5])
    assert torch.equal(seen[0], middle(x, 1)) and torch.equal(middle(x, 0), x)
    assert len({tuple(image.flatten().tolist()) for image in seen}) == 18
    assert any(torch.equal(image, x.flip(-1)[..., 1:4, 1:5]) for image in seen)
    assert any(torch.equal(image, x[..., 2:, :4]) for image in seen)
    assert [len(list(transforms(x, s))) for s in (0, 1, 2)] == [1, 9, 25]
    points = torch.randn(5, 2)
    (only,) = transforms(points, 2, mirror=True)
    assert only is points
    with pytest.raises(ValueError, match="shifts must leave something of the images, got 3"):
        next(transforms(x, 3))


def test_a_moved_copy_is_found_where_it_came_from():
    train = texture(300, 0)[0]
    copies = moved(train[100:150], seed=1).flip(-1)
    plain = nearest(copies, train)[0][:, 0]
    found, index = nearest_transformed(copies, train, 1, mirror=True)
    assert (found == 0).all() and torch.equal(index, torch.arange(100, 150))
    assert plain.median() > 2
    # Each real image is met once for each transform that brings a copy within reach.
    pairs = near_pairs(copies, train, 1e-6, 1, mirror=True)
    assert torch.equal(pairs.nonzero()[:, 0], torch.arange(100, 150)) and pairs.sum() == 50


# Copied fraction


@pytest.mark.parametrize("p", [0, 0.05, 0.2, 1])
def test_the_copied_fraction_is_recovered(p):
    inside = 0
    for _ in range(40):
        held_out, generated = 3 + torch.randn(3000).double(), 3 + torch.randn(2000).double()
        generated[: int(p * 2000)] = 0.1 * torch.rand(int(p * 2000)).double()
        found = copied_fraction(generated, held_out)
        assert abs(found.value - p) < 0.02
        inside += contains(found, p)
    assert inside >= 36


def test_ties_among_held_out_images_are_no_copies():
    """Half of the held-out images have an exact duplicate in training: alpha is then a half."""
    held_out = torch.cat([torch.zeros(500), torch.rand(500) + 1]).double()
    alike = copied_fraction(held_out.clone(), held_out)
    assert alike.value == 0 and alike.low == 0
    all_zero = copied_fraction(torch.zeros(1000).double(), held_out)
    assert all_zero.value == 1
    nothing = copied_fraction(torch.zeros(10).double(), torch.zeros(10).double())
    assert (nothing.low, nothing.high) == (0, 1) and "equal distances" in nothing.note


def test_quantile():
    x = torch.arange(1, 201).double()[torch.randperm(200)]
    assert quantile(x, 0.01) == 2 and quantile(x, 0.001) == 1 and quantile(x, 1.0) == 200
    with pytest.raises(ValueError, match="distances must be"):
        quantile(x[:0], 0.5)


# Permutation test


def test_the_permutation_test_is_exact():
    """Under equal labels p is at most alpha in a share alpha of cases, for counts of any kind."""
    ps = []
    for i in range(300):
        generator = torch.Generator().manual_seed(i)
        counts = torch.rand(120, generator=generator).pow(8).mul(30).long()
        ps.append(permutation_test(counts[:90], counts[90:], 99, seed=i).p)
    for level in (0.05, 0.2, 0.5):
        share = sum(p <= level for p in ps) / 300
        assert share < level + 4 * math.sqrt(level * (1 - level) / 300)
    assert sum(p <= 0.5 for p in ps) > 90  # and it is not idle


def test_the_permutation_test_by_hand():
    """Ten pairs with ten of twenty training images and none with ten held-out ones: by chance
    C(20, 10) / C(30, 10) = 0.00615."""
    train = torch.tensor([1] * 10 + [0] * 10)
    found = permutation_test(train, torch.zeros(10).long(), 9999)
    assert (found.pairs_train, found.pairs_held_out) == (10, 0)
    assert found.p == pytest.approx(0.00615, abs=0.003)
    reverse = permutation_test(torch.zeros(20).long(), torch.ones(10).long(), 99)
    assert reverse.p == 1
    with pytest.raises(ValueError, match="must have images, got 0 and 3"):
        permutation_test(train[:0], train[:3])


def test_detectable_fraction_is_what_the_test_needs():
    """Without background, k pairs all with training images have a chance of C(n - k...)."""
    found = Asymmetry(0, 0, 1.0)
    share = detectable_fraction(found, 900, 100, 1000, 0.01)
    k = round(share * 1000)
    chance = math.prod((900 - i) / (1000 - i) for i in range(k))
    before = math.prod((900 - i) / (1000 - i) for i in range(k - 1))
    assert chance <= 0.01 < before
    assert detectable_fraction(found, 10, 1, 3, 0.01) == 1


# C_T and authenticity


def test_data_copying_of_held_out_images_is_null_and_of_one_copied_cell_is_not():
    centres = 12 * torch.eye(3, 8)

    def draw(n):
        return centres[torch.arange(n) % 3] + torch.randn(n, 8)

    train, held_out = draw(3000), draw(900)
    values, cells = [], []
    for _ in range(25):
        number, z = data_copying(train, held_out, draw(300))
        values.append(number.value)
        cells.append(z)
    cells = torch.stack(cells)
    assert 0.6 < cells.std(0).mean() < 1.4  # N(0, 1) in each cell
    # The mean of three cells; held-out images are shared, so a common offset stays.
    assert torch.tensor(values).std() == pytest.approx(1 / math.sqrt(3), abs=0.25)
    assert abs(torch.tensor(values).mean()) < 1.2
    copied = draw(300)
    copied[::3] = train[::3][:100] + 0.01 * torch.randn(100, 8)  # one cell of three
    number, z = data_copying(train, held_out, copied)
    assert z.sort().values[0] < -8 and z.sort().values[1:].min() > -4
    assert number.value < -2 and not contains(number, 0)


def test_cells_too_small_are_not_made():
    number, z = data_copying(torch.randn(200, 4), torch.randn(60, 4), torch.randn(50, 4))
    assert len(z) == 1 and math.isfinite(number.value)
    number, z = data_copying(torch.randn(200, 4), torch.randn(60, 4), torch.randn(15, 4))
    assert math.isnan(number.value) and "too few samples" in number.note


def test_authenticity():
    """On a line with training images at 0, 1, 3 (own neighbours at 1, 1, 2)."""
    train = torch.tensor([[0.0], [1.0], [3.0]])
    radius = nearest(train, train, exclude_self=True)[0][:, 0]
    given = torch.tensor([[-1.5], [0.1], [4.5], [5.5]])
    distances, indices = (part[:, 0] for part in nearest(given, train))
    assert authentic(distances, indices, radius).tolist() == [True, False, False, True]
    half, none = torch.tensor([True, False] * 500), torch.zeros(1000, dtype=torch.bool)
    assert contains(copied_by_authenticity(half, half), 0)
    assert copied_by_authenticity(none, half).value == 1
    third = torch.arange(1000) % 4 == 0
    found = copied_by_authenticity(third, half)
    assert found.value == 0.5 and found.low > 0.4 and found.high < 0.6


# The evaluation


def settings(**kwargs):
    return Memorisation(extractor="pixels", **kwargs)


def test_samples_farther_out_than_held_out_images_may_hide_copies():
    """Their own share below the threshold is below alpha; none found is at most 0.2 % of 2,000."""
    held_out = torch.linspace(1, 2, 1000, dtype=torch.float64)
    far = copied_fraction(torch.full((2000,), 5.0, dtype=torch.float64), held_out)
    assert far.value == far.low == 0 and 0.0015 < far.high < 0.0025


@pytest.fixture(scope="module")
def data():
    return texture(1500, 0)[0], texture(1200, 1)[0], texture(1000, 2)[0]


@pytest.fixture(scope="module")
def callback():
    return settings()


def test_held_out_images_are_no_copies(data, callback):
    section = callback.evaluate(evidence(*data))
    assert section.flag == "good" and section.verdict.startswith("No:"), section.verdict
    for space in ("pixels", "shifted", "features"):
        assert section.numbers[f"copied/{space}"].low < 0.01
        assert section.numbers[f"copied/{space}"].value < 0.02
        assert section.numbers[f"asymmetry/{space}"].value > 0.0033
        assert section.numbers[f"outright/{space}"].value == 0
    assert contains(section.numbers["copied/authenticity"], 0)
    ours, theirs = (section.numbers[name] for name in ("authentic", "authentic_held_out"))
    assert ours.low < theirs.value < ours.high
    assert contains(section.numbers["c_t"], 0)
    for figure in section.figures.values():
        assert figure.dtype == torch.uint8 and figure.shape[-1] == 3
    assert set(section.figures) == {
        "nearest_training_images",
        "nearest_training_images_of_held_out",
    }


@pytest.mark.parametrize("p", [0.05, 0.2, 1])
def test_copies_are_caught_and_counted(data, callback, p):
    train, held_out, fresh = data
    copies = int(p * 1000)
    generated = torch.cat([noisy(train[:copies]), fresh[copies:]])
    section = callback.evaluate(evidence(train, held_out, generated))
    assert section.flag == "bad" and section.verdict.startswith("Yes:"), section.verdict
    assert section.numbers["copied/pixels"].value == pytest.approx(p, abs=0.02)
    assert contains(section.numbers["copied/pixels"], p)
    assert section.numbers["asymmetry/pixels"].value == 0.001
    assert section.numbers["c_t"].value < (-1 if p > 0.1 else 1)
    assert section.numbers["outright/pixels"].value == pytest.approx(p, abs=0.02)


@pytest.mark.parametrize("p", [0.05, 0.2, 1])
def test_moved_copies_are_caught_and_counted(data, callback, p):
    train, held_out, fresh = data
    copies = int(p * 1000)
    generated = torch.cat([noisy(moved(train[:copies]).flip(-1)), fresh[copies:]])
    section = callback.evaluate(evidence(train, held_out, generated))
    assert section.flag == "bad" and "up to small shifts" in section.verdict, section.verdict
    assert section.numbers["copied/shifted"].value == pytest.approx(p, abs=0.02)
    assert section.numbers["asymmetry/shifted"].value == 0.001
    still = settings(shifts=0, mirror=False).evaluate(evidence(train, held_out, generated))
    assert "copied/shifted" not in still.numbers
    assert still.numbers["copied/pixels"].value < 0.05


def test_smooth_samples_are_near_to_everything_and_no_copies(data, callback):
    """The mean of each class, and little more: nearer to training images than any held-out one
    is, and as near to held-out images."""
    train, held_out, _ = data
    labels = texture(1000, 2)[1]
    smooth = (255 * pattern_means()[labels]).view(-1, 1, 12, 12)
    smooth = (smooth + 12 * torch.randn(smooth.shape)).clamp(0, 255).byte()
    section = callback.evaluate(evidence(train, held_out, smooth))
    assert section.numbers["copied/pixels"].low > 0.9  # what a test of distances alone would say
    assert section.flag != "bad", section.verdict


def test_a_few_training_images_over_and_over_are_copies(data, callback):
    """Here the permutation test has but three images to judge by, and cannot."""
    train, held_out, _ = data
    section = callback.evaluate(evidence(train, held_out, noisy(train[:3].repeat(100, 1, 1, 1))))
    assert section.numbers["asymmetry/pixels"].value > 0.01
    assert section.flag == "bad" and "less than half as far" in section.verdict


def test_too_few_samples_decide_nothing(data):
    train, held_out, fresh = data
    section = settings().evaluate(evidence(train, held_out, fresh[:60]))
    assert section.flag == "unsure" and "gone unseen" in section.verdict
    with pytest.raises(ValueError, match="samples must be at least 20, got 19"):
        settings().evaluate(evidence(train, held_out, fresh[:19]))
    with pytest.raises(ValueError, match="held-out images must be at least 20, got 5"):
        settings().evaluate(evidence(train, held_out[:5], fresh))


def test_held_out_images_are_searched_once(data, monkeypatch):
    from genzoo.callbacks import memorisation

    calls = []

    def counting(queries, *rest, **named):
        calls.append(len(queries))
        return nearest(queries, *rest, **named)

    callback = settings(shifts=1, mirror=False)
    given = evidence(*(part[:300] for part in data))
    first = callback.evaluate(given)
    monkeypatch.setattr(memorisation, "nearest", counting)
    again = callback.evaluate(given)
    assert first.numbers == again.numbers
    known = len(calls)
    calls.clear()
    callback.evaluate(evidence(*(part[:300] for part in data)))
    assert len(calls) > known + 10


def test_constant_samples_and_constant_data_are_no_error(data):
    train, held_out, _ = data
    black = torch.zeros(100, 1, 12, 12, dtype=torch.uint8)
    section = settings().evaluate(evidence(train, held_out, black))
    assert section.flag in ("good", "unsure")
    section = settings().evaluate(evidence(black, black[:60], black[:50]))
    assert section.flag != "bad"


def test_points_have_no_shifts_and_no_pictures():
    class Points(Seen):
        def forward(self, x):
            return x, None

    train = torch.randn(600, 2)
    parts = train, torch.randn(400, 2), train[:400] + 1e-4 * torch.randn(400, 2)
    section = settings().evaluate(evidence(*parts, Points()))
    assert section.flag == "bad" and not section.figures
    assert "copied/shifted" not in section.numbers


def test_panel_is_a_row_for_each_image():
    train = texture(30, 0)[0]
    assert panel(train[:4], train).shape == panel(train[4:8], train).shape
    small, large = panel(train[:2], train, k=2), panel(train[:4], train, k=5)
    assert small.shape[0] < large.shape[0] and small.shape[1] < large.shape[1]
    with pytest.raises(ValueError, match="shifts must be 0 or more, got -1"):
        settings(shifts=-1)
    with pytest.raises(ValueError, match="most must be at least 20, got 1"):
        settings(most=1)
    with pytest.raises(ValueError, match="num_samples_fit must be at least 20, got 19"):
        settings(num_samples_fit=19)


@pytest.mark.data
def test_fashion_mnist_by_the_catalogue(real_data):
    """Held-out images pass; of copies moved by a pixel and noisy, 20 % are found as 20 %."""
    path = real_data / "FashionMNIST/raw/train-images-idx3-ubyte.gz"
    with gzip.open(path) as file:
        content = file.read(16 + 784 * 12_000)[16:]
    images = torch.frombuffer(bytearray(content), dtype=torch.uint8).view(-1, 1, 28, 28)
    images = images[torch.randperm(len(images))]
    train, held_out, fresh = images[:6000], images[6000:10_500], images[10_500:11_500]
    callback = settings(mirror=False)
    good = callback.evaluate(evidence(train, held_out, fresh))
    assert good.flag == "good", good.verdict
    assert good.numbers["copied/shifted"].value < 0.02
    copies = torch.cat([noisy(moved(train[:200])), fresh[200:]])
    bad = callback.evaluate(evidence(train, held_out, copies))
    assert bad.flag == "bad" and "shifts" in bad.verdict
    assert bad.numbers["copied/shifted"].value == pytest.approx(0.2, abs=0.04)
    assert bad.numbers["copied/pixels"].value < 0.1
