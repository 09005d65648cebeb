"""What every model with an exact likelihood is measured by."""

from itertools import product
from math import prod

import pytest
import torch
from torch import Tensor

from genzoo.images import from_levels, to_levels
from genzoo.zoo.autoregressive.conditionals import Autoregressive
from genzoo.zoo.module import evaluating
from genzoo.zoo.networks.masked import caching


def all_images(shape: tuple[int, ...], levels: int) -> Tensor:
    values = torch.tensor(list(product(range(levels), repeat=prod(shape))))
    return from_levels(values.view(-1, *shape), levels, torch.float64)


def probabilities(model: Autoregressive, label: int | None = None) -> Tensor:
    """Of all images that there are."""
    x = all_images(model.image_shape, model.levels)
    y = None if label is None else torch.full((len(x),), label)
    with evaluating(model):
        return model.log_prob(x, y).exp()


def labels(model: Autoregressive, n: int) -> Tensor | None:
    return torch.arange(n) % model.num_classes if model.num_classes else None


def assert_cached_is_naive(model: Autoregressive, n: int = 4) -> None:
    """The same images, to the bit; model in float64."""
    c, h, w = model.image_shape
    uniforms, y = torch.rand(n, h, w, c, dtype=torch.float64), labels(model, n)
    cached = model.sample(n, y, uniforms=uniforms)
    naive = model.sample(n, y, method="naive", uniforms=uniforms)
    assert torch.equal(cached, naive)
    assert len(cached.unique()) > 1 and not torch.equal(cached[0], cached[1])
    grid = from_levels(to_levels(cached, model.levels), model.levels, torch.float64)
    assert torch.equal(cached, grid)
    assert torch.equal(model.sample(n, y, uniforms=uniforms), cached)  # nothing is left over


def assert_one_pass_is_every_step(model: Autoregressive, atol: float = 1e-5, n: int = 3) -> None:
    """Probabilities at each pixel do not heed what is not drawn yet, and caching is exact."""
    c, h, w = model.image_shape
    level = torch.randint(model.levels, (n, c, h, w))
    x, y = from_levels(level, model.levels, model.dtype), labels(model, n)
    with evaluating(model):
        whole = model.conditionals(x, y).log_prob(level)
        with caching(model, w) as place:
            for place.row in range(h):
                for place.column in range(w):
                    seen = x.clone()
                    seen.flatten(2)[:, :, place.row * w + place.column + 1 :] = 9.0
                    here = (slice(None), slice(None), place.row, place.column)
                    nats = model.conditionals(seen, y)[:, :, 0, 0].log_prob(level[here])
                    assert (nats - whole[here]).abs().max() < atol, place
        torch.testing.assert_close(model.conditionals(x, y).log_prob(level), whole)


def assert_drawn_as_likely(model: Autoregressive, n: int = 6) -> None:
    """The log-probabilities of what was drawn, one by one, sum to that of the image."""
    distribution = type(model.conditionals(torch.zeros(1, *model.image_shape).double()))
    draw, drawn = distribution.icdf, []

    def overhear(conditionals, u):
        level = draw(conditionals, u)
        drawn.append(conditionals.log_prob(level))
        return level

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(distribution, "icdf", overhear)
        x = model.sample(n)
    assert len(drawn) == prod(model.image_shape)
    with evaluating(model):
        torch.testing.assert_close(torch.stack(drawn).sum(0), model.log_prob(x))


def chi_square(model: Autoregressive, n: int = 20_000) -> float:
    """Of the frequencies of samples, against their probabilities."""
    expected = n * probabilities(model)
    digit = model.levels ** torch.arange(prod(model.image_shape)).flip(0)
    index = (to_levels(model.sample(n), model.levels).flatten(1) * digit).sum(1)
    counts = torch.bincount(index, minlength=len(expected))
    return ((counts - expected) ** 2 / expected).sum().item()
