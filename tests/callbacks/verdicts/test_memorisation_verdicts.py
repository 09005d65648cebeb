"""What the card says of generators whose truth is known: M, has it memorised?"""

import pytest
import torch

from genzoo.features.spaces import Spaces
from genzoo.metrics.alterations import kinds, plant
from genzoo.metrics.number import Number
from tests.helpers.known_generators import clothes, digits, emoji, memorisation

SEEDS = range(5)
KINDS, FEW = tuple(kinds(28)), ("unchanged", "mirrored", "rotated")
REAL = pytest.param(clothes, marks=[pytest.mark.slow, pytest.mark.data])
COLOUR = pytest.param(emoji, marks=[pytest.mark.slow, pytest.mark.data])
WORLDS = [digits, REAL, COLOUR]
RUNS: list[tuple] = []  # whether the interval of the copied share holds the truth, of each run


@pytest.fixture(autouse=True)
def _cached(monkeypatch, tmp_path_factory):
    """One cache for all: a space is learned once for a world, and to its end."""
    monkeypatch.setattr("genzoo.features.instance.LEAST", 150)
    monkeypatch.setattr("genzoo.features.instance.MOST", 300)
    monkeypatch.setattr("genzoo.callbacks.memorisation.PLANTED", 200)
    # It decides nothing, and takes longer than all that does.
    nothing = Number(0.0)
    name = "genzoo.callbacks.memorisation.feature_likelihood_divergence"
    monkeypatch.setattr(name, lambda *args, **kwargs: nothing)
    monkeypatch.setenv("GENZOO_CACHE", str(tmp_path_factory.getbasetemp() / "spaces"))


def made(world_of, seed, monkeypatch):
    world = world_of(seed)
    world.remember(monkeypatch)
    return world


def copies(world, kind, seed):
    generator = torch.Generator().manual_seed(100 + seed)
    chosen = torch.randperm(len(world.train), generator=generator)
    source = world.train[chosen[: len(world.fresh)]]
    if len(source) < len(world.fresh):
        source = source.repeat(2, 1, 1, 1)[: len(world.fresh)]
    return plant(source, kind, generator)


def holds(number, truth):
    return number.low <= truth + 1e-9 and truth <= number.high + 1e-9


@pytest.mark.parametrize("seed", [0, *(pytest.param(s, marks=pytest.mark.slow) for s in SEEDS[1:])])
@pytest.mark.parametrize("world_of", WORLDS)
def test_fresh_real_images_and_leaks(world_of, seed, monkeypatch):
    world = made(world_of, seed, monkeypatch)
    fresh = memorisation(world, world.fresh)
    assert fresh.flag != "bad", fresh.verdict
    leak = memorisation(world, world.held_out)
    assert leak.flag == "bad" and "held-out images" in leak.verdict, leak.verdict
    assert leak.numbers["asymmetry/held_out"].value == 0.001


@pytest.mark.parametrize("seed", [0, *(pytest.param(s, marks=pytest.mark.slow) for s in SEEDS[1:])])
@pytest.mark.parametrize("world_of", WORLDS)
def test_altered_copies(world_of, seed, monkeypatch):
    """3, 10, 30 and 100 % of each kind: what the card says it would
    notice from a tenth on is never good at a tenth; what it would from 30 % on is bad at 30 %."""
    world = made(world_of, seed, monkeypatch)
    promised = memorisation(world, world.fresh).numbers
    wrong = []
    quick = world_of is digits and seed == 0  # a part of every run
    for kind in FEW if quick else KINDS:
        altered = copies(world, kind, seed)
        noticed = promised[f"planted/{kind}"].value
        for share in (0.1, 0.3) if quick else (0.03, 0.1, 0.3, 1.0):
            section = memorisation(world, world.mixed(altered, share))
            flag, copied = section.flag, section.numbers["copied"]
            RUNS.append((world_of.__name__, seed, kind, share, holds(copied, share)))
            if share >= max(0.1, noticed):
                wrong += [(kind, share, section.verdict)] * (flag == "good")
            if share >= max(0.3, noticed):
                wrong += [(kind, share, section.verdict)] * (flag != "bad")
    assert not wrong, wrong


