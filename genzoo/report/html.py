"""The report card as one HTML page: pictures are embedded, nothing is loaded from a network, and it
fits phones, paper, and light and dark modes.

Templates are Python's and not jinja2's, since the template of the page has no loops."""

import re
from base64 import b64encode
from html import escape
from importlib import resources
from io import BytesIO
from pathlib import Path
from string import Template
from typing import Any

from .captions import caption, short
from .card import Number, Report, Section, spoken

MARKS = {"good": "✓", "bad": "✕", "unsure": "?", "": "–"}


def page(report: Report, folder: Path | None) -> str:
    """The card as an HTML page.

    Args:
        report: The card; its `paths` name the pictures.
        folder: Folder of the paths; missing pictures are left out. None: the pictures are those in
            the report's `figures`.
    """
    if folder is None:
        files = dict(report.figures)
        for section in report.sections:
            files |= {f"{section.title}/{name}": f for name, f in section.figures.items()}
    else:
        files = {name: folder / path for name, path in report.paths.items()}
    content = {name: _png(file) for name, file in files.items()}
    shown = {name: _picture(name, data) for name, data in content.items() if data}
    beside = [shown.pop(name) for name in ("samples",) if name in shown]
    panels = {
        section.title: {
            name: shown.pop(place)
            for name in section.figures
            if (place := f"{section.title}/{name}") in shown
        }
        for section in report.sections
    }
    template = resources.files(__package__).joinpath("page.html").read_text(encoding="utf-8")
    return Template(template).substitute(
        title=escape(report.title),
        origin=escape(_origin(report)),
        answers="\n".join(
            _answer(answer, title, _look(title, panels.get(title, {}), beside))
            for answer, title in zip(report.answers(), _anchors(report), strict=True)
        ),
        samples="".join(beside),
        numbers="\n".join(
            _section(section, report.own_protocol(section), panels[section.title])
            for section in report.sections
        ),
        protocol=_protocol(report),
        pictures=_pictures([*shown.values()]),
    )


def _anchors(report: Report) -> list[str]:
    """For each answer the title of the section that it links to, or ""."""
    titles = {section.question: section.title for section in report.sections}
    return [titles.get(question, "") for question, _, _ in report.answers()]


def _origin(report: Report) -> str:
    """The origin of the card, with the numbers of images."""
    counts = (("n_generated", "samples"), ("n_train", "training images"))
    counts = (*counts, ("n_held_out", "held-out images"))
    known = report.protocol
    images = [
        f"{known[name]:,} {what}" for name, what in counts if isinstance(known.get(name), int)
    ]
    return f"{report.origin}, from {', '.join(images)}" if images else report.origin


def _look(title: str, panels: dict[str, str], samples: list[str]) -> str:
    """A link from an answer to the first picture of its section."""
    if panels:
        place, name = f"{title}/{next(iter(panels))}", next(iter(panels))
    elif title == "realism" and samples:
        place = name = "samples"
    else:
        return ""
    return f'<p class="look">Look at <a href="#{_place(place)}">{escape(short(name))}</a>.</p>'


def _answer(answer: tuple[str, str, str], title: str, look: str) -> str:
    question, flag, verdict = answer
    name = escape(question)
    if title:
        name = f'<a href="#{_anchor(title)}">{name}</a>'
    return (
        f'<li class="{flag or "none"}">{_flag(flag)}<h2>{name}</h2>'
        f"<p>{escape(verdict)}</p>{look}</li>"
    )


def _flag(flag: str) -> str:
    mark = f'<b aria-hidden="true">{MARKS[flag]}</b>'
    return f'<span class="flag {flag or "none"}">{mark} {flag or "not evaluated"}</span>'


def _section(
    section: Section, protocol: dict[str, str | int | float], panels: dict[str, str]
) -> str:
    """A section: first its pictures, then its numbers."""
    first = section.headlines
    content = ""
    if panels:
        content = f'<div class="pictures">{"".join(panels.values())}</div>'
    if rows := "".join(_row(name, n, name in first) for name, n in section.numbers.items()):
        columns = ("Number", "Value", "95 % interval", "Note")
        heads = "".join(f"<th scope=col>{column}</th>" for column in columns)
        content += f"<table><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table>"
    if protocol:
        content += f'<p class="soft">Measured with: {escape(spoken(protocol))}.</p>'
    return _part(section.question, content, section.title, _flag(section.flag))


def _row(name: str, number: Number, first: bool) -> str:
    cells = (number.shown, number.interval, number.note)
    kinds = ("value", "interval", "note")
    columns = (f'<td class="{k}">{escape(c)}</td>' for k, c in zip(kinds, cells, strict=True))
    chosen = ' class="first"' if first else ""
    label = re.sub("([/_])", r"\1<wbr>", escape(name))
    return f"<tr{chosen}><th scope=row>{label}</th>{''.join(columns)}</tr>"


def _protocol(report: Report) -> str:
    terms = "".join(
        f"<div><dt>{escape(name.replace('_', ' '))}</dt>"
        f"<dd>{escape(spoken({'': value}).strip())}</dd></div>"
        for name, value in report.protocol.items()
    )
    note = '<p class="soft">Holds for all numbers, unless their section says otherwise.</p>'
    return _part("Protocol", f"{note}<dl>{terms}</dl>") if terms else ""


def _part(heading: str, content: str, title: str = "", flag: str = "") -> str:
    place = _anchor(title or heading)
    return f'<section id="{place}"><h2>{escape(heading)} {flag}</h2>{content}</section>'


def _pictures(figures: list[str]) -> str:
    content = f'<div class="pictures">{"".join(figures)}</div>'
    return _part("Pictures", content) if figures else ""


def _png(picture: Any) -> bytes:
    """PNG data of a file or of uint8 (H, W, C) or (C, H, W); empty if there is no picture."""
    if picture is None:
        return b""
    if isinstance(picture, Path):
        return picture.read_bytes() if picture.is_file() else b""
    from PIL import Image

    from .figures import to_picture

    file = BytesIO()
    Image.fromarray(to_picture(picture).numpy()).save(file, "PNG")
    return file.getvalue()


def _picture(name: str, content: bytes) -> str:
    data = b64encode(content).decode("ascii")
    text = escape(caption(name.rpartition("/")[2]))
    return (
        f'<figure id="{_place(name)}">'
        f"<figcaption>{text}</figcaption>"
        f'<img src="data:image/png;base64,{data}" alt="{text}"></figure>'
    )


def _place(picture: str) -> str:
    return _anchor(picture.replace("/", "-"))


def _anchor(title: str) -> str:
    return escape("-".join(title.lower().split()))
