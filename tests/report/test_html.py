"""The page: all of the card, text as text, nothing asked of a network, and readable on a phone."""

import io
import math
import re
from base64 import b64decode
from html.parser import HTMLParser

import numpy as np
import pytest
import torch
from PIL import Image

from genzoo.report.card import Number, Report, Section
from genzoo.report.html import page

NASTY = "</p><script>alert(1)</script> & $title 'x' \"y\" ${samples}"


@pytest.fixture
def report(tmp_path):
    """A card with all that a page can show, its pictures in tmp_path/figures."""
    realism = {
        "way_to_real": Number(0.904, 0.8333, 0.9949),
        "fd/a_rather_long_extractor's_name<b>": Number(2.835, 1.866, 3.804, NASTY),
        "density": Number(math.nan, note="a long note " * 12),
    }
    diversity = {"support/pixels": Number(math.inf, 83118.2, math.inf, "0 pairs collide")}
    seen = {"n_train": 1297, "extractor": "domain", "split": "test"}
    sections = [
        Section("realism", NASTY, "unsure", realism, {}, {**seen, "n_equal": 250}),
        Section("diversity", "Yes.", "good", diversity, {"pairs": None}, {**seen, "n_batch": 9}),
        Section("human evaluation", "They can.", "bad", {}, {}, {"study": "S <1>"}),
    ]
    paths = {"samples": "figures/samples.png", "diversity/pairs": "figures/pairs.png"}
    (tmp_path / "figures").mkdir()
    for i, path in enumerate(paths.values()):
        Image.fromarray(np.full((300 + i, 600, 3), 99, np.uint8)).save(tmp_path / path)
    return Report("DCGAN", "Digits & <co>", 2400, sections, {"samples": None}, paths)


class Parsed(HTMLParser):
    """Tags with their attributes, and the text of the body by lines."""

    def __init__(self, text: str):
        super().__init__()
        self.tags, self.text, self.style = [], [], ""
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_data(self, data):
        if self.lasttag == "style":
            self.style += data
        elif data.strip():
            self.text.append(data.strip())

    def all(self, tag: str) -> list[dict]:
        return [attributes for name, attributes in self.tags if name == tag]


def test_the_questions_come_first_with_their_verdicts(report, tmp_path):
    parsed = Parsed(page(report, tmp_path))
    text = "\n".join(parsed.text)
    shown = [
        "Has it memorised?",
        "There was no evaluation of memorisation.",
        "Does it look real?",
        "Is it as diverse as the data?",
        "Can people tell?",
        "They can.",
        "95 % interval",
        "Pairs.",  # a picture, then the numbers of the same question
        "0 pairs collide",
        "Protocol",
    ]
    places = [text.index(part) for part in shown]
    assert places == sorted(places)
    classes = [a["class"] for a in parsed.all("li")]
    assert classes == ["none", "unsure", "good", "bad"]
    ids = {a["id"] for a in parsed.all("section")}
    links = [a["href"] for a in parsed.all("a")]
    links_of_page = "#realism #samples #diversity #diversity-pairs #human-evaluation"
    assert links == links_of_page.split()
    assert {link[1:] for link in links} <= ids | {a["id"] for a in parsed.all("figure")}
    assert "Look at samples . ✓ good" in (said := " ".join(parsed.text))  # realism has no other
    assert "Look at pairs ." in said


def test_numbers_stand_with_intervals_notes_and_protocol(report, tmp_path):
    parsed = Parsed(page(report, tmp_path))
    text = " ".join(parsed.text)
    assert "way_ to_ real 0.904 0.8333 to 0.9949" in text  # may break after _
    assert "support/ pixels more than 83,118 0 pairs collide" in text and "inf" not in text.split()
    assert "Measured with: n equal 250." in text and "Measured with: n batch 9." in text
    assert "Report card after 2,400 training steps, by genzoo" in text
    assert ", from 1,297 training images" in text
    assert text.count("n train 1,297") == 1 and "Measured with: study S <1>." in text
    rows = parsed.all("tr")
    assert [row.get("class") for row in rows if row] == ["first"] * 3  # not density


def test_text_is_text(report, tmp_path):
    content = page(report, tmp_path)
    parsed = Parsed(content)
    assert not parsed.all("script") and "onerror" not in content
    assert parsed.text.count(NASTY) == 2  # a verdict and a note, to the letter
    assert "DCGAN on Digits & <co>" in parsed.text
    assert not parsed.all("b") or all("aria-hidden" in b for b in parsed.all("b"))


