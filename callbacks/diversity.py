"""Is it as diverse as the data? How much of the data the samples reach, and what they miss.

The absence of repeats shows nothing: thirty images with noise never collide. So three statistics
are computed for samples and for as many held-out images, and their ratios decide:

    recall, coverage    the share of training images near them, `genzoo.metrics.breadth`
    Vendi score         their variety, over all and within classes, `genzoo.metrics.vendi`

Collisions can show that samples repeat (`genzoo.metrics.birthday`), and the predictions of a
classifier show missing classes (`genzoo.metrics.classes`).
"""

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor

from ..features.evidence import Evidence, Known
from ..metrics.birthday import Birthday, count_support, duplicate_threshold
from ..metrics.breadth import breadth
from ..metrics.classes import Classes, class_shares, effective_classes, missing_classes
from ..metrics.neighbours import closest_pairs, nearest
from ..metrics.number import Number, written
from ..metrics.vendi import Varied, compare_vendi, natural_width, overall
from ..report.card import Section
from ..report.figures import grid
from ..rng import shuffled
from .evaluation import Evaluation

FEW = 12  # least number of images for recall and coverage
IN_CLASS = 20  # least number of images of a class for its Vendi score
SHOWN = 20  # closest pairs, or missed images, in a figure
RATIOS = {
    "recall_ratio": "the recall",
    "coverage_ratio": "the coverage",
    "vendi_ratio": "the Vendi score",
    "vendi_within_ratio": "the Vendi score within classes",
}
LOOK = {
    "missing": "training images that no sample comes near",
    "closest_pairs": "the closest pairs of samples",
}


@dataclass
class Findings:
    """The results from which the verdict follows.

    Args:
        size: Number of images of each kind that were compared.
        numbers: Numbers by name.
        figures: Pictures by name.
        repeats: Support sizes of samples and of real images by space, for spaces in which samples
            significantly repeat more.
        classes: The shares of classes and the missing ones; None if they are unknown.
        narrowest: The class whose samples vary least, compared with its real images.
        least: A clause about the class that repeats most.
    """

    size: int
    numbers: dict[str, Number] = field(default_factory=dict)
    figures: dict[str, Tensor] = field(default_factory=dict)
    repeats: dict[str, tuple[Number, Number]] = field(default_factory=dict)
    classes: Classes | None = None
    narrowest: str = ""
    least: str = ""


