"""Distances against brute force by subtraction in float64, and where products alone would fail."""

import math

import pytest
import torch

from genzoo.metrics import neighbours
from genzoo.metrics.neighbours import (
    closest_pairs,
    collisions,
    count_below,
    count_pairs_below,
    nearest,
)


def brute(a, b):
    """(n, m) by direct subtraction; uint8 as floats in [0, 1]."""
    unit = 255 if a.dtype == torch.uint8 else 1
    a, b = a.flatten(1).double(), b.flatten(1).double()
    return torch.stack([(row - b).square().sum(1).sqrt() for row in a]) / unit


def images(n, seed=0, high=256):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, high, (n, 1, 6, 5), generator=generator, dtype=torch.uint8)


@pytest.fixture(params=[(4096, 8192), (64, 100), (7, 13)])
def blocks(request, monkeypatch):
    """Blocks that hold everything, and ragged ones."""
    monkeypatch.setattr(neighbours, "QUERIES", request.param[0])
    monkeypatch.setattr(neighbours, "REFERENCES", request.param[1])


@pytest.mark.parametrize("k", [1, 5])
def test_nearest_is_brute_force(blocks, k):
    queries, references = torch.randn(150, 32), torch.randn(213, 32)
    found, index = nearest(queries, references, k)
    truth, order = brute(queries, references).sort(1)
    assert found.dtype == torch.float64 and index.dtype == torch.int64
    torch.testing.assert_close(found, truth[:, :k], rtol=1e-14, atol=0)
    assert torch.equal(index, order[:, :k])


def test_nobody_is_his_own_neighbour_but_a_copy_of_him_is(blocks):
    x = torch.randn(120, 8)
    x[77] = x[3]
    found, index = nearest(x, x, 2, exclude_self=True)
    truth = brute(x, x).fill_diagonal_(math.inf).sort(1)
    torch.testing.assert_close(found, truth.values[:, :2], rtol=1e-14, atol=0)
    assert found[3, 0] == 0 and index[3, 0] == 77 and index[77, 0] == 3
    assert (found[:, 0] > 0).sum() == 118


def test_a_copy_is_at_zero_and_a_copy_with_one_changed_pixel_is_not():
    references = images(1000)
    queries = references[500:700].clone()
    queries[100:, 0, 2, 2] ^= 1  # one grey level in one pixel
    found, index = nearest(queries, references)
    assert torch.equal(index[:, 0], torch.arange(500, 700))
    assert (found[:100] == 0).all()
    torch.testing.assert_close(found[100:], torch.full_like(found[100:], 1 / 255))


def test_products_alone_would_take_the_wrong_neighbour():
    """Two thousand references closer together than float32 can tell at their norm."""
    base = 20 * torch.randn(1, 256, dtype=torch.float64)
    sides = torch.tensor([[1.0], [-1.0]], dtype=torch.float64).repeat(1000, 1)
    references = sides * base + 1e-4 * torch.randn(2000, 256, dtype=torch.float64)
    queries = sides[:50] * base + 1e-4 * torch.randn(50, 256, dtype=torch.float64)
    truth = brute(queries, references).sort(1)
    q, r = queries.float(), references.float()
    naive = (r.square().sum(1) - 2 * q @ r.T).argmin(1)
    assert (naive != truth.indices[:, 0]).float().mean() > 0.5
    found, index = nearest(queries, references, 3)
    assert torch.equal(index, truth.indices[:, :3])
    torch.testing.assert_close(found, truth.values[:, :3], rtol=1e-12, atol=0)


def test_a_common_offset_costs_no_digits():
    x = torch.randn(300, 16, dtype=torch.float64)
    expected = nearest(x, x, exclude_self=True)
    far = x + 1e5
    found = nearest(far, far, exclude_self=True)
    assert torch.equal(found[1], expected[1])
    torch.testing.assert_close(found[0], expected[0], rtol=1e-8, atol=0)


def test_ties_go_to_the_smaller_index_however_many(blocks):
    references = torch.zeros(200, 1, 6, 5, dtype=torch.uint8)
    queries = torch.ones(3, 1, 6, 5, dtype=torch.uint8)
    found, index = nearest(queries, references, 4)
    assert torch.equal(index, torch.arange(4).expand(3, 4))
    torch.testing.assert_close(found, torch.full_like(found, math.sqrt(30) / 255))


def test_counts_are_brute_force(blocks):
    queries, references = torch.randn(90, 12), torch.randn(170, 12)
    truth = brute(queries, references)
    assert torch.equal(count_below(queries, references, 3.5), (truth < 3.5).sum(1))
    radius = nearest(references, references, 4, exclude_self=True)[0][:, -1]
    assert torch.equal(count_below(queries, references, radius), (truth < radius).sum(1))
    within = brute(references, references)
    assert torch.equal(count_below(references, references, radius), (within < radius).sum(1))
    inclusive = count_below(references, references, radius, inclusive=True)
    assert torch.equal(inclusive, (within <= radius).sum(1))
    assert inclusive.sum() == count_below(references, references, radius).sum() + 170


def test_counts_of_images_are_exact_at_the_threshold(blocks):
    x = torch.zeros(40, 1, 6, 5, dtype=torch.uint8)
    x[:, 0, 0, 0] = torch.arange(40)
    assert count_below(x[:1], x, 3 / 255).item() == 3  # levels 0, 1, 2
    assert count_below(x[:1], x, 3 / 255, inclusive=True).item() == 4
    assert count_pairs_below(x, 2 / 255) == 39
    assert count_pairs_below(x, 2 / 255, inclusive=True) == 39 + 38


