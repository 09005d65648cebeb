"""Exact Euclidean distances between many images, from which all neighbour statistics are computed.

The fast formula, |q|^2 + |r|^2 - 2 q.r by matrix products in float32, loses digits by cancellation:
it gives an exact copy a distance of about 1e-3 |q|. So it only selects a shortlist. Distances to
the shortlist are computed again by direct subtraction in float64, and a bound on the rounding error
of the products certifies that no point outside the shortlist is nearer. A query that cannot be
certified is searched again with products in float64. Memory does not grow with the number of
images.

Images are uint8 (n, C, H, W), compared as floats in [0, 1]; features are floats (n, d). Units of
all distances are therefore those of [0, 1] pixels, or of the features.
"""

import contextlib
from collections.abc import Iterator

import torch
from torch import Tensor

from ..watch import watched

QUERIES, REFERENCES = 4096, 8192  # rows of a block of products: 128 MiB in float32
ELEMENTS = 2**24  # entries of a block of rows
CACHED = 2**16  # entries of a chunk of differences: three times as fast, as it fits in the cache
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
    own = torch.arange(len(queries), device=queries.device) if exclude_self else None
    with _full_precision(queries.device):
        centre = _centre(references)
        distances, indices, certain = _search(queries, references, own, k, centre, torch.float32)
        again = (~certain).nonzero()[:, 0]
        if len(again):
            own = again if exclude_self else None
            distances[again], indices[again], _ = _search(
                queries[again], references, own, k, centre, torch.float64
            )
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
        for rows, q, columns, r in _blocks(queries, references, centre, torch.float32):
            bound = radius[columns], unit, inclusive
            inside = _below(queries, references, rows, q, columns, r, *bound)
            counts[rows] += inside.sum(1)
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
    x, _, unit = _pair(x, x)
    radius = torch.full((len(x),), threshold, dtype=torch.float64, device=x.device)
    degrees = torch.zeros(len(x), dtype=torch.int64, device=x.device)
    previous = torch.full_like(degrees, -1)
    with _full_precision(x.device):
        for rows, q, columns, r in _blocks(x, x, _centre(x), torch.float32, upper=True):
            inside = _below(x, x, rows, q, columns, r, radius[columns], unit, inclusive)
            inside.triu_(rows.start - columns.start + 1)
            hit = inside.any(0).nonzero()[:, 0]  # few columns, if any, so the sums cost nothing
            inside = inside[:, hit]
            degrees[rows] += inside.sum(1)
            degrees[columns.start + hit] += inside.sum(0)
            after = inside.flip(0).to(torch.uint8).argmax(0)  # of the first, from behind
            previous[columns.start + hit] = rows.stop - 1 - after
    return degrees, previous


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
    n, d = queries.shape
    keep = min(k + SPARE[dtype], len(references) - (own is not None))
    distances = torch.empty(n, k, dtype=torch.float64, device=queries.device)
    indices = torch.empty(n, k, dtype=torch.int64, device=queries.device)
    certain = torch.empty(n, dtype=torch.bool, device=queries.device)
    for rows, q, columns, r in _blocks(queries, references, centre, dtype):
        if columns.start == 0:
            best = torch.empty(len(q), 0, dtype=dtype, device=q.device)
            found = torch.empty(len(q), 0, dtype=torch.int64, device=q.device)
        score = _products(q, r, r.square().sum(1).expand(len(q), -1))  # |r|^2 - 2 q.r
        if own is not None:
            row = ((own[rows] >= columns.start) & (own[rows] < columns.stop)).nonzero()[:, 0]
            score[row, own[rows][row] - columns.start] = torch.inf
        least, place = _smallest(score, min(keep, len(r)), dtype)
        best, found = torch.cat([best, least], 1), torch.cat([found, place + columns.start], 1)
        best, place = _smallest(best, min(keep, best.shape[1]), dtype)
        found = found.gather(1, place)
        if columns.stop < len(references):
            continue
        found, _ = found.sort(1)  # then a stable sort by distance leaves ties in order of index
        exact, order = _measure(queries[rows], references, found).sort(dim=1, stable=True)
        distances[rows], indices[rows] = exact[:, :k], found.gather(1, order)[:, :k]
        norm = q.double().square().sum(1)
        worst = exact[:, k - 1]
        if keep == len(references) - (own is not None):
            certain[rows] = True  # the shortlist holds all references
        else:
            # A reference nearer than `worst` has norm at most |q| + worst.
            error = _error(d, dtype) * (2 * norm.sqrt() + worst).square()
            certain[rows] = worst.square() + error < norm + best.amax(1)
    return distances, indices, certain


