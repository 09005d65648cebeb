"""What answers say, against observers whose answers are known."""

import json

import numpy as np
import pytest

from genzoo.human import (
    Estimate,
    analyse,
    bootstrap,
    clopper_pearson,
    d_prime,
    error_rate,
    section,
    verdict,
)
from genzoo.human.analysis import counts_of_raters as resamples
from tests.helpers.human_study import answer_all, of_kind, study


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
