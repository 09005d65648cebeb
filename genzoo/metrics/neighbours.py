"""Exact Euclidean distances between many images, from which all neighbour statistics are computed.

The fast formula, |q|^2 + |r|^2 - 2 q.r by a matrix product in float32, loses digits by
cancellation: it gives an exact copy a distance of about 1e-3 |q|. So it only selects a shortlist.
Distances to the shortlist are computed again by direct subtraction in float64, and a bound on the
rounding error of the products certifies that no point outside the shortlist is nearer. A query that
cannot be certified is searched again with products in float64. Memory does not grow with the number
of images.

Images are uint8 (n, C, H, W), compared as floats in [0, 1]; features are floats (n, d). Units of
all distances are therefore those of [0, 1] pixels, or of the features.
"""

import contextlib
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from ..watch import watched

QUERIES, REFERENCES = 4096, 8192  # rows of a block of products: 128 MiB in float32
ELEMENTS = 2**24  # entries of a block of rows
CACHED = 2**16  # entries of a chunk of differences: three times as fast, as it fits in the cache
PART = 512  # rows whose pairs are compared with a radius at a time
GROUP = 8  # entries of a row whose minimum is compared first
SPARE = {torch.float32: 8, torch.float64: 64}  # references in the shortlist beyond the k


def nearest(
    queries: Tensor, references: Tensor, k: int = 1, exclude_self: bool = False
) -> tuple[Tensor, Tensor]:
    """The k nearest references of each query, nearest first; ties go to the smaller index.

    Args:
        queries: uint8 (n, C, H, W) or float (n, d).
        references: Images or features of the same kind.
        k: Number of neighbours of each query.
        exclude_self: Whether the two are the same images in the same order, and no image is its
            own neighbour. A duplicate at another index is a neighbour at distance 0.

    Returns:
        Distances float64 (n, k) and indices into references int64 (n, k).

    Raises:
        ValueError: for NaN, for two different kinds, and for fewer than k references.

    >>> distances, indices = nearest(torch.tensor([[0.0, 0.0]]), torch.tensor([[9.0, 9], [3, 4]]))
    >>> distances, indices
    (tensor([[5.]], dtype=torch.float64), tensor([[1]]))
    """
    queries, references, unit = _pair(queries, references)
    if exclude_self and len(queries) != len(references):
        raise ValueError(
            f"queries must be the references when exclude_self, got {len(queries)} and "
            f"{len(references)}"
        )
    if not 1 <= k <= len(references) - exclude_self:
        raise ValueError(f"k must be 1..{len(references) - exclude_self} here, got {k}")
    n = len(queries)
    distances = torch.empty(n, k, dtype=torch.float64, device=queries.device)
    indices = torch.empty(n, k, dtype=torch.int64, device=queries.device)
    left = torch.arange(n, device=queries.device)
    with _full_precision(queries.device):
        centre = _centre(references)
        for dtype in (torch.float32, torch.float64):
            some = queries if len(left) == n else queries[left]
            own = left if exclude_self else None
            found = _search(some, references, own, k, centre, dtype)
            distances[left], indices[left], certain = found
            left = left[~certain]
            if not len(left):
                break
    return distances * unit, indices


def count_below(
    queries: Tensor, references: Tensor, threshold: float | Tensor, inclusive: bool = False
) -> Tensor:
    """Number of references nearer than the threshold, for each query, int64 (n,).

    Args:
        queries: As in `nearest`; a reference that is the query itself counts too.
        references: As in `nearest`.
        threshold: A distance, or the radius of each reference's ball, (n_references,).
        inclusive: Whether references exactly at the threshold count.
    """
    queries, references, unit = _pair(queries, references)
    radius = torch.as_tensor(threshold, dtype=torch.float64, device=queries.device)
    radius = radius.expand(len(references))
    counts = torch.zeros(len(queries), dtype=torch.int64, device=queries.device)
    with _full_precision(queries.device):
        centre = _centre(references)
        for block in _blocks(queries, references, centre, torch.float32):
            bound = radius[block.columns], unit, inclusive
            for part in torch.arange(len(block.q_norms), device=queries.device).split(PART):
                inside = _inside(queries, references, block, part, *bound)
                counts[block.rows.start + part] += _row_sums(inside)
    return counts