def _search_pairs(x: Tensor, m: int, dtype: torch.dtype) -> tuple[Tensor, Tensor, bool]:
    n, d = x.shape
    keep = min(m + SPARE[torch.float64], n * (n - 1) // 2)
    best = torch.empty(0, dtype=dtype, device=x.device)
    found = torch.empty(0, 2, dtype=torch.int64, device=x.device)
    largest = 0.0
    for rows, q, columns, r in _blocks(x, x, _centre(x), dtype, upper=True):
        norms = q.square().sum(1)
        largest = max(largest, norms.max().item())
        score = _products(q, r, r.square().sum(1).expand(len(q), -1)).add_(norms[:, None])
        if columns.start < rows.stop:
            past = torch.ones_like(score, dtype=torch.bool).tril_(rows.start - columns.start)
            score.masked_fill_(past, torch.inf)
        least, place = score.flatten().topk(min(keep, score.numel()), largest=False)
        pairs = torch.stack([place // len(r) + rows.start, place % len(r) + columns.start], 1)
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


def _below(
    queries: Tensor,
    references: Tensor,
    rows: slice,
    q: Tensor,
    columns: slice,
    r: Tensor,
    radius: Tensor,
    unit: float,
    inclusive: bool,
) -> Tensor:
    """Whether the pairs of a block lie inside the references' radii, bool (rows, columns).

    Only pairs within the rounding error of the products are measured directly.
    """
    norm, reach = r.double().square().sum(1), radius / unit
    # A query inside the ball has norm at most |r| + reach.
    error = _error(r.shape[1], r.dtype) * (2 * norm.sqrt() + reach).square()
    score = _products(q, r, q.square().sum(1)[:, None].expand(-1, len(r)))  # |q|^2 - 2 q.r
    inside = score < (reach.square() - error - norm).float()
    doubt = (score <= (reach.square() + error - norm).float()).logical_xor_(inside)
    row, column = doubt.nonzero(as_tuple=True)
    if len(row):
        exact = _measure_pairs(queries, references, row + rows.start, column + columns.start)
        exact, bound = exact * unit, radius[column]  # equal to distances of `nearest` to the bit
        inside[row, column] = exact <= bound if inclusive else exact < bound
    return inside


def _products(q: Tensor, r: Tensor, bias: Tensor) -> Tensor:
    """bias - 2 q.r, (rows, columns)."""
    return torch.addmm(bias, q, r.T, alpha=-2)


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

    The classical bound for an inner product is d u |q||r|, with u = eps / 2; eps in place of u
    also covers the errors of centring, of squared norms and of the last addition.
    """
    return (d / 2 + 8) * torch.finfo(dtype).eps


def _blocks(
    queries: Tensor, references: Tensor, centre: Tensor, dtype: torch.dtype, upper: bool = False
) -> Iterator[tuple[slice, Tensor, slice, Tensor]]:
    """Centred blocks of both sides with their slices; `upper` leaves out blocks below the
    diagonal, for pairs within one set."""
    n, m = len(queries), len(references)
    most = max(1, ELEMENTS // references.shape[1])
    high, wide = min(QUERIES, most), min(REFERENCES, most)
    places = [
        (slice(top, min(top + high, n)), slice(left, min(left + wide, m)))
        for top in range(0, n, high)
        for left in range(top if upper else 0, m, wide)
    ]
    before = None
    for rows, columns in watched(places, "comparing images", len(places)):
        if rows != before:
            q, before = _centred(queries[rows], centre, dtype), rows
        yield rows, q, columns, _centred(references[columns], centre, dtype)


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
