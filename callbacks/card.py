"""The card itself: verdicts, numbers with their intervals, and the protocol behind them.

No torch here: a card is read, compared and written anew in no time.
"""

import json
import math
import re
import tempfile
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from .. import __version__
from ..metrics.number import Number, written
from .captions import caption, short

if TYPE_CHECKING:
    from torch import Tensor

HUMAN = "human evaluation"  # has a protocol of its own
QUESTIONS = {
    "memorisation": "Has it memorised?",
    "realism": "Does it look real?",
    "diversity": "Is it as diverse as the data?",
    "likelihood": "How well does it predict unseen data?",
    HUMAN: "Can people tell?",
}
ALWAYS = ("memorisation", "realism", "diversity")
SIGNS = {"good": ("✅", "green"), "bad": ("❌", "red"), "unsure": ("❔", "yellow")}
# The numbers that a person needs first, as patterns; of other sections the first three are.
HEADLINES = {
    "memorisation": ("copied(/pixels)?|asymmetry|planted/(unchanged|rotated)",),
    "realism": (
        "way_to_real",
        "fd/[^/]+(?<!_independent)(?<!_infinity)(?<!_per_class)",  # and its held-out row
        "(fid|fid_clean|fd_dinov2|cmmd)(_held_out)?",
        "precision|recall",
    ),
    "diversity": ("(recall|coverage|vendi|vendi_within)_ratio", "closest_pair/pixels", "classes"),
    "likelihood": ("nats|elbo|nats/ais", "bits_per_dim(/gap|/independent)?", "nats/gap"),
    HUMAN: ("human/(error_rate|accuracy|raters)",),
}
# What of the protocol a person needs first.
FIRST = ("extractor", "weights", "split", "n_train", "n_held_out", "n_generated", "sample_seed")


