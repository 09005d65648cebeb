"""What every model with an exact likelihood is measured by."""

from collections.abc import Callable
from itertools import product
from math import prod

import pytest
import torch
from torch import Tensor, nn
from torch.autograd.functional import jacobian
from torch.distributions import Distribution

from genzoo.batches import given
from genzoo.images import from_levels, to_levels
from genzoo.modes import evaluating
from genzoo.zoo.autoregressive.conditionals import Autoregressive
from genzoo.zoo.networks.masked import MaskedConv2d, caching


def all_images(shape: tuple[int, ...], levels: int) -> Tensor:
    values = torch.tensor(list(product(range(levels), repeat=prod(shape))))
    return from_levels(values.view(-1, *shape), levels, torch.float64)


def probabilities(model: Autoregressive, label: int | None = None) -> Tensor:
    """Of all images that there are."""
    x = all_images(model.image_shape, model.levels)
    y = None if label is None else torch.full((len(x),), label)
    with evaluating(model):
        return model.log_prob(x, y).exp()


def assert_sums_to_one(model: Autoregressive) -> None:
    """Over all images, for each class; model in float64."""
    for label in range(model.num_classes) if model.num_classes else [None]:
        p = probabilities(model, label)
        assert abs(p.sum().item() - 1) < 1e-10
        assert p.max() > 3 / len(p)  # not merely uniform


def dependence(model: Autoregressive, y: Tensor | None = None) -> Tensor:
    """Whether (i, j, c) of the output depends on (i, j, c) of the input, in the drawing order."""
    x = torch.rand(1, *model.image_shape, dtype=torch.float64) * 2 - 1

    def outputs(x):  # (values,): a level's logit for each, in order
        return model.conditionals(x, *given(y)).logits[0, ..., 0].movedim(0, -1)

    j = jacobian(outputs, x)[:, :, :, 0].permute(0, 1, 2, 4, 5, 3)
    values = prod(model.image_shape)
    return j.reshape(values, values) != 0


def dependence_after_training(model: Autoregressive) -> Tensor:
    """The same after three steps from weights that were all moved, masked ones too."""
    for layer in model.modules():
        if isinstance(layer, MaskedConv2d):
            nn.init.ones_(layer.weight)
    optimizer = model.configure_optimizers()
    x, y = torch.rand(4, *model.image_shape) * 2 - 1, labels(model, 4)
    for _ in range(3):
        optimizer.zero_grad()
        model.bits_per_dim(x, y).mean().backward()
        optimizer.step()
    return dependence(model, None if y is None else y[:1])


def assert_every_open_weight_learns(model: Autoregressive, n: int = 16) -> None:
    """Gradient reaches all that is not masked away, and nothing that is."""
    x, y = torch.rand(n, *model.image_shape) * 2 - 1, labels(model, n)
    model.bits_per_dim(x, y).mean().backward()
    masks = {f"{name}.weight": m.mask for name, m in model.named_modules() if hasattr(m, "mask")}
    for name, parameter in model.named_parameters():
        moved = parameter.grad != 0
        if name in masks:
            assert not moved[masks[name] == 0].any(), name
            moved = moved[masks[name] == 1]
        assert moved.all(), name


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


def logits(p: Distribution, level: Tensor) -> Tensor:
    return p.logits


def nats(p: Distribution, level: Tensor) -> Tensor:
    return p.log_prob(level)


def assert_one_pass_is_every_step(
    model: Autoregressive,
    atol: float = 1e-5,
    n: int = 3,
    seen_of: Callable[[Distribution, Tensor], Tensor] = logits,
) -> None:
    """Conditionals at each pixel do not heed what is not drawn yet, and caching is exact."""
    c, h, w = model.image_shape
    level = torch.randint(model.levels, (n, c, h, w))
    x, y = from_levels(level, model.levels, model.dtype), labels(model, n)
    with evaluating(model):
        conditionals = model.conditionals(x, *given(y))
        with caching(model, w + model.margin) as place:
            for place.row in range(h):
                for place.column in range(w + model.margin):
                    seen = x.clone()  # what is not drawn yet holds anything at all
                    drawn = place.row * w + min(place.column, w - 1) + 1
                    seen.flatten(2)[:, :, drawn:] = 9.0
                    found = model.conditionals(seen, *given(y))
                    if place.column < w:
                        here = (slice(None), slice(None), place.row, place.column)
                        one = seen_of(found[:, :, 0, 0], level[here])
                        whole = seen_of(conditionals[here], level[here])
                        assert (one - whole).abs().max() < atol, place
        # Nothing is left over.
        again = seen_of(model.conditionals(x, *given(y)), level)
        assert torch.equal(again, seen_of(conditionals, level))


def assert_completion_is_the_sample(model: Autoregressive, known: int, method: str) -> None:
    """With the same randomness and the same beginning, the rest is the same; model in float64."""
    c, h, w = model.image_shape
    uniforms, y = torch.rand(6, h, w, c, dtype=torch.float64), labels(model, 6)
    x = model.sample(6, y, uniforms=uniforms)
    mask = (torch.arange(h * w) < known).view(1, 1, h, w).expand(6, -1, -1, -1).clone()
    mask[0] = False  # not all images know equally much
    holes = torch.where(mask, x, torch.rand_like(x) * 2 - 1)
    assert torch.equal(model.complete(holes, mask, y, method, uniforms), x)
    everywhere = torch.ones_like(mask)
    assert torch.equal(model.complete(holes, everywhere, y, method, uniforms), holes)


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
