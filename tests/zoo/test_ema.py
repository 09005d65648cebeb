"""Averages of weights: how fast they forget, and that they go on where they were."""

import copy
import pickle

import pytest
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from genzoo.zoo import GAN, PixelCNNpp
from genzoo.zoo.ema import Average
from tests.helpers.training import bits, fit, loader


def constant(value: float) -> nn.Linear:
    layer = nn.Linear(1, 1)
    for parameter in layer.parameters():
        nn.init.constant_(parameter, value)
    return layer


def test_the_first_weights_are_soon_forgotten():
    """At 0.999 they were 27 % of the average after 1,312 steps; now next to nothing after ten."""
    left = {}
    for warmup in (True, False):
        average = Average(constant(1.0), 0.999, warmup)
        average.updates += not warmup  # else they would be replaced at once
        for step in range(1, 1312):
            average.update(constant(0.0))
            if step == 10:
                left[warmup, 10] = average.module.weight.item()
        left[warmup, 1311] = average.module.weight.item()
    assert left[True, 10] == pytest.approx(1.08e-5, rel=0.01) and left[True, 1311] < 1e-12
    assert left[False, 1311] == pytest.approx(0.269, abs=0.001)


def test_the_decay_rises_to_its_value_and_no_further():
    average = Average(nn.Linear(1, 1), 0.9)
    decays = []
    for _ in range(120):
        decays.append(average.decay_now())
        average.update(nn.Linear(1, 1))
    assert decays[:3] == pytest.approx([1 / 10, 2 / 11, 3 / 12])
    assert decays[79:83] == pytest.approx([80 / 89, 81 / 90, 0.9, 0.9]) and decays[-1] == 0.9


def test_without_warmup_it_is_torchs_own_average():
    network = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    reference = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(0.9), use_buffers=True)
    average = Average(network, 0.9, warmup=False)
    for _ in range(5):
        for parameter in network.parameters():
            parameter.data += torch.randn_like(parameter)
        network(torch.randn(8, 3))
        reference.update_parameters(network)
        average.update(network)
    expected, found = reference.module.state_dict(), average.module.state_dict()
    counts = "1.num_batches_tracked"  # a mean of counts is no count
    assert all(torch.equal(v, found[key]) for key, v in expected.items() if key != counts)
    assert found[counts] == 5
    # What torch's average wrote is read, its count included; a count that is missing is missed.
    again = Average(network, 0.9)
    again.load_state_dict(reference.state_dict())
    assert again.updates == 5 and torch.equal(again.module[0].weight, average.module[0].weight)
    state = average.state_dict()
    assert set(state) == set(reference.state_dict()) and state["n_averaged"] == 5
    del state["n_averaged"]
    with pytest.raises(RuntimeError, match="n_averaged"):
        again.load_state_dict(state)


def test_the_count_is_a_number_and_is_copied_and_pickled():
    average = Average(nn.Linear(1, 1), 0.9)
    average.update(nn.Linear(1, 1))
    for copied in (copy.deepcopy(average), pickle.loads(pickle.dumps(average))):
        assert copied.updates == 1 and isinstance(copied.updates, int)
    assert not list(average.buffers()) and not any(p.requires_grad for p in average.parameters())


@pytest.mark.parametrize("decay", [-0.1, 1.0, float("nan")])
def test_impossible_decays_are_refused(decay):
    with pytest.raises(ValueError, match=r"ema_decay must be in \[0, 1\), got"):
        Average(nn.Linear(1, 1), decay)


@pytest.mark.parametrize("model_class", [GAN, PixelCNNpp])
def test_a_model_warms_up_and_goes_on_where_it_was(model_class, tmp_path):
    sizes = {"GAN": {"latent_dim": 2}, "PixelCNNpp": {"levels": 2, "layers": 1, "mixtures": 1}}
    sizes = {**sizes[model_class.__name__], "width": 8, "ema_decay": 0.999}
    model = model_class((1, 8, 8), **sizes)
    first = copy.deepcopy(model.ema.module.state_dict())
    runner = fit(model, loader(bits(24)), steps=4)
    runner.save_checkpoint(tmp_path / "m.ckpt")
    loaded = model_class.load_from_checkpoint(tmp_path / "m.ckpt", weights_only=True)
    assert loaded.ema.updates == model.ema.updates == 4
    network = model.generator if model_class is GAN else model.network
    for (key, mean), now in zip(
        model.ema.module.named_parameters(), network.parameters(), strict=True
    ):
        # 1/10 2/11 3/12 4/13 of the first weights are left, and the rest is of later ones
        off = (mean - now).norm() / (first[key] - now).norm().clamp(min=1e-9)
        assert off < 0.7, key
