"""The report card as one HTML page that needs nothing else: pictures are inside, nothing is asked
of a network, and it reads on a phone, on paper, by day and by night."""

from base64 import b64encode
from html import escape
from importlib.resources import files
from pathlib import Path
from string import Template

from .card import Number, Report, Section, spoken

MARKS = {"good": "✓", "bad": "✕", "unsure": "?", "": "–"}


def page(report: Report, folder: Path) -> str:
    """The page.

    Args:
        report: Its `paths` say which pictures there are.
        folder: Where they lie.
    """
    shown = {name: _picture(name, folder / path) for name, path in report.paths.items()}
    beside = [shown.pop(name) for name in ("samples",) if name in shown]
    template = files(__package__).joinpath("page.html").read_text(encoding="utf-8")
    return Template(template).substitute(
        title=escape(report.title),
        steps=f"{report.step:,}",
        version=escape(report.version),
        answers="\n".join(map(_answer, report.answers(), _anchors(report))),
        samples="".join(beside),
        numbers="\n".join(
            map(_numbers, report.sections, map(report.own_protocol, report.sections))
        ),
        protocol=_protocol(report),
        pictures=_part("Pictures", "".join(shown.values())),
    )


def _anchors(report: Report) -> list[str]:
    """For each answer the section that it links to, "" where there is none."""
    titles = {section.question: section.title for section in report.sections}
    return [titles.get(question, "") for question, _, _ in report.answers()]


def _answer(answer: tuple[str, str, str], title: str) -> str:
    question, flag, verdict = answer
    name = escape(question)
    if title:
        name = f'<a href="#{_anchor(title)}">{name}</a>'
    return (
        f'<li class="{flag or "none"}"><span class="flag"><b aria-hidden="true">{MARKS[flag]}</b>'
        f" {flag or 'not asked'}</span><h2>{name}</h2><p>{escape(verdict)}</p></li>"
    )


def _numbers(section: Section, protocol: dict[str, str | int | float]) -> str:
    first = section.headlines
    rows = "".join(_row(name, number, name in first) for name, number in section.numbers.items())
    table = rows and (
        "<table><thead><tr><th scope=col>Number</th><th scope=col>Value</th>"
        f"<th scope=col>95 % interval</th><th scope=col>Note</th></tr></thead>"
        f"<tbody>{rows}</tbody></table>"
    )
    own = protocol and f'<p class="soft">Measured with: {escape(spoken(protocol))}.</p>'
    return (
        f'<section id="{_anchor(section.title)}"><h2>{escape(section.question)}</h2>'
        f"{table}{own or ''}</section>"
    )


def _row(name: str, number: Number, first: bool) -> str:
    cells = (number.shown, number.interval, number.note)
    kinds = ("value", "interval", "note")
    columns = (f'<td class="{k}">{escape(c)}</td>' for k, c in zip(kinds, cells, strict=True))
    chosen = ' class="first"' if first else ""
    return f"<tr{chosen}><th scope=row>{escape(name)}</th>{''.join(columns)}</tr>"


def _protocol(report: Report) -> str:
    terms = (
        f"<div><dt>{escape(name.replace('_', ' '))}</dt>"
        f"<dd>{escape(spoken({'': value}).strip())}</dd></div>"
        for name, value in report.protocol.items()
    )
    listed = "".join(terms)
    note = '<p class="soft">Holds for all numbers, unless their section says otherwise.</p>'
    return _part("Protocol", listed and f"{note}<dl>{listed}</dl>")


def _part(heading: str, content: str) -> str:
    return content and f'<section id="{_anchor(heading)}"><h2>{heading}</h2>{content}</section>'


def _picture(name: str, path: Path) -> str:
    data = b64encode(path.read_bytes()).decode("ascii")
    title, _, figure = name.rpartition("/")
    caption = escape(figure.replace("_", " ").capitalize() + (f" ({title})" if title else ""))
    return (
        f'<figure><img src="data:image/png;base64,{data}" alt="{caption}">'
        f"<figcaption>{caption}</figcaption></figure>"
    )


def _anchor(title: str) -> str:
    return escape("-".join(title.lower().split()))
