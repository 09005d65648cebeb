"""Numbers that a training is steered by: Python's while it runs, tensors in the file."""

import copy

import pytest
import torch
from torch import nn

from genzoo.zoo import AEGAN, LFVI, AdaGAN, GoGAN, ProgressiveGAN
from genzoo.zoo.networks.kept import Kept

NUMBERS = {"width": 4, "latent_dim": 4}


class Counted(Kept, nn.Linear):
    kept = ("turns", "share")
    turns, share = 0, 0.0


def test_they_are_in_the_state_dictionary_and_come_back():
    module, other = nn.Sequential(Counted(2, 1)), nn.Sequential(Counted(2, 1))
    module[0].turns, module[0].share = 3, 0.25
    state = module.state_dict()
    assert list(state) == ["0.weight", "0.bias", "0.turns", "0.share"]
    assert state["0.turns"].dtype == torch.int64 and state["0.share"].dtype == torch.float32
    other.load_state_dict(state)
    assert (other[0].turns, other[0].share) == (3, 0.25)
    assert type(other[0].turns) is int and type(other[0].share) is float
    assert copy.deepcopy(module)[0].turns == 3 and Counted(2, 1).turns == 0
    module[0].share = 1  # a whole number by hand is no reason to forget what it is
    other.load_state_dict(module.state_dict())
    assert type(other[0].share) is float


def test_a_file_without_them_is_refused_unless_that_is_allowed():
    module = Counted(2, 1)
    state = module.state_dict()
    del state["turns"]
    with pytest.raises(RuntimeError, match='Missing key.*"turns"'):
        module.load_state_dict(state)
    assert module.load_state_dict(state, strict=False).missing_keys == ["turns"]
    with pytest.raises(RuntimeError, match='Unexpected key.*"moves"'):
        module.load_state_dict({**module.state_dict(), "moves": torch.tensor(1)})


@pytest.mark.parametrize(
    ("model", "key", "value"),
    [
        (GoGAN((1, 8, 8), **NUMBERS), "phase", 1),
        (AdaGAN((1, 8, 8), **NUMBERS), "discriminator.turn", 2),
        (AdaGAN((1, 8, 8), **NUMBERS), "phase_moves", 7),
        (ProgressiveGAN((1, 8, 8), **NUMBERS), "growth", 0.25),
        (LFVI((1, 8, 8), **NUMBERS), "num_data", 100),
    ],
    ids=lambda x: type(x).__name__ if isinstance(x, nn.Module) else str(x),
)
def test_files_of_before_have_the_same_names(model, key, value):
    """Then they were buffers: tensors without dimensions, on whatever device."""
    state = {**model.state_dict(), key: torch.tensor(value)}
    assert key in model.state_dict() and key not in dict(model.named_buffers())
    model.load_state_dict(state)
    assert model.state_dict()[key].item() == value


@pytest.mark.parametrize(
    ("kind", "older", "phase"),
    [
        (GoGAN, {"stage": 1}, (1, 0)),
        (AdaGAN, {"discriminator.turn": 0, "lessons": 0}, (0, 0)),
        (AdaGAN, {"discriminator.turn": 2, "lessons": 7}, (3, 7)),
        (AdaGAN, {"discriminator.turn": 2, "lessons": 500}, (4, 0)),
        (ProgressiveGAN, {"growth": 0.25}, (0, 0)),
        (AEGAN, {}, (0, 0)),
    ],
)
def test_files_of_before_there_were_phases_are_read(kind, older, phase):
    model = kind((1, 8, 8), **NUMBERS)
    state = {k: v for k, v in model.state_dict().items() if k not in ("phase", "phase_moves")}
    model.phase, model.phase_moves = 9, 9
    model.load_state_dict({**state, **{key: torch.tensor(n) for key, n in older.items()}})
    assert (model.phase, model.phase_moves) == phase
