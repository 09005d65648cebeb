"""Human evaluation: what leaves, what comes back, and a rater in a real browser."""

import csv
import json
import re
import shutil
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from genzoo.cli.human import main
from genzoo.human import (
    COLUMNS,
    Estimate,
    analyse,
    bootstrap,
    clopper_pearson,
    cues,
    d_prime,
    error_rate,
    export_study,
    section,
    verdict,
)
from genzoo.human.analysis import counts_of_raters as resamples
from genzoo.report.card import Number, Report
from tests.helpers.browser import Browser

# ---------------------------------------------------------------------------------------- helpers


def pictures(n: int, seed: int, channels: int = 1, side: int = 8) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (n, channels, side, side), dtype=np.uint8)


def study(folder: Path, **options) -> tuple[Path, dict]:
    """A small study in folder/study; gives it and its key."""
    numbers = {"num_real": 6, "num_generated": 6, "attention_checks": 2, **options}
    path = export_study(pictures(40, 1), pictures(40, 2), folder / "study", **numbers)
    return folder / "study", json.loads(path.read_text())


def right_answer(shown: list[str], key: dict) -> str:
    real = key["images"][shown[0]] == "real"
    return {"single": ("fake", "real"), "pairs": ("right", "left")}[key["mode"]][real]


def other(answer: str) -> str:
    return {"real": "fake", "fake": "real", "left": "right", "right": "left"}[answer]


def answer_all(folder: Path, key: dict, rater: str, wrong=(), trials=None) -> Path:
    """A rater's CSV; `wrong` names the images (the first of a trial) answered wrongly."""
    path = folder / f"{rater}.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS[key["mode"]])
        for place, shown in enumerate(key["trials"] if trials is None else trials):
            answer = right_answer(shown, key)
            answer = other(answer) if shown[0] in wrong else answer
            writer.writerow([key["study"], rater, place + 1, *shown, answer, 700 + place])
    return path


def of_kind(key: dict, kind: str) -> list[str]:
    return sorted(name for name, value in key["images"].items() if value == kind)


# ---------------------------------------------------------------------------------------- export


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


# --------------------------------------------------------------------------------------- analysis