@dataclass
class Section:
    """What one evaluation found.

    Args:
        title: "realism", "memorisation", "diversity", "likelihood", or an own one.
        verdict: One sentence in words, with its evidence.
        flag: "good", "bad" or "unsure".
        numbers: By log key, as "fd/domain".
        figures: By name, uint8, (H, W, C) or (C, H, W); of a card that was read, the PNG.
        protocol: What must be known to repeat the numbers.
    """

    title: str
    verdict: str
    flag: Literal["good", "bad", "unsure"]
    numbers: dict[str, Number] = field(default_factory=dict)
    figures: dict[str, "Tensor | Path"] = field(default_factory=dict)
    protocol: dict[str, str | int | float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.flag not in SIGNS:
            raise ValueError(f"flag must be one of {', '.join(SIGNS)}, got {self.flag!r}")

    @property
    def question(self) -> str:
        return QUESTIONS.get(self.title, self.title.capitalize())

    @property
    def headlines(self) -> dict[str, Number]:
        """The numbers that a person needs first."""
        pattern = re.compile("|".join(HEADLINES.get(self.title, ())))
        known = {name: n for name, n in self.numbers.items() if pattern.fullmatch(name)}
        return known or dict([*self.numbers.items()][:3])


@dataclass
class Report:
    """The card itself.

    Args:
        model: Name of the model.
        data: Name of the data; "" where it has none.
        step: Training steps that the Trainer had taken; 0 where another trained the model.
        sections: What was found.
        figures: Pictures beside those of the sections, uint8 (H, W, 3), or the PNG.
        paths: Where pictures lie, relative to the report: by name, or by "<title>/<name>".
        version: Of genzoo.
    """

    model: str
    data: str
    step: int
    sections: list[Section] = field(default_factory=list)
    figures: dict[str, "Tensor | Path"] = field(default_factory=dict)
    paths: dict[str, str] = field(default_factory=dict)
    version: str = __version__

    @property
    def title(self) -> str:
        return f"{self.model} on {self.data}" if self.data else self.model

    @property
    def protocol(self) -> dict[str, str | int | float]:
        """What holds for most sections; the others say what they did otherwise."""
        measured = [section for section in self.sections if section.title != HUMAN]
        names = dict.fromkeys(name for section in measured for name in section.protocol)
        common = {}
        for name in names:
            values = [s.protocol[name] for s in measured if name in s.protocol]
            value, count = Counter(values).most_common(1)[0]
            if count > 1 or len(measured) == 1:
                common[name] = value
        return common

    def answers(self) -> list[tuple[str, str, str]]:
        """Question, flag ("" where nobody was asked) and verdict, in the order of the page."""
        found = {section.title: section for section in self.sections}
        lines = []
        for title in [*ALWAYS, *(title for title in found if title not in ALWAYS)]:
            if title in found:
                lines.append((found[title].question, found[title].flag, found[title].verdict))
            else:
                lines.append((QUESTIONS[title], "", f"There was no evaluation of {title}."))
        return lines

    @property
    def origin(self) -> str:
        """Whose card, after how long, as far as that is known."""
        after = f" after {self.step:,} training steps" if self.step else ""
        return f"Report card{after}, by genzoo {self.version}"

    def own_protocol(self, section: Section) -> dict[str, str | int | float]:
        """In what this section differs from the common protocol."""
        common = self.protocol
        return {k: v for k, v in section.protocol.items() if common.get(k) != v}

    def to_markdown(self) -> str:
        """One page."""
        lines = [f"# {self.title}", ""]
        lines += [f"{self.origin}.", ""]
        lines += ["| | Question | Answer |", "|---|---|---|"]
        for question, flag, verdict in self.answers():
            sign = SIGNS[flag][0] if flag else "–"
            lines.append(f"| {sign} | **{question}** | {_cell(verdict)} |")
        lines += ["", "✅ good · ❌ bad · ❔ the evidence does not decide", ""]
        if self.protocol:
            lines += [
                f"**Protocol**, unless a section says otherwise: {spoken(self.protocol)}.",
                "",
            ]
        lines += self._pictures(self.figures, "")
        for section in self.sections:
            lines += [f"## {section.question}", "", section.verdict, ""]
            lines += self._pictures(section.figures, f"{section.title}/")
            if section.numbers:
                lines += ["| Number | Value | 95 % interval | |", "|---|---:|---|---|"]
                for name, number in section.numbers.items():
                    cells = (f"`{name}`", number.shown, number.interval, number.note)
                    lines.append("| " + " | ".join(map(_cell, cells)) + " |")
                lines.append("")
            if own := self.own_protocol(section):
                lines += [f"*Protocol:* {spoken(own)}.", ""]
        return "\n".join(lines).rstrip() + "\n"

    def _pictures(self, figures: dict[str, Any], prefix: str) -> list[str]:
        lines = []
        for name in figures:
            if path := self.paths.get(prefix + name):
                lines += [f"![{short(name)}]({path})", "", f"*{caption(name)}*", ""]
        return lines

    def to_json(self) -> str:
        """All but the pixels; infinite and undefined values are written as strings."""
        content = {
            "model": self.model,
            "data": self.data,
            "step": self.step,
            "version": self.version,
            "sections": [
                {
                    "title": section.title,
                    "question": QUESTIONS.get(section.title, ""),
                    "verdict": section.verdict,
                    "flag": section.flag,
                    "numbers": {name: asdict(number) for name, number in section.numbers.items()},
                    "protocol": section.protocol,
                    "figures": list(section.figures),
                }
                for section in self.sections
            ],
            "figures": list(self.figures),
            "paths": self.paths,
        }
        return json.dumps(finite(content), indent=2, allow_nan=False, ensure_ascii=False) + "\n"

    @classmethod
    def from_json(cls, path: str | Path) -> "Report":
        """The report again, with the pictures that still lie beside it.

        Raises:
            ValueError: for a file that is no report.
        """
        path = Path(path)
        try:
            return cls._of(json.loads(path.read_text(encoding="utf-8")), path.parent)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"the report must be a report.json, got {path}") from error

    @classmethod
    def _of(cls, content: dict[str, Any], folder: Path) -> "Report":
        paths = content["paths"]

        def pictures(names: list[str], prefix: str) -> dict[str, Path]:
            files = {name: folder / paths.get(prefix + name, "") for name in names}
            return {name: file for name, file in files.items() if file.is_file()}

        sections = []
        for part in content["sections"]:
            numbers = {name: Number(**_floats(n)) for name, n in part["numbers"].items()}
            figures = pictures(part["figures"], f"{part['title']}/")
            given = part["title"], part["verdict"], part["flag"]
            sections.append(Section(*given, numbers, figures, part["protocol"]))
        return cls(
            content["model"],
            content["data"],
            content["step"],
            sections,
            pictures(content["figures"], ""),
            paths,
            content["version"],
        )

    def write(self, path: Path) -> None:
        """The card as a JSON file, and beside it as Markdown and as one HTML page.

        Args:
            path: Of the JSON; pictures are looked for in its folder.
        """
        from .html import page

        write_whole(path, self.to_json())
        write_whole(path.with_suffix(".md"), self.to_markdown())
        write_whole(path.with_suffix(".html"), page(self, path.parent))

    def _repr_html_(self) -> str:
        """The page, in a notebook: in a frame, so that its style stays its own."""
        from html import escape

        from .html import page

        content = escape(page(self, None))
        style = "width: 100%; height: 46rem; border: 1px solid #8884; border-radius: 4px"
        return (
            f'<iframe title="{escape(self.title)}" style="{style}" sandbox '
            f'srcdoc="{content}"></iframe>'
        )

    def print(self, rest: str = "") -> None:
        """To the terminal: verdicts, and the numbers that a person needs first.

        Args:
            rest: Where the others are.
        """
        from rich import box, get_console
        from rich.markup import escape
        from rich.panel import Panel
        from rich.table import Table

        console = get_console()
        answers = Table(box=None, show_header=False, padding=(0, 2, 1, 0), expand=True)
        answers.add_column(no_wrap=True)
        answers.add_column(ratio=1)
        for question, flag, verdict in self.answers():
            sign, colour = SIGNS[flag] if flag else ("–", "dim")
            word = f"[{colour}]{flag or 'not asked'}[/]"
            answers.add_row(word, f"[bold]{escape(question)}[/]\n{escape(verdict)}")
        console.print(Panel(answers, title=f"[bold]{escape(self.title)}[/]", padding=(1, 2, 0, 2)))
        numbers = Table(box=box.SIMPLE_HEAD)
        numbers.add_column("number")
        numbers.add_column("value", justify="right")
        numbers.add_column("95 % interval")
        for section in self.sections:
            for name, number in section.headlines.items():
                numbers.add_row(escape(name), number.shown, number.interval)
            numbers.add_section()
        if numbers.row_count:
            console.print(numbers)
        if first := {name: self.protocol[name] for name in FIRST if name in self.protocol}:
            console.print(f"[dim]measured with: {escape(spoken(first))}[/]", highlight=False)
        if rest:
            console.print(f"all numbers in {escape(rest)}", highlight=False, soft_wrap=True)


