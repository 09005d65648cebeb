"""Row LSTM: how far it sees, and that an LSTM over rows learns digits. What it shares with the
other model of its paper is in test_recurrent.py."""

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from genzoo.protocols import Completer, Density, Sampler
from genzoo.zoo.autoregressive import RowLSTM
from tests.helpers.tiny import Tiny
from tests.zoo.networks.test_recurrent import dependence, small

TINY = Tiny(RowLSTM, {"levels": 2, "width": 4, "layers": 2}, {Sampler, Density, Completer})


def test_context_is_a_triangle():
    """One layer: what the 7x7 kernel saw at the pixel, one to its left, and those that states
    come from, a pixel wider on each side with every row."""
    height, width = 9, 17
    depends = dependence(small(RowLSTM, (1, height, width))).view(height, width, height, width)
    for i, j in ((8, 8), (8, 0), (5, 16), (4, 5)):
        up = i - torch.arange(height)[:, None]
        right = torch.arange(width) - j
        above = (up > 0) & (right >= -up - 4) & (right <= up + 2)
        row = (up == 0) & (right >= -4) & (right < 0)
        assert torch.equal(depends[i, j], above | row)


# The claim


@pytest.mark.claim
@pytest.mark.slow
def test_context_beats_independent_pixels_on_digits(measured):
    """Held-out digits cost an independent Bernoulli for each pixel about 25 nats."""
    digits = np.unique(load_digits().data >= 8, axis=0)  # some occur twice: held out is held out
    costs = [held_out(torch.from_numpy(digits).float() * 2 - 1, seed) for seed in (0, 1, 2)]
    for seed, (independent, model) in enumerate(costs):
        measured("independent pixels, nats", independent, above=24, below=27, seed=seed)
        measured("held-out digits, nats", model, below=min(20, independent - 4), seed=seed)


def held_out(x, seed, model_class=RowLSTM, epochs=7, layers=2):
    """Nats of 200 digits: of independent pixels, and of the best epoch on 200 others."""
    torch.manual_seed(seed)
    x = x[torch.randperm(len(x))].view(-1, 1, 8, 8)
    train, validation, test = x[:-400], x[-400:-200], x[-200:]
    chance = torch.distributions.Bernoulli(((train + 1) / 2).mean(0).clamp(1e-3, 1 - 1e-3))
    independent = -chance.log_prob((test + 1) / 2).flatten(1).sum(1).mean().item()
    model = model_class((1, 8, 8), levels=2, width=16, layers=layers, lr=1e-2)
    optimizer, best = model.configure_optimizers(), (float("inf"), float("inf"))
    for _ in range(epochs):
        for batch in train[torch.randperm(len(train))].split(32):
            optimizer.zero_grad()
            model.bits_per_dim(batch).mean().backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), model.clip_norm)
            optimizer.step()
        with torch.no_grad():
            cost = tuple(-model.log_prob(part).mean().item() for part in (validation, test))
        best = min(best, cost)
    return independent, best[1]
