"""The results of a human study: values, a table, a verdict, and a section of the card."""

import json
from dataclasses import asdict, dataclass, field
from typing import Literal, NamedTuple

from ..report.card import Number, Section
from .answers import Mode

# The meaning of an error in each half, whose right answer is ANSWERS[mode][half].
HALVES = {
    "single": ("real taken for fake", "fake taken for real"),
    "pairs": ("wrong, real on the left", "wrong, real on the right"),
}
MARGIN = 0.10  # the card calls images indistinguishable if the interval is within 50 % +- this


class Estimate(NamedTuple):
    """A value with the ends of its 95 % interval, which are None if there is no interval."""

    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Rater:
    """The answers of one rater, in numbers.

    Args:
        answers: Number of answers, without attention checks.
        wrong: Number of wrong answers.
        checks_right: Number of attention checks that were answered correctly.
        complete: Whether every trial of the study was answered.
        seconds: Median time of an answer.
        excluded: Reason why the rater is left out; "" for a rater who counts.
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
    """The results of a study; rates are fractions in [0, 1].

    Args:
        study: The study's id.
        mode: "single" or "pairs".
        raters: All raters, including those that are left out.
        error_rate: In "single" the mean of the two halves' error rates, which is HYPE's number if
            the halves have equal sizes; in "pairs" the share of wrong answers.
        binomial: The Clopper-Pearson interval of all errors, which assumes equal raters: a lower
            bound of the uncertainty.
        halves: Error rates by half, with the names of `HALVES`.
        d_prime: Discriminability of real and generated images, in standard deviations; 0: none.
        notes: Sentences that a reader must know.
        protocol: Protocol of the study, from the key.
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
        """The raters that are not left out."""
        return tuple(rater for rater in self.raters if not rater.excluded)

    @property
    def answers(self) -> int:
        """Number of answers of these raters."""
        return sum(rater.answers for rater in self.included)

    @property
    def accuracy(self) -> Estimate:
        """The share of right answers; in "pairs", of pairs whose real image was found."""
        value, low, high = self.error_rate
        if low is None or high is None:
            return Estimate(1 - value)
        return Estimate(1 - value, 1 - high, 1 - low)

    def to_json(self) -> str:
        """The results as JSON."""
        return json.dumps(asdict(self), indent=1)

    def to_markdown(self) -> str:
        """The results as a page of Markdown."""
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
        """Name, value and interval of each number, as text."""
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


def verdict(analysis: Analysis) -> tuple[str, Literal["good", "bad", "unsure"]]:
    """One sentence and its flag. Good only if the whole interval is within 50 % +- `MARGIN`."""
    raters = len(analysis.included)
    did = f"{raters} rater{'s' * (raters > 1)} "
    if analysis.mode == "pairs":
        did += "found the real image in {:.1f} % of the pairs"
        value, low, high = analysis.accuracy
    else:
        did += "gave wrong answers to {:.1f} % of the images"
        value, low, high = analysis.error_rate
    did = did.format(100 * value)
    if low is None or high is None:
        return f"{did} (50 % = indistinguishable): no interval without a second rater.", "unsure"
    did += f" (95 % interval {100 * low:.1f} to {100 * high:.1f} %, 50 % = indistinguishable)"
    _, low, high = analysis.error_rate
    near, far = 0.5 - MARGIN, 0.5 + MARGIN
    if high < near:
        flag, ending = "bad", "people can tell"
    elif low > far:
        flag, ending = "unsure", "people can tell, and take the generated ones for the real ones"
    elif near <= low and high <= far:
        flag, ending = "good", f"people can hardly tell: within {100 * MARGIN:.0f} points of 50 %"
    else:
        flag, ending = "unsure", "too few answers to say whether people can tell"
    return f"{did}: {ending}.", flag


def section(analysis: Analysis) -> Section:
    """The analysis as a section of the report card."""
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
