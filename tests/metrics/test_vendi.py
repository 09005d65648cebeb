"""The Vendi score against an independent computation, closed forms, and intervals that hold."""

import math

import numpy as np
import pytest
import scipy.linalg
import torch

from genzoo.metrics.vendi import (
    compare_vendi,
    cosine,
    gaussian,
    natural_width,
    overall,
    vendi_score,
)


def independent(similarity: np.ndarray) -> float:
    """By the matrix logarithm, exp(-tr(A log A)) of A = K / n, without any eigenvalue."""
    a = similarity / len(similarity)
    return math.exp(-np.trace(a @ scipy.linalg.logm(a)).real)


@pytest.mark.parametrize("kind", ["gaussian", "cosine"])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_score_is_that_of_an_independent_computation(kind, seed):
    x = torch.randn(40, 60, generator=torch.Generator().manual_seed(seed))
    wide = x.double().numpy()
    if kind == "gaussian":
        ours = gaussian(x, 5.0)
        theirs = np.exp(-np.square(wide[:, None] - wide[None]).sum(2) / 50)
    else:
        ours = cosine(x)
        unit = wide / np.linalg.norm(wide, axis=1, keepdims=True)
        theirs = unit @ unit.T
    np.testing.assert_allclose(ours.numpy(), theirs, atol=1e-5)
    assert vendi_score(torch.from_numpy(theirs)) == pytest.approx(independent(theirs), rel=1e-8)
    assert vendi_score(ours) == pytest.approx(independent(theirs), rel=1e-4)


def test_closed_forms():
    assert vendi_score(torch.eye(7)) == pytest.approx(7)
    assert vendi_score(torch.ones(7, 7)) == pytest.approx(1)
    # m groups of equal images without likeness to each other, of sizes 1, 2, 3.
    groups = torch.tensor([0, 1, 1, 2, 2, 2])
    p = torch.tensor([1, 2, 3]) / 6
    similarity = (groups[:, None] == groups).float()
    assert vendi_score(similarity) == pytest.approx(torch.special.entr(p).sum().exp().item())
    # Two images alike by r: eigenvalues of K / 2 are (1 + r) / 2 and (1 - r) / 2.
    r = 0.3
    entropy = -sum(e * math.log(e) for e in ((1 + r) / 2, (1 - r) / 2))
    pair = torch.tensor([[1, r], [r, 1]])
    assert vendi_score(pair) == pytest.approx(math.exp(entropy), rel=1e-6)


def test_more_copies_add_nothing():
    x = torch.randn(30, 5)
    assert vendi_score(gaussian(x.repeat(4, 1), 1.0)) == pytest.approx(
        vendi_score(gaussian(x, 1.0)), rel=1e-4
    )


def test_what_is_alike_goes_by_the_nearest():
    x = torch.tensor([[0.0], [1.0], [3.0], [3.0], [8.0]])
    assert natural_width(x) == pytest.approx(math.sqrt(2))  # of 1, 1, 5 without the duplicates
    assert math.isnan(natural_width(torch.ones(4, 2)))


@pytest.mark.parametrize("n", [60, pytest.param(250, marks=pytest.mark.slow)])
def test_equal_distributions_have_ratio_one(n):
    """Of 60 runs 95 % would miss 1 in 3; more than 8 has a chance below 1 %."""
    missed = 0
    for seed in range(60):
        generator = torch.Generator().manual_seed(seed)
        scale = torch.rand(2 * n, 1, generator=generator) + 0.5
        x = scale * torch.randn(2 * n, 8, generator=generator)
        found = compare_vendi(x[:n], x[n:], natural_width(x[n:]), seed=seed)
        number = found.ratio()
        missed += not number.low <= 1 <= number.high
        assert found.n == n and number.low < number.value < number.high
    assert missed <= 8


def test_narrow_samples_score_less_and_surely_so():
    real = torch.randn(400, 8)
    for samples in (0.5 * torch.randn(400, 8), torch.randn(20, 8).repeat(20, 1)):
        number = compare_vendi(samples, real, natural_width(real)).ratio()
        assert number.high < 0.75
    wide = compare_vendi(torch.randn(900, 8), real, natural_width(real))
    assert wide.n == 400 and wide.ratio().low > 0.85
    again = compare_vendi(torch.randn(900, 8), real, natural_width(real), most=100)
    assert again.n == 100


def test_parts_together_are_surer_than_each():
    real = torch.randn(300, 8)
    parts = [compare_vendi(torch.randn(300, 8), real, 2.0, seed=seed) for seed in range(6)]
    number = overall(parts)
    single = parts[0].ratio()
    assert number.high / number.low < single.high / single.low
    logs = [math.log(part.ratio().value) for part in parts]
    assert number.value == pytest.approx(math.exp(sum(logs) / 6))
    assert parts[0].ratio(0.005).low < single.low


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: vendi_score(torch.zeros(2, 3)), r"similarity must be \(n, n\), got \(2, 3\)"),
        (lambda: vendi_score(torch.full((2, 2), math.nan)), "similarity must be finite"),
        (lambda: gaussian(torch.zeros(3, 2), 0.0), r"width must be above 0, got 0\.0"),
        (
            lambda: compare_vendi(torch.zeros(1, 2), torch.zeros(9, 2), 1.0),
            "samples and real must be at least 2 images, got 1",
        ),
    ],
)
def test_bad_arguments_are_one_clear_line(call, message):
    with pytest.raises(ValueError, match=message):
        call()
