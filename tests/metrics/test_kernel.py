"""The kernel distance: known answers, and agreement with torch-fidelity."""

import math

import numpy as np
import pytest
import torch
from torch_fidelity.metric_kid import kid_features_to_metric

from genzoo.metrics import kernel
from genzoo.metrics.kernel import cmmd, kernel_distance, kernel_distance_of_subsets
from tests.helpers.intervals import contains


def test_kernel_distance_of_gaussians_is_the_closed_form():
    """N(0, 1) and N(0.3, 1.44) in 64 dimensions: 0.31793 by the moments of the kernel."""
    found = [
        kernel_distance(torch.randn(1500, 64), 1.2 * torch.randn(1000, 64) + 0.3) for _ in range(8)
    ]
    errors = [(x.high - x.low) / 2 / 1.959964 for x in found]
    mean = sum(x.value for x in found) / 8
    assert abs(mean - 0.31793) < 4 * max(errors) / math.sqrt(8)
    assert sum(contains(x, 0.31793) for x in found) >= 6


def test_kernel_distance_of_equals_covers_zero_and_may_be_negative():
    found = [kernel_distance(torch.randn(150, 32), torch.randn(200, 32)) for _ in range(60)]
    assert sum(contains(x, 0) for x in found) >= 55
    values = torch.tensor([x.value for x in found])
    assert abs(values.mean()) < 4 * values.std() / math.sqrt(60)
    assert (values < 0).sum() > 15


def test_kernel_distance_does_not_depend_on_blocks(monkeypatch):
    x, y = torch.randn(70, 5), torch.randn(90, 5)
    whole = kernel_distance(x, y)
    monkeypatch.setattr(kernel, "ROWS", 16)
    monkeypatch.setattr(kernel, "ELEMENTS", 16 * 5)
    assert kernel_distance(x, y).value == pytest.approx(whole.value, rel=1e-12)


@pytest.mark.parametrize("n", [1300, 400])
def test_kernel_distance_of_subsets_is_torch_fidelitys(n):
    real, generated = torch.randn(1500, 48), torch.randn(n, 48) * 1.1
    size = min(1000, n)
    theirs = kid_features_to_metric(
        generated.double(),
        real.double(),
        kid_subsets=10,
        kid_subset_size=size,
        verbose=False,
        rng_seed=2020,
    )
    ours = kernel_distance_of_subsets(real, generated, subsets=10)
    assert ours.value == pytest.approx(theirs["kernel_inception_distance_mean"], rel=1e-9)
    single = kid_features_to_metric(
        generated, real, kid_subsets=10, kid_subset_size=size, verbose=False, rng_seed=2020
    )
    assert ours.value == pytest.approx(single["kernel_inception_distance_mean"], rel=1e-4)
    assert f"10 subsets of {size:,}" in ours.note


def test_cmmd_is_the_formula_by_whole_matrices(monkeypatch):
    """In numpy, of unit vectors, as the authors print it: times 1000, each with itself."""
    unit = torch.nn.functional.normalize
    x, y = unit(torch.randn(35, 16)), unit(torch.randn(25, 16) + 0.2)

    def mean(a, b):
        a, b = a.double().numpy(), b.double().numpy()
        return np.exp(-((a[:, None] - b[None]) ** 2).sum(2) / (2 * 10**2)).mean()

    def whole(x, y):
        return 1000 * (mean(x, x) + mean(y, y) - 2 * mean(x, y))

    found = cmmd(x, y)
    assert found.value == pytest.approx(whole(x, y), rel=1e-7)
    monkeypatch.setattr(kernel, "ROWS", 16)
    monkeypatch.setattr(kernel, "ELEMENTS", 16 * 5)
    assert cmmd(x, y).value == pytest.approx(found.value, rel=1e-9)
    keep = ~np.eye(35, dtype=bool)
    without = np.array([whole(x[torch.from_numpy(rest)], y) for rest in keep])
    both = 34 / 35 * ((without - without.mean()) ** 2).sum()
    keep = ~np.eye(25, dtype=bool)
    without = np.array([whole(x, y[torch.from_numpy(rest)]) for rest in keep])
    both += 24 / 25 * ((without - without.mean()) ** 2).sum()
    assert found.high - found.value == pytest.approx(1.959964 * both**0.5, rel=1e-5)
