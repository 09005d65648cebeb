"""The report card: one page that answers three questions about a trained model.

Has it memorised? Does it look real? Is it as diverse as the data? Each with a verdict in words,
the numbers behind it with their intervals, and the protocol without which they mean nothing.
"""

import json
import math
import os
import tempfile
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import lightning as L
import numpy as np
import torch
from lightning.pytorch.utilities import rank_zero_warn
from PIL import Image
from torch import Tensor

from .. import __version__
from .figures import figure_path, log_figure, to_picture
from .real import data_name

QUESTIONS = {
    "memorisation": "Has it memorised?",
    "realism": "Does it look real?",
    "diversity": "Is it as diverse as the data?",
    "likelihood": "How well does it predict unseen data?",
}
ALWAYS = ("memorisation", "realism", "diversity")
SIGNS = {"good": ("✅", "green"), "bad": ("❌", "red"), "unsure": ("❔", "yellow")}


@dataclass
class Number:
    """One measured value with its 95 % interval, where there is one."""

    value: float
    low: float | None = None
    high: float | None = None
    note: str = ""

    @property
    def interval(self) -> str:
        """As a person reads it; empty where there is none."""
        if self.low is None and self.high is None:
            return ""
        ends = ("?" if end is None else written(end) for end in (self.low, self.high))
        return "{} to {}".format(*ends)


