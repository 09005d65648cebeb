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
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..metrics.intervals import NORMAL, wilson
from ..metrics.neighbours import closest_pairs, collisions, nearest
from ..metrics.number import Number
from .features import Evaluation, Evidence
from .figures import grid
from .report import Section

# Deviations for the jackknife: with one heavy image the deviation is underestimated just when
# collisions are, and 1.96 covered 0.92 in simulations where 2.3 covers 0.95.
JACKKNIFE = 2.3


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
        degrees: With how many others of its batch each sample collides, int64 (batches, s).
        previous: The last one before it with which it does, or -1, int64 (batches, s).
    """

    def __init__(self, degrees: Tensor, previous: Tensor):
        if degrees.ndim != 2 or degrees.shape != previous.shape or degrees.shape[1] < 3:
            got = f"{tuple(degrees.shape)} and {tuple(previous.shape)}"
            raise ValueError(f"degrees and previous must be (batches, at least 3), got {got}")
        self.degrees, self.previous = degrees.double(), previous
        self.size = degrees.shape[1]
        self.pairs = len(degrees) * self.size * (self.size - 1) / 2
        self.colliding = self.degrees.sum().item() / 2

    @classmethod
    def of(cls, samples: Tensor, threshold: float, size: int, seed: int = 0) -> "Birthday":
        """Counts the pairs nearer than the threshold, in disjoint random batches."""
        found = [collisions(batch, threshold) for batch in batches(samples, size, seed)]
        return cls(*(torch.stack(part) for part in zip(*found, strict=True)))

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
        error = JACKKNIFE * ((n - 1) / n * (without - without.mean()).square().sum()).sqrt().item()
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
        """All that is read from collisions, each under its own name: N2 with the interval that
        spans both and with each of them; the N of the number of different samples; and what the
        s tells at which half of the batches have a collision."""
        q = self.colliding / self.pairs
        return {
            "support": self.support(),
            "support_poisson": self._of(q, *self.poisson(), "if all images are as probable"),
            "support_jackknife": self._of(q, *self.jackknife(), "by leaving out each sample"),
            "support_distinct": self.support_of_distinct(),
            **self.support_by_halves(),
        }

    def curve(self) -> list[tuple[int, float]]:
        """The paper's procedure: for growing s, the share of batches of s samples that have a
        collision; pairs (s, share), until all have one."""
        found: list[tuple[int, float]] = []
        size = 2.0
        while round(size) <= self.size and not (found and found[-1][1] == 1):
            s = round(size)
            whole = self.previous[:, : self.size // s * s]
            parts = whole.unflatten(1, (-1, s))  # (batches, parts, s)
            start = torch.arange(0, whole.shape[1], s)[:, None]
            found.append((s, (parts >= start).any(2).double().mean().item()))
            size *= math.sqrt(2)
        return found

    def support_by_halves(self) -> dict[str, Number]:
        """From the s at which half of the batches have a collision.

        support_s_squared: The rule of thumb, s^2.
        support_half_chance: The N for which the chance is one half, s^2 / (2 ln 2) = 0.72 s^2.
        """
        curve = self.curve()
        s, note = float(curve[-1][0]), f"more than this: s = {curve[-1][0]:,} and fewer collide"
        for (before, low), (after, high) in zip([(1, 0.0), *curve], curve, strict=False):
            if high >= 0.5:
                s = before + (after - before) * (0.5 - low) / (high - low)
                note = f"half of the batches of {s:,.0f} collide"
                break
        return {
            "support_s_squared": Number(s**2, note=note),
            "support_half_chance": Number(s**2 / (2 * math.log(2)), note=note),
        }

    def support_of_distinct(self) -> Number:
        """The N for which s equally probable draws give as many different images as were seen:

        k = N (1 - (1 - 1/N)^s)
        """
        s, count = self.size, len(self.previous)
        seen = (self.previous < 0).sum().item() / count

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
        crowd = s / value  # samples for each image; the variance is that of occupied cells
        spread = value * math.exp(-crowd) * (1 - (1 + crowd) * math.exp(-crowd))
        half = NORMAL * math.sqrt(max(0.0, spread) / count)
        note = f"{seen:,.0f} of {s:,} samples differ; if all images are as probable"
        return Number(value, solve(max(1.0, seen - half)), solve(min(s, seen + half)), note)

    def _of(self, q: float, low: float, high: float, note: str) -> Number:
        """The inverse of q and of its interval."""
        infinite = math.inf
        return Number(1 / q if q else infinite, 1 / high, 1 / low if low > 0 else infinite, note)


# Classes


def class_shares(logits: Tensor, known: tuple[Tensor, Tensor] | None = None) -> Tensor:
    """The share of images of each class, (K,).

    A classifier takes some images for what they are not, and would find classes that are never
    drawn. How often is known from labelled images, and undone: the most probable shares pi of
    true classes given those of answers, by expectation maximisation of

        share of answer a = sum_c pi_c P(a | c)

    Args:
        logits: float (n, K).
        known: Logits (m, K) and labels (m,) of images that the classifier was not trained on;
            without at least 20 of each class nothing is undone.
    """
    if logits.ndim != 2 or not len(logits):
        raise ValueError(f"logits must be (n, K) and not empty, got {tuple(logits.shape)}")
    if not logits.isfinite().all():
        raise ValueError("logits must be finite, got NaN or infinity")
    k = logits.shape[1]
    answers = logits.argmax(1).bincount(minlength=k).double() / len(logits)
    if known is None:
        return answers
    truth, said = known[1], known[0].argmax(1)
    if not 0 <= truth.min() <= truth.max() < k:
        raise ValueError(f"labels must be in 0..{k - 1}, got {truth.min()}..{truth.max()}")
    table = (truth * k + said).bincount(minlength=k * k).view(k, k).double()
    if table.sum(1).min() < 20:
        return answers
    table /= table.sum(1, keepdim=True)  # P(answer | class), rows are classes
    shares = table.new_full((k,), 1 / k)
    for _ in range(1000):
        shares = shares * (table @ (answers / (shares @ table).clamp(min=1e-12)))
        shares /= shares.sum()
    return shares


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


@dataclass
class Classes:
    """Shares of the classes among samples and among training images, (K,); and who is missing."""

    generated: Tensor
    train: Tensor
    missing: list[int]

    @property
    def present(self) -> int:
        """How many classes the data has."""
        return int((self.train > 0).sum())

    @property
    def left(self) -> list[int]:
        """Those that are drawn, the most frequent first."""
        shares = self.generated.tolist()
        left = [c for c in range(len(shares)) if self.train[c] > 0 and c not in self.missing]
        return sorted(left, key=lambda c: -shares[c])


# The evaluation


class Diversity(Evaluation):
    """Asks how many different images the model makes, and which classes it leaves out.

    Logs `support/<space>` of pixels and of the extractor's features, and the same of real images
    at the same numbers, `support_real/<space>`; of pixels the other ways to read the collisions,
    each under its own name (`Birthday.estimates`); and where the extractor is a classifier
    `classes`, `classes_effective` and `classes_effective_train`. Of a conditional model also
    `support_per_class/pixels`, the count for the class whose samples are least diverse.

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
                others = ours.estimates()
                del others["support"]
                numbers |= {f"{name}/{space}": number for name, number in others.items()}
            numbers[f"duplicate_below/{space}"] = Number(tau, note="calibrated on held-out images")
        classes = self._classes(evidence, numbers)
        least = self._least_diverse(evidence, numbers)
        flag, verdict = self._judge(evidence, found, classes, least, size)
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

    def _classes(self, evidence: Evidence, numbers: dict[str, Number]) -> Classes | None:
        """None where the extractor is no classifier, or one of other classes than the data's."""
        train, held_out, generated = evidence.train, evidence.held_out, evidence.generated
        if generated.logits is None or evidence.extractor.reference:
            return None
        known = None
        if held_out.labels is not None and (labelled := held_out.labels >= 0).any():
            known = held_out.logits[labelled], held_out.labels[labelled]
            if (known[0].argmax(1) == known[1]).double().mean() < 0.5:
                return None
        ours, real = (class_shares(x.logits, known) for x in (generated, train))
        if known and train.labels is not None and len(labels := train.labels[train.labels >= 0]):
            counts = labels.bincount(minlength=len(ours)).double()
            real = counts / counts.sum()
        classes = Classes(ours, real, missing_classes(ours, real, len(generated)))
        note = f"of {classes.present}"
        if len(ours) <= 20:
            note += "; " + ", ".join(
                f"{_name(evidence, c)} {share:.1%}" for c, share in enumerate(ours.tolist())
            )
        numbers["classes"] = Number(len(classes.left), note=note)
        numbers["classes_effective"] = Number(effective_classes(ours))
        numbers["classes_effective_train"] = Number(effective_classes(real))
        return classes

    def _least_diverse(self, evidence: Evidence, numbers: dict[str, Number]) -> str:
        """What is to be said of the class with the fewest different samples, "" if nothing."""
        train, generated, tau = evidence.train, evidence.generated, self._known["pixels"][0]
        if train.labels is None or generated.labels is None:
            return ""
        found = {}
        for c in generated.labels.unique().tolist():
            ours, real = (x.images[x.labels == c] for x in (generated, train))
            size = min(len(ours), len(real))
            if size >= 3:
                real = real[_chosen(len(real), size, self.seed)]
                counts = (Birthday.of(x, tau, size, self.seed).support() for x in (ours, real))
                found[c] = tuple(counts)
        if not found:
            return ""
        c = min(found, key=lambda c: (found[c][0].value, found[c][0].low))
        ours, real = found[c]
        name, n = _name(evidence, c), int((train.labels == c).sum())
        note = f"the least of {len(found)} classes, {name}; its real images {_at_least(real)}"
        numbers["support_per_class/pixels"] = Number(ours.value, ours.low, ours.high, note)
        if ours.high < min(real.low, n):
            return f"within {name} the samples repeat themselves like {_about(ours)} images"
        return ""

    def _judge(
        self,
        evidence: Evidence,
        found: dict[str, tuple[Number, Number]],
        classes: Classes | None,
        least: str,
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
                f"of the same size like {_at_least(real)}" + (f"; {least}" if least else "")
            )
        if classes and classes.missing:
            left, missing = classes.left, classes.missing
            if len(left) <= classes.present / 2:
                kind = "class" if len(left) == 1 else "classes"
                names = _names(evidence, left)
                verdict = f"No: collapse to {len(left)} {kind} of {classes.present} ({names})"
            else:
                are = "is" if len(missing) == 1 else "are"
                names = _names(evidence, missing)
                verdict = f"No: of {classes.present} classes {len(missing)} {are} missing ({names})"
            return "bad", f"{verdict}; {repeats}." if repeats else f"{verdict}."
        if fewer:
            if ours.high < n:
                return "bad", f"No: {repeats}."
            return "unsure", f"Not quite: {repeats}. There are {n:,} training images."
        if least:
            return "bad", f"No: {least}."
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
            + (", and no class is missing." if classes else ".")
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


def _names(evidence: Evidence, classes: list[int]) -> str:
    more = f" and {len(classes) - 10} more" if len(classes) > 10 else ""
    return ", ".join(_name(evidence, c) for c in classes[:10]) + more


def _about(number: Number) -> str:
    return f"{number.value:,.0f} ({number.low:,.0f} to {number.high:,.0f})"


def _at_least(number: Number) -> str:
    return f"at least {number.low:,.0f}"
