"""The section of people's answers on a card."""

from genzoo.human import (
    analyse,
    verdict,
)
from tests.helpers.human_study import answer_all, of_kind, study


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
