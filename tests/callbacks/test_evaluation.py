"""What an evaluation is: its settings, whose model it takes, and what it says where it fails."""

import warnings

import lightning as L
import pytest
import torch

from genzoo.callbacks import Evaluation, make_evaluable
from genzoo.features.extractors import Pixels
from tests.helpers.fingerprint import Fingerprint, fingerprint
from tests.helpers.toy_model_and_data import Data, Toy, trainer

pytestmark = pytest.mark.usefixtures("empty_cache")


def test_a_foreign_module_is_made_evaluable(tmp_path):
    class Foreign(L.LightningModule):
        training_step, configure_optimizers = Toy.training_step, Toy.configure_optimizers
        sample = Toy.sample

        def __init__(self):
            super().__init__()
            self.net, self.drawn = Toy().net, 0

    own, model = fingerprint(), Foreign()
    with pytest.warns(UserWarning, match="Foreign has no validation_step.*make_evaluable"):
        trainer(tmp_path, [own]).fit(model, Data())
    assert own.section is None
    assert make_evaluable(model) is model
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*validation_step.*")
        trainer(tmp_path, [own]).fit(model, Data())
    assert own.section is not None
    trainer(tmp_path, [own]).test(model, Data(), verbose=False)
    assert own.section.protocol["split"] == "test"
    toy = Toy()
    step = toy.validation_step
    assert make_evaluable(toy).validation_step == step


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"num_samples": 1}, "num_samples must be at least 2, got 1"),
        ({"num_real": 0}, "num_real must be at least 2, got 0"),
        ({"every_n_epochs": -1}, "every_n_epochs must be 0 or more, got -1"),
        ({"seed": -1}, "seed must be 0 or more, got -1"),
    ],
)
def test_settings_are_checked(settings, message):
    with pytest.raises(ValueError, match=message):
        Fingerprint(**settings)


def fault(kind):
    """As numerical code ends."""
    if kind == "zero":
        return 1 / len([])
    if kind == "matrix":
        return torch.linalg.cholesky(-torch.eye(2))
    if kind == "assert":
        raise AssertionError("a covariance has no negative variances, at least 7, got 6")
    raise ValueError("images must be at least 7, got 6")


@pytest.mark.parametrize("kind", ["value", "zero", "matrix", "assert"])
def test_a_question_without_an_answer_leaves_the_others(tmp_path, kind):
    class Helpless(Fingerprint):
        def evaluate(self, evidence):
            fault(kind)

    settings = {"extractor": Pixels(), "num_samples": 20}
    helpless, other = Helpless(**settings), Fingerprint(**settings)
    with pytest.warns(UserWarning, match="Helpless has no answer at step 0: "):
        trainer(tmp_path, [helpless, other]).test(Toy(), Data(), verbose=False)
    assert helpless.section.flag == "unsure" and "Not measured: " in helpless.section.verdict
    assert kind != "value" or "at least 7, got 6" in helpless.section.verdict
    assert other.section.numbers


def test_an_evaluation_must_evaluate():
    with pytest.raises(TypeError, match="evaluate"):
        Evaluation()
