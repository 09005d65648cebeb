"""Human evaluation: what leaves, what comes back, and a rater in a real browser."""

import csv
import json
import shutil
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from genzoo.human import (
    analyse,
    cues,
    export_study,
)
from tests.helpers.browser import Browser
from tests.helpers.human_study import other, pictures, right_answer, study


def chunks(path: Path) -> list[bytes]:
    """Names of a PNG file's chunks, and its header's fields but the size of the data."""
    content, at, found = path.read_bytes(), 8, []
    while at < len(content):
        length = int.from_bytes(content[at : at + 4])
        name = content[at + 4 : at + 8]
        found.append(name + (content[at + 8 : at + 8 + length] if name == b"IHDR" else b""))
        at += 12 + length
    return sorted(set(found))


@pytest.mark.parametrize("mode", ["single", "pairs"])
def test_nothing_in_the_published_folder_tells_real_from_generated(tmp_path, mode):
    folder, key = study(tmp_path, mode=mode)
    files = sorted((folder / "images").iterdir())
    assert {path.stem for path in files} == set(key["images"])
    assert len({tuple(chunks(path)) for path in files}) == 1  # same size, kind; no text, no time
    assert {chunk[:4] for chunk in chunks(files[0])} == {b"IHDR", b"IDAT", b"IEND"}
    assert len({path.stat().st_mtime for path in files}) == 1
    assert all(len(path.stem) == 16 and int(path.stem, 16) >= 0 for path in files)
    everything = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))
    assert everything == ["images", *(f"images/{p.name}" for p in files), "index.html"]
    page = (folder / "index.html").read_text()
    assert key["secret"] not in page
    # What the page holds of the study is its trials, in an order by hash, and nothing on any.
    told = json.loads(page.partition('id="study">')[2].partition("</script>")[0])
    assert told.keys() == {"study", "mode", "scale", "trials"}
    assert told["trials"] == sorted(told["trials"], key=min)
    assert "noise" not in page and "http" not in page.replace("http-equiv", "")
    (tmp_path / "plain").mkdir()  # temporary folders are private, what is published is not
    assert folder.stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_a_title_is_text(tmp_path):
    folder, _ = study(tmp_path, title="<b>Tom & Ann</b>")
    page = (folder / "index.html").read_text()
    assert "<h1>&lt;b&gt;Tom &amp; Ann&lt;/b&gt;</h1>" in page and "<b>Tom" not in page


def test_names_do_not_follow_from_the_seed(tmp_path):
    names = [set(study(tmp_path / str(i), seed=0)[1]["images"]) for i in range(2)]
    assert not names[0] & names[1]


def test_names_do_not_sort_by_kind(tmp_path):
    _, key = study(tmp_path, num_real=30, num_generated=30)
    kinds = [key["images"][trial[0]] for trial in key["trials"]]
    assert {"real", "generated"} <= set(kinds[:20])  # all of one kind: chance 2 * 2 ** -20


def test_pixels_arrive_enlarged_by_a_whole_factor(tmp_path):
    real, generated = pictures(6, 1), pictures(6, 2)
    path = export_study(
        real, generated, tmp_path / "s", num_real=6, num_generated=6, size=30, attention_checks=0
    )
    kinds = json.loads(path.read_text())["images"]
    for kind, images in (("real", real), ("generated", generated)):
        shown = {
            np.asarray(Image.open(tmp_path / "s" / "images" / f"{name}.png")).tobytes()
            for name, value in kinds.items()
            if value == kind
        }
        assert shown == {np.kron(x[0], np.ones((3, 3), np.uint8)).tobytes() for x in images}


def test_grey_images_stored_in_colour_leave_as_grey(tmp_path):
    path = export_study(
        pictures(5, 1),
        pictures(5, 2).repeat(3, axis=1),
        tmp_path / "s",
        num_real=5,
        num_generated=5,
    )
    images = (tmp_path / "s" / "images").iterdir()
    assert path.exists() and {Image.open(image).mode for image in images} == {"L"}


def test_colour_on_one_side_makes_all_files_colour_and_is_named_as_a_cue(tmp_path):
    grey, colour = pictures(5, 1), pictures(5, 2, channels=3)
    export_study(grey, colour, tmp_path / "s", num_real=5, num_generated=5)
    images = (tmp_path / "s" / "images").iterdir()
    assert {Image.open(image).mode for image in images} == {"RGB"}
    assert cues(grey, colour) == ["real images are grey and generated ones have colour"]
    black_and_white = (grey > 127).astype(np.uint8) * 255
    assert "two levels" in cues(grey, black_and_white)[0]
    assert cues(grey, pictures(5, 3)) == []


