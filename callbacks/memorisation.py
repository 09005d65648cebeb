"""Has it memorised? Whether samples lie nearer to training images than they should.

Each question is asked of held-out real images too, which nobody can have memorised:

    copied fraction      the share of samples that lie nearer to the training images than the
                         nearest 1 % of held-out images do
    asymmetry            whether near-duplicates of samples are found among the training images
                         rather than among held-out ones, by an exact permutation test
                         (after https://arxiv.org/abs/2610.00251)
    C_T                  Meehan, Chaudhuri and Dasgupta, 2020, https://arxiv.org/abs/2004.05675
    authenticity         Alaa et al., 2022, https://arxiv.org/abs/2102.08921

The first alone would call a blurred image a copy, because what is smooth is near to everything,
training image or not. The second would not: it is the one the verdict goes by.
"""

import bisect
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..checks import at_least
from ..metrics.frechet import Moments
from ..metrics.intervals import NORMAL, wilson
from ..metrics.neighbours import count_below, nearest
from ..metrics.number import Number
from .features import Evaluation, Evidence
from .figures import grid
from .report import Section

# Copied fraction


def copied_fraction(generated: Tensor, held_out: Tensor, alpha: float = 0.01) -> Number:
    """The estimated share of samples that are copies of training images.

    A copy is expected below the threshold tau, the alpha-quantile of the held-out images'
    distances, and of the other samples a share alpha. With f the share of samples at or below tau,

        p = (f - alpha) / (1 - alpha)

    Args:
        generated: Distance of each sample to its nearest training image, (n,).
        held_out: Of each held-out image to its nearest training image, (m,).

    Returns:
        p, not below 0, with Newcombe's interval for the difference of two shares.
    """
    tau = quantile(held_out, alpha)
    alpha = (held_out <= tau).double().mean().item()  # more than asked, where there are ties
    f = (generated <= tau).double().mean().item()
    note = f"at or below a distance of {tau:.3g}"
    if alpha == 1:
        return Number(0.0, 0.0, 1.0, f"all held-out images have equal distances, {tau:.3g}")
    low_f, high_f = wilson(f, len(generated))
    low_alpha, high_alpha = wilson(alpha, len(held_out))
    low = f - alpha - math.hypot(f - low_f, high_alpha - alpha)
    high = f - alpha + math.hypot(high_f - f, alpha - low_alpha)
    p, low, high = (min(1.0, max(0.0, x / (1 - alpha))) for x in (f - alpha, low, high))
    if f < alpha:  # the samples lie farther out than held-out images: all of f may be copies
        high = max(high, high_f)
    return Number(p, low, high, note)


def quantile(distances: Tensor, alpha: float) -> float:
    """The smallest of the distances with at least a share alpha at or below it."""
    if distances.ndim != 1 or not len(distances):
        raise ValueError(f"distances must be (n,) and not empty, got {tuple(distances.shape)}")
    return distances.kthvalue(max(1, math.ceil(alpha * len(distances)))).values.item()


# Shifts and mirror


def transforms(images: Tensor, shifts: int = 0, mirror: bool = False) -> Iterator[Tensor]:
    """All windows of every image that are `shifts` pixels smaller on each side, and mirrored;
    the middle one first. Points (n, D) are as they are.

    An image moved by up to `shifts` pixels has the `middle` of the unmoved one in a window,
    whatever came in at its rim.
    """
    if images.ndim != 4:
        yield images
        return
    height, width = (side - 2 * shifts for side in images.shape[-2:])
    if min(height, width) < 1:
        raise ValueError(f"shifts must leave something of the images, got {shifts}")
    steps = sorted(range(2 * shifts + 1), key=lambda step: abs(step - shifts))
    for seen in (images, images.flip(-1)) if mirror else (images,):
        for top in steps:
            for left in steps:
                yield seen[..., top : top + height, left : left + width].contiguous()