@pytest.mark.parametrize("kind", ["images", "features"])
def test_a_threshold_taken_from_a_distance_is_that_distance(kind):
    x = images(400) if kind == "images" else torch.randn(400, 30)
    found, _ = nearest(x[:200], x[200:])
    radius = found[:, 0]
    assert torch.equal(count_below(x[200:], x[:200], radius).sum(), torch.tensor(0))
    hit = count_below(x[200:], x[:200], radius, inclusive=True)
    assert hit.sum() == 200


def test_collisions_are_brute_force(blocks):
    x = images(150, high=3)
    near = brute(x, x) < 3.9 / 255
    degrees, previous = collisions(x, 3.9 / 255)
    assert torch.equal(degrees, near.sum(1) - 1)
    before = near.tril(-1)
    last = torch.where(before, torch.arange(150), -1).amax(1)
    assert torch.equal(previous, last)
    assert 0 < (previous < 0).sum() < 150
    assert count_pairs_below(x, 3.9 / 255) == before.sum()


def test_collisions_of_several_thresholds_are_those_of_each(blocks):
    x = images(90, high=3)
    thresholds = [4.2 / 255, 3.2 / 255, 3.9 / 255]
    found = neighbours.collisions_of(x, thresholds)
    assert len({int(degrees.sum()) for degrees, _ in found}) == 3
    for threshold, (degrees, previous) in zip(thresholds, found, strict=True):
        expected = collisions(x, threshold)
        assert torch.equal(degrees, expected[0]) and torch.equal(previous, expected[1])


@pytest.mark.parametrize("width", [1, 7, 8, 2047, 4099])
def test_rows_of_any_width_are_summed(width):
    hit = torch.rand(5, width) < torch.tensor([[0.0], [0.1], [0.5], [0.9], [1.1]])
    assert torch.equal(neighbours._row_sums(hit), hit.sum(1))
    assert neighbours._row_sums(hit)[-1] == width


@pytest.mark.parametrize("m", [1, 20, 300])
def test_closest_pairs_are_brute_force(blocks, m):
    x = torch.randn(80, 6)
    x[50] = x[20]
    found, pairs = closest_pairs(x, m)
    truth = brute(x, x)
    i, j = torch.triu_indices(80, 80, 1)
    values, order = truth[i, j].sort(stable=True)
    torch.testing.assert_close(found, values[:m], rtol=1e-14, atol=0)
    assert torch.equal(pairs, torch.stack([i, j], 1)[order[:m]])
    assert found[0] == 0 and pairs[0].tolist() == [20, 50]


def test_closest_pairs_of_a_collapsed_set():
    x = 30 + 1e-5 * torch.randn(400, 64, dtype=torch.float64)
    found, _ = closest_pairs(x, 5)
    i, j = torch.triu_indices(400, 400, 1)
    torch.testing.assert_close(found, brute(x, x)[i, j].sort().values[:5], rtol=1e-9, atol=0)
    found, pairs = closest_pairs(torch.zeros(300, 1, 2, 2, dtype=torch.uint8), 5)
    assert (found == 0).all() and (pairs[:, 0] < pairs[:, 1]).all()
    assert len(pairs.unique(dim=0)) == 5


def test_callers_precision_is_left_alone_and_does_not_matter():
    x = torch.randn(300, 64)
    expected = nearest(x, x, exclude_self=True)
    torch.set_float32_matmul_precision("medium")
    try:
        with torch.autocast("cpu", torch.bfloat16):
            found = nearest(x, x, exclude_self=True)
        assert torch.get_float32_matmul_precision() == "medium"
        with pytest.raises(ValueError):
            nearest(x, x[:0])
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision("highest")
    assert torch.equal(found[0], expected[0]) and torch.equal(found[1], expected[1])


def test_half_precision_features_are_measured_in_double():
    x = torch.randn(60, 20).half()
    torch.testing.assert_close(
        nearest(x, x, exclude_self=True)[0][:, 0],
        brute(x, x).fill_diagonal_(math.inf).amin(1),
        rtol=1e-14,
        atol=0,
    )


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda x: nearest(x, x[:3], 4), r"k must be 1\.\.3 here, got 4"),
        (lambda x: nearest(x, x, 30, exclude_self=True), r"k must be 1\.\.29 here, got 30"),
        (lambda x: nearest(x, x[:5], exclude_self=True), "queries must be the references"),
        (lambda x: nearest(x * torch.nan, x), "queries must be finite, got NaN"),
        (lambda x: nearest(x, x.long()), "references must be uint8 images or float features"),
        (lambda x: nearest(x, x[:, :3]), "must be of one kind"),
        (lambda x: nearest(x[:0], x), "queries must be a non-empty batch"),
        (lambda x: closest_pairs(x, 0), r"m must be 1\.\.435 pairs here, got 0"),
    ],
)
def test_bad_input_is_one_clear_line(call, message):
    with pytest.raises(ValueError, match=message) as error:
        call(torch.randn(30, 7))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("k", [1, 9])
@pytest.mark.parametrize("width", [1152, 2048, 2049])
def test_the_smallest_of_a_row_are_found_by_groups(k, width):
    """Widths that groups divide and others; values with ties."""
    generator = torch.Generator().manual_seed(width)
    x = torch.randint(0, 500, (64, width), generator=generator).float()
    values, place = neighbours._smallest(x, k, torch.float32)
    assert torch.equal(values, x.sort(1)[0][:, :k])
    assert torch.equal(x.gather(1, place), values)
    assert all(len(row.unique()) == k for row in place)
