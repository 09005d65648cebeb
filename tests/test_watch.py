"""Loops that take long print how far they are, with or without a Trainer."""

import torch

from genzoo.metrics.neighbours import nearest
from genzoo.watch import Lines, duration, watched, watching
from tests.helpers.clock import spent


def test_lines_come_after_two_seconds_and_tell_the_time_left(clock, capsys):
    assert spent(clock, Lines()(range(100), "Samples", 100), 1.5) == list(range(100))
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "Samples: 2/100, about 2 min 27 s left"
    assert said[1] == "Samples: 22/100, about 1 min 57 s left"
    assert said[-1] == "Samples: 100/100 in 2 min 30 s"
    assert len(said) == 6  # one each half minute, and the last


def test_what_is_short_says_nothing(clock, capsys):
    assert len(spent(clock, Lines()(range(100), "Samples", 100), 0.0199)) == 100
    assert capsys.readouterr().out == ""
    spent(clock, Lines()(range(1), "One long step", 1), 7.4)
    assert capsys.readouterr().out == "One long step: 1/1 in 7 s\n"


def test_many_short_steps_of_one_work_have_few_lines(clock, capsys):
    together = Lines(together=True)
    for step in range(60):
        spent(clock, together(range(2), f"Step {step}", 2), 2.5)  # 5 minutes
    said = capsys.readouterr().out.splitlines()
    assert said[:2] == ["Step 0: 1/2, about 2 s left", "Step 0: 2/2 in 5 s"]
    assert 9 <= len(said) <= 22  # one or two each half minute


def test_a_loop_within_a_loop_is_part_of_it():
    seen = []

    def show(items, description, total):
        seen.append(description)
        return items

    with watching(show):
        for i in watched(range(3), "outer", 3):
            list(watched(range(3), "inner", 3))
            if i == 1:
                break
        list(watched(range(3), "after", 3))
    list(watched(range(3), "nobody looks", 3))
    assert seen == ["outer", "after"]


def test_durations_are_for_people():
    said = [duration(x) for x in (0.4, 34, 59.6, 60, 140, 599, 3599, 3900, 7200)]
    assert said == "0 s,34 s,1 min,1 min,2 min 20 s,9 min 59 s,1 h,1 h 5 min,2 h".split(",")


def test_loops_without_a_trainer_are_watched():
    seen = []

    def show(items, description, total):
        seen.append((description, total))
        return items

    x = torch.rand(9000, 3, generator=torch.Generator().manual_seed(0))
    with watching(show):
        found = nearest(x, x[:10])
        assert list(watched(range(3), "mine", 3)) == [0, 1, 2]
    assert seen[0] == ("comparing images", 3) and seen[-1] == ("mine", 3)
    del seen[:]
    again = nearest(x, x[:10])
    assert not seen and all(map(torch.equal, found, again))
