"""Human evaluation: people say which images are real, and how often they are wrong is the measure.

HYPE: A Benchmark for Human eYe Perceptual Evaluation of Generative Models.
Zhou et al., 2019. https://arxiv.org/abs/1904.01121

The protocol is HYPE_infinity: one image, no time limit, real or fake? The error rate over real and
generated images is 50 % when raters cannot tell them apart. As an option they see pairs and say
which one is real (two-alternative forced choice).

`export_study` writes a folder that any web server, or no server, can show, and beside it the key
that must not be published. `analyse` reads the answers again. Raters differ, so answers of one
rater are not independent: the interval comes from resampling raters. The binomial interval is
given too, as a lower bound of the uncertainty. Both speak of these images only; another draw of
images from the same model is in neither.

Differs from the paper: no qualification round, instead attention checks (images of noise) whose
rule of exclusion is written into the key before anybody has answered.

No torch here: answers are analysed with numpy and scipy.
"""

import csv
import hashlib
import hmac
import html
import json
import math
import os
import random
import secrets
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import betaincinv, ndtri

from ..checks import at_least

if TYPE_CHECKING:
    from ..report.card import Section

Mode = Literal["single", "pairs"]

ANSWERS = {"single": ("real", "fake"), "pairs": ("left", "right")}
COLUMNS = {
    "single": ("study", "rater", "position", "image", "answer", "milliseconds"),
    "pairs": ("study", "rater", "position", "left", "right", "answer", "milliseconds"),
}
# What an error means in each half: the answer should have been ANSWERS[mode][half].
HALVES = {
    "single": ("real taken for fake", "fake taken for real"),
    "pairs": ("wrong, real on the left", "wrong, real on the right"),
}
EQUIVALENCE = (
    "Not significantly different from 50 % is not equivalence: read the interval, "
    "it holds every rate that these answers do not rule out."
)
INTERVALS = (
    "Intervals are over raters, by resampling them; the binomial one takes all answers for one "
    "rater's and is too narrow where raters differ. All are of the images shown."
)
MARGIN = 0.10  # within 50 % +- this the card calls images indistinguishable, and says so
FEW_RATERS = 10
ONE_TIME = 946_684_800  # 2000-01-01, the time stamp of every image; zip files know none before 1980


# ---------------------------------------------------------------------------------------- export


