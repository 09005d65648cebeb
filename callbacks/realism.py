"""Does it look real? Distances between the features of real and of generated images.

The measures are functions of features in `genzoo.metrics`; here they are put beside their
yardsticks, held-out real images and independent pixels, and into words.
"""

import math

import torch
from torch import Tensor

from ..checks import at_least
from ..metrics.frechet import (
    Moments,
    frechet_distance,
    frechet_distance_infinity,
    frechet_of_moments,
)
from ..metrics.inception_score import inception_score
from ..metrics.kernel import kernel_distance, kernel_distance_of_subsets
from ..metrics.number import Number
from ..metrics.support import (
    density_coverage,
    expected_coverage,
    precision_recall,
    support_shares,
)
from ..metrics.torchmetrics import (
    DensityCoverage,
    FrechetDistance,
    InceptionScore,
    KernelDistance,
    PrecisionRecall,
)
from ..zoo.module import evaluating
from .features import Evaluation, Evidence, Extractor
from .report import Section

# What lived here before it moved to `genzoo.metrics`, for scripts that import it from here.
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
    score where the extractor has logits, precision, recall, density and coverage. They are
    called `fid`, `kid` and `inception_score` if the extractor is the published one, and
    `fd/<extractor>`, `kd/<extractor>`, `is/<extractor>` otherwise. Training images are the
    reference of all.

    Two more rows make the numbers readable: held-out real images in place of the samples, which
    nothing beats but by chance (`<name>_held_out`), and images whose pixels are drawn each from
    the training images' values at its place, independently (`fd/<extractor>_independent`).

    Of a conditional model also the mean over classes of the distance between the samples of a
    class and its training images (`<name>_per_class`), and the share of samples to which the
    classifier gives the class that was asked for (`class_agreement`): see `per_class.py`.

    The verdict goes by the root of the Frechet distance, which is a distance as on a map: what
    share of the way from independent pixels to held-out real images the samples have come, at
    equal numbers (`way_to_real`). It is good when the interval lies above 0.9 and bad when it
    lies below 0.75. For scale, held-out Fashion-MNIST under the classifier "domain" (2,000
    images): untouched 0.98, noise of 2 % of the range 0.96, of 5 % 0.89, of 10 % 0.74; blur of
    half a pixel 0.94, of one pixel 0.75; one class of ten left out 0.84; a Gaussian of 50
    principal components 0.42.

    Args:
        most: At most so many images of each kind take part in all but the Frechet distance: the
            time of the others grows with the square. Other arguments as `Evaluation`.
    """

    GOOD, BAD = 0.9, 0.75

    def __init__(self, *args, most: int = 10_000, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        at_least(10, num_samples=self.num_samples, num_samples_fit=self.num_samples_fit, most=most)
        self.most = most
        self._known: tuple = ()

    def evaluate(self, evidence: Evidence) -> Section:
        from .per_class import per_class  # which computes with this file's functions

        generated, held_out = evidence.generated, evidence.held_out
        fd = _names(evidence.extractor)[0]
        n = min(len(generated), len(held_out))
        numbers = self._compare(evidence, generated.features, generated.logits)
        rows = self._yardstick(evidence, n)
        floor, ceiling = rows[f"{fd}_held_out"], rows[f"{fd}_independent"]
        if len(generated) == n:
            equal = numbers[fd]
        else:
            equal = frechet_distance(evidence.train.features, generated.features[:n])
        way = way_to_real(equal, floor, ceiling)
        numbers = {"way_to_real": way} | numbers | rows | per_class(evidence, fd)
        flag = "unsure"
        if way.low is not None and way.low >= self.GOOD:
            flag = "good"
        elif way.high is not None and way.high < self.BAD:
            flag = "bad"
        verdict = _verdict(way, equal, floor, ceiling, numbers, fd, n)
        order = sorted(numbers, key=_rank)
        protocol = {"reference": "train", "n_equal": n, "n_most": self.most}
        numbers = {name: numbers[name] for name in order}
        return Section("realism", verdict, flag, numbers, protocol=protocol)

    def _yardstick(self, evidence: Evidence, n: int) -> dict[str, Number]:
        """The rows of n held-out and of independent images, made once for the same real images."""
        train, held_out = evidence.train.features, evidence.held_out.features
        if self._known and self._known[:3] == (id(train), id(held_out), n):
            return self._known[-1]
        fd = _names(evidence.extractor)[0]
        generator = torch.Generator().manual_seed(self.seed)
        chosen = torch.randperm(len(held_out), generator=generator)[:n]
        logits = evidence.held_out.logits
        logits = None if logits is None else logits[chosen]
        rows = self._compare(evidence, held_out[chosen], logits)
        rows = {f"{name}_held_out": number for name, number in rows.items()}
        pixels = independent_pixels(evidence.train.images, min(n, 1000), generator)
        with evaluating(evidence.extractor):
            blocks = [evidence.extractor(block)[0].float() for block in pixels.split(100)]
        rows[f"{fd}_independent"] = frechet_distance(train, torch.cat(blocks))
        rows[f"{fd}_independent"].note = "independent pixels: the other end of the scale"
        # The tensors are kept, so that their ids stay theirs.
        self._known = (id(train), id(held_out), n, train, held_out, rows)
        return rows

    def _compare(
        self, evidence: Evidence, features: Tensor, logits: Tensor | None
    ) -> dict[str, Number]:
        fd, kd, score = _names(evidence.extractor)
        train = evidence.train.features
        numbers = {fd: frechet_distance(train, features)}
        d, n = train.shape[1], len(features)
        if n >= 10 * d and d <= 512:  # above, a hundred and fifty spectra take many minutes
            numbers[f"{fd}_infinity"] = frechet_distance_infinity(train, features, seed=self.seed)
        some = features[: self.most]
        generator = torch.Generator().manual_seed(self.seed)
        order = torch.randperm(len(train), generator=generator)
        real = train[order[: self.most]]
        if evidence.extractor.reference:
            numbers[kd] = kernel_distance_of_subsets(real, some)
        else:
            numbers[kd] = kernel_distance(real, some)
        if logits is not None:
            numbers[score] = inception_score(logits, splits=10 if n >= 100 else 1)
        real = train[order[: len(some)]]
        return numbers | support_shares(real, some)


def way_to_real(distance: Number, floor: Number, ceiling: Number) -> Number:
    """The share of the way from `ceiling` (0) to `floor` (1), in roots of Frechet distances.

    Without an interval where the two ends are too close for anything to lie between them.
    """

    def share(value: float) -> float:
        ends = math.sqrt(max(0.0, ceiling.value)), math.sqrt(max(0.0, floor.value))
        return (ends[0] - math.sqrt(max(0.0, value))) / (ends[0] - ends[1])

    if ceiling.value <= 2 * floor.value:
        return Number(math.nan, note="held-out images look like independent pixels here")
    return Number(share(distance.value), share(distance.high), share(distance.low))


def independent_pixels(images: Tensor, n: int, generator: torch.Generator) -> Tensor:
    """n images whose every pixel is that of a training image of its own choice."""
    flat = images.flatten(1)
    choice = torch.randint(len(flat), (n, flat.shape[1]), generator=generator)
    return flat.gather(0, choice).view(n, *images.shape[1:])


def _names(extractor: Extractor) -> tuple[str, str, str]:
    """Published names are for the published protocol alone."""
    if extractor.reference:
        return "fid", "kid", "inception_score"
    return tuple(f"{kind}/{extractor.name}" for kind in ("fd", "kd", "is"))


def _rank(name: str) -> str:
    """Each number together with its yardsticks, in the order of the measures."""
    kinds = ("way", "fid", "fd/", "kid", "kd/", "inc", "is/", "pre", "rec", "den", "cov", "cla")
    return f"{kinds.index(name[:3]):02}{name}"


def _verdict(
    way: Number,
    equal: Number,
    floor: Number,
    ceiling: Number,
    numbers: dict[str, Number],
    fd: str,
    n: int,
) -> str:
    precise, of_real = numbers["precision"].value, numbers["precision_held_out"].value
    if math.isnan(way.value):
        return (
            f"These features do not tell real images from independent pixels ({fd} "
            f"{floor.value:.3g} and {ceiling.value:.3g}): choose another extractor."
        )
    if way.value <= 0:
        how = "The samples are no nearer to real images than independent pixels are"
    else:
        how = (
            f"The samples have come {min(way.value, 1):.0%} of the way from independent pixels to "
            "held-out real images"
        )
    return (
        f"{how}: {fd} {equal.value:.3g} between {ceiling.value:.3g} and {floor.value:.3g} at "
        f"{n:,} images; {precise:.0%} of them lie among real ones (held-out images: {of_real:.0%})."
    )