def count_pairs_below(x: Tensor, threshold: float, inclusive: bool = False) -> int:
    """Number of pairs i < j of one set with a distance below the threshold."""
    return int(collisions(x, threshold, inclusive)[0].sum()) // 2


def collisions(x: Tensor, threshold: float, inclusive: bool = False) -> tuple[Tensor, Tensor]:
    """Collisions in one set: pairs with a distance below the threshold.

    Returns:
        Number of images that each image collides with, int64 (n,), and the index of the last
        earlier image that it collides with, or -1, int64 (n,).
    """
    return collisions_of(x, (threshold,), inclusive)[0]


def collisions_of(
    x: Tensor, thresholds: Sequence[float], inclusive: bool = False
) -> list[tuple[Tensor, Tensor]]:
    """`collisions` for each of several thresholds, in the time of one."""
    x, _, unit = _pair(x, x)
    radii = torch.tensor([*thresholds], dtype=torch.float64, device=x.device)
    degrees = torch.zeros(len(radii), len(x), dtype=torch.int64, device=x.device)
    previous = torch.full_like(degrees, -1)
    with _full_precision(x.device):
        for block in _blocks(x, x, _centre(x), torch.float32, upper=True):
            start = block.rows.start
            _, most = _limits(block, radii.max() / unit)
            # Few rows if any, unless the set has collapsed.
            rows = (block.score.amin(1) <= most.max()).nonzero()[:, 0]
            for part in rows.split(PART) if len(rows) else ():
                for radius, degree, last in zip(radii, degrees, previous, strict=True):
                    radius = radius.expand(len(block.r_norms))
                    inside = _inside(x, x, block, part, radius, unit, inclusive)
                    hit = inside.any(0).nonzero()[:, 0]
                    inside = inside[:, hit]
                    degree[start + part] += inside.sum(1)
                    degree[block.columns.start + hit] += inside.sum(0)
                    after = inside.flip(0).to(torch.uint8).argmax(0)  # of the first, from behind
                    last[block.columns.start + hit] = start + part[len(part) - 1 - after]
    return [*zip(degrees, previous, strict=True)]


def closest_pairs(x: Tensor, m: int) -> tuple[Tensor, Tensor]:
    """The m closest pairs of one set, closest first.

    Returns:
        Distances float64 (m,) and pairs int64 (m, 2) with i < j; ties are in order of i, then j.
    """
    x, _, unit = _pair(x, x)
    if not 1 <= m <= len(x) * (len(x) - 1) // 2:
        raise ValueError(f"m must be 1..{len(x) * (len(x) - 1) // 2} pairs here, got {m}")
    with _full_precision(x.device):
        distances, pairs, certain = _search_pairs(x, m, torch.float32)
        if not certain:
            distances, pairs, _ = _search_pairs(x, m, torch.float64)
    return distances * unit, pairs


