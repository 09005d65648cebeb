"""`genzoo human`: from images or a checkpoint to the report card."""

import json
import re

import numpy as np
import pytest
from PIL import Image

from genzoo.cli.human import main
from genzoo.report.card import Number, Report
from tests.helpers.human_study import answer_all, of_kind, pictures


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
        assert "gave wrong answers to 37.5 % of the images" in (run / page).read_text()
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