def test_it_is_one_file_that_asks_for_nothing(report, tmp_path):
    content = page(report, tmp_path)
    parsed = Parsed(content)
    pictures = [attributes["src"] for attributes in parsed.all("img")]
    files = [tmp_path / path for path in report.paths.values()]
    assert [b64decode(p.removeprefix("data:image/png;base64,")) for p in pictures] == [
        file.read_bytes() for file in files
    ]
    assert [a["alt"] for a in parsed.all("img")] == [
        "Samples, drawn at random and not chosen.",
        "Pairs.",
    ]
    outside = {"script", "iframe", "object", "embed", "video", "audio", "source", "base"}
    assert not outside & {tag for tag, _ in parsed.tags}
    addresses = [v for _, a in parsed.tags for k, v in a.items() if k in ("src", "href", "srcset")]
    assert all(address.startswith(("data:", "#")) for address in addresses)
    assert not re.search(r"url\(|@import|https?:", content)
    policy = next(a["content"] for a in parsed.all("meta") if "http-equiv" in a)
    assert policy.startswith("default-src 'none'; img-src data:;")


def test_a_notebook_shows_the_same_page_in_a_frame(report, tmp_path):
    report.figures = {"samples": torch.full((30, 60, 3), 99, dtype=torch.uint8)}
    report.sections[1].figures = {"pairs": tmp_path / "figures" / "pairs.png"}
    (frame,) = Parsed(report._repr_html_()).all("iframe")
    assert frame["sandbox"] is None  # on, with no exceptions
    inside = Parsed(frame["srcdoc"])
    kept = Parsed(page(report, tmp_path))
    assert inside.text == kept.text and not inside.all("script")
    first, second = inside.all("img")
    assert second == kept.all("img")[1]  # of a file
    png = b64decode(first["src"].removeprefix("data:image/png;base64,"))
    assert (np.asarray(Image.open(io.BytesIO(png))) == 99).all()


def test_a_picture_that_is_gone_is_left_out(report, tmp_path):
    (tmp_path / "figures" / "pairs.png").unlink()
    parsed = Parsed(page(report, tmp_path))
    assert [a["alt"] for a in parsed.all("img")] == ["Samples, drawn at random and not chosen."]
    assert "Look at pairs" not in " ".join(parsed.text)


def test_a_card_of_nothing_is_a_page(tmp_path):
    parsed = Parsed(page(Report("M", "D", 0), tmp_path))
    assert [a["class"] for a in parsed.all("li")] == ["none"] * 3
    assert not parsed.all("section") and not parsed.all("img")


def contrast(colours: list[str]) -> float:
    """WCAG's ratio of two colours, as `rgb(1, 2, 3)`."""

    def light(colour: str) -> float:
        parts = (int(part) / 255 for part in re.findall(r"\d+", colour)[:3])
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    low, high = sorted(map(light, colours))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.browser
def test_in_a_browser(report, tmp_path, browser):
    report.write(tmp_path / "report.json")

    def look(width: int, scheme: str, medium: str = "") -> np.ndarray:
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
        wish = {"media": medium, "features": [{"name": "prefers-color-scheme", "value": scheme}]}
        for command, settings in (("DeviceMetricsOverride", size), ("EmulatedMedia", wish)):
            settings = {"cmd": f"Emulation.set{command}", "params": settings}
            browser.send("POST", "/goog/cdp/execute", **settings)
        browser.screenshot(tmp_path / "shot.png")
        return np.asarray(Image.open(tmp_path / "shot.png").convert("RGB")).astype(int)

    browser.requests()
    browser.open((tmp_path / "report.html").as_uri())
    broken = "[...document.images].filter((x) => !(x.complete && x.naturalWidth)).length"
    assert browser.ask("document.images.length") == 2 and browser.ask(broken) == 0
    asked = [url for url in browser.requests() if not url.startswith(("data:", "chrome"))]
    assert asked == [(tmp_path / "report.html").as_uri()]

    colours = "[...document.querySelectorAll('.flag, h1, .soft, .note, .interval')].map((e) => {"
    colours += "let b = e; const mat = (x) => getComputedStyle(x).backgroundColor;"
    colours += "while (mat(b) === 'rgba(0, 0, 0, 0)') b = b.parentElement;"
    colours += "return [getComputedStyle(e).color, mat(b)]; })"
    wide = "document.documentElement.scrollWidth"
    for width in (1100, 375):
        paper = {}
        for scheme in ("light", "dark"):
            shot = look(width, scheme)
            assert shot.std() > 10  # something is drawn
            paper[scheme] = np.median(shot)
            assert browser.ask(wide) <= width, "it scrolls sideways"
            pairs = browser.ask(colours)
            assert len(pairs) > 10 and min(map(contrast, pairs)) >= 4.5, (width, scheme)
        assert paper["light"] > 230 and paper["dark"] < 50
    beside = "document.querySelector('.value').getBoundingClientRect().right"
    assert browser.ask(beside) > 340  # a phone's rows use the whole width
    assert np.median(look(800, "dark", "print")) == 255  # paper is white
