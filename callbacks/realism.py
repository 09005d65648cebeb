"""Does it look real? Distances between the features of real and of generated images.

The statistics are functions of features in `genzoo.metrics`; here they are compared with those of
held-out images and of independent pixels, and a verdict is made.
"""

import math

import torch
from torch import Tensor

from ..checks import at_least
from ..features.evidence import Evidence, Extractor, Features
from ..features.panels import least_real, not_reached, rarity
from ..features.per_class import class_supports, per_class
from ..features.yardstick import Yardstick
from ..metrics.frechet import (
    Compared,
    Moments,
    frechet_compared,
    frechet_distance,
    frechet_distance_infinity,
    frechet_of_moments,
)
from ..metrics.inception_score import inception_score
from ..metrics.intervals import student
from ..metrics.kernel import cmmd, kernel_distance, kernel_distance_of_subsets
from ..metrics.number import Number
from ..metrics.support import density_coverage, expected_coverage, precision_recall, support_shares
from ..metrics.torchmetrics import (
    DensityCoverage,
    FrechetDistance,
    InceptionScore,
    KernelDistance,
    PrecisionRecall,
)
from ..modes import evaluating
from ..report.card import Section
from ..rng import shuffled
from .evaluation import Evaluation

# Names that moved to `genzoo.metrics`, for scripts that import them from here.
__all__ = [
    "DensityCoverage",
    "FrechetDistance",
    "InceptionScore",
    "KernelDistance",
    "Moments",
    "PrecisionRecall",
    "Realism",
    "density_coverage",
    "expected_coverage",
    "frechet_distance",
    "frechet_distance_infinity",
    "frechet_of_moments",
    "inception_score",
    "independent_pixels",
    "kernel_distance",
    "kernel_distance_of_subsets",
    "precision_recall",
    "support_shares",
    "way_to_real",
]