def middle(images: Tensor, shifts: int) -> Tensor:
    """Images without `shifts` pixels on each side; points as they are."""
    return next(transforms(images, shifts))


def nearest_transformed(
    queries: Tensor, references: Tensor, shifts: int = 0, mirror: bool = False
) -> tuple[Tensor, Tensor]:
    """The nearest reference of each query under its best transform, by their middles.

    Returns:
        Distances float64 (n,) and indices int64 (n,).
    """
    best, found = torch.full((len(queries),), math.inf, dtype=torch.float64), None
    references = middle(references, shifts)
    for seen in transforms(queries, shifts, mirror):
        distance, index = (part[:, 0] for part in nearest(seen, references))
        if found is None:
            best, found = distance, index
            continue
        better = distance < best
        best, found = torch.where(better, distance, best), torch.where(better, index, found)
    return best, found


def near_pairs(
    generated: Tensor, real: Tensor, tau: float, shifts: int = 0, mirror: bool = False
) -> Tensor:
    """For each real image, how many (sample, transform) lie no farther than tau, int64 (N,)."""
    counts = torch.zeros(len(real), dtype=torch.int64, device=real.device)
    real = middle(real, shifts)
    if len(generated):
        for seen in transforms(generated, shifts, mirror):
            counts += count_below(real, seen, tau, inclusive=True)
    return counts


# Asymmetry


@dataclass
class Asymmetry:
    """What a permutation test found.

    Args:
        pairs_train: Near pairs of samples with training images.
        pairs_held_out: With held-out images.
        p: Probability of at least such a surplus, if training images were like held-out ones.
    """

    pairs_train: int
    pairs_held_out: int
    p: float


def permutation_test(
    train: Tensor, held_out: Tensor, permutations: int = 999, seed: int = 0
) -> Asymmetry:
    """Whether samples have more near pairs with training images than with held-out ones.

    If nothing was memorised, then, given the samples, it is chance which of the real images were
    trained on. So relabel them: the statistic (B: near pairs in a training image's mean less
    those in a held-out image's) is compared with its values under random labels, and
    p = (1 + number at least as large) / (1 + permutations) is exact, for any number of images,
    provided that the split was random and that what counts as near (`near_pairs`' tau) comes
    from other images.

    Args:
        train: Near pairs of each training image (n,), from `near_pairs`.
        held_out: Of each held-out image, (m,).
    """
    counts = torch.cat([train, held_out])
    total, n, m = counts.sum().item(), len(train), len(held_out)
    if not n or not m:
        raise ValueError(f"train and held_out must have images, got {n} and {m}")
    observed = held_out.sum().item()
    weights = counts[counts > 0].cpu().numpy()
    draw = np.random.default_rng(seed)
    if len(weights) < len(counts) // 4:  # few places to draw, rather than all to shuffle
        places = (draw.choice(n + m, len(weights), replace=False) for _ in range(permutations))
        held = [int(weights[place < m].sum()) for place in places]
    else:
        whole = counts.cpu().numpy()
        held = [int(draw.permutation(whole)[:m].sum()) for _ in range(permutations)]
    # A larger surplus in training images is a smaller sum over held-out ones.
    p = (1 + sum(h <= observed for h in held)) / (1 + permutations)
    return Asymmetry(total - observed, observed, p)


def detectable_fraction(found: Asymmetry, n: int, m: int, samples: int, level: float) -> float:
    """The share of copies that would have brought the test's p below `level`, at most 1.

    Each copy adds one near pair with a training image to those found; n training and m held-out
    images share pairs by a hypergeometric law if nothing was memorised.
    """
    from scipy.stats import hypergeom

    def seen(copies: int) -> bool:
        pairs = min(n + m, found.pairs_train + found.pairs_held_out + copies)
        return hypergeom.cdf(found.pairs_held_out, n + m, m, pairs) <= level

    if not seen(samples):
        return 1.0
    return bisect.bisect_left(range(samples), True, key=seen) / samples


