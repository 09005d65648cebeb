"""Weights as pictures."""

import pytest
import torch

from genzoo.callbacks import Filters
from genzoo.callbacks.filters import shaded
from genzoo.report.figures import GAP
from genzoo.zoo import RBM
from tests.helpers.toy_model_and_data import Data, Toy, trainer
from tests.helpers.training import bits, loader


def test_grey_is_nothing_and_each_has_its_own_scale():
    filters = torch.tensor([[0.0, 1.0, -2.0, 0.5], [0.0, 0.01, 0.0, -0.005]]).view(2, 1, 2, 2)
    assert shaded(filters).flatten(1).tolist() == [[128, 192, 1, 160], [128, 255, 128, 64]]
    assert (shaded(torch.zeros(1, 1, 2, 2)) == 128).all()


def test_the_heaviest_units_come_first(tmp_path):
    model, own = RBM((1, 8, 8), hidden=5, sweeps=2), Filters(count=2, columns=2)
    with torch.no_grad():
        model.weight.zero_()
        model.weight[0, 3], model.weight[1, 1], model.weight[2, 0] = 3.0, 2.0, 1.0
    trainer(tmp_path, [own]).test(model, loader(bits(8)), verbose=False)
    page = own.figures["filters"]
    bright = [(page[8:72, left : left + 64, 0] == 255).nonzero()[0].tolist() for left in (8, 80)]
    assert bright == [[0, 0], [0, 8]]  # units 3 and 1: the first pixel and the second, enlarged
    assert page.shape == (80, 152, 3) and (page[:8] == GAP).all()


def test_who_has_no_filters_is_refused_by_name(tmp_path):
    with pytest.raises(TypeError, match="Filters needs .* filters, which Toy lacks"):
        trainer(tmp_path, [Filters()]).test(Toy(), Data(), verbose=False)
    with pytest.raises(ValueError, match="count must be at least 1, got 0"):
        Filters(count=0)