def squared_distances(x: Tensor, y: Tensor) -> Iterator[tuple[slice, Tensor]]:
    """Squares of all distances in float32, for statistics that tolerate its rounding.

    Args:
        x: Float (n, d).
        y: Float (m, d).

    Yields:
        Slices of rows of x and their squared distances to y, (rows, m), in blocks of 64 MiB.
    """
    centre = _centre(y)
    x, y = _centred(x, centre, torch.float32), _centred(y, centre, torch.float32)
    norms = y.square().sum(1)
    step = max(1, ELEMENTS // len(y))
    for top in range(0, len(x), step):
        rows = slice(top, min(top + step, len(x)))
        with _full_precision(x.device):
            bias = x[rows].square().sum(1)[:, None] + norms
            block = bias.addmm_(x[rows], y.T, alpha=-2).clamp_(min=0)
        yield rows, block


# The functions below use the images' own unit, 0..255 for uint8, in which integers are exact.


def _search(
    queries: Tensor,
    references: Tensor,
    own: Tensor | None,
    k: int,
    centre: Tensor,
    dtype: torch.dtype,
) -> tuple[Tensor, Tensor, Tensor]:
    """`nearest` with products in `dtype`, and whether each query is certified, bool (n,).

    `own` (n,) is the index of the one reference that is excluded for each query.
    """
    n = len(queries)
    keep = min(k + SPARE[dtype], len(references) - (own is not None))
    distances = torch.empty(n, k, dtype=torch.float64, device=queries.device)
    indices = torch.empty(n, k, dtype=torch.int64, device=queries.device)
    certain = torch.empty(n, dtype=torch.bool, device=queries.device)
    for block in _blocks(queries, references, centre, dtype):
        rows, columns, score = block.rows, block.columns, block.score
        if columns.start == 0:
            best = torch.empty(len(score), 0, dtype=dtype, device=score.device)
            found = torch.empty(len(score), 0, dtype=torch.int64, device=score.device)
        if own is not None:
            row = ((own[rows] >= columns.start) & (own[rows] < columns.stop)).nonzero()[:, 0]
            score[row, own[rows][row] - columns.start] = torch.inf
        least, place = _smallest(score, min(keep, score.shape[1]), dtype)
        best, found = torch.cat([best, least], 1), torch.cat([found, place + columns.start], 1)
        best, place = _smallest(best, min(keep, best.shape[1]), dtype)
        found = found.gather(1, place)
        if columns.stop < len(references):
            continue
        # Of the shortlist only those are measured that can be nearer than the first k.
        exact = torch.full(best.shape, torch.inf, dtype=torch.float64, device=best.device)
        exact[:, :k] = _measure(queries[rows], references, found[:, :k])
        worst = exact[:, :k].amax(1)
        # A reference nearer than `worst` has norm at most |q| + worst.
        error = _error(block.width, dtype) * (2 * block.q_norms.sqrt() + worst).square()
        limit = worst.square() + error
        row, place = (best[:, k:] <= limit[:, None]).nonzero(as_tuple=True)
        exact[row, place + k] = _measure_pairs(
            queries, references, row + rows.start, found[row, place + k]
        )
        found, order = found.sort(1)  # then a stable sort by distance leaves ties in order of index
        exact, order = exact.gather(1, order).sort(dim=1, stable=True)
        distances[rows], indices[rows] = exact[:, :k], found.gather(1, order)[:, :k]
        # A shortlist of all references needs no certificate.
        certain[rows] = (limit < best.amax(1)) | (keep == len(references) - (own is not None))
    return distances, indices, certain


def _search_pairs(x: Tensor, m: int, dtype: torch.dtype) -> tuple[Tensor, Tensor, bool]:
    n, d = x.shape
    keep = min(m + SPARE[torch.float64], n * (n - 1) // 2)
    best = torch.empty(0, dtype=dtype, device=x.device)
    found = torch.empty(0, 2, dtype=torch.int64, device=x.device)
    largest = 0.0
    for rows, columns, score, norms, *_ in _blocks(x, x, _centre(x), dtype, upper=True):
        largest = max(largest, norms.max().item())
        # The smallest of the block lie in as many of its rows, those with the smallest minima.
        row = score.amin(1).topk(min(keep, len(score)), largest=False)[1].sort()[0]
        least, place = (
            score[row].flatten().topk(min(keep, len(row) * score.shape[1]), largest=False)
        )
        place, column = row[place // score.shape[1]], place % score.shape[1]
        pairs = torch.stack([place + rows.start, column + columns.start], 1)
        pairs, least = pairs[least < torch.inf], least[least < torch.inf]
        best, found = torch.cat([best, least]), torch.cat([found, pairs])
        best, place = best.topk(min(keep, len(best)), largest=False)
        found = found[place]
    found = found[(found[:, 0] * n + found[:, 1]).argsort()]
    exact, order = _measure_pairs(x, x, found[:, 0], found[:, 1]).sort(stable=True)
    worst = exact[m - 1].item()
    error = _error(d, dtype) * (2 * largest**0.5 + worst) ** 2
    certain = len(found) == n * (n - 1) // 2 or worst**2 + error < best.max().item()
    return exact[:m], found[order][:m], certain


class _Block(NamedTuple):
    """A block of squared distances, in a buffer that the next block overwrites."""

    rows: slice
    columns: slice
    score: Tensor  # (rows, columns)
    q_norms: Tensor  # float64 (rows,), squared, of the centred images
    r_norms: Tensor  # float64 (columns,)
    width: int  # entries of an image


def _limits(block: _Block, reach: Tensor) -> tuple[Tensor, Tensor]:
    """Scores below which a pair lies within reach and above which it does not, (columns,)."""
    # A query inside the ball has norm at most |r| + reach.
    error = _error(block.width, block.score.dtype) * (2 * block.r_norms.sqrt() + reach).square()
    return (reach.square() - error).float(), (reach.square() + error).float()


def _inside(
    queries: Tensor,
    references: Tensor,
    block: _Block,
    part: Tensor,
    radius: Tensor,
    unit: float,
    inclusive: bool,
) -> Tensor:
    """Whether the pairs of some rows of a block lie inside the references' radii, bool (part,
    columns). Only pairs within the rounding error of the products are measured directly.
    """
    least, most = _limits(block, radius / unit)
    whole = len(part) and part[-1] - part[0] == len(part) - 1
    score = block.score[part[0] : part[-1] + 1] if whole else block.score[part]
    inside, possible = score < least, score <= most
    row = (_row_sums(inside) != _row_sums(possible)).nonzero()[:, 0]
    place, column = (possible[row] ^ inside[row]).nonzero(as_tuple=True)
    row = row[place]
    if len(row):
        exact = _measure_pairs(
            queries, references, part[row] + block.rows.start, column + block.columns.start
        )
        exact, bound = exact * unit, radius[column]  # equal to distances of `nearest` to the bit
        inside[row, column] = exact <= bound if inclusive else exact < bound
    return inside


def _row_sums(hit: Tensor) -> Tensor:
    """Number of entries of each row that are true, int64 (n,).

    Eight entries are added as the bytes of one integer, up to 255 times, so that no byte
    overflows: forty times as fast as the sum of bools.
    """
    n, whole = len(hit), hit.shape[1] // 8 * 8
    counts = hit[:, whole:].sum(1)
    for lanes in hit[:, :whole].flatten().view(torch.int64).view(n, -1).split(255, dim=1):
        counts += lanes.sum(1).view(torch.uint8).view(n, 8).sum(1)
    return counts


def _smallest(x: Tensor, k: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """The k smallest values of each row, and their places."""
    n, m = x.shape
    if dtype == torch.float32 and m % GROUP == 0 and m >= 16 * GROUP * k:
        # They lie in the k groups with the smallest minima: half the time of `topk` over all.
        apart = m // GROUP
        group = x.view(n, GROUP, apart).amin(1).topk(k, largest=False, sorted=False)[1]
        members = torch.arange(0, m, apart, device=x.device)[:, None]
        place = (group[:, None, :] + members).flatten(1)
        values, order = x.gather(1, place).topk(k, largest=False)
        return values, place.gather(1, order)
    if dtype == torch.float32:
        return x.topk(k, largest=False)
    values, order = x.sort(dim=1, stable=True)  # slower and rare; ties stay in order of index
    return values[:, :k], order[:, :k]


def _measure(queries: Tensor, references: Tensor, indices: Tensor) -> Tensor:
    """Distances by subtraction from each query to its references, float64, of indices' shape."""
    n, k = indices.shape
    row = torch.arange(n, device=indices.device).repeat_interleave(k)
    return _measure_pairs(queries, references, row, indices.flatten()).view(n, k)


def _measure_pairs(a: Tensor, b: Tensor, i: Tensor, j: Tensor) -> Tensor:
    """|a_i - b_j| by subtraction in float64, (pairs,)."""
    out = torch.empty(len(i), dtype=torch.float64, device=a.device)
    step = max(1, CACHED // a.shape[1])
    for start in range(0, len(i), step):
        chunk = slice(start, start + step)
        difference = a[i[chunk]].double().sub_(b[j[chunk]])
        out[chunk] = difference.square_().sum(1).sqrt_()
    return out


def _error(d: int, dtype: torch.dtype) -> float:
    """Bound on the error of a squared distance by products, per (|q| + |r|)^2.

    The classical bound for an inner product of d + 2 terms is (d + 2) u times the sum of their
    sizes, here |q|^2 + 2 |q||r| + |r|^2, with u = eps / 2; seven more eps cover the errors of
    centring and of squared norms.
    """
    return (d / 2 + 8) * torch.finfo(dtype).eps


def _blocks(
    queries: Tensor, references: Tensor, centre: Tensor, dtype: torch.dtype, upper: bool = False
) -> Iterator[_Block]:
    """Squared distances by products, block by block; `upper` is for pairs within one set: it
    leaves out blocks below the diagonal, and pairs below or on the diagonal are infinitely far.
    """
    n, m, d = len(queries), len(references), references.shape[1]
    most = max(1, ELEMENTS // d)
    high, wide = min(QUERIES, most), min(REFERENCES, most)
    places = [
        (slice(top, min(top + high, n)), slice(left, min(left + wide, m)))
        for top in range(0, n, high)
        for left in range(top if upper else 0, m, wide)
    ]
    # A new buffer for each block would cost as much time as the product.
    buffer = torch.empty(min(high, n) * min(wide, m), dtype=dtype, device=queries.device)
    before = None
    for rows, columns in watched(places, "comparing images", len(places)):
        if rows != before:
            q, before = _centred(queries[rows], centre, dtype), rows
            q_norms = q.square().sum(1, keepdim=True)
            q = torch.cat([q, q_norms, torch.ones_like(q_norms)], 1)
        r = _centred(references[columns], centre, dtype)
        r_norms = r.square().sum(1, keepdim=True)
        r = torch.cat([r.mul_(-2), torch.ones_like(r_norms), r_norms], 1)
        score = buffer[: len(q) * len(r)].view(len(q), len(r))
        torch.mm(q, r.T, out=score)  # |q|^2 - 2 q.r + |r|^2
        if upper and columns.start == rows.start:
            square = score[:, : len(q)]
            square.masked_fill_(torch.ones_like(square, dtype=torch.bool).tril_(), torch.inf)
        yield _Block(rows, columns, score, q_norms[:, 0].double(), r_norms[:, 0].double(), d)


def _centred(x: Tensor, centre: Tensor, dtype: torch.dtype) -> Tensor:
    """x less the centre, rounded once after the subtraction: a common offset costs no digits."""
    wide = torch.float64 if x.dtype == torch.float64 else torch.float32
    return x.to(wide).sub(centre.to(wide)).to(dtype)


def _centre(x: Tensor) -> Tensor:
    """About the mean, (d,): distances are exact for any vector that float32 represents."""
    total = sum(block.sum(0, dtype=torch.float64) for block in x.split(REFERENCES))
    mean = (total / len(x)).float()
    return mean if x.is_floating_point() else mean.round()


def _pair(queries: Tensor, references: Tensor) -> tuple[Tensor, Tensor, float]:
    """Both as rows (n, d), and the unit: 1 / 255 for uint8."""
    queries, references = _rows(queries, "queries"), _rows(references, "references")
    if queries.dtype != references.dtype or queries.shape[1] != references.shape[1]:
        raise ValueError(
            "queries and references must be of one kind, got "
            f"{queries.dtype} of {queries.shape[1]} and {references.dtype} of {references.shape[1]}"
        )
    return queries, references, 1.0 if queries.is_floating_point() else 1 / 255


def _rows(x: Tensor, name: str) -> Tensor:
    if x.ndim < 2 or 0 in x.shape:
        raise ValueError(f"{name} must be a non-empty batch (n, ...), got {tuple(x.shape)}")
    if x.dtype != torch.uint8 and not x.is_floating_point():
        raise ValueError(f"{name} must be uint8 images or float features, got {x.dtype}")
    x = x.flatten(1)
    if x.is_floating_point() and not all(block.isfinite().all() for block in x.split(REFERENCES)):
        raise ValueError(f"{name} must be finite, got NaN or infinity")
    return x


@contextlib.contextmanager
def _full_precision(device: torch.device) -> Iterator[None]:
    """No TF32, no bfloat16: the shortlist's certificate assumes float32's 24 bits."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        with torch.no_grad(), torch.autocast(device.type, enabled=False):
            yield
    finally:
        torch.set_float32_matmul_precision(before)
