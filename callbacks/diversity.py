"""Is it as diverse as the data? How many different images a model can make.

The birthday paradox (Arora and Zhang, 2017, https://arxiv.org/abs/1706.08224): a model that emits
N images with equal probability repeats one among about sqrt(N) samples. With B pairs of samples,
C of them collisions, and p_i the probability of image i,

    E[C] = B q,    q = sum_i p_i^2,

so N2 = B / C estimates 1 / q, the number of equally probable images that would collide as often:
the support, at most. What collides is calibrated on real images: pairs nearer than half the
smallest distance of as many held-out images. Unnoticed repetition makes the estimate larger;
unequal probabilities make it smaller than the support.

Classes are counted where the extractor is a classifier.
"""

import math
from typing import Any

import torch
from torch import Tensor

from .distances import closest_pairs, collisions, nearest
from .features import Evaluation, Evidence
from .figures import grid
from .realism import wilson
from .report import Number, Section

NORMAL = 1.96


# Birthdays


def duplicate_threshold(real: Tensor, size: int, seed: int = 0) -> float:
    """Half the smallest distance of a pair in batches of `size` real images, drawn without return.

    Exact duplicates, which some data has, do not count: below this they collide.

    Args:
        real: uint8 (n, C, H, W) or float (n, d), at least 2.
        size: Images of a batch; at most n of them.
    """
    if len(real) < 2 or size < 2:
        raise ValueError(f"real and size must be at least 2 images, got {len(real)} and {size}")
    smallest = []
    for batch in batches(real, size, seed):
        distinct = batch.flatten(1).unique(dim=0)
        if len(distinct) > 1:
            smallest.append(closest_pairs(distinct, 1)[0].item())
    if not smallest:
        raise ValueError("real must hold at least two different images, got copies of one")
    return min(smallest) / 2


