"""`genzoo compare`: report cards side by side, with marks at numbers of different protocols.

A number gets a letter if its protocol (extractor and weights, numbers of images, split, data)
differs from that of the first card that has the number, and the letter's line says in what.
Numbers with equal letters are comparable, others are not. This file does not import torch.
"""

import json
import os
import string
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from .card import SIGNS, Number, Report, Section, finite, spoken
from .topics import KNOWN, Topic

# Entries of a protocol that describe the model, or follow from other entries: they may differ.
FREE = {
    *("step", "ema", "sample_seed", "samples", "study", "notes", "torch", "lightning"),
    *("classifier_accuracy", "classifier_judged_on", "dead_units"),
}


@dataclass
class Card:
    """A report and the name of its run."""

    run: str
    report: Report

    def section(self, title: str) -> Section | None:
        """The section with this title, or None."""
        return next((s for s in self.report.sections if s.title == title), None)

    def measure(self, section: Section) -> dict[str, Any]:
        """The entries of the protocol that must be equal for numbers to be comparable."""
        own = {name: value for name, value in section.protocol.items() if name not in FREE}
        return {"data": self.report.data, **own}


@dataclass
class Row:
    """One number of all cards: (number, letter), or None where a card does not have it."""

    title: str
    name: str
    cells: list[tuple[Number, str] | None]


@dataclass
class Comparison:
    """Cards side by side.

    Args:
        cards: The cards, one for each column.
        rows: Numbers, in the order of the page.
        letters: For each letter, the differences between the protocols.
    """

    cards: list[Card]
    rows: list[Row]
    letters: dict[str, str]

    @property
    def titles(self) -> list[str]:
        """Titles of the sections of all cards, and of the topics that every card has."""
        return sorted(self.topics, key=lambda title: (self.topics[title].place, title))

    @property
    def topics(self) -> dict[str, Topic]:
        """Topics of these sections, by title."""
        always = {title: topic for title, topic in KNOWN.items() if topic.always}
        sections = [section for card in self.cards for section in card.report.sections]
        return always | {section.title: section.topic for section in sections}

    def answers(self, title: str) -> Iterator[tuple[str, str]]:
        """For each card the flag, "" if there was no evaluation, and a short answer."""
        for card in self.cards:
            section = card.section(title)
            flag = section.flag if section else ""
            yield flag, self.topics[title].answer(flag) or "not evaluated"

    def to_markdown(self) -> str:
        """The comparison as a table of Markdown."""

        def line(*cells: str) -> str:
            return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"

        def about(what: str) -> list[str]:
            return [getattr(card.report, what) for card in self.cards]

        lines = [line("", *about("model")), "|---" * (len(self.cards) + 1) + "|"]
        lines += [line("run", *(card.run for card in self.cards))]
        lines += [line("data", *about("data")), line("steps", *map(_steps, about("step")))]
        for title in self.titles:
            words = (
                f"{SIGNS[flag][0] if flag else '–'} {word}" for flag, word in self.answers(title)
            )
            lines.append(line(f"**{self.topics[title].question or title.capitalize()}**", *words))
            for row in self.rows:
                if row.title == title:
                    lines.append(line(f"`{row.name}`", *(_flat(cell) for cell in row.cells)))
        lines += ["", "✅ good · ❌ bad · ❔ the evidence does not decide; (95 % intervals)", ""]
        lines += [f"**{WARNING}**", ""] * bool(self.letters)
        lines += [f"* **[{letter}]** {text}" for letter, text in self.letters.items()]
        return "\n".join(lines) + "\n"

    def to_json(self) -> str:
        """The comparison as JSON."""
        cards = []
        for i, card in enumerate(self.cards):
            numbers = {
                row.name: {**asdict(row.cells[i][0]), "measured_otherwise": row.cells[i][1]}
                for row in self.rows
                if row.cells[i]
            }
            verdicts = {
                s.title: {"flag": s.flag, "verdict": s.verdict} for s in card.report.sections
            }
            about = {name: getattr(card.report, name) for name in ("model", "data", "step")}
            cards.append({"run": card.run, **about, "verdicts": verdicts, "numbers": numbers})
        content = {"cards": cards, "measured_otherwise": self.letters}
        return json.dumps(finite(content), indent=2, allow_nan=False, ensure_ascii=False)

    def print(self) -> None:
        """Prints the comparison to the terminal."""
        from rich import box, get_console
        from rich.markup import escape
        from rich.table import Table

        console = get_console()
        table = Table(box=box.SIMPLE_HEAD, collapse_padding=True)
        table.add_column(no_wrap=True)
        for card in self.cards:
            about = (card.run, card.report.data, f"steps: {_steps(card.report.step)}")
            head = f"{escape(card.report.model)}\n[not bold dim]{escape(chr(10).join(about))}[/]"
            table.add_column(head, justify="right", overflow="fold")
        for title in self.titles:
            words = (
                f"[bold {SIGNS[flag][1]}]{escape(word)}[/]" if flag else f"[dim]{word}[/]"
                for flag, word in self.answers(title)
            )
            table.add_row(f"[bold]{escape(self.topics[title].short or title)}[/]", *words)
            for row in self.rows:
                if row.title == title:
                    table.add_row(escape(row.name), *(_stacked(cell) for cell in row.cells))
            table.add_section()
        console.print(table)
        if self.letters:
            console.print(f"[bold red]{WARNING}[/]", highlight=False)
        for letter, text in self.letters.items():
            console.print(f"[bold red]{escape(f'[{letter}]')}[/] {escape(text)}", highlight=False)


