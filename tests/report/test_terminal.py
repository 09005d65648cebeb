"""The card on a terminal."""

import math

from genzoo.callbacks import (
    Number,
    Report,
    Section,
)


def test_a_line_for_each_number_fits_in_a_terminal(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "80")
    numbers = {
        "recall_ratio": Number(math.inf, 83118.0, math.inf, "a note " * 20),
        "support/features": Number(math.inf, 83118.0, math.inf),
        "closest_pair/pixels": Number(123456.7, 51949.0, math.inf, "a note " * 20),
    }
    Report("M", "D", 0, [Section("diversity", "Yes.", "good", numbers)]).print()
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert "recall_ratio more than 83,118" in lines
    assert "closest_pair/pixels 123,457 51,949 or more" in lines
    assert not [line for line in lines if "support" in line or "note" in line]


def test_markup_in_a_verdict_is_only_text(capsys):
    section = Section("realism", "[red]fd[/] of [0, 1]", "unsure", {"[bold]x": Number(1.0)})
    Report("M", "D", 0, [section]).print()
    shown = capsys.readouterr().out
    assert "[red]fd[/] of [0, 1]" in shown and "[bold]x" in shown
