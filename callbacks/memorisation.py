"""Has it memorised? Whether samples are copies of training images, also of altered ones.

Training and held-out images are one set with labels. An exact permutation test decides whether
samples are nearer to the images with the label "training" (`genzoo/metrics/copies.py`). It uses
several spaces at once, each of which keeps other kinds of copies near their source:

    pixels      unchanged, blurred and noisy copies
    instance    an encoder trained on the images themselves, for all kinds of alterations
    aligned     the distance of a sample to its candidates after alignment
    features    of the extractor that the other evaluations use

The power of the test is measured: copies of each kind are planted and tested for.

Two published tests are given too, C_T and authenticity (`genzoo/metrics/copying.py`). They cannot
separate copies from smooth samples, which are near to all images. So they are compared with the
same tests after training and held-out images are exchanged.
"""

import math

from torch import Tensor, nn

from ..checks import at_least
from ..features.evidence import Evidence, Known
from ..features.panels import beside_sources
from ..features.spaces import Spaces, chosen, identical, outright
from ..metrics.copies import CopyTest
from ..metrics.copying import authentic, copied_by_authenticity, data_copying
from ..metrics.fld import feature_likelihood_divergence
from ..metrics.intervals import wilson
from ..metrics.neighbours import nearest
from ..metrics.number import Number
from ..report.card import Section
from .evaluation import Evaluation

PLANTED = 200  # planted copies of each kind: a fifth of the number of samples, at most 200
SOME = 5000  # largest number of training images for FLD