# C_T


def data_copying(
    train: Tensor, held_out: Tensor, generated: Tensor, cells: int = 3, seed: int = 0
) -> tuple[Number, Tensor]:
    """The C_T test: in each cell of the space, are samples nearer to training images than
    held-out images are?

    Cells come from k-means on at most 64 principal components of the training features, fewer
    where a cell would have less than 50 held-out or training images. In a cell, Z is the
    normalised Mann-Whitney statistic of distances to the cell's training images; C_T is the mean
    of Z over cells with samples enough, weighted by held-out images. Negative is copying,
    positive is underfitting.

    Returns:
        C_T, and Z for each cell, (cells,), NaN where there are too few samples.
    """
    from scipy.stats import rankdata
    from sklearn.cluster import KMeans

    train, held_out, generated = _principal(64, train, held_out, generated)
    distinct = len(train[:1000].unique(dim=0))  # of a constant feature there is one cell
    for count in range(min(cells, distinct), 0, -1):
        means = KMeans(count, n_init=3, random_state=seed).fit(train.numpy())
        places = [torch.from_numpy(means.predict(x.numpy())) for x in (train, held_out, generated)]
        sizes = [place.bincount(minlength=count) for place in places]
        if min(sizes[0].min(), sizes[1].min()) >= 50:
            break
    z = torch.full((count,), math.nan, dtype=torch.float64)
    for cell in range(count):
        t, p, q = (
            x[place == cell] for x, place in zip((train, held_out, generated), places, strict=True)
        )
        if len(q) <= 20 or not len(p) or not len(t):
            continue
        distances = [nearest(x, t)[0][:, 0].numpy() for x in (p, q)]
        n, m = len(p), len(q)
        ranks = rankdata(np.concatenate(distances))
        u = ranks[n:].sum() - m * (m + 1) / 2  # pairs in which the sample is the farther
        z[cell] = (u - (n * m - 1) / 2) / math.sqrt(n * m * (n + m + 1) / 12)
    weight = sizes[1].double() * ~z.isnan()
    if not weight.sum():
        return Number(math.nan, note="too few samples in every cell"), z
    weight /= weight.sum()
    value = (weight * z.nan_to_num()).sum().item()
    half = NORMAL * weight.square().sum().sqrt().item()
    worst = z[~z.isnan()].min().item()
    note = f"negative is copying; lowest of {count} cells {worst:.3g}"
    return Number(value, value - half, value + half, note), z


def _principal(most: int, reference: Tensor, *others: Tensor) -> list[Tensor]:
    """All in the reference's principal components, float32 (n, at most `most`)."""
    flat = [x.flatten(1).float().cpu() for x in (reference, *others)]
    if flat[0].shape[1] <= most:
        return flat
    moments = Moments.of(flat[0])
    axes = torch.linalg.eigh(moments.scatter)[1][:, -most:].float()
    return [(x - moments.mean.float()) @ axes for x in flat]


# Authenticity


def authentic(distances: Tensor, indices: Tensor, radius: Tensor) -> Tensor:
    """Which images are farther from their nearest training image than its own nearest is, (n,).

    Args:
        distances, indices: Of each image's nearest training image, (n,).
        radius: Of each training image to its nearest other one, (N,).
    """
    return distances > radius[indices]


def copied_by_authenticity(generated: Tensor, held_out: Tensor) -> Number:
    """1 - the share of authentic samples over that of authentic held-out images.

    Args:
        generated, held_out: From `authentic`, bool (n,) and (m,).
    """
    a, b = (x.double().mean().item() for x in (generated, held_out))
    if b == 0:
        return Number(math.nan, note="no held-out image is authentic")
    relative = (1 - a) / (max(a, 0.5 / len(generated)) * len(generated)) + (1 - b) / (
        b * len(held_out)
    )
    factor = math.exp(NORMAL * math.sqrt(relative))
    ratio = a / b
    low, high = 1 - max(ratio, 0.5 / len(generated)) * factor, 1 - ratio / factor
    note = f"authentic: {a:.1%} of samples, {b:.1%} of held-out images"
    return Number(max(0.0, 1 - ratio), max(0.0, low), max(0.0, high), note)