def export_study(
    real: ArrayLike,
    generated: ArrayLike,
    output: str | Path,
    *,
    mode: Mode = "single",
    num_real: int = 50,
    num_generated: int = 50,
    attention_checks: int = 5,
    size: int = 256,
    title: str = "Real or fake?",
    seed: int = 0,
    protocol: Mapping[str, str | int | float] | None = None,
) -> Path:
    """Writes a study: the folder `output` to publish and `output`-key.json to keep.

    Real and generated images leave through the same door: same side, mode, encoder settings, no
    metadata, one time stamp, and names that are hashes under a secret that only the key has.
    The page itself knows no answer. Nothing half-written is left behind.

    Args:
        real: (N, C, H, W) uint8, held-out images; `num_real` of them are drawn.
        generated: (N, C, H, W) uint8, the same size; `num_generated` of them are drawn.
        output: A folder that does not exist yet, or is empty.
        mode: "single", one image at a time, or "pairs", a real and a generated one side by side.
        attention_checks: Trials with an image of noise in place of the generated one.
        size: Side in pixels that small images are enlarged to, by a whole factor, with no blur.
        title: What stands above the page.
        seed: Of the draw of images. Names and order follow a fresh secret, never the seed.
        protocol: What else must be known to repeat the study; goes into the key.

    Returns:
        The path of the key.

    Raises:
        ValueError: images that do not match or do not suffice, an output that is in use.
    """
    output = Path(output)
    key_path = output.with_name(f"{output.name}-key.json")
    if mode not in ANSWERS:
        raise ValueError(f"mode must be 'single' or 'pairs', got {mode!r}")
    at_least(1, num_real=num_real, num_generated=num_generated)
    at_least(0, attention_checks=attention_checks)
    if mode == "pairs" and num_real != num_generated:
        raise ValueError(f"num_generated must equal num_real in pairs, got {num_generated}")
    if mode == "pairs" and num_real < 2:
        raise ValueError(f"num_real must be at least 2 in pairs, got {num_real}")
    real, generated = _check(real, "real"), _check(generated, "generated")
    if real.shape[2:] != generated.shape[2:]:
        raise ValueError(
            f"generated must have the size of the real images, {real.shape[2:]}, "
            f"got {generated.shape[2:]}: a difference in size would be the answer"
        )
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise ValueError(f"output must be a new or an empty folder, got {output}")
    if key_path.exists():
        raise ValueError(f"output must not overwrite the key of an earlier study, got {key_path}")

    rng = np.random.default_rng(seed)
    # A pair that checks attention needs a real image too, one that is not seen elsewhere.
    extra = attention_checks if mode == "pairs" else 0
    if num_real + extra > len(real):
        raise ValueError(f"num_real must be at most {len(real) - extra}, got {num_real}")
    if num_generated > len(generated):
        raise ValueError(f"num_generated must be at most {len(generated)}, got {num_generated}")
    real = real[rng.permutation(len(real))[: num_real + extra]]
    generated = generated[rng.permutation(len(generated))[:num_generated]]
    real, generated = _same_channels(real, generated)
    images = {
        "real": real,
        "generated": generated,
        "noise": rng.integers(0, 256, (attention_checks, *real.shape[1:]), dtype=np.uint8),
    }
    secret = secrets.token_hex(16)
    names = {kind: [_name(secret, kind, i) for i in range(len(x))] for kind, x in images.items()}
    if mode == "single":
        trials = [[name] for kind in names for name in names[kind]]
    else:
        trials = _pairs(names["real"], names["generated"] + names["noise"], num_real)
    trials.sort(key=min)  # by hash, which is no order at all
    study = {
        "study": _name(secret, "study", 0)[:12],
        "mode": mode,
        "scale": max(1, size // max(real.shape[2:])),
        "trials": trials,
    }
    rule = {
        "checks": attention_checks,
        "min_checks_right": math.ceil(0.8 * attention_checks),
        "one_answer_from": 10,
    }
    key = {
        **study,
        "rule": {**rule, "text": _rule_in_words(rule)},
        "secret": secret,
        "images": {name: kind for kind in names for name in names[kind]},
        "protocol": {
            "num_real": num_real,
            "num_generated": num_generated,
            "attention_checks": attention_checks,
            "image_shape": "x".join(map(str, real.shape[1:])),
            "shown_at": study["scale"] * max(real.shape[2:]),
            "seed": seed,
            **(protocol or {}),
        },
    }
    page = files(__package__).joinpath("study.html").read_text(encoding="utf-8")
    page = page.replace("__TITLE__", html.escape(title))
    page = page.replace("__STUDY__", json.dumps(study).replace("<", "\\u003c"))

    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=output.parent, prefix=f".{output.name}-") as scratch:
        folder, draft = Path(scratch) / "study", Path(scratch) / "key.json"
        (folder / "images").mkdir(parents=True)
        written = [pair for kind in names for pair in zip(names[kind], images[kind], strict=True)]
        for name, image in sorted(written, key=lambda pair: pair[0]):  # so that no order tells
            _write_png(image, study["scale"], folder / "images" / f"{name}.png")
        (folder / "index.html").write_text(page, encoding="utf-8")
        draft.write_text(json.dumps(key, indent=1), encoding="utf-8")
        draft.replace(key_path)
        try:
            folder.rename(output)
        except OSError as error:
            key_path.unlink()
            raise ValueError(f"output must be writable, got {output}: {error.strerror}") from error
    return key_path