def spoken(protocol: dict[str, str | int | float]) -> str:
    """A protocol in one line."""
    named = (
        (k.replace("_", " "), v if isinstance(v, str) else written(v)) for k, v in protocol.items()
    )
    return ", ".join(f"{name} {value}" for name, value in named)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def finite(content: Any) -> Any:
    """What json can write and read again."""
    if isinstance(content, dict):
        return {str(key): finite(value) for key, value in content.items()}
    if isinstance(content, (list, tuple)):
        return [finite(value) for value in content]
    if hasattr(content, "item"):  # of torch or numpy
        content = content.item()
    if isinstance(content, float) and not math.isfinite(content):
        return str(content)
    return content


def _floats(number: dict[str, Any]) -> dict[str, Any]:
    return {k: float(v) if k != "note" and v is not None else v for k, v in number.items()}


def write_whole(path: Path, text: str) -> None:
    """All of it or nothing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(
        "w", dir=path.parent, suffix=".tmp", delete=False, encoding="utf-8"
    ) as file:
        part = Path(file.name)
    try:
        part.write_text(text, encoding="utf-8")
        part.chmod(0o644)  # temporary files are private
        part.replace(path)
    except OSError as error:  # of the file that is meant, not of the one beside it
        raise OSError(error.errno, error.strerror, str(path)) from error
    finally:
        part.unlink(missing_ok=True)
