"""Checks whose answers a GPU gives later: none is forgotten, and none ends another training."""

import pickle

import pytest
import torch

from genzoo import checks
from genzoo.zoo import GAN
from tests.helpers.models import SHAPE
from tests.helpers.pretended_gpu import GPU
from tests.helpers.training import bits, fit, loader


class OnGpu:
    """A condition that a GPU answers, as far as `refuse_unless` looks."""

    device = GPU

    def __init__(self, holds: bool):
        self.holds, self.asked = holds, False

    def __bool__(self) -> bool:
        self.asked = True
        return self.holds


def grey() -> ValueError:
    return ValueError("grey")


@pytest.fixture
def in_step():
    training = checks.PutOff()
    checks.put_off(lambda: True, training)
    yield training
    checks.put_off(bool)


def test_a_gpu_is_asked_later_and_nothing_is_forgotten(in_step):
    conditions = [OnGpu(True), OnGpu(False), OnGpu(True)]
    for condition in conditions:
        checks.refuse_unless(condition, grey)
    assert not any(condition.asked for condition in conditions)
    with pytest.raises(ValueError, match="grey"):
        in_step.look()
    in_step.look()  # once is enough
    with pytest.raises(ValueError, match="grey"):
        for _ in range(checks.MOST):
            checks.refuse_unless(OnGpu(False), grey)


def test_out_of_a_step_and_on_the_cpu_the_answer_comes_at_once(in_step):
    with pytest.raises(ValueError, match="grey"):
        checks.refuse_unless(torch.tensor(False), grey)
    checks.put_off(bool)
    with pytest.raises(ValueError, match="grey"):
        checks.refuse_unless(OnGpu(False), grey)


class AsOnGpu(GAN):
    """Its second step meets what it must not."""

    def __init__(self):
        super().__init__(SHAPE, width=8, latent_dim=4)
        self.steps = 0

    def generator_loss(self, batch):
        self.steps += 1
        checks.refuse_unless(OnGpu(self.steps != 2), grey)
        return super().generator_loss(batch)

    def validation_step(self, batch, batch_idx):
        assert not checks._in_step()


def test_a_training_ends_over_what_was_put_off():
    model = AsOnGpu()
    with pytest.raises(ValueError, match="grey"):
        fit(model, loader(bits(24)), steps=9)
    assert model.steps == 3  # the epoch's end
    assert not checks._in_step()


class Ends(AsOnGpu):
    """Its third step ends in another error, before anybody has looked at the second."""

    def generator_loss(self, batch):
        if self.steps == 2:
            raise RuntimeError("another error")
        return super().generator_loss(batch)


def test_what_one_training_had_put_off_ends_no_other():
    first, second = Ends(), AsOnGpu()
    second.steps = 2  # its bad step is behind it
    with pytest.raises(RuntimeError, match="another error"):
        fit(first, loader(bits(24)), steps=9)
    assert pickle.loads(pickle.dumps(first)).steps == 2
    fit(second, loader(bits(24)), steps=6)  # another model's
    first.steps = 3
    fit(first, loader(bits(24)), steps=6)  # and its own, begun anew
    assert (first.steps, second.steps) == (9, 8)