def test_a_pair_is_a_real_and_a_generated_image_and_no_image_is_seen_twice(tmp_path):
    _, key = study(tmp_path, mode="pairs")
    kinds = [sorted(key["images"][name] for name in trial) for trial in key["trials"]]
    assert sorted(kinds) == [["generated", "real"]] * 6 + [["noise", "real"]] * 2
    # In half of them, and of the checks, the real one is on the left.
    left = [
        {key["images"][trial[1]]} for trial in key["trials"] if key["images"][trial[0]] == "real"
    ]
    assert left.count({"generated"}) == 3 and left.count({"noise"}) == 1
    shown = [name for trial in key["trials"] for name in trial]
    assert len(set(shown)) == len(shown) == len(key["images"])


def test_the_rule_of_exclusion_is_in_the_key(tmp_path):
    _, key = study(tmp_path, attention_checks=5)
    assert key["rule"]["min_checks_right"] == 4
    assert "fewer than 4 of the 5 attention checks" in key["rule"]["text"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mode": "triples"}, "mode must be 'single' or 'pairs', got 'triples'"),
        ({"num_real": 41}, "num_real must be at most 40, got 41"),
        ({"num_real": 39, "num_generated": 39, "mode": "pairs"}, "num_real must be at most 38"),
        ({"num_generated": 0}, "num_generated must be at least 1, got 0"),
        ({"num_generated": 5, "mode": "pairs"}, "num_generated must equal num_real in pairs"),
        ({"attention_checks": -1}, "attention_checks must be 0 or more, got -1"),
    ],
)
def test_a_study_that_cannot_be_is_refused_and_leaves_nothing(tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        study(tmp_path, **options)
    assert not list(tmp_path.iterdir())


def test_images_that_do_not_match_are_refused(tmp_path):
    with pytest.raises(ValueError, match="size of the real images, .8, 8., got .9, 9.: a diff"):
        export_study(pictures(60, 1), pictures(60, 2, side=9), tmp_path / "s")
    with pytest.raises(ValueError, match="real must be uint8 images, got float64"):
        export_study(pictures(60, 1) / 255, pictures(60, 2), tmp_path / "s")
    with pytest.raises(ValueError, match="generated must be .N, 1 or 3, H, W. images"):
        export_study(pictures(60, 1), pictures(60, 2, channels=2), tmp_path / "s")


def test_what_is_there_is_not_overwritten(tmp_path):
    folder, _ = study(tmp_path)
    with pytest.raises(ValueError, match="output must be a new or an empty folder"):
        study(tmp_path)
    shutil.rmtree(folder)
    before = (tmp_path / "study-key.json").read_text()
    with pytest.raises(ValueError, match="must not overwrite the key of an earlier study"):
        study(tmp_path)
    assert (tmp_path / "study-key.json").read_text() == before


def test_a_failure_half_way_leaves_nothing(tmp_path, monkeypatch):
    def full(*_):
        raise OSError("No space left on device")

    monkeypatch.setattr("genzoo.human.study.os.utime", full)
    with pytest.raises(OSError, match="No space"):
        study(tmp_path)
    assert not list(tmp_path.iterdir())


# In a browser


def shown(browser: Browser, place: int) -> list[str]:
    """Names of the images of a trial, from left to right, as soon as it may be answered."""
    names = (
        "!by('trial').hidden && performance.now() - since > PAUSE && "
        f"by('place').textContent.startsWith('{place} of') && "
        "[...document.querySelectorAll('#hang img')].map((x) => x.naturalWidth && x.src)"
    )
    sources = browser.wait(lambda: browser.ask(names), f"trial {place}")
    assert all(sources), "an image is broken"
    return [source.rpartition("/")[2].removesuffix(".png") for source in sources]


def begin(browser: Browser, name: str) -> None:
    browser.type("#name", name)
    browser.click("#start")


def downloaded(browser: Browser, folder: Path, button: str) -> Path:
    before = set(folder.glob("answers-*.csv"))
    browser.click(button)
    (path,) = browser.wait(lambda: set(folder.glob("answers-*.csv")) - before, "the download")
    browser.wait(lambda: path.stat().st_size, "the whole file")
    return path


ARROWS = {"real": "\ue012", "left": "\ue012", "fake": "\ue014", "right": "\ue014"}


@pytest.mark.browser
@pytest.mark.parametrize("mode", ["single", "pairs"])
def test_from_the_first_click_to_the_analysed_answers(tmp_path, browser, mode):
    folder, key = study(tmp_path, mode=mode)
    browser.open((folder / "index.html").as_uri())  # from a file: no server at all
    begin(browser, "  ")
    assert browser.ask("by('problem').hidden") is False
    begin(browser, "Zoë van Dijk")
    wrong_at, expected, seen = {3, 4, 9}, [], []
    total = len(key["trials"])
    for place in range(1, total + 1):
        names = shown(browser, place)
        answer = right_answer(names, key)
        check = "noise" in {key["images"][name] for name in names}
        if place in wrong_at and not check:
            answer = other(answer)
            expected.append(names)
        seen.append(names)
        if place % 3 == 0:
            browser.press(ARROWS[answer])
        elif mode == "single" and place % 3 == 1:
            browser.press(answer[0])  # R or F
        else:
            browser.click(f"#{answer}")
        if place == 5:  # in the middle: reload, and the browser knows where it was
            next_trial = shown(browser, 6)
            part = downloaded(browser, tmp_path, "#save")
            browser.reload()
            assert shown(browser, 6) == next_trial
    browser.wait(lambda: browser.ask("!by('end').hidden"), "the end")
    path = downloaded(browser, tmp_path, "#save-end")
    browser.reload()  # nor is anything lost at the end
    browser.wait(lambda: browser.ask("!by('end').hidden"), "the end again")

    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    columns = ("image",) if mode == "single" else ("left", "right")
    assert [[row[column] for column in columns] for row in rows] == seen
    assert [int(row["position"]) for row in rows] == [*range(1, total + 1)]
    assert all(200 <= int(row["milliseconds"]) < 60_000 for row in rows)
    assert part.name == f"answers-{key['study']}-Zoë_van_Dijk.csv"
    found = analyse([part, path], tmp_path / "study-key.json")
    (rater,) = found.raters
    assert (rater.name, rater.complete, rater.checks_right) == ("Zoë van Dijk", True, 2)
    assert (rater.answers, rater.wrong) == (total - 2, len(expected))
    own = (folder.as_uri(), "blob:", "data:", "chrome:")  # the last: the browser's first tab
    asked = browser.requests()
    assert all(url.startswith(own) for url in asked), asked
    assert len([url for url in asked if url.endswith(".png")]) >= len(key["images"])


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_) -> None:
        pass


