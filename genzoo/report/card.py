"""The report card: verdicts, numbers with their intervals, and the protocol.

This file does not import torch, so cards are read, compared and written in a fraction of a second.
"""

import json
import math
import re
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from .. import __version__
from ..files import write_whole
from ..metrics.number import Number, written
from .topics import KNOWN, Topic, topic_of

if TYPE_CHECKING:
    from torch import Tensor

SIGNS = {"good": ("✅", "green"), "bad": ("❌", "red"), "unsure": ("❔", "yellow")}


@dataclass
class Section:
    """The results of one evaluation.

    Args:
        title: "realism", "memorisation", "diversity", "likelihood", or another title.
        verdict: One sentence with its evidence.
        flag: "good", "bad" or "unsure".
        numbers: Numbers by log key, such as "fd/domain".
        figures: Pictures by name, uint8 (H, W, C) or (C, H, W); for a card that was read from a
            file, paths of PNG files.
        protocol: Settings and versions that are needed to repeat the numbers.
        topic: The topic; None: the one that the title names.

    >>> section = Section("realism", "It looks real.", "good", {"fd/domain": Number(0.5)})
    >>> section.question
    'Does it look real?'
    >>> section.headlines
    {'fd/domain': Number(value=0.5, low=None, high=None, note='')}
    """

    title: str
    verdict: str
    flag: Literal["good", "bad", "unsure"]
    numbers: dict[str, Number] = field(default_factory=dict)
    figures: dict[str, "Tensor | Path"] = field(default_factory=dict, repr=False)
    protocol: dict[str, str | int | float] = field(default_factory=dict)
    topic: Topic | None = None

    def __post_init__(self) -> None:
        self.topic = self.topic or topic_of(self.title)
        if self.flag not in SIGNS:
            raise ValueError(f"flag must be one of {', '.join(SIGNS)}, got {self.flag!r}")

    @property
    def question(self) -> str:
        """The question that the section answers."""
        return self.topic.question or self.title.capitalize()

    @property
    def headlines(self) -> dict[str, Number]:
        """The most important numbers, by the topic's patterns; or else the first three."""
        pattern = re.compile("|".join(self.topic.headlines))
        known = {name: n for name, n in self.numbers.items() if pattern.fullmatch(name)}
        return known or dict([*self.numbers.items()][:3])


@dataclass
class Report:
    """A report card.

    Args:
        model: Name of the model.
        data: Name of the data; "" if it has none.
        step: Number of training steps; 0 if genzoo did not train the model.
        sections: Results of the evaluations.
        figures: Pictures that belong to no section, uint8 (H, W, 3) or paths of PNG files.
        paths: Paths of pictures relative to the report, by "<name>" or "<title>/<name>".
        version: Version of genzoo.
    """

    model: str
    data: str
    step: int
    sections: list[Section] = field(default_factory=list)
    figures: dict[str, "Tensor | Path"] = field(default_factory=dict, repr=False)
    paths: dict[str, str] = field(default_factory=dict)
    version: str = __version__

    @property
    def title(self) -> str:
        """The model and its data."""
        return f"{self.model} on {self.data}" if self.data else self.model

    @property
    def protocol(self) -> dict[str, str | int | float]:
        """The protocol that most sections share; `own_protocol` has a section's differences."""
        measured = [section for section in self.sections if section.topic.measured]
        names = dict.fromkeys(name for section in measured for name in section.protocol)
        common = {}
        for name in names:
            values = [s.protocol[name] for s in measured if name in s.protocol]
            value, count = Counter(values).most_common(1)[0]
            if count > 1 or len(measured) == 1:
                common[name] = value
        return common

    def answers(self) -> list[tuple[str, str, str]]:
        """Question, flag ("" if there was no evaluation) and verdict, in the order of the page."""
        found = {section.title: section for section in self.sections}
        always = [topic for topic in KNOWN.values() if topic.always]
        lines = []
        for title in dict.fromkeys([*(topic.title for topic in always), *found]):
            if title in found:
                lines.append((found[title].question, found[title].flag, found[title].verdict))
            else:
                question = KNOWN[title].question
                lines.append((question, "", f"There was no evaluation of {title}."))
        return lines

    @property
    def origin(self) -> str:
        """The number of training steps, if known, and the version of genzoo, as a phrase."""
        after = f" after {self.step:,} training steps" if self.step else ""
        return f"Report card{after}, by genzoo {self.version}"

    def own_protocol(self, section: Section) -> dict[str, str | int | float]:
        """The part of this section's protocol that differs from the common one."""
        common = self.protocol
        return {k: v for k, v in section.protocol.items() if common.get(k) != v}

    def to_markdown(self) -> str:
        """The card as a page of Markdown."""
        from .markdown import page

        return page(self)

    def to_json(self) -> str:
        """The card without pictures as JSON; infinite values and NaN are written as strings."""
        content = {
            "model": self.model,
            "data": self.data,
            "step": self.step,
            "version": self.version,
            "sections": [
                {
                    "title": section.title,
                    "topic": asdict(section.topic),
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
        """The report of a JSON file, with the pictures that exist in its folder.

        Raises:
            ValueError: if the file is not a report.
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
            words = part["title"], part["verdict"], part["flag"]
            topic = _topic(part["topic"]) if "topic" in part else None  # cards of before 0.2
            sections.append(Section(*words, numbers, figures, part["protocol"], topic))
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
        """Writes the card as JSON, and in the same folder as Markdown and as one HTML page.

        Args:
            path: Path of the JSON file, relative to whose folder the paths of pictures are.
        """
        from .html import page

        write_whole(path, self.to_json())
        write_whole(path.with_suffix(".md"), self.to_markdown())
        write_whole(path.with_suffix(".html"), page(self, path.parent))

    def _repr_html_(self) -> str:
        """The HTML page for a notebook, in a frame that separates its style from the notebook's."""
        from html import escape

        from .html import page

        content = escape(page(self, None))
        style = "width: 100%; height: 46rem; border: 1px solid #8884; border-radius: 4px"
        return (
            f'<iframe title="{escape(self.title)}" style="{style}" sandbox '
            f'srcdoc="{content}"></iframe>'
        )

    def print(self, rest: str = "") -> None:
        """Prints verdicts and headlines to the terminal.

        Args:
            rest: Path or link of the full report, which is printed last.
        """
        from .terminal import show

        show(self, rest)


def spoken(protocol: dict[str, str | int | float]) -> str:
    """A protocol as one line of text.

    >>> spoken({"extractor": "domain", "n_train": 60_000})
    'extractor domain, n train 60,000'
    """
    named = (
        (k.replace("_", " "), v if isinstance(v, str) else written(v)) for k, v in protocol.items()
    )
    return ", ".join(f"{name} {value}" for name, value in named)


def finite(content: Any) -> Any:
    """The content as values of JSON; infinite values and NaN become strings.

    >>> finite({"nats": math.inf, "sizes": (1, 2)})
    {'nats': 'inf', 'sizes': [1, 2]}
    """
    if isinstance(content, dict):
        return {str(key): finite(value) for key, value in content.items()}
    if isinstance(content, (list, tuple)):
        return [finite(value) for value in content]
    if hasattr(content, "item"):  # scalars of torch and numpy
        content = content.item()
    if isinstance(content, float) and not math.isfinite(content):
        return str(content)
    return content


def _topic(content: dict[str, Any]) -> Topic:
    return Topic(**{**content, "headlines": tuple(content["headlines"])})


def _floats(number: dict[str, Any]) -> dict[str, Any]:
    return {k: float(v) if k != "note" and v is not None else v for k, v in number.items()}
