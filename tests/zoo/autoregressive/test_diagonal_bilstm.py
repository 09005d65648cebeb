"""Diagonal BiLSTM: every earlier pixel is seen, and what only it can see it learns. What it shares
with the other model of its paper is in test_recurrent.py."""

from math import log

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from genzoo.images import to_levels
from genzoo.protocols import Completer, Density, Sampler
from genzoo.zoo.autoregressive import DiagonalBiLSTM, RowLSTM
from genzoo.zoo.autoregressive.diagonal_bilstm import DiagonalBlock
from genzoo.zoo.autoregressive.row_lstm import RecurrentNet
from genzoo.zoo.networks.masked import MaskedConv2d
from tests.helpers.exact_likelihood import dependence
from tests.helpers.tiny import Tiny
from tests.zoo.autoregressive.test_row_lstm import held_out
from tests.zoo.networks.test_recurrent import awake, small

TINY = Tiny(DiagonalBiLSTM, {"levels": 2, "width": 4, "layers": 2}, {Sampler, Density, Completer})


class PrintedNet(RecurrentNet):
    Block = DiagonalBlock


class Printed(RowLSTM):
    """The model as the paper prints it, without the empty column."""

    Network = PrintedNet


@pytest.mark.parametrize("shape", [(1, 7, 12), (1, 9, 4), (3, 4, 6), (2, 1, 9), (1, 9, 1)])
def test_every_earlier_value_is_seen(shape):
    model = small(DiagonalBiLSTM, shape, width=8)
    awake(model)
    depends = dependence(model)
    assert torch.equal(depends, torch.ones_like(depends).tril(-1))


def test_without_the_empty_column_the_last_pixel_above_is_unseen():
    """Unless the first kernel reaches it; here that is 3x3."""
    missing = {}
    for model_class in (Printed, DiagonalBiLSTM):
        model = small(model_class, (1, 9, 9))
        model.network.first = MaskedConv2d(1, 12, 3, "A").double()
        awake(model)
        depends = dependence(model)
        assert not depends.triu().any()
        unseen = torch.ones_like(depends).tril(-1) & ~depends
        missing[model_class] = unseen.view(9, 9, 9, 9).nonzero().tolist()
    assert missing[Printed] == [[i, j, i - 1, 8] for i in range(1, 9) for j in range(7)]
    assert missing[DiagonalBiLSTM] == []


# The claim


def shifted_bits(n):
    """Random bits of 7x7, but three of each row repeat what stood four to the right above them."""
    x = torch.randint(2, (n, 1, 7, 7)) * 2.0 - 1
    for i in range(1, 7):
        x[:, :, i, :3] = x[:, :, i - 1, 4:]
    return x


def cost_of_repeated_bits(model_class, seed, steps):
    """Nats of a bit that the row above knows."""
    torch.manual_seed(seed)
    model = model_class((1, 7, 7), levels=2, width=16, layers=1, lr=1e-2)
    optimizer = model.configure_optimizers()
    for _ in range(steps):
        optimizer.zero_grad()
        model.bits_per_dim(shifted_bits(32)).mean().backward()
        optimizer.step()
    x = shifted_bits(500)
    with torch.no_grad():
        nats = -model.conditionals(x).log_prob(to_levels(x, 2))
    return nats[:, :, 1:, :3].mean().item()


@pytest.mark.claim
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_what_rows_cannot_see_diagonals_learn(seed, measured):
    row = cost_of_repeated_bits(RowLSTM, seed, steps=130)
    diagonal = cost_of_repeated_bits(DiagonalBiLSTM, seed, steps=130)
    measured("nats of a repeated bit, Row LSTM (log 2 = 0.693)", row, above=0.65)
    measured("nats of a repeated bit", diagonal, below=0.05)


@pytest.mark.claim
@pytest.mark.slow
def test_as_printed_one_bit_of_three_is_never_learnt(measured):
    costs = [cost_of_repeated_bits(Printed, seed, steps=300) for seed in (0, 1, 2)]
    third = log(2) / 3
    what = "nats of a repeated bit, as printed (a third of log 2 = 0.231)"
    for seed, cost in enumerate(costs):
        measured(what, cost, above=third - 0.01, seed=seed)
    measured.median(what, costs, near=third, within=0.02)


@pytest.mark.claim
@pytest.mark.slow
def test_context_beats_independent_pixels_on_digits(measured):
    digits = np.unique(load_digits().data >= 8, axis=0)
    x = torch.from_numpy(digits).float() * 2 - 1
    costs = [held_out(x, seed, DiagonalBiLSTM, epochs=9) for seed in (0, 1, 2)]
    for seed, (independent, model) in enumerate(costs):
        measured("independent pixels, nats", independent, above=24, below=27, seed=seed)
        measured("held-out digits, nats", model, below=20, seed=seed)
