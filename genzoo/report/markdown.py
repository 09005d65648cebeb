"""The report card as one page of Markdown."""

from typing import Any

from .captions import caption, short
from .card import SIGNS, Report, spoken


def page(report: Report) -> str:
    """The page; its links to pictures are `report.paths`."""
    lines = [f"# {report.title}", ""]
    lines += [f"{report.origin}.", ""]
    lines += ["| | Question | Answer |", "|---|---|---|"]
    for question, flag, verdict in report.answers():
        sign = SIGNS[flag][0] if flag else "–"
        lines.append(f"| {sign} | **{question}** | {_cell(verdict)} |")
    lines += ["", "✅ good · ❌ bad · ❔ the evidence does not decide", ""]
    if report.protocol:
        text = spoken(report.protocol)
        lines += [f"**Protocol**, unless a section says otherwise: {text}.", ""]
    lines += _pictures(report, report.figures, "")
    for section in report.sections:
        lines += [f"## {section.question}", "", section.verdict, ""]
        lines += _pictures(report, section.figures, f"{section.title}/")
        if section.numbers:
            lines += ["| Number | Value | 95 % interval | |", "|---|---:|---|---|"]
            for name, number in section.numbers.items():
                cells = (f"`{name}`", number.shown, number.interval, number.note)
                lines.append("| " + " | ".join(map(_cell, cells)) + " |")
            lines.append("")
        if own := report.own_protocol(section):
            lines += [f"*Protocol:* {spoken(own)}.", ""]
    return "\n".join(lines).rstrip() + "\n"


def _pictures(report: Report, figures: dict[str, Any], prefix: str) -> list[str]:
    lines = []
    for name in figures:
        if path := report.paths.get(prefix + name):
            lines += [f"![{short(name)}]({path})", "", f"*{caption(name)}*", ""]
    return lines


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