class Diversity(Evaluation):
    """Measures how much of the data the samples reach, how they vary, and what they miss.

    Logs ratios of samples to as many held-out images, which are 1 for equal distributions:
    `recall_ratio` and `coverage_ratio` of the same training images, `vendi_ratio` over all and
    `vendi_within_ratio` within classes, which are the conditions or else the classifier's
    predictions; `vendi_within_least` for the narrowest class. `closest_pair/pixels` is the smallest
    distance of two samples in a batch.

    Also logs `support/<space>` of pixels and of the extractor's features: infinite without a
    collision, and with an interval only if samples significantly repeat more than real images
    (`support_real/<space>`); for a conditional model also `support_per_class/pixels`, of the class
    that repeats most. If the extractor is a classifier, also `classes`, `classes_effective` and
    `classes_effective_train`.

    The verdict is bad if the interval of a ratio lies below 0.75, for one class or over all; if
    classes are missing; and if samples collide more than real images, with a support size below the
    number of training images. It is good if all intervals of ratios lie above 0.8, with at least
    100 images of each kind, no class is missing, and samples repeat no more than real images. For
    scale, with 1,500 images of Fashion-MNIST under the classifier "domain", the ratios of recall,
    coverage and Vendi scores over all and within classes: real images 0.99, 1.00, 1.06, 1.03; of
    each class the fifth nearest to its mean 0.55, 0.86, 0.54, 0.48; half-and-half blends of two
    images 0.62, 0.68, 0.55, 0.91.

    Args: as `Evaluation`.
    """

    GOOD, BAD, LEAST = 0.8, 0.75, 100

    def __init__(self, *args, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self._known = Known()

    def evaluate(self, evidence: Evidence) -> Section:
        train, held_out, generated = evidence.train, evidence.held_out, evidence.generated
        size = min(len(generated), len(held_out), len(train))
        if size < 3:
            raise ValueError(f"samples and real images must be at least 3, got {size}")
        self._known.about(train.features, held_out.features)
        found = Findings(size)
        pictured = generated.images.ndim == 4 and generated.images.shape[1] in (1, 3)
        if size >= FEW:
            near = breadth(train.features, generated.features, held_out.features, seed=self.seed)
            found.numbers |= {"recall_ratio": near.recall, "coverage_ratio": near.coverage}
            if pictured and len(missed := near.missed[:SHOWN]):
                found.figures["missing"] = grid(train.images[missed], columns=10)
        of_classes: dict[str, Number] = {}
        found.classes = self._classes(evidence, of_classes)
        found.narrowest = self._vary(evidence, found.classes, found.numbers)
        closest = closest_pairs(generated.images[:size], min(SHOWN, size * (size - 1) // 2))
        tau, _ = self._calibrate("pixels", train.images, held_out.images, size)
        note = f"of {size:,} samples; of held-out images in batches of as many {written(2 * tau)}"
        found.numbers["closest_pair/pixels"] = Number(closest[0][0].item(), note=note)
        found.numbers |= of_classes
        found.repeats = self._repeats(evidence, size, closest[0], found.numbers)
        found.least = self._least_diverse(evidence, tau, found.numbers)
        if pictured:
            panel = pairs_panel(generated.images[:size], train.images, closest)
            found.figures["closest_pairs"] = panel
        flag, verdict = evidence.qualified(*self._judge(evidence, found))
        protocol = {"n_batch": size}
        return Section("diversity", verdict, flag, found.numbers, found.figures, protocol)

    def _repeats(
        self, evidence: Evidence, size: int, closest: Tensor, numbers: dict[str, Number]
    ) -> dict[str, tuple[Number, Number]]:
        """Support sizes of samples and of real images by space, for spaces in which the samples
        significantly repeat more."""
        train, held_out, generated = evidence.train, evidence.held_out, evidence.generated
        repeats = {}
        for space, part in (("pixels", "images"), ("features", "features")):
            samples = getattr(generated, part)
            tau, real = self._calibrate(space, getattr(train, part), getattr(held_out, part), size)
            if space == "pixels" and len(samples) == size and closest[0] >= tau:
                # One batch of all samples, whose closest pair does not collide.
                none = torch.zeros(1, size, dtype=torch.int64)
                ours, support = Birthday(none, none - 1), Number(math.inf)
                support.note = ours.note
            else:
                ours, support = count_support(samples, tau, size, self.seed)
            if support.high is not None and support.high < real.low:
                repeats[space] = support, real
                numbers[f"support_real/{space}"] = real
                if space == "pixels" and support.low is not None:
                    others = ours.support_by_halves()
                    others["support_distinct"] = ours.support_of_distinct()
                    for name, number in others.items():  # no interval: they assume equal p
                        numbers[f"{name}/{space}"] = Number(number.value, note=number.note)
            else:
                support = Number(support.value, note=f"{support.note}, which sets no limit")
            numbers[f"support/{space}"] = support
            numbers[f"duplicate_below/{space}"] = Number(tau, note="calibrated on held-out images")
        return repeats

    def _calibrate(
        self, space: str, train: Tensor, held_out: Tensor, size: int
    ) -> tuple[float, Number]:
        """The threshold of collisions, from held-out images, and the support size of training
        images, which were not used for it."""
        known = self._known.found
        if (space, size) not in known:
            tau = duplicate_threshold(held_out, size, self.seed)
            most = -(-10_000 // size) * size  # enough batches for a high lower end
            real = Birthday.of(train[_chosen(len(train), most, self.seed)], tau, size, self.seed)
            known[space, size] = tau, real.support()
        return known[space, size]

    def _vary(self, evidence: Evidence, classes: Classes | None, numbers: dict[str, Number]) -> str:
        """Adds the Vendi scores; returns the name of the narrowest class, "" without classes."""
        held_out, generated = evidence.held_out, evidence.generated
        real, samples = held_out.features, generated.features
        width = natural_width(real[_chosen(len(real), 500, self.seed)])
        if math.isnan(width):
            return ""
        draws = 10 if min(len(samples), len(real)) > 500 else 20  # the time grows with n^3
        whole = compare_vendi(samples, real, width, draws=draws, seed=self.seed)
        numbers["vendi_ratio"] = whole.ratio()
        parts = _within_classes(evidence, classes, width, self.seed)
        if not parts:
            return ""
        numbers["vendi_within_ratio"] = overall([*parts.values()])
        numbers["vendi_within_ratio"].note = f"mean of {len(parts)} classes"
        # The minimum over classes is low by chance: the intervals are simultaneous.
        ratios = {c: part.ratio(0.05 / len(parts)) for c, part in parts.items()}
        c = min(ratios, key=lambda c: ratios[c].high)
        name = _name(evidence, c)
        ratios[c].note = f"the narrowest of {len(parts)} classes, {name}; {ratios[c].note}"
        numbers["vendi_within_least"] = ratios[c]
        return name

    def _classes(self, evidence: Evidence, numbers: dict[str, Number]) -> Classes | None:
        """The classes; None if the extractor is not a classifier of the data's classes."""
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

    def _least_diverse(self, evidence: Evidence, tau: float, numbers: dict[str, Number]) -> str:
        """A clause about the class that repeats most, "" if there is none."""
        train, generated = evidence.train, evidence.generated
        if train.labels is None or generated.labels is None:
            return ""
        found = {}
        for c in generated.labels.unique().tolist():
            ours, real = (x.images[x.labels == c] for x in (generated, train))
            size = min(len(ours), len(real))
            if size >= 3:
                real = real[_chosen(len(real), size, self.seed)]
                support = count_support(ours, tau, size, self.seed)[1]
                real = Birthday.of(real, tau, size, self.seed).support()
                if support.high is not None and support.high < real.low:
                    found[c] = support, real
        if not found:
            return ""
        c = min(found, key=lambda c: found[c][0].value)
        ours, real = found[c]
        name, n = _name(evidence, c), int((train.labels == c).sum())
        ours.note = f"the least, {name}; {ours.note}; its real images {_at_least(real)}"
        numbers["support_per_class/pixels"] = ours
        if ours.high < n:
            return f"within {name} the samples repeat themselves like {_about(ours)} images"
        return ""

    def _judge(self, evidence: Evidence, found: Findings) -> tuple[str, str]:
        n, size, numbers = len(evidence.train), found.size, found.numbers
        ratios = {name: numbers[name] for name in RATIOS if name in numbers}
        held = f"compared with as many held-out images ({size:,}) the samples reach "
        faults, look = [], []
        if found.classes and found.classes.missing:
            faults.append(_missing(evidence, found.classes))
        repeated = ""
        if found.repeats:
            space = min(found.repeats, key=lambda space: found.repeats[space][0].high)
            ours, real = found.repeats[space]
            repeated = (
                f"the samples repeat themselves in {space} like {_about(ours)} images; "
                f"as many real images like {_at_least(real)}"
            )
            if ours.high < n:
                faults.append(repeated)
                look.append("closest_pairs")
        if found.least:
            faults.append(found.least)
            look.append("closest_pairs")
        low = {name: r for name, r in ratios.items() if r.high is not None and r.high < self.BAD}
        if low:
            faults.append(held + _listed(low))
            look.append("missing")
        narrow, vary = numbers.get("vendi_within_least"), ""
        if narrow and narrow.high < self.GOOD:
            vary = f"within {found.narrowest} they vary {_percent(narrow)} as much as real images"
            if narrow.high < self.BAD and "vendi_within_ratio" not in low:
                faults.append(vary)
        if faults:
            see = " and at ".join(LOOK[name] for name in found.figures if name in look)
            return "bad", f"No: {'; '.join(faults)}." + (f" Look at {see}." if see else "")
        if repeated:
            return "unsure", f"Not quite: {repeated}. There are {n:,} training images."
        if size < self.LEAST:
            return "unsure", (
                f"{size:,} images of each kind are too few to say: it takes {self.LEAST} at least."
            )
        if unknown := [RATIOS[name] for name, ratio in ratios.items() if ratio.low is None]:
            return "unsure", (
                f"These features cannot tell: {' and '.join(unknown)} of held-out images is 0."
            )
        if weak := {name: ratio for name, ratio in ratios.items() if ratio.low <= self.GOOD}:
            return "unsure", f"Not surely: {held}{_listed(weak)}."
        if vary:
            return "unsure", f"Not quite: {held}{_listed(ratios)}; but {vary}."
        closest = written(numbers["closest_pair/pixels"].value)
        return "good", (
            f"Yes: {held}{_listed(ratios)}"
            + ("; no class is missing" if found.classes else "")
            + f". No two of {size:,} samples are nearer than {closest}."
        )


def _within_classes(
    evidence: Evidence, classes: Classes | None, width: float, seed: int
) -> dict[int, Varied]:
    """Vendi scores of the samples and of the held-out images of each class."""
    held_out, generated = evidence.held_out, evidence.generated
    if generated.labels is not None and held_out.labels is not None:
        ours, theirs = generated.labels, held_out.labels
    elif classes is not None:
        ours, theirs = generated.logits.argmax(1), held_out.logits.argmax(1)
    else:
        return {}
    found = {}
    for c in theirs[theirs >= 0].unique().tolist():
        samples, real = generated.features[ours == c], held_out.features[theirs == c]
        if min(len(samples), len(real)) >= IN_CLASS:
            found[c] = compare_vendi(samples, real, width, 300, draws=20, seed=seed)
    return found


def pairs_panel(
    samples: Tensor, train: Tensor, closest: tuple[Tensor, Tensor] | None = None, pairs: int = SHOWN
) -> Tensor:
    """A picture of the closest pairs of samples, two in a row, each with the training image nearest
    to the first: if that differs, the model repeats images that are no copies.

    Args:
        closest: The samples' closest pairs; None: they are computed.

    Returns:
        uint8 (height, width, 3).
    """
    if closest is None:
        closest = closest_pairs(samples, min(pairs, len(samples) * (len(samples) - 1) // 2))
    distances, index = closest
    first, second = samples[index[:, 0]], samples[index[:, 1]]
    to_train, nearby = nearest(first, train)
    images = torch.stack([first, second, train[nearby[:, 0]]], 1).flatten(0, 1)
    captions = []
    for between, beyond in zip(distances.tolist(), to_train[:, 0].tolist(), strict=True):
        captions += ["", f"{between:.2f}", f"train {beyond:.2f}"]
    return grid(images, columns=6, captions=captions)


def _missing(evidence: Evidence, classes: Classes) -> str:
    left, missing = classes.left, classes.missing
    if len(left) <= classes.present / 2:
        kind = "class" if len(left) == 1 else "classes"
        names = _names(evidence, left)
        return f"only {len(left)} {kind} of {classes.present} left ({names}): a collapse"
    are = "is" if len(missing) == 1 else "are"
    names = _names(evidence, missing)
    return f"of {classes.present} classes {len(missing)} {are} missing ({names})"


def _chosen(n: int, most: int, seed: int) -> Tensor:
    return shuffled(n, seed)[:most]


def _name(evidence: Evidence, c: int) -> str:
    names = evidence.class_names
    return names[c] if c < len(names) else str(c)


def _names(evidence: Evidence, classes: list[int]) -> str:
    more = f" and {len(classes) - 10} more" if len(classes) > 10 else ""
    return ", ".join(_name(evidence, c) for c in classes[:10]) + more


def _listed(ratios: dict[str, Number]) -> str:
    """As "96% (92% to 99%) of the recall, 91% (88% to 94%) of the coverage"."""
    return ", ".join(f"{_percent(ratio)} of {RATIOS[name]}" for name, ratio in ratios.items())


def _percent(ratio: Number) -> str:
    return f"{ratio.value:.0%} ({ratio.low:.0%} to {ratio.high:.0%})"


def _about(number: Number) -> str:
    if number.low is None:  # repeats farther apart were not counted
        return f"at most {number.high:,.0f}"
    return f"{number.value:,.0f} ({number.low:,.0f} to {number.high:,.0f})"


def _at_least(number: Number) -> str:
    return f"at least {number.low:,.0f}"