def batches(x: Tensor, size: int, seed: int = 0) -> list[Tensor]:
    """Disjoint random batches of equal size; one of all, where there are fewer."""
    size = min(size, len(x))
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(seed))
    return [x[part] for part in order[: len(x) // size * size].split(size)]


class Birthday:
    """What collided in one or more batches of equal size.

    Args:
        degrees: For each batch, with how many others each sample collides, int64 (s,); or all
            together (batches, s).
        distinct: For each batch, how many samples repeat none before them.
    """

    def __init__(self, degrees: Tensor, distinct: Tensor | list[int]):
        self.degrees = degrees.double().view(-1, degrees.shape[-1])
        self.distinct = torch.as_tensor(distinct, dtype=torch.float64).flatten()
        self.size = self.degrees.shape[1]
        if self.size < 3:
            raise ValueError(f"a batch must be at least 3 samples, got {self.size}")
        count = len(self.degrees)
        self.pairs = count * self.size * (self.size - 1) / 2
        self.colliding = self.degrees.sum().item() / 2

    @classmethod
    def of(cls, samples: Tensor, threshold: float, size: int, seed: int = 0) -> "Birthday":
        """Counts the pairs nearer than the threshold."""
        found = [collisions(batch, threshold) for batch in batches(samples, size, seed)]
        distinct = [int((~repeated).sum()) for _, repeated in found]
        return cls(torch.stack([degrees for degrees, _ in found]), distinct)

    def poisson(self) -> tuple[float, float]:
        """95 % interval of q where collisions are rare and independent (Garwood, 1936), which
        they are for equal probabilities. Without a collision one-sided, up to 3 / B."""
        from scipy.stats import chi2

        if not self.colliding:
            return 0.0, -math.log(0.05) / self.pairs
        low = chi2.ppf(0.025, 2 * self.colliding) / 2
        return low / self.pairs, chi2.ppf(0.975, 2 * self.colliding + 2) / 2 / self.pairs

    def jackknife(self) -> tuple[float, float]:
        """95 % interval of q by leaving out one sample at a time: it sees unequal probabilities,
        but not what one collision or none has left to chance."""
        q = self.colliding / self.pairs
        if not q:
            return self.poisson()
        s, count = self.size, len(self.degrees)
        without = (self.colliding - self.degrees.flatten()) / (self.pairs - (s - 1))
        n = count * s
        error = NORMAL * ((n - 1) / n * (without - without.mean()).square().sum()).sqrt().item()
        # On the plain and on the logarithmic scale: skewed either way where collisions are few.
        return min(q - error, q * math.exp(-error / q)), max(q + error, q * math.exp(error / q))

    def support(self) -> Number:
        """N2 = B / C, in an interval that holds whether or not probabilities are equal: from the
        lower of the ends of both intervals to the higher. Without a collision N2 is infinite
        and the lower end B / 3."""
        ends = zip(self.poisson(), self.jackknife(), strict=True)
        low, high = (pick(end) for pick, end in zip((min, max), ends, strict=True))
        return self._of(self.colliding / self.pairs, low, high, self.note)

    @property
    def note(self) -> str:
        return f"{self.colliding:,.0f} of {self.pairs:,.0f} pairs collide"

    def estimates(self) -> dict[str, Number]:
        """N2 with both of its intervals and with the one that spans them, and the most probable
        N for the number of different samples, which supposes equal probabilities."""
        q = self.colliding / self.pairs
        return {
            "support": self.support(),
            "support_poisson": self._of(q, *self.poisson(), "if all images are as probable"),
            "support_jackknife": self._of(q, *self.jackknife(), "by leaving out each sample"),
            "support_distinct": self.support_of_distinct(),
        }

    def support_of_distinct(self) -> Number:
        """The N for which s equally probable draws give as many different images as were seen:

        k = N (1 - (1 - 1/N)^s)
        """
        s, count = self.size, len(self.distinct)
        seen = self.distinct.sum().item() / count

        def expected(n: float) -> float:
            return -n * math.expm1(s * math.log1p(-1 / n)) if n > 1 else 1.0

        def solve(k: float) -> float:
            if k >= s - 1e-9:
                return math.inf
            low, high = 1.0, 1e18
            while high / low > 1 + 1e-12:
                middle = math.sqrt(low * high)
                low, high = (middle, high) if expected(middle) < k else (low, middle)
            return high

        value = solve(seen)
        if math.isinf(value):
            low = self.pairs / -math.log(0.05)
            return Number(value, low, value, "all samples differ")
        # Variance of the number of occupied cells.
        one, two = (max(0.0, 1 - i / value) ** s for i in (1, 2))
        spread = max(0.0, value * (value - 1) * two + value * one - (value * one) ** 2)
        half = NORMAL * math.sqrt(spread / count)
        note = f"{seen:,.0f} of {s:,} samples differ; if all images are as probable"
        return Number(value, solve(max(1.0, seen - half)), solve(min(s, seen + half)), note)

    def _of(self, q: float, low: float, high: float, note: str) -> Number:
        """The inverse of q and of its interval."""
        infinite = math.inf
        return Number(1 / q if q else infinite, 1 / high, 1 / low if low > 0 else infinite, note)


def collision_curve(
    samples: Tensor, threshold: float, most: int = 40, seed: int = 0
) -> list[tuple[int, float]]:
    """The paper's procedure: for growing s, the share of batches of s samples with a collision.

    It stops where all batches have one.

    Args:
        most: At most so many batches of each size, disjoint ones.

    Returns:
        Pairs (s, share).
    """
    curve: list[tuple[int, float]] = []
    size = 2.0
    while round(size) <= len(samples) and not (curve and curve[-1][1] == 1):
        some = batches(samples, round(size), seed)[:most]
        hit = [bool(collisions(batch, threshold)[1].any()) for batch in some]
        curve.append((round(size), sum(hit) / len(hit)))
        size *= math.sqrt(2)
    return curve


def support_by_halves(curve: list[tuple[int, float]]) -> dict[str, Number]:
    """What is read from the s at which half of the batches have a collision.

    Returns:
        support_s_squared: The rule of thumb s^2.
        support_half_chance: The N for which the chance is one half, s^2 / (2 ln 2) = 0.72 s^2.
    """
    s, note = float(curve[-1][0]), "more than this: "
    for (before, low), (after, high) in zip([(1, 0.0), *curve], curve, strict=False):
        if high >= 0.5:
            s, note = before + (after - before) * (0.5 - low) / (high - low), ""
            break
    note += f"half of the batches of {s:,.0f} collide" if not note else f"s = {s:,.0f}"
    return {
        "support_s_squared": Number(s**2, note=note),
        "support_half_chance": Number(s**2 / (2 * math.log(2)), note=note),
    }


# Classes


def class_shares(logits: Tensor) -> Tensor:
    """The share of images that the classifier gives to each class, (K,)."""
    if logits.ndim != 2 or not len(logits):
        raise ValueError(f"logits must be (n, K) and not empty, got {tuple(logits.shape)}")
    if not logits.isfinite().all():
        raise ValueError("logits must be finite, got NaN or infinity")
    return logits.argmax(1).bincount(minlength=logits.shape[1]).double() / len(logits)


def effective_classes(shares: Tensor) -> float:
    """exp of the entropy: K for K equal shares, 1 for a single class."""
    return torch.special.entr(shares).sum().exp().item()


def missing_classes(shares: Tensor, reference: Tensor, n: int) -> list[int]:
    """Classes with less than a fifth of their share, and surely less than half of it.

    Args:
        shares: Of n samples, (K,).
        reference: Of training images, (K,).
    """
    pairs = zip(shares.tolist(), reference.tolist(), strict=True)
    return [
        c
        for c, (ours, real) in enumerate(pairs)
        if ours < real / 5 and wilson(ours, n)[1] < real / 2
    ]


# The evaluation


class Diversity(Evaluation):
    """Asks how many different images the model makes, and which classes it leaves out.

    Logs, of pixels and of the extractor's features, `support/<space>` and the same of real images
    at the same numbers, `support_real/<space>`; of pixels the other ways to read the collisions,
    each under its own name (`Birthday.estimates`, `support_by_halves`); and where the extractor is
    a classifier `classes`, `classes_effective` and `classes_effective_train`.

    The verdict is bad where classes are missing, by name, or where collisions are more than real
    images have and tell of fewer images than there are training images. It is unsure where they
    are more but not so many, or where there are too few samples to tell. It never says more than
    "as diverse as real data at this sample size".

    Args: as `Evaluation`.
    """

    def __init__(self, *args, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self._known: dict[str, Any] = {}

    def evaluate(self, evidence: Evidence) -> Section:
        train, held_out, generated = evidence.train, evidence.held_out, evidence.generated
        size = min(len(generated), len(held_out), len(train))
        if size < 3:
            raise ValueError(f"samples and real images must be at least 3, got {size}")
        of = id(train.features), id(held_out.features), size
        if self._known.get("of") != of:
            # The tensors are kept, so that their ids stay theirs.
            self._known = {"of": of, "kept": (train.features, held_out.features)}
        numbers: dict[str, Number] = {}
        found: dict[str, tuple[Number, Number]] = {}
        for space, part in (("pixels", "images"), ("features", "features")):
            samples = getattr(generated, part)
            tau, real = self._calibrate(space, getattr(train, part), getattr(held_out, part), size)
            ours = Birthday.of(samples, tau, size, self.seed)
            found[space] = ours.support(), real
            numbers[f"support/{space}"], numbers[f"support_real/{space}"] = found[space]
            if space == "pixels":
                curve = collision_curve(samples, tau, seed=self.seed)
                others = ours.estimates() | support_by_halves(curve)
                del others["support"]
                numbers |= {f"{name}/{space}": number for name, number in others.items()}
            numbers[f"duplicate_below/{space}"] = Number(tau, note="calibrated on held-out images")
        missing = self._classes(evidence, numbers)
        flag, verdict = self._judge(evidence, found, missing, size)
        figures = {}
        if generated.images.ndim == 4 and generated.images.shape[1] in (1, 3):
            figures["closest_pairs"] = pairs_panel(generated.images[:size], train.images)
        return Section("diversity", verdict, flag, numbers, figures, {"n_batch": size})

    def _calibrate(
        self, space: str, train: Tensor, held_out: Tensor, size: int
    ) -> tuple[float, Number]:
        """The distance of duplicates, from held-out images, and what training images, which had
        no part in it, show at it."""
        if space not in self._known:
            tau = duplicate_threshold(held_out, size, self.seed)
            most = -(-10_000 // size) * size  # enough batches for any lower end that is needed
            real = Birthday.of(train[_chosen(len(train), most, self.seed)], tau, size, self.seed)
            self._known[space] = tau, real.support()
        return self._known[space]

    def _classes(self, evidence: Evidence, numbers: dict[str, Number]) -> list[int] | None:
        """Missing classes; None where nobody can tell."""
        if evidence.generated.logits is None or evidence.train.logits is None:
            return None
        shares, real = (class_shares(x.logits) for x in (evidence.generated, evidence.train))
        missing = missing_classes(shares, real, len(evidence.generated))
        present = int((real > 0).sum())
        note = "share by class: " + ", ".join(
            f"{_name(evidence, c)} {share:.1%}" for c, share in enumerate(shares.tolist())
        )
        if len(shares) > 20:
            note = ""
        numbers["classes"] = Number(
            present - len(missing), note=f"of {present}; {note}".rstrip("; ")
        )
        numbers["classes_effective"] = Number(effective_classes(shares))
        numbers["classes_effective_train"] = Number(effective_classes(real))
        return missing

    def _judge(
        self,
        evidence: Evidence,
        found: dict[str, tuple[Number, Number]],
        missing: list[int] | None,
        size: int,
    ) -> tuple[str, str]:
        n = len(evidence.train)
        fewer = {space: pair for space, pair in found.items() if pair[0].high < pair[1].low}
        repeats = ""
        if fewer:
            space = min(fewer, key=lambda space: fewer[space][0].value)
            ours, real = fewer[space]
            repeats = (
                f"the samples repeat themselves in {space} like {_about(ours)} images; real data "
                f"of the same size like {_at_least(real)}"
            )
        if missing:
            shares = class_shares(evidence.generated.logits)
            real = class_shares(evidence.train.logits)
            left = [c for c in range(len(real)) if real[c] > 0 and c not in missing]
            left.sort(key=lambda c: -shares[c])
            present = len(left) + len(missing)
            if len(left) <= present / 2:
                kind = "class" if len(left) == 1 else "classes"
                names = ", ".join(_name(evidence, c) for c in left[:10])
                verdict = f"No: collapse to {len(left)} {kind} of {present} ({names})"
            else:
                names = ", ".join(_name(evidence, c) for c in missing[:10])
                verdict = f"No: of {present} classes {len(missing)} are missing ({names})"
            return "bad", f"{verdict}; {repeats}." if repeats else f"{verdict}."
        if fewer:
            if ours.high < n:
                return "bad", f"No: {repeats}."
            return "unsure", f"Not quite: {repeats}. There are {n:,} training images."
        space = min(found, key=lambda space: found[space][0].low)
        ours, real = found[space]
        if ours.low < min(n, real.low):
            return "unsure", (
                f"{size:,} samples at a time are too few to say: {_at_least(ours)} different "
                f"images, and there are {n:,} training images."
            )
        return "good", (
            f"Yes, as far as {size:,} samples at a time can show: {_at_least(ours)} different "
            "images, as diverse as real data at this sample size"
            + ("." if missing is None else ", and no class is missing.")
        )


def pairs_panel(samples: Tensor, train: Tensor, pairs: int = 20) -> Tensor:
    """The closest pairs of samples, two in a row, each with the nearest training image of its
    first: where that differs, a model repeats what it has made up.

    Returns:
        uint8 (height, width, 3).
    """
    pairs = min(pairs, len(samples) * (len(samples) - 1) // 2)
    distances, index = closest_pairs(samples, pairs)
    first, second = samples[index[:, 0]], samples[index[:, 1]]
    to_train, nearby = nearest(first, train)
    images = torch.stack([first, second, train[nearby[:, 0]]], 1).flatten(0, 1)
    captions = []
    for between, beyond in zip(distances.tolist(), to_train[:, 0].tolist(), strict=True):
        captions += ["", f"{between:.2f}", f"train {beyond:.2f}"]
    return grid(images, columns=6, captions=captions)


def _chosen(n: int, most: int, seed: int) -> Tensor:
    return torch.randperm(n, generator=torch.Generator().manual_seed(seed))[:most]


def _name(evidence: Evidence, c: int) -> str:
    names = evidence.class_names
    return names[c] if c < len(names) else str(c)


def _about(number: Number) -> str:
    return f"{number.value:,.0f} ({number.low:,.0f} to {number.high:,.0f})"


def _at_least(number: Number) -> str:
    return f"at least {number.low:,.0f}"