@dataclass
class Section:
    """What one evaluation found.

    Args:
        title: "realism", "memorisation", "diversity", "likelihood", or an own one.
        verdict: One sentence in words, with its evidence.
        flag: "good", "bad" or "unsure".
        numbers: By log key, as "fd/domain".
        figures: By name, uint8, (H, W, C) or (C, H, W).
        protocol: What must be known to repeat the numbers.
    """

    title: str
    verdict: str
    flag: Literal["good", "bad", "unsure"]
    numbers: dict[str, Number] = field(default_factory=dict)
    figures: dict[str, Tensor] = field(default_factory=dict)
    protocol: dict[str, str | int | float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.flag not in SIGNS:
            raise ValueError(f"flag must be one of {', '.join(SIGNS)}, got {self.flag!r}")


def publish(
    trainer: L.Trainer, pl_module: L.LightningModule, section: Section, prefix: str = ""
) -> None:
    """Gives numbers and figures to all loggers. Must be called on all ranks, with equal numbers."""
    values = {f"{prefix}{name}": number.value for name, number in section.numbers.items()}
    log_numbers(pl_module, values)
    pl_module.log("step", float(trainer.global_step))  # the axis that figures have
    for name, figure in section.figures.items():
        log_figure(trainer, f"{prefix}{section.title}/{name}", figure)


def log_numbers(pl_module: L.LightningModule, values: dict[str, float]) -> None:
    """Logs values that are the same on all ranks."""
    for name, value in values.items():
        # The greatest of equal values is exact, their mean not quite.
        pl_module.log(name, float(value), batch_size=1, sync_dist=True, reduce_fx="max")


@dataclass
class Report:
    """The card itself.

    Args:
        model: Name of the model.
        data: Name of the data.
        step: Training steps that the model had taken.
        sections: What was found.
        figures: Pictures beside those of the sections, uint8 (H, W, 3).
        paths: Where pictures lie, relative to the report: by name, or by "<title>/<name>".
        version: Of genzoo.
    """

    model: str
    data: str
    step: int
    sections: list[Section] = field(default_factory=list)
    figures: dict[str, Tensor] = field(default_factory=dict)
    paths: dict[str, str] = field(default_factory=dict)
    version: str = __version__

    @property
    def title(self) -> str:
        return f"{self.model} on {self.data}"

    @property
    def protocol(self) -> dict[str, str | int | float]:
        """What holds for most sections; the others say what they did otherwise."""
        names = dict.fromkeys(name for section in self.sections for name in section.protocol)
        common = {}
        for name in names:
            values = [s.protocol[name] for s in self.sections if name in s.protocol]
            value, count = Counter(values).most_common(1)[0]
            if count > 1 or len(self.sections) == 1:
                common[name] = value
        return common

    def answers(self) -> list[tuple[str, str, str]]:
        """Question, flag ("" where nobody was asked) and verdict, in the order of the page."""
        found = {section.title: section for section in self.sections}
        lines = []
        for title in [*ALWAYS, *(title for title in found if title not in ALWAYS)]:
            question = QUESTIONS.get(title, title.capitalize())
            if title in found:
                lines.append((question, found[title].flag, found[title].verdict))
            else:
                lines.append((question, "", f"There was no evaluation of {title}."))
        return lines

    def own_protocol(self, section: Section) -> dict[str, str | int | float]:
        """In what this section differs from the common protocol."""
        common = self.protocol
        return {k: v for k, v in section.protocol.items() if common.get(k) != v}

    def to_markdown(self) -> str:
        """One page."""
        lines = [f"# {self.title}", ""]
        lines += [f"Report card after {self.step:,} training steps, by genzoo {self.version}.", ""]
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
            question = QUESTIONS.get(section.title, section.title.capitalize())
            lines += [f"## {question}", "", section.verdict, ""]
            if section.numbers:
                lines += ["| Number | Value | 95 % interval | |", "|---|---:|---|---|"]
                for name, number in section.numbers.items():
                    cells = (f"`{name}`", written(number.value), number.interval, number.note)
                    lines.append("| " + " | ".join(map(_cell, cells)) + " |")
                lines.append("")
            if own := self.own_protocol(section):
                lines += [f"*Protocol:* {spoken(own)}.", ""]
            lines += self._pictures(section.figures, f"{section.title}/")
        return "\n".join(lines).rstrip() + "\n"

    def _pictures(self, figures: dict[str, Tensor], prefix: str) -> list[str]:
        lines = []
        for name in figures:
            if path := self.paths.get(prefix + name):
                caption = name.replace("_", " ")
                lines += [f"![{caption}]({path})", "", f"*{caption.capitalize()}*", ""]
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
        return json.dumps(_plain(content), indent=2, allow_nan=False, ensure_ascii=False) + "\n"

    @classmethod
    def from_json(cls, path: str | Path) -> "Report":
        """The report again, with the pictures that still lie beside it."""
        path = Path(path)
        content = json.loads(path.read_text(encoding="utf-8"))
        paths = content["paths"]

        def pictures(names: list[str], prefix: str) -> dict[str, Tensor]:
            files = {name: path.parent / paths.get(prefix + name, "") for name in names}
            return {name: _read_png(file) for name, file in files.items() if file.is_file()}

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

    def print(self) -> None:
        """To the terminal."""
        from rich import box, get_console
        from rich.markup import escape
        from rich.panel import Panel
        from rich.table import Table

        console = get_console()
        answers = Table(box=None, show_header=False, padding=(0, 2, 1, 0), expand=True)
        answers.add_column(no_wrap=True)
        answers.add_column(no_wrap=True)
        answers.add_column(ratio=1)
        for question, flag, verdict in self.answers():
            sign, colour = SIGNS[flag] if flag else ("–", "dim")
            word = f"[{colour}]{flag or 'not asked'}[/]"
            answers.add_row(f"[bold]{question}[/]", word, escape(verdict))
        console.print(Panel(answers, title=f"[bold]{escape(self.title)}[/]", padding=(1, 2, 0, 2)))
        numbers = Table(box=box.SIMPLE_HEAD, expand=True)
        for heading, settings in (
            ("number", {"no_wrap": True}),
            ("value", {"justify": "right", "no_wrap": True}),
            ("95 % interval", {"no_wrap": True}),
            ("", {"ratio": 1, "style": "dim"}),
        ):
            numbers.add_column(heading, **settings)
        for section in self.sections:
            for name, number in section.numbers.items():
                value = written(number.value)
                numbers.add_row(escape(name), value, number.interval, escape(number.note))
            numbers.add_section()
        if numbers.row_count:
            console.print(numbers)
        if self.protocol:
            console.print(f"[dim]protocol: {escape(spoken(self.protocol))}[/]")
        for section in self.sections:
            if own := self.own_protocol(section):
                console.print(f"[dim]{escape(f'{section.title}: {spoken(own)}')}[/]")


class ReportCard(L.Callback):
    """Gathers what all evaluations of the Trainer found in a test, and writes one page of it.

    `report.md` and `report.json` in the folder of the run (`trainer.log_dir`), and the terminal.
    Its place among the callbacks does not matter. The numbers reach the loggers by themselves.

    Attributes:
        report: The last one.
    """

    report: Report | None = None

    def on_test_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        folder = Path(trainer.log_dir or trainer.default_root_dir)  # asks all ranks
        if not trainer.is_global_zero:
            return
        model, step = type(pl_module).__name__, trainer.global_step
        report = Report(model, data_name(trainer), step)
        for callback in trainer.callbacks:
            if isinstance(section := getattr(callback, "section", None), Section):
                report.sections.append(section)
                for name in section.figures:
                    path = figure_path(folder, f"test/{section.title}/{name}", step)
                    report.paths[f"{section.title}/{name}"] = path.relative_to(folder).as_posix()
            for name, picture in getattr(callback, "figures", {}).items():
                report.figures[name] = to_picture(picture)
                path = figure_path(folder, f"test/{name}", step)
                report.paths[name] = path.relative_to(folder).as_posix()
        order = [*QUESTIONS]
        report.sections.sort(key=lambda s: order.index(s.title) if s.title in order else 99)
        report.paths = {k: path for k, path in report.paths.items() if (folder / path).is_file()}
        self.report = report
        if not trainer.fast_dev_run:
            try:
                _write(folder / "report.json", report.to_json())
                _write(folder / "report.md", report.to_markdown())
            except OSError as error:
                rank_zero_warn(f"the report could not be written: {error}")
        report.print()


def evaluations(**settings: Any) -> list[L.Callback]:
    """All that can be asked of a model, for `Trainer(callbacks=evaluations())`.

    What a model cannot be asked is passed over: one that only samples has no likelihood.

    Args:
        settings: Those of `Evaluation`: extractor, num_samples, num_samples_fit,
            every_n_epochs, seed, num_real.
    """
    from .diversity import Diversity
    from .likelihood import Likelihood
    from .memorisation import Memorisation
    from .realism import Realism
    from .samples import Interpolations, Reconstructions, Samples

    few = {name: settings[name] for name in ("every_n_epochs", "seed") if name in settings}
    callbacks: list[L.Callback] = [
        *(kind(**settings) for kind in (Memorisation, Realism, Diversity)),
        Likelihood(seed=settings.get("seed", 0)),
        *(kind(**few) for kind in (Samples, Interpolations, Reconstructions)),
    ]
    for callback in callbacks:
        callback.required = False
    return [*callbacks, ReportCard()]


def written(value: float) -> str:
    """Four significant digits, without exponents where they help nobody."""
    if abs(value) < 1e-15:
        return "0"  # what rounding has left
    if math.isfinite(value) and value == int(value) and abs(value) < 1e9:
        return f"{int(value):,}"
    return f"{value:,.0f}" if 1e4 <= abs(value) < 1e9 else f"{value:.4g}"


def spoken(protocol: dict[str, str | int | float]) -> str:
    """A protocol in one line."""
    named = (
        (k.replace("_", " "), v if isinstance(v, str) else written(v)) for k, v in protocol.items()
    )
    return ", ".join(f"{name} {value}" for name, value in named)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _plain(content: Any) -> Any:
    """What json can write and read again."""
    if isinstance(content, dict):
        return {str(key): _plain(value) for key, value in content.items()}
    if isinstance(content, (list, tuple)):
        return [_plain(value) for value in content]
    if isinstance(content, (Tensor, np.generic)):
        content = content.item()
    if isinstance(content, float) and not math.isfinite(content):
        return str(content)
    return content


def _floats(number: dict[str, Any]) -> dict[str, Any]:
    return {k: float(v) if k != "note" and v is not None else v for k, v in number.items()}


def _read_png(path: Path) -> Tensor:
    with Image.open(path) as image:
        return torch.from_numpy(np.array(image.convert("RGB")))


def _write(path: Path, text: str) -> None:
    """All of it or nothing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(
        "w", dir=path.parent, suffix=".tmp", delete=False, encoding="utf-8"
    ) as file:
        file.write(text)
    os.chmod(file.name, 0o644)  # temporary files are private
    os.replace(file.name, path)