@pytest.mark.browser
def test_raters_share_a_browser_and_a_server_but_no_order(tmp_path, browser):
    folder, key = study(tmp_path)
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=folder)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        browser.open(f"http://127.0.0.1:{server.server_port}/")
        orders = "JSON.stringify(order)"
        begin(browser, "anna")
        first = shown(browser, 1)
        annas = browser.ask(orders)
        browser.click("#fake")
        shown(browser, 2)
        browser.click("#leave")
        begin(browser, "anne")
        shown(browser, 1)
        annes = browser.ask(orders)
        assert annas != annes and sorted(json.loads(annas)) == sorted(json.loads(annes))
        browser.click("#leave")
        begin(browser, "anna")  # goes on where she was, in her own order
        shown(browser, 2)
        assert browser.ask(orders) == annas and json.loads(annas)[0] == first

        # Over 2,800 raters each of the 14 trials comes first equally often: 200, sd 13.6.
        first = browser.ask(
            "[...Array(2800).keys()].map((i) => shuffled(order, generator(place(`P${i}`)))[0])"
        )
        counts = np.unique([name for (name,) in first], return_counts=True)[1]
        assert len(counts) == 14 and ((counts - 200) ** 2 / 200).sum() < 60  # p = 5e-8
        # A second click by accident is no answer.
        browser.ask("(since = performance.now(), choose(0), choose(0))")
        assert browser.ask("answers.length") == 1
        # Another tab was at work: its answers stand, and this click is not one of them.
        ahead = json.dumps([["fake", 900], ["real", 901]])
        browser.ask("localStorage.setItem(place('anna'), arguments[0])", ahead)
        shown(browser, 2)
        browser.click("#fake")
        shown(browser, 3)
        assert browser.ask("JSON.stringify(answers)") == ahead.replace(" ", "")
        server.shutdown()


@pytest.mark.browser
def test_a_missing_image_is_said_and_not_answered(tmp_path, browser):
    folder, key = study(tmp_path)
    for image in (folder / "images").iterdir():
        image.unlink()
    browser.open((folder / "index.html").as_uri())
    begin(browser, "anna")
    hidden = "by('missing').hidden"
    browser.wait(lambda: browser.ask(hidden) is False, "the message")
    browser.press(ARROWS["real"])
    browser.click("#fake")
    assert browser.ask("answers.length") == 0


@pytest.mark.browser
def test_a_browser_that_keeps_nothing_says_so_and_still_gives_the_answers(tmp_path, browser):
    folder, key = study(tmp_path)
    browser.open((folder / "index.html").as_uri())
    begin(browser, "anna")
    shown(browser, 1)
    browser.click("#fake")
    assert browser.ask("by('fragile').hidden") is True
    browser.ask("void (Storage.prototype.setItem = () => { throw new Error('quota'); })")
    for place in (2, 3):
        shown(browser, place)
        browser.click("#fake")
    assert browser.ask("by('fragile').hidden") is False
    rows = downloaded(browser, tmp_path, "#save").read_text().splitlines()
    assert len(rows) == 1 + 3
    browser.send("POST", "/execute/sync", script="memory.clear()", args=[])  # or it will not close
