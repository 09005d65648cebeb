"""Whether samples are copies: a test that is exact, and that sees what was planted."""

import math

import pytest
import torch

from genzoo.metrics.alterations import transformed
from genzoo.metrics.copies import CopyTest, Nearest, nearest_aligned, pool
from genzoo.metrics.neighbours import nearest
from tests.helpers.evidence import smooth_images


def points(n, seed, dim=6):
    return torch.randn(n, dim, generator=torch.Generator().manual_seed(seed))


def found(samples, train, held_out, seed=0, **kwargs):
    together = pool(train, held_out, seed)
    real = torch.cat([train, held_out])[together.place]
    near = Nearest.of(*nearest(samples, real, k=2))
    return CopyTest({"points": near}, together.trained, seed=seed, **kwargs), together


# The pool


def test_the_pool_is_of_the_set_alone():
    """Who was trained on leaves no trace in the order: exchange the sides, and the same images
    stand at the same places with the other label."""
    a, b = points(300, 0), points(200, 1)
    one, other = pool(a, b), pool(b, a)
    assert torch.equal(torch.cat([a, b])[one.place], torch.cat([b, a])[other.place])
    assert torch.equal(one.trained, ~other.trained)
    assert one.trained.sum() == 300 and len(one.place) == 500
    first = one.trained[:250].sum().item()
    assert 110 < first < 190  # mixed


def test_duplicates_are_counted_and_stand_once():
    images = torch.randint(0, 255, (60, 1, 4, 4), dtype=torch.uint8)
    train, held_out = images[:40], torch.cat([images[:5], images[:2], images[40:]])
    together = pool(train, held_out)
    assert together.duplicates == 7 and len(together.place) == 60
    assert together.trained.sum() <= 40
    labels = torch.stack([pool(train, held_out, seed).trained.sum() for seed in range(60)])
    assert 35 <= labels.min() < labels.max() <= 40  # of a pair that stands on both sides by lot


# The test


@pytest.mark.parametrize("side", ["p_copies", "p_leak"])
def test_the_test_is_exact(side):
    """Fresh samples: p is at most alpha in a share alpha of cases, both ways; the labels are the
    whole split's, so a search that knows them, as ties broken towards training do, would show."""
    ps = []
    for i in range(200):
        generator = torch.Generator().manual_seed(i)
        # A grid: equal distances and equal images are frequent.
        x = (2 * torch.randn(260, 2, generator=generator)).round()
        test, _ = found(x[:80], x[80:200], x[200:], seed=i, permutations=99)
        ps.append(getattr(test, side))
    for level in (0.05, 0.2, 0.5):
        share = sum(p <= level for p in ps) / 200
        assert share < level + 3.5 * math.sqrt(level * (1 - level) / 200), level
    assert sum(p <= 0.5 for p in ps) > 50  # and it is not idle


@pytest.mark.parametrize("share", [0.05, 0.3, 1.0])
def test_copies_are_found_and_counted(share):
    train, held_out, fresh = points(900, 0), points(500, 1), points(800, 2)
    count = int(share * 800)
    samples = torch.cat([train[:count] + 0.01 * points(count, 3), fresh[count:]])
    test, _ = found(samples, train, held_out)
    copied = test.copied()
    assert test.p_copies == 0.001 and test.p_leak > 0.05
    assert test.close(0.01)
    assert copied.low <= share <= copied.high
    assert copied.value == pytest.approx(share, abs=0.03) and copied.low > 0.5 * share
    assert "are nearest to training images" in copied.note


def test_a_leak_is_not_a_copy():
    train, held_out = points(900, 0), points(500, 1)
    test, _ = found(held_out + 0.01 * points(500, 3), train, held_out)
    assert test.p_leak == 0.001 and test.p_copies > 0.5
    assert test.copied(held_out=True).low > 0.95 and test.copied().low == 0


def test_smooth_samples_are_no_copies():
    """Near to everything, and to nobody in particular."""
    train, held_out = points(900, 0), points(500, 1)
    for seed in range(5):
        test, _ = found(0.1 * points(800, 10 + seed), train, held_out, seed=seed)
        assert test.p_copies > 0.01 and test.copied().low < 0.02


def test_the_lower_end_holds_in_repetitions():
    """Of a tenth copied, with an alteration that hides some of them."""
    below = 0
    for i in range(40):
        train, held_out, fresh = points(400, i), points(200, 100 + i), points(300, 200 + i)
        samples = torch.cat([train[:30] + 0.5 * points(30, 300 + i), fresh[30:]])
        test, _ = found(samples, train, held_out, seed=i, permutations=199)
        below += test.copied().low > 0.1
    assert below <= 3


def test_the_lower_end_says_no_more_than_the_test():
    """Above 0 only where the test finds something, of fresh samples in one of twenty cases."""
    above, few = 0, 0
    for i in range(200):
        x = points(200, i, dim=2)
        test, _ = found(x[:60], x[60:160], x[160:], seed=i, permutations=99)
        for held_out, p in ((False, test.p_copies), (True, test.p_leak)):
            low = test.copied(held_out=held_out).low
            assert low == 0 or p <= 0.05, (i, held_out)
            above += low > 0
            few += p <= 0.05
    assert 0 < above <= few <= 0.05 * 400 + 3.5 * math.sqrt(0.05 * 0.95 * 400)


def test_what_would_be_noticed_is_noticed():
    """The share that `noticed` names is found in at least 9 of 10 repetitions, half of it less."""
    full = half = 0
    for i in range(20):
        train, held_out, fresh = points(500, i), points(300, 100 + i), points(600, 200 + i)
        honest, together = found(fresh, train, held_out, seed=i, permutations=199)
        real = torch.cat([train, held_out])[together.place]
        planted = train[:200] + 0.3 * points(200, 300 + i)
        near = {"points": Nearest.of(*nearest(planted, real, k=2))}
        share = honest.noticed(near, together.trained, 0.02)
        assert 0.01 < share < 0.3
        for part in (1.0, 0.4):
            count = round(part * share * 600)
            copies = train[200 : 200 + count] + 0.3 * points(count, 400 + i)
            test, _ = found(
                torch.cat([copies, fresh[count:]]), train, held_out, i, permutations=199
            )
            if part == 1:
                full += test.p_copies <= 0.02
            else:
                half += test.p_copies <= 0.02
    assert full >= 18 and half <= 16


def test_labels_of_one_kind_are_refused():
    near = Nearest(torch.zeros(5, dtype=torch.int64), torch.ones(5))
    with pytest.raises(ValueError, match="real images must be of both kinds"):
        CopyTest({"points": near}, torch.ones(9, dtype=torch.bool))


def test_aligned_candidates_are_put_in_order():
    x = smooth_images(30)
    moved = transformed(x, right=0.06)
    candidates = torch.stack([(torch.arange(30) + k) % 30 for k in (2, 1, 0)], 1)
    near = nearest_aligned(moved, x, candidates)
    assert (near.index == torch.arange(30)).float().mean() > 0.95
    assert near.gap.median() < 0.5 and (near.gap <= 1).all()