@pytest.mark.slow
@pytest.mark.data
@pytest.mark.parametrize("seed", SEEDS)
def test_the_table_of_clothes(seed, monkeypatch):
    """What a sceptic tries first: rotated by 8 degrees, shifted by (2, 1), blurred."""
    from genzoo.images import from_uint8, to_uint8
    from genzoo.metrics.alterations import blurred, transformed

    world = made(clothes, seed, monkeypatch)
    source = from_uint8(world.train[: len(world.fresh)])
    altered = {
        "rotated": transformed(source, turn=8.0),
        "shifted": transformed(source, right=2 / 28, down=1 / 28),
        "blurred": blurred(source, 0.7),
        "mirrored": source.flip(-1),
        "darker": (source + 1) * 0.9 - 1,
    }
    for name, x in altered.items():
        x = to_uint8(x.clamp(-1, 1))
        for share in (0.1, 0.3, 1.0):
            section = memorisation(world, world.mixed(x, share))
            copied = section.numbers["copied"]
            assert section.flag == "bad", (name, share, section.verdict)
            assert holds(copied, share) and copied.low > 0.4 * share, (name, share, copied)
        few = memorisation(world, world.mixed(x, 0.03))
        assert few.flag == "bad" or few.numbers["planted/unchanged"].value > 0.03
        assert holds(few.numbers["copied"], 0.03)


@pytest.mark.slow
@pytest.mark.data
@pytest.mark.parametrize("seed", SEEDS)
def test_noisy_copies_of_emoji_in_colour(seed, monkeypatch):
    """Data with near-duplicates of its own (skin tones), where no distance is "near"."""
    world = made(emoji, seed, monkeypatch)
    source = world.train[: len(world.fresh)]
    noise = torch.randn(source.shape, generator=torch.Generator().manual_seed(seed))
    noisy = (source + 255 * 0.03 * noise).clamp(0, 255).round().byte()
    section = memorisation(world, noisy)
    assert section.flag == "bad" and section.numbers["copied"].low > 0.9, section.verdict


@pytest.mark.slow
@pytest.mark.data
def test_fresh_images_are_seldom_called_copies(monkeypatch):
    """At most 1 of 40: other halves of the fresh images, in some worlds of each kind."""
    bad = []
    for world_of, draws in ((digits, 20), (clothes, 10), (emoji, 10)):
        for seed in range(draws):
            # Each world by itself: what an image lies near to is remembered for one.
            with monkeypatch.context() as patch:
                world = made(world_of, seed % 5, patch)
                chosen = torch.Generator().manual_seed(seed)
                order = torch.randperm(len(world.fresh), generator=chosen)
                section = memorisation(world, world.fresh[order[: len(order) // 2]])
            name, copied = world_of.__wrapped__.__name__, section.numbers["copied"]
            bad += [(name, seed, section.verdict)] * (section.flag == "bad")
            RUNS.append((name, seed, "fresh", 0.0, holds(copied, 0)))
    assert len(bad) <= 1, bad


@pytest.mark.slow
def test_intervals_miss_in_at_most_one_of_twenty_runs():
    """Of all altered copies and all draws of fresh images. Runs of one world share its split, so
    that they miss together: no smaller number of runs can be held to it."""
    if len(RUNS) < 200:
        pytest.skip(f"200 runs are needed, and {len(RUNS)} were made: run the whole file with -n 0")
    missed = [run for run in RUNS if not run[-1]]
    print(f"{len(missed)} of {len(RUNS)} intervals missed: {missed}")
    assert len(missed) <= 0.05 * len(RUNS), missed


def test_the_labels_decide_nothing_before_the_test(monkeypatch):
    """Exchange which side was trained on, and samples that were copies are a leak."""
    world = made(digits, 0, monkeypatch)
    copied = memorisation(world, world.train[:550])
    assert copied.flag == "bad" and copied.verdict.startswith("Yes"), copied.verdict
    looked = []
    look = Spaces.look
    monkeypatch.setattr(Spaces, "look", lambda *args: looked.append(look(*args)) or looked[-1])
    memorisation(world, world.train[:550])
    near = looked[0]["pixels"]
    assert (near.gap == 0).all()