WARNING = "Numbers with a letter have other protocols: compare only numbers with the same letter."


def compare(cards: list[Card], everything: bool = False) -> Comparison:
    """The comparison of cards.

    Args:
        everything: Whether all numbers are compared, or only the headlines.
    """
    comparison = Comparison(cards, [], {})
    signs: dict[str, str] = {}  # from differences to letters
    for title in comparison.titles:
        sections = [card.section(title) for card in cards]
        names: dict[str, None] = {}
        for section in filter(None, sections):
            names |= dict.fromkeys(section.numbers if everything else section.headlines)
        for name in names:
            cells: list[tuple[Number, str] | None] = []
            first: dict[str, Any] | None = None
            for card, section in zip(cards, sections, strict=True):
                if section is None or name not in section.numbers:
                    cells.append(None)
                    continue
                measure = card.measure(section)
                first = measure if first is None else first
                text = _difference(measure, first)
                letter = signs.setdefault(text, _letter(len(signs))) if text else ""
                cells.append((section.numbers[name], letter))
            comparison.rows.append(Row(title, name, cells))
    comparison.letters |= {letter: text for text, letter in signs.items()}
    return comparison


def _difference(measure: dict[str, Any], first: dict[str, Any]) -> str:
    """The differences between two protocols as text, "" if there are none."""
    names = [n for n in {**first, **measure} if measure.get(n) != first.get(n)]

    def described(protocol: dict[str, Any], name: str, label: str) -> str:
        return spoken({label: protocol.get(name, "not stated")}).strip()

    return "; ".join(f"{described(measure, n, n)}, not {described(first, n, '')}" for n in names)


def _letter(i: int) -> str:
    """a, b ... z, aa, ab ..."""
    rest, last = divmod(i, 26)
    return (_letter(rest - 1) if rest else "") + string.ascii_lowercase[last]


def _steps(step: int) -> str:
    return f"{step:,}" if step else "–"


def _flat(cell: tuple[Number, str] | None) -> str:
    if cell is None:
        return "–"
    number, letter = cell
    text = f"{number.shown} ({number.interval})" if number.interval else number.shown
    return f"{text} **[{letter}]**" if letter else text


def _stacked(cell: tuple[Number, str] | None) -> str:
    if cell is None:
        return "[dim]–[/]"
    number, letter = cell
    value = number.shown.replace("more than", ">")
    value = f"[bold red]\\[{letter}][/] {value}" if letter else value
    interval = number.interval.replace(" to ", "–")
    return f"{value}\n[dim]{interval}[/]" if interval else value


def read(runs: Sequence[Path]) -> list[Card]:
    """The cards of runs, each with the part of its path that differs between runs as its name."""
    files = [run / "report.json" if run.is_dir() else run for run in runs]
    for run, file in zip(runs, files, strict=True):
        if not file.is_file():
            raise ValueError(f"RUN must be a run directory that has a report.json, got {run}")
    folders = [str(file.resolve().parent) for file in files]
    above = os.path.commonpath(folders)
    if above in folders:  # one run only, or a run within another
        above = os.path.dirname(above)
    cards = []
    for file, folder in zip(files, folders, strict=True):
        report, name = Report.from_json(file), Path(os.path.relpath(folder, above)).as_posix()
        cards.append(Card(name.removeprefix(f"{report.model}-{report.data}/"), report))
    return cards