class Realism(Evaluation):
    """Compares the features of samples with those of training images.

    Logs the Frechet distance and its limit for many images, the kernel distance, the Inception
    score if the extractor has logits, precision, recall, density and coverage. The first ones are
    called `fid`, `kid` and `inception_score` if the extractor is the published one, and
    `fd/<extractor>`, `kd/<extractor>`, `is/<extractor>` otherwise. The reference of all numbers
    are training images.

    Two more rows give the scale: held-out images in place of the samples, whose numbers no samples
    exceed but by chance (`<name>_held_out`), and images of independent pixels, each with the value
    of a random training image at this pixel (`fd/<extractor>_independent`). A number and its
    held-out row have equal numbers of images; if there are more samples than held-out images, the
    distance of all samples has its own row (`<name>_all`).

    If the classes are known, also the means over classes of precision and recall
    (`precision_per_class`), and for a conditional model of the distance between the samples and
    the training images of a class (`<name>_per_class`), and the share of samples whose condition
    the classifier predicts (`class_agreement`): see `per_class.py`.

    The verdict depends on `way_to_real`: the share of the way from independent pixels to real
    images that the samples have come, by roots of Frechet distances less that of held-out images,
    in equal numbers. So it does not depend on the numbers of images, except for its interval, which
    includes the choice of samples, held-out images and pixels and, for features that are trained on
    the data, their seed. It is good if the interval lies above 0.88, there are at least 100 images
    of each kind, and the samples are not nearer to the training images than held-out images are; it
    is bad if the interval lies below 0.75. For scale, new images of Fashion-MNIST under five
    classifiers "domain" (4,000 images): unchanged 0.98 to 1.02, noise of 2 % of the range 0.96 to
    0.97, of 5 % 0.88 to 0.89, of 10 % 0.72 to 0.75; blur of half a pixel 0.92 to 0.95, of one pixel
    0.73 to 0.79; one class of ten left out 0.82 to 0.84; half-and-half blends of two images 0.57 to
    0.60; a Gaussian of 50 principal components 0.39 to 0.45.

    Args:
        most: Largest number of images of each kind for all statistics but the Frechet distance,
            whose times grow with its square.
    """

    GOOD, BAD = 0.88, 0.75
    LEAST = 100  # least number of images for which the delta method's intervals hold

    def __init__(self, *args, most: int = 10_000, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        at_least(10, num_samples=self.num_samples, num_samples_fit=self.num_samples_fit, most=most)
        self.most = most
        self._known: tuple[Yardstick, dict[str, Number]] | None = None

    def evaluate(self, evidence: Evidence) -> Section:
        generated, held_out = evidence.generated, evidence.held_out
        fd = _names(evidence.extractor)[0]
        n = min(len(generated), len(held_out))
        yardstick, rows = self._yardstick(evidence, n)
        ours = frechet_compared(evidence.train.features, generated.features[:n])
        numbers = self._compare(evidence, generated.features, generated.logits, ours, yardstick)
        chance = 0.0
        if evidence.extractor.learned:
            samples = Moments.of(generated.features[:n])
            chance = choice_of_features(yardstick.moments, samples, self.seed)
        way = way_to_real(ours, yardstick.floor, yardstick.ceiling, chance)
        samples = _first(generated, n)
        by_class = class_supports(evidence, yardstick.held_out, samples)
        numbers = {"way_to_real": way} | numbers | rows | per_class(evidence, fd) | by_class.numbers
        numbers |= rarity(yardstick, samples.features)
        flag = self._flag(way, n)
        verdict = self._verdict(flag, way, numbers, fd, n, by_class.worst)
        flag, verdict = evidence.qualified(flag, verdict)
        figures = least_real(yardstick, samples) | not_reached(yardstick, samples)
        if figures and "leak" not in evidence.findings:
            verdict += " Look at the samples that are least real, and at the real images that none "
            verdict += "comes near."
        order = sorted(numbers, key=_rank)
        protocol = {"reference": "train", "n_equal": n, "n_most": self.most}
        numbers = {name: numbers[name] for name in order}
        return Section("realism", verdict, flag, numbers, figures, protocol)

    def _yardstick(self, evidence: Evidence, n: int) -> tuple[Yardstick, dict[str, Number]]:
        """The references and their rows, which are made once for the same real images."""
        if self._known and self._known[0].fits(evidence, n):
            return self._known
        train, held_out = evidence.train, evidence.held_out
        generator = torch.Generator().manual_seed(self.seed)
        chosen = _first(held_out, torch.randperm(len(held_out), generator=generator)[:n])
        pixels = independent_pixels(train.images, min(n, 1000), generator)
        with evaluating(evidence.extractor):
            blocks = [evidence.extractor(block)[0].float() for block in pixels.split(100)]
        neighbours = train.features[shuffled(len(train), self.seed)[: min(n, self.most)]]
        yardstick = Yardstick(train, chosen, torch.cat(blocks), neighbours, held_out)
        real = chosen.features, chosen.logits
        rows = self._compare(evidence, *real, yardstick.floor, yardstick)
        rows = {f"{name}_held_out": number for name, number in rows.items()}
        independent = yardstick.ceiling.distance
        independent.note = (
            f"{len(pixels):,} images of independent pixels: the other end of the scale"
        )
        rows[f"{_names(evidence.extractor)[0]}_independent"] = independent
        self._known = yardstick, rows
        return self._known

    def _compare(
        self,
        evidence: Evidence,
        features: Tensor,
        logits: Tensor | None,
        compared: Compared,
        yardstick: Yardstick,
    ) -> dict[str, Number]:
        """The numbers that have a held-out row: for as many images as there are held-out ones,
        except for the limit, which uses all images."""
        fd, kd, score = _names(evidence.extractor)
        train, n = evidence.train.features, len(compared.on_generated)
        numbers = {fd: compared.distance}
        d, total = train.shape[1], len(features)
        if total > n:
            numbers[fd].note = numbers[fd].note or f"of {n:,} samples, as many as held-out images"
            numbers[f"{fd}_all"] = frechet_distance(train, features)
            numbers[
                f"{fd}_all"
            ].note = f"of all {total:,} samples; {fd}_held_out is of {n:,} images"
        if total >= 10 * d and d <= 512:  # for more, 150 spectra take many minutes
            limit = frechet_distance_infinity(train, features, seed=self.seed)
            limit.note = f"from {total:,} images"
            numbers[f"{fd}_infinity"] = limit
        some = features[: min(n, self.most)]
        order = shuffled(len(train), self.seed)
        real = train[order[: self.most]]
        if kd.startswith("kid"):
            numbers[kd] = kernel_distance_of_subsets(real, some)
        else:
            numbers[kd] = kernel_distance(real, some)
        if evidence.extractor.unit:
            named = "cmmd" if evidence.extractor.reference else f"cmmd/{evidence.extractor.name}"
            numbers[named] = cmmd(real, some)
        if logits is not None:
            numbers[score] = inception_score(logits[:n], splits=10 if n >= 100 else 1)
        equal = yardstick.neighbours
        balls = yardstick.balls if len(equal) > 5 else None  # too few: refused below
        return numbers | support_shares(equal, some[: len(equal)], balls=balls)

    def _flag(self, way: Number, n: int) -> str:
        if way.low is None or way.high is None:
            return "unsure"
        if way.high < self.BAD:
            return "bad"
        return "good" if n >= self.LEAST and self.GOOD <= way.low <= 1 else "unsure"

    def _verdict(
        self, flag: str, way: Number, numbers: dict[str, Number], fd: str, n: int, worst: str
    ) -> str:
        """The verdict, with its interval and the worst class."""
        equal, floor, ceiling = (
            numbers[f"{fd}{kind}"] for kind in ("", "_held_out", "_independent")
        )
        if math.isnan(way.value):
            return (
                f"These features do not tell real images from independent pixels ({fd} "
                f"{floor.value:.3g} and {ceiling.value:.3g}): choose another extractor."
            )
        sure = f"95 % interval {way.low:.0%} to {way.high:.0%}"
        if way.low > 1:
            how = (
                f"Suspicious: the samples are nearer to the training images than {n:,} held-out "
                f"images are ({way.value:.0%} of the way from independent pixels to those, "
                f"{sure}), as copies would be: see memorisation"
            )
        elif way.value <= 0:
            how = (
                f"No: the samples are no nearer to real images than independent pixels are ({sure})"
            )
        else:
            kinds = {"good": "Yes", "bad": "No", "unsure": "Too close to call"}
            how = (
                f"{kinds[flag]}: the samples have come {min(way.value, 1):.0%} of the way from "
                f"independent pixels to held-out real images ({sure})"
            )
            if flag == "unsure" and n < self.LEAST:
                how += f", but {n:,} images of each kind are too few to say more"
            elif flag == "unsure":
                how += f", of which {self.GOOD:.0%} is called good"
        how += f": {fd} {equal.value:.3g} between {ceiling.value:.3g} and {floor.value:.3g} at "
        how += f"{n:,} images"
        if n >= self.LEAST:  # among few real images, far apart, lies almost anything
            precise, of_real = numbers["precision"].value, numbers["precision_held_out"].value
            how += f"; {precise:.0%} of them lie among real ones (held-out images: {of_real:.0%})"
        return f"{how}{worst}."


def way_to_real(ours: Compared, floor: Compared, ceiling: Compared, chance: float = 0.0) -> Number:
    """The share of the way from `ceiling` (0) to `floor` (1), in roots of Frechet distances less
    the floor's, which has the same bias: 1 - sqrt((ours - floor) / (ceiling - floor)).

    It is above 1 if ours is below the floor, and NaN if floor and ceiling are not significantly
    different.

    Args:
        chance: Half of the interval for the choice of features.
    """
    excess, whole = ours.excess_over(floor), ceiling.excess_over(floor)
    if whole.low <= 0 or whole.value <= floor.value:
        return Number(math.nan, note="held-out images look like independent pixels here")
    way, low, high = (
        _share(part / whole.value) for part in (excess.value, excess.high, excess.low)
    )
    of_whole = abs(1 - way) / 2 * (whole.high - whole.value) / whole.value
    return Number(
        way,
        way - math.hypot(way - low, of_whole, chance),
        way + math.hypot(high - way, of_whole, chance),
    )


def _share(excess: float) -> float:
    return 1 - math.copysign(math.sqrt(abs(excess)), excess)


def choice_of_features(
    known: tuple[Moments, ...], samples: Moments, seed: int, halves: int = 8
) -> float:
    """Half of the 95 % interval of the way for other features of the same kind.

    It comes from random halves of the features: on Fashion-MNIST their deviation is that between
    classifiers of other seeds, within the precision of eight halves and five seeds.

    Args:
        known: Moments of training, held-out and independent images.
    """
    d = len(samples.mean)
    if d < 8:
        return 0.0
    generator = torch.Generator().manual_seed(seed)
    ways = []
    for _ in range(halves):
        chosen = torch.randperm(d, generator=generator)[: d // 2]
        train, floor, ceiling, ours = (
            Moments(x.n, x.mean[chosen], x.scatter[chosen][:, chosen]) for x in (*known, samples)
        )
        zero, one, value = (frechet_of_moments(train, x) for x in (ceiling, floor, ours))
        if zero > one:
            ways.append(_share((value - one) / (zero - one)))
    return student(len(ways) - 1) * torch.tensor(ways).double().std().item() if ways[1:] else 0.0


def _first(part: Features, which: int | Tensor) -> Features:
    """Some images with their features: the first `which`, or those of an index."""
    which = torch.arange(which) if isinstance(which, int) else which
    fields = part.images, part.features, part.logits, part.labels
    return Features(*(None if x is None else x[which] for x in fields))


def independent_pixels(images: Tensor, n: int, generator: torch.Generator) -> Tensor:
    """n images of independent pixels, each with the value of a random image at this pixel."""
    flat = images.flatten(1)
    choice = torch.randint(len(flat), (n, flat.shape[1]), generator=generator)
    return flat.gather(0, choice).view(n, *images.shape[1:])


def _names(extractor: Extractor) -> tuple[str, str, str]:
    """Names of the numbers: the published ones for the published protocol only."""
    if extractor.reference:
        return extractor.published
    return tuple(f"{kind}/{extractor.name}" for kind in ("fd", "kd", "is"))


def _rank(name: str) -> str:
    """A key that sorts numbers by statistic, each followed by those of the references."""
    kinds = "way fid fd/ fd_ cmm kid kd/ inc is/ pre rec den cov rar cla".split()
    return f"{kinds.index(name[:3]):02}{name}"