def coverage(spread: float, simulations: int = 400, raters: int = 30, n: int = 100) -> np.ndarray:
    """How often the intervals over raters and over answers hold the true mean of 0.3."""
    rng = np.random.default_rng(7)
    hits = np.zeros(2)
    for simulation in range(simulations):
        rates = np.clip(rng.normal(0.3, spread, (raters, 1)), 0, 1)
        seen = np.full((raters, 2), n // 2)
        wrong = rng.binomial(seen, rates)
        weights = resamples(raters, 1000, simulation)
        over_raters = bootstrap(lambda w, e=wrong, s=seen: error_rate(w @ e, w @ s), weights)
        over_answers = clopper_pearson(int(wrong.sum()), int(seen.sum()))
        for i, (_, low, high) in enumerate((over_raters, over_answers)):
            hits[i] += low <= 0.3 <= high
    return hits / simulations


def test_the_interval_over_raters_covers_where_the_binomial_one_does_not():
    # Nominal 0.95. Catalogue: raters of sd 0.1 give 0.925 over raters, 0.59 over answers.
    over_raters, over_answers = coverage(spread=0.1)
    assert 0.89 <= over_raters <= 0.97
    assert 0.50 <= over_answers <= 0.70
    over_raters, over_answers = coverage(spread=0.0)
    assert 0.91 <= over_raters <= 0.98 and over_answers >= 0.93


def test_clopper_pearson_is_scipys():
    from scipy.stats import binomtest

    for wrong, n in ((0, 20), (20, 20), (7, 31), (500, 1000)):
        exact = binomtest(wrong, n).proportion_ci(method="exact")
        assert clopper_pearson(wrong, n)[1:] == pytest.approx(tuple(exact), abs=1e-12)


def test_d_prime_of_a_known_observer():
    # An observer at distance 1.5 with no leaning: 77.3 % right on either half.
    from scipy.stats import norm

    n = 1_000_000
    wrong = np.full(2, n * norm.cdf(-0.75))
    assert d_prime(wrong, np.full(2, n)) == pytest.approx(1.5, abs=1e-4)
    assert d_prime(np.array([10, 10]), np.array([20, 20])) == pytest.approx(0)
    assert np.isfinite(d_prime(np.zeros(2), np.full(2, 50)))


def test_who_always_says_fake_is_at_half_whatever_the_shares():
    assert error_rate(np.array([10, 0]), np.array([10, 90])) == 0.5
    assert error_rate(np.array([3, 0]), np.array([4, 2]), "pairs") == 0.5


def test_errors_are_counted_by_half_and_checks_are_not_counted(tmp_path):
    _, key = study(tmp_path)
    real, generated = of_kind(key, "real"), of_kind(key, "generated")
    files = [
        answer_all(tmp_path, key, "anna", wrong=[*real[:3], generated[0]]),
        answer_all(tmp_path, key, "ben", wrong=[real[0], *generated[:2]]),
    ]
    found = analyse(files, tmp_path / "study-key.json")
    assert (found.answers, len(found.included)) == (24, 2)
    assert found.error_rate.value == pytest.approx(7 / 24)
    assert [half.value for half in found.halves.values()] == pytest.approx([4 / 12, 3 / 12])
    # Two raters: the resampled means are those of one, of both, of the other.
    assert found.error_rate[1:] == pytest.approx((3 / 12, 4 / 12))
    assert found.binomial[1:] == pytest.approx(clopper_pearson(7, 24)[1:])
    assert any("2 raters only" in note for note in found.notes)
    assert any("is not equivalence" in note for note in found.notes)


def test_pairs_are_right_from_either_side(tmp_path):
    _, key = study(tmp_path, mode="pairs")
    flipped = [trial[::-1] for trial in key["trials"]]
    files = [
        answer_all(tmp_path, key, "anna"),
        answer_all(tmp_path, key, "ben", trials=flipped),
    ]
    found = analyse(files, tmp_path / "study-key.json")
    assert found.accuracy == Estimate(1.0, 1.0, 1.0) and found.error_rate.value == 0
    names = {row[0] for row in found.rows()}
    assert {"accuracy", "wrong, real on the left", "wrong, real on the right"} <= names
    assert verdict(found)[1] == "bad" and "100.0 % of the pairs" in verdict(found)[0]


def test_who_fails_the_rule_is_left_out_and_named(tmp_path):
    _, key = study(tmp_path, num_real=10, num_generated=10, attention_checks=5)
    real, checks = of_kind(key, "real"), of_kind(key, "noise")
    not_fake = [name for name in key["images"] if name not in checks]
    half = [trial for trial in key["trials"] if trial[0] not in real]
    files = [
        answer_all(tmp_path, key, "careful", wrong=checks[:1]),
        answer_all(tmp_path, key, "asleep", wrong=checks[:2]),
        answer_all(tmp_path, key, "clicker", wrong=real),  # fake to everything
        answer_all(tmp_path, key, "early", trials=half[:8]),
        answer_all(tmp_path, key, "last", wrong=not_fake[:1], trials=key["trials"][1:]),
    ]
    found = analyse(files, tmp_path / "study-key.json")
    assert [rater.name for rater in found.included] == ["careful", "last"]
    reasons = {rater.name: rater.excluded for rater in found.raters}
    assert reasons["asleep"] == "3 of 5 attention checks right"
    assert reasons["clicker"] == "answered fake to everything"
    assert reasons["early"]
    assert "Did not finish: early, last." in found.notes
    assert "(3 left out)" in dict((row[0], row[1]) for row in found.rows())["raters"]
    with pytest.raises(ValueError, match="a rater who keeps to the key's rule, got asleep: 3 of"):
        analyse(files[1:2], tmp_path / "study-key.json")


def test_one_rater_has_no_interval(tmp_path):
    _, key = study(tmp_path)
    found = analyse([answer_all(tmp_path, key, "anna")], tmp_path / "study-key.json")
    assert found.error_rate[1:] == (None, None) == found.d_prime[1:]
    assert any("there is no interval over them" in note for note in found.notes)
    assert "none with one rater" in found.to_markdown()
    assert verdict(found)[1] == "unsure"
    assert section(found).numbers["human/error_rate"].low is None
    assert json.loads(found.to_json())["error_rate"] == [0.0, None, None]


def test_a_rater_who_saved_twice_counts_once(tmp_path):
    _, key = study(tmp_path)
    whole = answer_all(tmp_path, key, "anna")
    part = tmp_path / "part.csv"
    part.write_text("".join(whole.read_text().splitlines(keepends=True)[:6]))
    ben = answer_all(tmp_path, key, "ben")
    found = analyse([part, whole, ben], tmp_path / "study-key.json")
    assert [rater.answers for rater in found.raters] == [12, 12]


HEADER = "study,rater,position,image,answer,milliseconds"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("0123,anna,1,{image},real,7", "line 2: study must be {study}, got '0123'"),
        ("{study},anna,1,feed,real,7", "line 2: image must be of this study, got ..feed"),
        ("{study},anna,1,{image},maybe,7", "answer must be real or fake, got 'maybe'"),
        ("{study},anna,1,{image},real,1e3", "milliseconds must be a whole number, got '1e3'"),
        ("{study},,1,{image},real,7", "line 2: rater must not be empty"),
        ("{study},anna,1,{image}", "line 2: a row must have 6 fields"),
        ("{study},anna,1,{image},real,7,8", "line 2: a row must have 6 fields"),
        (
            "{study},anna,1,{image},real,7\n{study},anna,1,{image},fake,7",
            "line 3: rater 'anna' must answer each trial once, got two different answers",
        ),
    ],
)
def test_answers_that_cannot_be_are_one_line(tmp_path, capsys, line, message):
    _, key = study(tmp_path)
    fill = {"study": key["study"], "image": key["trials"][0][0]}
    path = tmp_path / "answers.csv"
    path.write_text(f"{HEADER}\n{line.format(**fill)}\n")
    with pytest.raises(ValueError, match=message.format(**fill)):
        analyse([path], tmp_path / "study-key.json")
    assert main(["analyse", str(path), "--key", str(tmp_path / "study-key.json")]) == 1
    said = capsys.readouterr().err
    assert said.startswith("genzoo human: ") and said.count("\n") == 1


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "columns must be study,rater.* got an empty file"),
        (b"study;rater\n", "columns must be study,rater.* got study;rater"),
        (b"\xff\xfe\x00", "must be a CSV file in UTF-8"),
    ],
)
def test_files_that_are_no_answers_are_refused(tmp_path, content, message):
    study(tmp_path)
    (tmp_path / "answers.csv").write_bytes(content)
    with pytest.raises(ValueError, match=message):
        analyse([tmp_path / "answers.csv"], tmp_path / "study-key.json")
    with pytest.raises(ValueError, match="key must be the JSON file that export wrote"):
        analyse([tmp_path / "answers.csv"], tmp_path / "answers.csv")


