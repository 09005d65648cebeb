"""Supports of known size, and intervals that hold as often as they say."""

import math

import pytest
import torch

from genzoo.metrics.birthday import Birthday, batches, count_support, duplicate_threshold
from genzoo.metrics.neighbours import closest_pairs
from tests.helpers.evidence import texture


def contains(number, value):
    low, high = (-math.inf if number.low is None else number.low), number.high
    return low <= value <= high


def birthday(labels, size=None, seed=0):
    """Of samples that collide where their labels are equal."""
    points = labels.double()[:, None]
    return Birthday.of(points, 0.5, size or len(labels), seed)


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


def noisy_points(images, noise, n, seed):
    """n samples of so many points far apart, each under Gaussian noise: of its repeats the mean
    distance is about noise times the root of 2 d, d = 50."""
    generator = torch.Generator().manual_seed(seed)
    points = 100 * torch.randn(images, 50, generator=generator)
    drawn = torch.randint(images, (n,), generator=generator)
    return points[drawn] + noise * torch.randn(n, 50, generator=generator)


@pytest.mark.parametrize(
    "noise, two_sided",
    [(0.01, True), (0.03, True), (0.08, False), (0.1, False), (0.12, False), (0.19, False)],
)
def test_noise_that_hides_repeats_leaves_an_upper_end_only(noise, two_sided):
    """200 points, repeats of which lie at 10 noise: far below a threshold of 1, about it, or
    above. The truth is never excluded, though what is counted goes up to infinity."""
    covered, ends = 0, []
    for seed in range(20):
        found, number = count_support(noisy_points(200, noise, 400, seed), 1.0, 400)
        if found.colliding:
            covered += contains(number, 200)
            ends.append(number.low is not None)
        else:
            assert (number.value, number.low, number.high) == (math.inf, None, None)
            covered += 1
    assert covered >= 18
    assert all(ends) if two_sided else not any(ends)


def test_images_that_repeat_further_apart_are_not_denied():
    """Thirty points under much noise never collide: no limit is set, where B / 3 once was."""
    found, number = count_support(noisy_points(30, 1.0, 400, 0), 1.0, 400)
    assert not found.colliding and number.low is None and number.interval == ""
    assert number.note == "0 of 79,800 pairs collide"
    assert found.support().low > 25_000  # of those that the threshold calls different