# The evaluation


@dataclass
class Space:
    """What was found in one way of measuring distances: in pixels, under transforms, in features.

    Args:
        copied: `copied_fraction`, of all near-duplicates.
        outright: Share of samples nearer to a training image than half the distance that all
            but one in a thousand held-out images keep.
        asymmetry: Whether samples have near-duplicates among training images rather than among
            held-out ones.
        detectable: Share of copies that the asymmetry would have shown.
        distances, indices: To each sample's nearest training image.
    """

    copied: Number
    outright: Number
    asymmetry: Asymmetry
    detectable: float
    distances: Tensor
    indices: Tensor


class Memorisation(Evaluation):
    """Asks whether samples are copies of training images, in pixels and in features.

    Logs, for pixels as they are (`pixels`), for pixels under small shifts and mirroring
    (`shifted`) and for the extractor's features (`features`):

        copied/<space>       the estimated share of copies, calibrated on held-out images
        outright/<space>     the share nearer than half the distance of all but 1 in 1,000 of those
        asymmetry/<space>    p of the permutation test, with the near pairs it counted

    and of features `c_t`, `copied/authenticity` and the shares it comes from, `authentic` and
    `authentic_held_out`.

    The verdict is bad where in one space copies are estimated, with an interval above 0, and
    near-duplicates are of training images rather than of held-out ones, at a level of 1 % over
    all tests; or where more than 1 % of samples are outright copies in pixels. Samples that are
    merely smooth are near to both kinds of images, and not nearer than all held-out ones. It is
    unsure where 5 % of copies would have gone unseen, or where closeness was found that the
    held-out images are too few to tell from copying.

    Held-out images must be a random split of the same source: of other years or other writers
    they would be farther from samples for reasons that are not memory.

    Args:
        shifts: Pixels by which copies may be moved, in each direction.
        mirror: Whether they may be mirrored too.
        most: At most so many samples are searched for moved copies: it takes
            2 (2 shifts + 1)^2 times as long. Other arguments as `Evaluation`.
    """

    ALPHA = 0.01  # share of held-out images that count as near
    LEVEL = 0.01  # of false alarms
    FRACTION = 0.05  # of copies that must not go unseen

    def __init__(
        self, *args, shifts: int = 1, mirror: bool = True, most: int = 2000, **kwargs
    ) -> None:
        super().__init__(*args, **kwargs)
        at_least(0, shifts=shifts)
        at_least(20, num_samples=self.num_samples, num_samples_fit=self.num_samples_fit, most=most)
        self.shifts, self.mirror, self.most = shifts, mirror, most
        self._known: dict[str, Any] = {}

    def evaluate(self, evidence: Evidence) -> Section:
        train, held_out, generated = evidence.train, evidence.held_out, evidence.generated
        for name, images in (("held-out images", held_out), ("samples", generated)):
            if len(images) < 20:
                raise ValueError(f"{name} must be at least 20, got {len(images)}")
        if self._known.get("of") != (id(train.features), id(held_out.features)):
            # The tensors are kept, so that their ids stay theirs.
            of = id(train.features), id(held_out.features)
            self._known = {"of": of, "kept": (train.features, held_out.features)}
        spaces = {}
        for name, part in (("pixels", "images"), ("features", "features")):
            real = getattr(train, part), getattr(held_out, part)
            spaces[name] = self._examine(name, *real, getattr(generated, part))
        if train.images.ndim == 4 and (self.shifts or self.mirror):
            few = generated.images[: self.most]
            moved = self.shifts, self.mirror
            spaces["shifted"] = self._examine("shifted", train.images, held_out.images, few, *moved)
        numbers = {}
        for name, space in spaces.items():
            test = space.asymmetry
            numbers[f"copied/{name}"] = space.copied
            numbers[f"outright/{name}"] = space.outright
            note = (
                f"p of {test.pairs_train:,} near pairs with training and {test.pairs_held_out:,} "
                f"with held-out images; {space.detectable:.2g} of copies would have been seen"
            )
            numbers[f"asymmetry/{name}"] = Number(test.p, note=note)
        numbers |= self._of_features(evidence, spaces["features"])
        flag, verdict = self._judge(spaces)
        figures = {}
        if train.images.ndim == 4 and train.images.shape[1] in (1, 3):
            figures = self._panels(evidence, spaces["pixels"])
        protocol = {"shifts": self.shifts, "mirror": int(self.mirror), "n_shifted": self.most}
        return Section("memorisation", verdict, flag, numbers, figures, protocol)

    def _examine(
        self,
        name: str,
        train: Tensor,
        held_out: Tensor,
        generated: Tensor,
        shifts: int = 0,
        mirror: bool = False,
    ) -> Space:
        first, rest = self._parts(len(held_out))
        if name not in self._known:
            # A search under transforms is long: there the calibrating part must be enough.
            chosen = first if shifts or mirror else torch.arange(len(held_out))
            distances, indices = nearest_transformed(held_out[chosen], train, shifts, mirror)
            to_train = distances if len(chosen) == len(first) else distances[first]
            to_rest, _ = nearest_transformed(held_out[first], held_out[rest], shifts, mirror)
            tau = quantile(torch.minimum(to_train, to_rest), self.ALPHA)
            self._known[name] = distances, indices, tau
        calibration, _, tau = self._known[name]
        distances, indices = nearest_transformed(generated, train, shifts, mirror)
        to_rest, _ = nearest_transformed(generated, held_out[rest], shifts, mirror)
        near = generated[torch.minimum(distances, to_rest) <= tau]
        counts = (near_pairs(near, real, tau, shifts, mirror) for real in (train, held_out[rest]))
        test = permutation_test(*counts, seed=self.seed)
        bound = quantile(calibration, 0.001) / 2  # not the minimum: real data has freaks
        share = (distances < bound).double().mean().item()
        outright = Number(share, *wilson(share, len(generated)), f"nearer than {bound:.3g}")
        return Space(
            copied_fraction(distances, calibration, self.ALPHA),
            outright,
            test,
            detectable_fraction(test, len(train), len(rest), len(generated), self.LEVEL / 3),
            distances,
            indices,
        )

    def _parts(self, n: int) -> tuple[Tensor, Tensor]:
        """Held-out images that say what is near, and those that are tested."""
        order = torch.randperm(n, generator=torch.Generator().manual_seed(self.seed))
        return order[: min(1000, n // 3)], order[min(1000, n // 3) :]

    def _of_features(self, evidence: Evidence, space: Space) -> dict[str, Number]:
        train, held_out = evidence.train.features, evidence.held_out.features
        radius = self._known.setdefault("radius", torch.full((len(train),), math.nan).double())
        held_distances, held_indices, _ = self._known["features"]
        asked = torch.cat([space.indices, held_indices]).unique()
        asked = asked[radius[asked].isnan()]  # only where a sample or held-out image is near
        if len(asked):
            radius[asked] = nearest(train[asked], train, k=2)[0][:, 1]  # the first is itself
        ours = authentic(space.distances, space.indices, radius)
        theirs = authentic(held_distances, held_indices, radius)
        numbers = {"copied/authenticity": copied_by_authenticity(ours, theirs)}
        for name, of in (("authentic", ours), ("authentic_held_out", theirs)):
            share = of.double().mean().item()
            numbers[name] = Number(share, *wilson(share, len(of)))
        numbers["c_t"], _ = data_copying(
            train, held_out, evidence.generated.features, seed=self.seed
        )
        return numbers

    def _judge(self, spaces: dict[str, Space]) -> tuple[str, str]:
        ways = {
            "pixels": "in pixels",
            "shifted": "in pixels up to small shifts" + (" and mirroring" if self.mirror else ""),
            "features": "in features",
        }
        level = self.LEVEL / 3
        copied = [
            name
            for name, space in spaces.items()
            if space.asymmetry.p <= level and space.copied.low > 0
        ]
        if copied:
            most = max(spaces[name].copied.value for name in copied)
            # The plainest of the ways that show about all of it.
            name = next(
                name for name in ways if name in copied and spaces[name].copied.value >= 0.9 * most
            )
            space, test = spaces[name], spaces[name].asymmetry
            return "bad", (
                f"Yes: about {_percent(space.copied)} of the samples are copies of training "
                f"images {ways[name]}: they are near-duplicates of training images "
                f"{test.pairs_train:,} times and of held-out images {test.pairs_held_out:,} times "
                f"(p = {test.p:.3f})."
            )
        outright = [
            name
            for name, space in spaces.items()
            if name != "features" and space.outright.low > self.LEVEL
        ]
        if outright:
            name = max(outright, key=lambda name: spaces[name].outright.value)
            space = spaces[name]
            return "bad", (
                f"Yes: {_percent(space.outright)} of the samples are copies of training images "
                f"{ways[name]}, less than half as far from them as held-out images are."
            )
        near = {name: space for name, space in spaces.items() if space.copied.low > self.LEVEL}
        blind = {n: s for n, s in near.items() if s.copied.value < s.detectable}
        if blind:
            name, space = next(iter(blind.items()))
            return "unsure", (
                f"{_percent(space.copied)} of the samples are nearer to training images than "
                f"held-out images are {ways[name]}; it would take more held-out images or samples "
                "to tell copies from samples that are smooth, and so near to everything."
            )
        seen = min(space.detectable for name, space in spaces.items() if name != "features")
        if seen > self.FRACTION:
            return "unsure", (
                f"No copies were found, but up to {seen:.0%} would have gone unseen: it takes more "
                "samples or more held-out images to say."
            )
        verdict = (
            f"No: the samples are no nearer to training images than to held-out ones, where "
            f"{seen:.1%} of copies would have been seen"
        )
        if near:
            verdict += "; they are nearer to both than real images are, as smooth images would be"
        return "good", f"{verdict}."

    def _panels(self, evidence: Evidence, space: Space) -> dict[str, Tensor]:
        """Samples with their nearest training images: the closest five, and five at random; and
        the same of held-out images."""
        held_out, _, _ = self._known["pixels"]
        panels = {}
        for name, images, distances in (
            ("nearest_training_images", evidence.generated.images, space.distances),
            ("nearest_training_images_of_held_out", evidence.held_out.images, held_out),
        ):
            order = torch.randperm(len(images), generator=torch.Generator().manual_seed(self.seed))
            chosen = torch.cat([distances.argsort(stable=True)[:5], order[:5]])
            panels[name] = panel(images[chosen], evidence.train.images)
        return panels


def panel(images: Tensor, train: Tensor, k: int = 5) -> Tensor:
    """A row for each image: itself and its k nearest training images with their distances.

    Returns:
        uint8 (height, width, 3).
    """
    k = min(k, len(train))
    distances, indices = nearest(images, train, k)
    rows = torch.cat([images[:, None], train[indices]], 1).flatten(0, 1)  # (n (1 + k), C, H, W)
    captions = [
        caption for row in distances.tolist() for caption in ("", *(f"{d:.2f}" for d in row))
    ]
    return grid(rows, columns=1 + k, captions=captions)


def _percent(number: Number) -> str:
    return f"{number.value:.1%} ({number.low:.1%} to {number.high:.1%})"