def cues(real: ArrayLike, generated: ArrayLike) -> list[str]:
    """Gross differences by which anybody could tell the two sets, one sentence each.

    Args:
        real: (N, C, H, W) uint8.
        generated: (N, C, H, W) uint8.
    """
    found = []
    two = [len(np.unique(x)) <= 2 for x in (real, generated)]
    if two[0] != two[1]:
        names = ("real", "generated") if two[0] else ("generated", "real")
        found.append(f"{names[0]} images have two levels only and {names[1]} ones more")
    grey = [_is_grey(np.asarray(x)) for x in (real, generated)]
    if grey[0] != grey[1]:
        names = ("real", "generated") if grey[0] else ("generated", "real")
        found.append(f"{names[0]} images are grey and {names[1]} ones have colour")
    return found


def _check(images: ArrayLike, argument: str) -> NDArray[np.uint8]:
    images = np.asarray(images)
    if images.dtype != np.uint8:
        raise ValueError(f"{argument} must be uint8 images, got {images.dtype}")
    if images.ndim != 4 or images.shape[1] not in (1, 3):
        raise ValueError(f"{argument} must be (N, 1 or 3, H, W) images, got {images.shape}")
    return images


def _is_grey(images: NDArray[np.uint8]) -> bool:
    return bool((images == images[:, :1]).all())


