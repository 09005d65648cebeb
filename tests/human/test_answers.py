"""Files of answers: what is read, and what is refused."""

import pytest

from genzoo.cli.human import main
from genzoo.human import (
    analyse,
)
from tests.helpers.human_study import answer_all, study


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