class Memorisation(Evaluation):
    """Tests whether samples are copies of training images, unchanged or altered.

    Logs, over all spaces and for each (`pixels`, `instance`, `aligned`, `features`):

        copied, copied/<space>    the share of samples that are copies: an estimate, and an
                                  interval whose lower end holds for all alterations of copies
        asymmetry                 p-value: samples are this much nearer to training images by chance
        asymmetry/held_out        the same for held-out images: small if these have leaked
        planted/<kind>            the smallest share of copies of a kind that would be found with a
                                  power of 95 %: unchanged, mirrored, shifted, rotated, zoomed, ...
        outright/<space>          samples whose gap to a training image is less than half of that of
                                  all but 1 in 1,000 real images
        identical                 samples that are bitwise equal to a training image
        duplicates                held-out images that are bitwise equal to a training image

    and for features `fld` (with at most 5,000 training images), `c_t`, `copied/authenticity` and
    its two shares `authentic` and `authentic/held_out`; with "/exchanged", C_T and authenticity
    after training and held-out images are exchanged.

    The verdict is bad if more samples are nearest to training images than to held-out ones, at a
    level of 1 % over all spaces and limits, in pairs that are closer than by chance; if this holds
    in distant pairs only, it is unsure. It is also bad if more than 1 % of samples are outright
    copies, even of very few images, and if samples are nearest to held-out images, which then have
    leaked. It is good if no copies were found, a share of 5 % of unchanged copies would have been
    found, and no published test contradicts.

    Held-out images must be a random split of the same source: images of other years or writers
    would be farther from samples for reasons other than memorisation.

    In the validations of a training only pixels and features are used.

    Args:
        space: "instance", or another extractor that keeps copies near their source, by its name
            or as a module: see `Evaluation`.
        most: Largest number of samples that are aligned with their candidates, which takes a second
            for 200 of them.
    """

    LEVEL = 0.01  # level of the test
    FRACTION = 0.05  # share of unchanged copies that the test must be able to find

    def __init__(
        self, *args, space: str | nn.Module = "instance", most: int = 2000, **kwargs
    ) -> None:
        super().__init__(*args, **kwargs)
        at_least(20, num_samples=self.num_samples, num_samples_fit=self.num_samples_fit, most=most)
        self.space, self.most = space, most
        self._known = Known()

    def evaluate(self, evidence: Evidence) -> Section:
        train, held_out, generated = evidence.train, evidence.held_out, evidence.generated
        for name, images in (("held-out images", held_out), ("samples", generated)):
            if len(images) < 20:
                raise ValueError(f"{name} must be at least 20, got {len(images)}")
        copies = None
        if evidence.through and train.images.ndim == 4:
            copies = evidence.through(self.space)
        spaces = self._spaces(evidence, copies)
        features = {
            name: next(p for p in (copies, evidence) if p and p.extractor is extractor)
            for name, (extractor, _) in spaces.real.items()
        }
        features = {name: part.generated.features for name, part in features.items()}
        look = spaces.look(generated.images, features, self.most)
        test = CopyTest(look, spaces.pool.trained, seed=self.seed)
        planted = self._planted(test, spaces)
        numbers = {
            "copied": test.copied(),
            **{f"copied/{name}": test.copied(name) for name in look},
            "asymmetry": Number(test.p_copies, note="p over all spaces, corrected for all of them"),
            "asymmetry/held_out": Number(test.p_leak, note="p for held-out images as the nearest"),
            **planted,
            **outright(look, spaces),
            **identical(evidence, spaces.pool.duplicates),
            **self._published(evidence),
        }
        # Not in the validations of a training, since it takes seconds; and not of a part of the
        # training images, since copies of the others would look new.
        if copies and len(train) <= SOME:
            parts = (part.features for part in (train, held_out, generated))
            numbers["fld"] = feature_likelihood_divergence(*parts, seed=self.seed, most=SOME)
            numbers["fld"].note += "; 0 for fresh real images, more for copies and for bad samples"
        leak = test.copied(held_out=True)
        if test.p_copies > self.LEVEL:  # a larger share would have been found
            noticed = [number.value for number in planted.values() if number.value <= 1]
            high = max(noticed, default=1.0)
            for name in ("copied", *(f"copied/{space}" for space in look)):
                number = numbers[name]
                numbers[name] = Number(
                    number.low,  # a surplus that chance explains is no share of copies
                    number.low,
                    max(high, number.low) if name == "copied" else 1.0,
                    number.note,
                )
        flag, verdict = self._judge(test, spaces, numbers, leak, evidence)
        if "leak" in evidence.findings:
            leak.note = f"the share of near-duplicates of held-out images: {leak.note}"
            numbers = {"leaked": leak} | numbers
        figures = {}
        if train.images.ndim == 4 and train.images.shape[1] in (1, 3):
            figures = beside_sources(evidence, spaces.pool, test, self.seed)
        protocol: dict[str, str | int | float] = {"spaces": ", ".join(look)}
        if copies is not None:
            name = copies.extractor.name
            protocol |= {"copies_in": name, "n_aligned": min(self.most, len(generated))}
            protocol["copies_weights"] = copies.extractor.protocol.get("weights", "")
        return Section("memorisation", verdict, flag, numbers, figures, protocol)

    def _spaces(self, evidence: Evidence, copies: Evidence | None) -> "Spaces":
        """The spaces, which are made once for the same real images."""
        parts = [part for part in (evidence, copies) if part is not None]
        tensors = [x.features for part in parts for x in (part.train, part.held_out)]
        known = self._known.about(*tensors)
        if "spaces" not in known:
            known["spaces"] = Spaces(evidence, copies, self.seed)
        return known["spaces"]

    def _planted(self, test: CopyTest, spaces: "Spaces") -> dict[str, Number]:
        """The smallest share of copies of each kind that would be found."""
        numbers = {}
        few = max(20, min(PLANTED, len(test.spaces["pixels"].index) // 5))
        for kind, near in spaces.planted(few).items():
            share = test.noticed(near, spaces.pool.trained, self.LEVEL)
            words = spaces.kinds[kind]
            note = f"no finding but a limit: copies are found from this share on if {words}"
            if share > 1:
                share, note = math.nan, f"copies would not be found if {words}"
            numbers[f"planted/{kind}"] = Number(share, note=note)
        return numbers

    def _published(self, evidence: Evidence) -> dict[str, Number]:
        """C_T and authenticity, and both with training and held-out images exchanged."""
        train, held_out = evidence.train.features, evidence.held_out.features
        generated = evidence.generated.features
        numbers: dict[str, Number] = {}
        for end, real, other in (("", train, held_out), ("/exchanged", held_out, train)):
            other = other[chosen(len(other), len(generated), self.seed)]
            number, _ = data_copying(real, other, generated, seed=self.seed)
            numbers[f"c_t{end}"] = number
            ours, theirs = (self._authentic(end, x, real) for x in (generated, other))
            numbers[f"copied/authenticity{end}"] = copied_by_authenticity(ours, theirs)
            if not end:
                for name, of in (("authentic", ours), ("authentic/held_out", theirs)):
                    share = of.double().mean().item()
                    numbers[name] = Number(share, *wilson(share, len(of)))
        return numbers

    def _authentic(self, key: str, images: Tensor, real: Tensor) -> Tensor:
        distances, indices = (part[:, 0] for part in nearest(images, real))
        radius = self._known.found.setdefault(f"radius{key}", real.new_full((len(real),), math.nan))
        new = indices.unique()
        new = new[radius[new].isnan()]  # radii are computed only for images that are a nearest one
        if len(new):
            radius[new] = nearest(real[new], real, k=2)[0][:, 1].to(radius)  # the first is itself
        return authentic(distances, indices, radius.double())

    def _judge(
        self,
        test: CopyTest,
        spaces: "Spaces",
        numbers: dict[str, Number],
        leak: Number,
        evidence: Evidence,
    ) -> tuple[str, str]:
        copied, total = numbers["copied"], len(evidence.generated)
        known = ""
        if n := spaces.pool.duplicates:
            are = "image is a training image" if n == 1 else "images are training images"
            known = f" {n:,} held-out {are}, too."
        if test.p_leak <= self.LEVEL and leak.low > copied.low:
            evidence.findings["leak"] = "the samples are near-duplicates of the held-out images"
            return "bad", (
                f"Of held-out images: at least {_percent(leak.low)} of {total:,} samples are "
                f"near-duplicates of held-out images, not of training images (p = "
                f"{test.p_leak:.3f}). The model was trained on them, or training and held-out "
                "images were exchanged: check the split first. What is measured against these "
                "held-out images means nothing." + known
            )
        same = numbers["identical"]
        if test.p_copies <= self.LEVEL and (test.close(self.LEVEL) or copied.low > self.FRACTION):
            evidence.findings["copies"] = (
                f"at least {_percent(copied.low)} of the samples are copies of training images"
            )
            return "bad", (
                f"Yes: at least {_percent(copied.low)} of {total:,} samples are copies of training "
                f"images, unchanged or altered (about {_percent(copied.value)}; p = "
                f"{test.p_copies:.3f}): {copied.note}. Look at the closest ones." + known
            )
        outright = max(
            (numbers[f"outright/{name}"] for name in spaces.bounds), key=lambda number: number.low
        )
        if outright.low > self.LEVEL:
            evidence.findings["copies"] = (
                f"{outright.value:.0%} of the samples are copies of training images"
            )
            return "bad", (
                f"Yes: {_percent(outright.value)} of {total:,} samples are copies of training "
                f"images, of too few for the test with held-out images: {outright.note}." + known
            )
        if same.low > numbers["duplicates"].high:
            evidence.findings["copies"] = f"{same.value:.0%} of the samples are training images"
            return "bad", (
                f"Yes: {_percent(same.value)} of {total:,} samples are training images to the last "
                f"bit; of held-out images {_percent(numbers['duplicates'].value)} are." + known
            )
        if test.p_copies <= self.LEVEL:
            return "unsure", (
                f"Perhaps: more samples are nearest to training images than expected by chance "
                f"(p = {test.p_copies:.3f}; {copied.note}), though none of them is close enough "
                "to be called a copy. An overfitted model looks like this." + known
            )
        unchanged, power = numbers["planted/unchanged"], _noticed(numbers, spaces.kinds)
        if not unchanged.value <= self.FRACTION:
            return "unsure", (
                f"No copies were found among {total:,} samples (p = {test.p_copies:.2f}), "
                f"which says little: {power}. It takes more samples or more held-out images to "
                "say." + known
            )
        if name := _contradicted(numbers):
            return "unsure", (
                f"Copies were not found (p = {test.p_copies:.2f}), yet {name} says that samples "
                "are nearer to training images than held-out images are, and not so the other "
                "way round. Look at the closest ones." + known
            )
        verdict = (
            f"No copies were found: {total:,} samples are as near to held-out images as to "
            f"training images (p = {test.p_copies:.2f}). {power[0].upper()}{power[1:]}."
        )
        if numbers["c_t"].high is not None and numbers["c_t"].high < 0:
            verdict += (
                " They are nearer to both than real images are to each other, as smooth images "
                "would be."
            )
        return "good", verdict + known


def _noticed(numbers: dict[str, Number], words: dict[str, str]) -> str:
    """A phrase with the smallest shares of copies that would be found, by kind."""
    shares: dict[str, list[str]] = {}
    missed = []
    for kind, what in words.items():
        share = numbers[f"planted/{kind}"].value
        if math.isnan(share):
            missed.append(what)
        else:
            shares.setdefault(_rounded(share), []).append(what)
    if not shares:
        return "copies would not be found"
    parts = [
        f"from {share} on if {_listed(kinds)}"
        for share, kinds in sorted(shares.items(), key=lambda item: float(item[0][:-2]))
    ]
    found = f"copies would be found {'; '.join(parts)}"
    return f"{found}; not at all if {_listed(missed)}" if missed else found


def _rounded(share: float) -> str:
    """A share in percent, rounded up to a round number."""
    steps = (0.1, 0.2, 0.5, 1, 2, 3, 5, 7, 10, 15, 20, 30, 50, 75, 100)
    return f"{next(step for step in steps if step >= 99.999 * share):g} %"


def _listed(words: list[str]) -> str:
    return f"{', '.join(words[:-1])} or {words[-1]}" if len(words) > 1 else words[0]


def _contradicted(numbers: dict[str, Number]) -> str:
    """The published test that finds copies of training images but not of held-out ones, or ""."""
    for name, sign, what in (("c_t", -1, "C_T"), ("copied/authenticity", 1, "authenticity")):
        one, other = numbers[name], numbers[f"{name}/exchanged"]
        if one.low is None or other.low is None:
            continue
        ends = (one.low, other.high) if sign > 0 else (-one.high, -other.low)
        if ends[0] > max(0.0, ends[1]):
            return what
    return ""


def _percent(share: float) -> str:
    """A share in percent, rounded down, as lower ends of intervals are."""
    return f"{math.floor(1000 * share + 1e-9) / 10:g}%"