def _same_channels(
    a: NDArray[np.uint8], b: NDArray[np.uint8]
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Both with one channel where both are grey (a grey image is often stored as RGB), or three."""
    if _is_grey(a) and _is_grey(b):
        return a[:, :1], b[:, :1]
    return (
        np.broadcast_to(a, (len(a), 3, *a.shape[2:])),
        np.broadcast_to(b, (len(b), 3, *b.shape[2:])),
    )


def _name(secret: str, kind: str, index: int) -> str:
    return hmac.digest(bytes.fromhex(secret), f"{kind} {index}".encode(), hashlib.sha256).hex()[:16]


def _pairs(real: list[str], fake: list[str], checks_from: int) -> list[list[str]]:
    """[left, right]: the real image is on the left in half of the pairs, and of the checks.

    The page shows all as they are here, or all the other way round, so each rater has both halves.
    """
    pairs = []
    for part in (slice(checks_from), slice(checks_from, None)):
        chosen = list(zip(real[part], fake[part], strict=True))
        random.SystemRandom().shuffle(chosen)  # not the seed: whoever knows it must not know this
        pairs += [list(pair if i % 2 else pair[::-1]) for i, pair in enumerate(chosen)]
    return pairs


def _rule_in_words(rule: Mapping[str, int]) -> str:
    checks = (
        f"answers fewer than {rule['min_checks_right']} of the {rule['checks']} attention checks "
        "rightly, "
        if rule["checks"]
        else ""
    )
    return (
        f"A rater is left out who {checks}gives the same answer to everything "
        f"({rule['one_answer_from']} or more), or leaves one half without an answer."
    )


def _write_png(image: NDArray[np.uint8], scale: int, path: Path) -> None:
    from PIL import Image

    image = image.repeat(scale, axis=1).repeat(scale, axis=2).transpose(1, 2, 0)
    image = image[:, :, 0] if image.shape[2] == 1 else image
    Image.fromarray(np.ascontiguousarray(image)).save(path, format="PNG", compress_level=9)
    os.utime(path, (ONE_TIME, ONE_TIME))


# --------------------------------------------------------------------------------------- analysis


class Estimate(NamedTuple):
    """A value with its 95 % interval; None where there is none to be had."""

    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Rater:
    """What one rater did.

    Args:
        answers: Number of answers, attention checks left out.
        wrong: How many of them were wrong.
        checks_right: Attention checks answered rightly.
        complete: Whether every trial of the study was answered.
        seconds: Median time of an answer.
        excluded: Why the rater is left out; empty for those who count.
    """

    name: str
    answers: int
    wrong: int
    checks_right: int
    complete: bool
    seconds: float
    excluded: str = ""


@dataclass(frozen=True)
class Analysis:
    """What the raters found, fractions in [0, 1].

    Args:
        study: The study's id.
        mode: "single" or "pairs".
        raters: All of them, those left out too.
        error_rate: In "single" the mean of the two halves' error rates, which is HYPE's number
            where the halves are equal; in "pairs" the errors over all pairs.
        binomial: The Clopper-Pearson interval of all errors, as if all answers came from equal
            raters: a lower bound of the uncertainty.
        halves: Error rates by half, as named in `HALVES`.
        d_prime: How far apart raters see the two, in standard deviations; 0 is not at all.
        notes: What a reader must know, one sentence each.
        protocol: From the key.
    """

    study: str
    mode: Mode
    raters: tuple[Rater, ...]
    error_rate: Estimate
    binomial: Estimate
    halves: dict[str, Estimate]
    d_prime: Estimate
    notes: tuple[str, ...] = ()
    protocol: dict[str, str | int | float] = field(default_factory=dict)

    @property
    def included(self) -> tuple[Rater, ...]:
        return tuple(rater for rater in self.raters if not rater.excluded)

    @property
    def answers(self) -> int:
        return sum(rater.answers for rater in self.included)

    @property
    def accuracy(self) -> Estimate:
        """Of pairs: how often the real image was found."""
        value, low, high = self.error_rate
        if low is None or high is None:
            return Estimate(1 - value)
        return Estimate(1 - value, 1 - high, 1 - low)

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=1)

    def to_markdown(self) -> str:
        rows = [f"| {name} | {value} | {interval} |" for name, value, interval in self.rows()]
        return "\n".join(
            [
                "## Human evaluation",
                "",
                verdict(self)[0],
                "",
                "| | value | 95 % interval |",
                "|---|---|---|",
                *rows,
                "",
                *(f"- {note}" for note in self.notes),
                "",
                "| rater | answers | wrong | checks right | median seconds | |",
                "|---|---|---|---|---|---|",
                *(
                    f"| {rater.name} | {rater.answers} | {rater.wrong} | {rater.checks_right} "
                    f"| {rater.seconds:.1f} | {rater.excluded and 'left out'} |"
                    for rater in self.raters
                ),
                "",
                "Protocol: " + ", ".join(f"{k} {v}" for k, v in self.protocol.items()) + ".",
                "",
            ]
        )

    def rows(self) -> list[tuple[str, str, str]]:
        """Name, value and interval of each number, as they are printed."""
        rates = {"error rate": self.error_rate, "error rate, binomial": self.binomial}
        if self.mode == "pairs":
            rates["accuracy"] = self.accuracy
        rates |= self.halves
        percents = [
            (k, f"{100 * e.value:.1f} %", _interval(e, 100, 1, " %")) for k, e in rates.items()
        ]
        d_prime = ("d'", f"{self.d_prime.value:.2f}", _interval(self.d_prime, 1, 2, ""))
        left_out = len(self.raters) - len(self.included)
        return [
            *percents,
            d_prime,
            ("raters", f"{len(self.included)} ({left_out} left out)", ""),
            ("answers", str(self.answers), ""),
        ]


def analyse(
    answers: Iterable[str | Path], key: str | Path, *, resamples: int = 10_000, seed: int = 0
) -> Analysis:
    """The error rate of all raters whose answers are in these files.

    Raters who fail the rule in the key are left out and named. The same row twice (a rater who
    saved twice) counts once.

    Args:
        answers: CSV files as the page saves them.
        key: The key that `export_study` wrote.
        resamples: Of the raters.
        seed: Of the resampling.

    Raises:
        ValueError: a file that is not of this study, or contradicts itself or another; no rater
            left.
    """
    key = _read_key(Path(key))
    mode: Mode = key["mode"]
    right = _right_answers(key)
    raters, counts, notes = [], [], []
    for name, rows in _read_answers(answers, key).items():
        rater, half_counts = _rate(name, rows, key, right)
        raters.append(rater)
        if not rater.excluded:
            counts.append(half_counts)
    if not counts:
        reasons = "; ".join(f"{rater.name}: {rater.excluded}" for rater in raters) or "no answers"
        raise ValueError(f"answers must hold a rater who keeps to the key's rule, got {reasons}")

    wrong, seen = np.moveaxis(np.array(counts, dtype=float), 1, 0)  # (R, 2) each, by half
    weights = _resamples(len(wrong), resamples, seed)
    each = d_prime(wrong, seen) / (math.sqrt(2) if mode == "pairs" else 1)
    halves = {
        name: bootstrap(lambda w, h=half: (w @ wrong[:, h]) / (w @ seen[:, h]), weights)
        for half, name in enumerate(HALVES[mode])
    }
    incomplete = [rater.name for rater in raters if not rater.complete]
    left_out = [f"{rater.name} ({rater.excluded})" for rater in raters if rater.excluded]
    if incomplete:
        notes.append("Did not finish: " + ", ".join(incomplete) + ".")
    if left_out:
        notes.append("Left out: " + ", ".join(left_out) + ".")
    notes.append(key["rule"]["text"])
    if len(counts) == 1:
        notes.append("One rater: how raters differ is unknown, so there is no interval over them.")
    elif len(counts) < FEW_RATERS:
        notes.append(
            f"{len(counts)} raters only: an interval by resampling so few is too narrow; "
            f"ask {FEW_RATERS} or more."
        )
    notes += [INTERVALS, EQUIVALENCE]
    return Analysis(
        study=key["study"],
        mode=mode,
        raters=tuple(raters),
        error_rate=bootstrap(lambda w: error_rate(w @ wrong, w @ seen, mode), weights),
        binomial=clopper_pearson(int(wrong.sum()), int(seen.sum())),
        halves=halves,
        d_prime=bootstrap(lambda w: (w @ each) / w.sum(-1), weights),
        notes=tuple(notes),
        protocol={**key["protocol"], "resamples": resamples, "resample_seed": seed},
    )


def error_rate(wrong: NDArray, seen: NDArray, mode: Mode = "single") -> NDArray:
    """(..., 2) errors and answers by half, to the error rate (...).

    In "single" the halves weigh the same, so a rater who always says fake is at 50 % also where
    there are more generated images than real ones. In "pairs" the halves are two sides of one
    question.
    """
    if mode == "pairs":
        return wrong.sum(-1) / seen.sum(-1)
    return (wrong / seen).mean(-1)


def bootstrap(statistic, weights: NDArray) -> Estimate:
    """The statistic, with its 95 % percentile interval over resampled raters.

    Measured in 2,000 simulated studies of 100 images, raters of mean 0.3 and sd 0.1: it covers the
    truth in 0.93 of them with 30 raters, 0.90 with 10, 0.83 with 5, 0.75 with 3, 0.52 with 2. The
    binomial interval of 30 such raters covers it in 0.60.

    Args:
        statistic: From weights (..., R), how often each rater counts, to values (...).
        weights: (resamples, R), as `_resamples` gives them; no interval for a single rater.
    """
    raters = weights.shape[1]
    value = float(statistic(np.ones(raters)))
    if raters < 2:
        return Estimate(value)
    low, high = np.quantile(statistic(weights), (0.025, 0.975))
    return Estimate(value, float(low), float(high))


def clopper_pearson(wrong: int, n: int) -> Estimate:
    """wrong / n with its exact 95 % binomial interval.

    Clopper and Pearson, 1934: quantiles of beta distributions.
    """
    low = betaincinv(wrong, n - wrong + 1, 0.025) if wrong else 0.0
    high = betaincinv(wrong + 1, n - wrong, 0.975) if wrong < n else 1.0
    return Estimate(wrong / n, float(low), float(high))


def d_prime(wrong: NDArray, seen: NDArray) -> NDArray:
    """z(hit rate) - z(false alarm rate), (..., 2) to (...).

    A hit is a real image called real, a false alarm a generated one. Half an answer is added to
    each cell (log-linear correction; Hautus, 1995), so rates of 0 and 1 stay finite.
    """
    hit = (seen[..., 0] - wrong[..., 0] + 0.5) / (seen[..., 0] + 1)
    false_alarm = (wrong[..., 1] + 0.5) / (seen[..., 1] + 1)
    return ndtri(hit) - ndtri(false_alarm)


def verdict(analysis: Analysis) -> tuple[str, Literal["good", "bad", "unsure"]]:
    """One sentence and its flag. Good only if the whole interval is within 50 % +- `MARGIN`."""
    raters = len(analysis.included)
    did = f"{raters} rater{'s' * (raters > 1)} "
    if analysis.mode == "pairs":
        did += "found the real image in {:.1f} % of the pairs"
        value, low, high = analysis.accuracy
    else:
        did += "took {:.1f} % of the images for what they are not"
        value, low, high = analysis.error_rate
    did = did.format(100 * value)
    if low is None or high is None:
        return f"{did} (50 % = indistinguishable): no interval without a second rater.", "unsure"
    did += f" (95 % interval {100 * low:.1f} to {100 * high:.1f} %, 50 % = indistinguishable)"
    _, low, high = analysis.error_rate
    near, far = 0.5 - MARGIN, 0.5 + MARGIN
    if high < near:
        flag, says = "bad", "people can tell"
    elif low > far:
        flag, says = "unsure", "people can tell, and take the generated ones for the real ones"
    elif near <= low and high <= far:
        flag, says = "good", f"people can hardly tell: within {100 * MARGIN:.0f} points of 50 %"
    else:
        flag, says = "unsure", "too few answers to say whether people can tell"
    return f"{did}: {says}.", flag


def section(analysis: Analysis) -> "Section":
    """The analysis as a section of the report card."""
    from ..report.card import Number, Section

    sentence, flag = verdict(analysis)
    first, second = analysis.halves.items()
    numbers = {"human/error_rate": Number(*analysis.error_rate, note="by resampling raters")}
    if analysis.mode == "pairs":
        numbers["human/accuracy"] = Number(*analysis.accuracy, note="by resampling raters")
    numbers |= {
        "human/error_rate_binomial": Number(*analysis.binomial, note="too narrow if raters differ"),
        "human/error_rate_real": Number(*first[1], note=first[0]),
        "human/error_rate_generated": Number(*second[1], note=second[0]),
        "human/d_prime": Number(*analysis.d_prime, note="0 = cannot tell"),
        "human/raters": Number(len(analysis.included)),
        "human/raters_left_out": Number(len(analysis.raters) - len(analysis.included)),
        "human/answers": Number(analysis.answers),
    }
    protocol = {**analysis.protocol, "study": analysis.study, "notes": " ".join(analysis.notes)}
    return Section("human evaluation", sentence, flag, numbers=numbers, protocol=protocol)


def _interval(estimate: Estimate, unit: float, digits: int, sign: str) -> str:
    if estimate.low is None or estimate.high is None:
        return "none with one rater"
    low, high = unit * estimate.low, unit * estimate.high
    return f"{low:.{digits}f} to {high:.{digits}f}{sign}"


def _resamples(raters: int, resamples: int, seed: int) -> NDArray:
    """(resamples, raters): how often each rater was drawn."""
    rng = np.random.default_rng(seed)
    return rng.multinomial(raters, np.full(raters, 1 / raters), size=resamples).astype(float)


def _read_key(path: Path) -> dict:
    try:
        key = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"key must be the JSON file that export wrote, got {path}") from error
    needed = {"study", "mode", "trials", "rule", "images", "protocol"}
    if not isinstance(key, dict) or not needed <= key.keys():
        raise ValueError(f"key must be the JSON file that export wrote, got {path}")
    return key


def _right_answers(key: Mapping) -> dict[tuple[str, ...], tuple[int, bool]]:
    """What was shown, to (half, whether it is an attention check)."""
    kinds, right = key["images"], {}
    for trial in key["trials"]:
        check = any(kinds[name] == "noise" for name in trial)
        for shown in {tuple(trial), tuple(reversed(trial))}:  # pairs are seen either way round
            right[shown] = (0 if kinds[shown[0]] == "real" else 1, check)
    return right


class _Row(NamedTuple):
    shown: tuple[str, ...]
    answer: str
    milliseconds: int


def _read_answers(paths: Iterable[str | Path], key: Mapping) -> dict[str, list[_Row]]:
    """Rows by rater, each trial once."""
    raters: dict[str, dict[tuple[str, ...], _Row]] = {}
    known = {tuple(sorted(trial)) for trial in key["trials"]}
    for path in map(Path, paths):
        for place, fields in _read_csv(path, COLUMNS[key["mode"]]):
            row = _parse(place, fields, key, known)
            rows = raters.setdefault(fields["rater"], {})
            earlier = rows.setdefault(tuple(sorted(row.shown)), row)
            if earlier != row:
                raise ValueError(
                    f"{place}: rater {fields['rater']!r} must answer each trial once, got two "
                    f"different answers to {row.shown[0]}; two people need two names"
                )
    return {name: list(rows.values()) for name, rows in raters.items()}


def _read_csv(path: Path, columns: Sequence[str]) -> list[tuple[str, dict[str, str]]]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, strict=True)
            if tuple(reader.fieldnames or ()) != tuple(columns):
                raise ValueError(
                    f"{path}: columns must be {','.join(columns)}, "
                    f"got {','.join(reader.fieldnames or ()) or 'an empty file'}"
                )
            return [(f"{path}, line {reader.line_num}", fields) for fields in reader]
    except (csv.Error, UnicodeDecodeError) as error:
        raise ValueError(f"{path} must be a CSV file in UTF-8, got {error}") from error


def _parse(place: str, fields: Mapping[str, str], key: Mapping, known: set) -> _Row:
    if None in fields or None in fields.values():
        raise ValueError(f"{place}: a row must have {len(COLUMNS[key['mode']])} fields")
    if fields["study"] != key["study"]:
        raise ValueError(f"{place}: study must be {key['study']}, got {fields['study']!r}")
    if not fields["rater"].strip():
        raise ValueError(f"{place}: rater must not be empty")
    names = ("image",) if key["mode"] == "single" else ("left", "right")
    shown = tuple(fields[name] for name in names)
    if tuple(sorted(shown)) not in known:
        raise ValueError(f"{place}: {' and '.join(names)} must be of this study, got {shown}")
    if fields["answer"] not in ANSWERS[key["mode"]]:
        expected = " or ".join(ANSWERS[key["mode"]])
        raise ValueError(f"{place}: answer must be {expected}, got {fields['answer']!r}")
    if not (fields["milliseconds"].isascii() and fields["milliseconds"].isdigit()):
        got = fields["milliseconds"]
        raise ValueError(f"{place}: milliseconds must be a whole number, got {got!r}")
    return _Row(shown, fields["answer"], int(fields["milliseconds"]))


def _rate(
    name: str, rows: Sequence[_Row], key: Mapping, right: Mapping
) -> tuple[Rater, tuple[list[int], list[int]]]:
    """One rater, and their errors and answers by half."""
    wrong, seen, checks_right = [0, 0], [0, 0], 0
    for row in rows:
        half, check = right[row.shown]
        correct = row.answer == ANSWERS[key["mode"]][half]
        if check:
            checks_right += correct
        else:
            seen[half] += 1
            wrong[half] += not correct
    rule, excluded = key["rule"], ""
    if checks_right < rule["min_checks_right"]:
        excluded = f"{checks_right} of {rule['checks']} attention checks right"
    elif len(rows) >= rule["one_answer_from"] and len({row.answer for row in rows}) == 1:
        excluded = f"answered {rows[0].answer} to everything"
    elif not all(seen):
        excluded = "no answer in one half"
    rater = Rater(
        name=name,
        answers=sum(seen),
        wrong=sum(wrong),
        checks_right=checks_right,
        complete=len(rows) == len(key["trials"]),
        seconds=float(np.median([row.milliseconds for row in rows])) / 1000,
        excluded=excluded,
    )
    return rater, (wrong, seen)