def test_a_card_is_good_only_if_the_interval_is_narrow(tmp_path):
    _, key = study(tmp_path, num_real=20, num_generated=20, attention_checks=1)
    names = {kind: of_kind(key, kind) for kind in ("real", "generated")}

    def judged(errors: list[int]):  # of 20 in each half, one number a rater
        files = [
            answer_all(tmp_path, key, f"rater {i}", [x for k in names for x in names[k][i : i + n]])
            for i, n in enumerate(errors)
        ]
        return analyse(files, tmp_path / "study-key.json")

    assert verdict(judged([10, 9, 10, 11]))[1] == "good"
    assert verdict(judged([2, 15, 3, 17]))[1] == "unsure"
    assert verdict(judged([4, 5, 6, 5]))[1] == "bad"
    sentence, flag = verdict(judged([16, 15, 14, 15]))
    assert flag == "unsure" and "take the generated ones for the real ones" in sentence


# ------------------------------------------------------------------------------- command line


def test_from_folders_to_the_report_card(tmp_path, capsys):
    for name, seed in (("real", 1), ("made", 2)):
        (tmp_path / name).mkdir()
        for i, image in enumerate(pictures(12, seed, channels=3)):
            Image.fromarray(image.transpose(1, 2, 0)).save(tmp_path / name / f"{i}.png")
    np.savez(tmp_path / "made.npz", images=pictures(12, 2, channels=3).transpose(0, 2, 3, 1))
    numbers = "--num_real 8 --num_generated 8 --attention_checks 2 --data".split()
    for source in ("made", "made.npz"):
        output = tmp_path / f"study of {source}"
        arguments = ["export", "--samples", str(tmp_path / source), *numbers]
        assert main([*arguments, str(tmp_path / "real"), "--output", str(output)]) == 0
        said = capsys.readouterr()
        assert "keep" in said.out and said.err == ""
        key = json.loads(output.with_name(f"{output.name}-key.json").read_text())
        assert key["protocol"]["samples"] == source
    wrong = [*of_kind(key, "real")[:2], *of_kind(key, "generated")[:4]]
    files = [str(answer_all(tmp_path, key, name, wrong)) for name in ("anna", "ben")]
    run = tmp_path / "run"
    run.mkdir()
    (run / "report.json").write_text(Report("DCGAN", "Digits", 10).to_json())
    arguments = ["analyse", *files, "--key", str(output.with_name(f"{output.name}-key.json"))]
    for _ in range(2):  # twice: a section replaces its own older self
        assert main([*arguments, "--output", str(tmp_path / "out"), "--report", str(run)]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "37.5 %" in said and "is not equivalence" in said
    report = Report.from_json(run / "report.json")
    assert [part.title for part in report.sections] == ["human evaluation"]
    assert report.sections[0].numbers["human/error_rate"] == Number(
        0.375, 0.375, 0.375, "by resampling raters"
    )
    for page in ("report.md", "report.html"):
        assert "took 37.5 % of the images" in (run / page).read_text()
    assert json.loads((tmp_path / "out" / "judge.json").read_text())["study"] == key["study"]
    assert "| error rate | 37.5 % |" in (tmp_path / "out" / "judge.md").read_text()


def test_from_a_checkpoint_and_a_data_set(tmp_path, capsys):
    import torch

    from genzoo.zoo import DCGAN

    arguments = {"image_shape": [1, 8, 8], "latent_dim": 4, "width": 4}
    torch.save(
        {
            "state_dict": DCGAN(**arguments).state_dict(),
            "origin": {"model": {"class_path": "genzoo.zoo.DCGAN", "init_args": arguments}},
        },
        tmp_path / "last.ckpt",
    )
    numbers = "--num_real 4 --num_generated 4 --data Digits".split()
    arguments = ["export", "--samples", str(tmp_path / "last.ckpt"), *numbers]
    assert main([*arguments, "--data.seed", "3", "--output", str(tmp_path / "study")]) == 0
    key = json.loads((tmp_path / "study-key.json").read_text())
    assert key["protocol"]["data"] == "Digits test"
    assert key["protocol"]["samples"] == "DCGAN last.ckpt"
    assert main([*arguments, "--data.sead", "3", "--output", str(tmp_path / "other")]) == 1
    assert "no option --data.sead. Did you mean --data.seed?" in capsys.readouterr().err


def test_a_checkpoint_of_a_class_of_ones_own(tmp_path, monkeypatch, capsys):
    """As `genzoo sample` takes it: by the name that the user gives."""
    import torch

    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "my_judged.py").write_text(
        "from genzoo.zoo import DCGAN\n\n\nclass Mine(DCGAN):\n    pass\n"
    )
    from my_judged import Mine

    arguments = {"image_shape": [1, 8, 8], "latent_dim": 4, "width": 4}
    made = {"model": {"class_path": "my_judged.Mine", "init_args": arguments}}
    torch.save({"state_dict": Mine(**arguments).state_dict(), "origin": made}, "last.ckpt")
    line = "export --samples last.ckpt --data Digits --num_real 4 --num_generated 4 --output study"
    assert main(line.split()) == 2
    said = capsys.readouterr().err
    assert said.startswith("genzoo human: last.ckpt is of my_judged.Mine, and a class that is not")
    assert said.endswith("give --model my_judged.Mine too, if it is yours\n")
    assert main(f"{line} --model my_judged.Missing".split()) == 2
    assert "--model my_judged.Missing is not there" in capsys.readouterr().err
    assert not (tmp_path / "study").exists()
    assert main(f"{line} --model my_judged.Mine".split()) == 0
    key = json.loads((tmp_path / "study-key.json").read_text())
    assert key["protocol"]["samples"] == "Mine last.ckpt"
    assert main(f"{line} --model GAN".replace("last.ckpt", "study").split()) == 1
    assert "--model must be left out for samples that are drawn, got GAN" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ("", 2, "required"),
        ("export", 2, "--samples"),
        ("export --samples x --data Digits --output o --sise 3", 2, "Did you mean --size?"),
        ("export --samples x.txt --data Digits --output o", 1, "must be a folder, an .npz or"),
        ("export --samples x.npz --data Digitz --output o", 1, "one of .*Digits.* got Digitz"),
        ("export --samples no.npz --data Digits --output o", 1, "no.npz"),
        ("analyse no.csv --key no.json", 1, "no.json"),
        ("analyse no.csv --key k --data.x 1", 2, "there is no option --data.x"),
        ("analyse no.csv --key k --resamples 10", 1, "--resamples must be at least 1000, got 10"),
    ],
)
def test_misuse_is_one_line(tmp_path, monkeypatch, capsys, arguments, code, message):
    monkeypatch.chdir(tmp_path)
    assert main(arguments.split()) == code
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and re.search(message, said)
    assert not list(tmp_path.iterdir())


# ---------------------------------------------------------------------------------------- browser


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
