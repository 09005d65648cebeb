"""What independent pixels pay, against sums that are done by hand."""

import itertools
import math

import pytest
import torch

from genzoo.metrics import independent
from genzoo.metrics.independent import independent_nats


def images(n, shape=(2, 2, 2), levels=3, seed=0):
    """Levels, more of the high ones further to the right."""
    generator = torch.Generator().manual_seed(seed)
    chance = torch.rand(n, *shape, generator=generator) ** torch.linspace(0.2, 3, shape[-1])
    return (chance * levels).long().clamp(max=levels - 1)


def test_probabilities_of_all_images_sum_to_one():
    every = torch.tensor(list(itertools.product(range(3), repeat=8))).view(-1, 2, 2, 2)
    for n in (2, 50):
        nats = independent_nats(images(n), every, 3)
        assert nats.neg().exp().sum().item() == pytest.approx(1, rel=1e-9)


def by_hand(train, asked, levels):
    """The definition, in loops; the weight by leaving each image out in turn."""

    def shares(colour):
        seen = train[:, colour].flatten().tolist()
        return [(seen.count(level) + 0.5) / (len(seen) + 0.5 * levels) for level in range(levels)]

    def chance(others, place, level, weight):
        q = shares(place[0])[level]
        seen = sum(int(image[place]) == level for image in others)
        return (seen + weight * q) / (len(others) + weight)

    places = list(itertools.product(*map(range, train.shape[1:])))

    def left_out(weight):
        total = 0.0
        for i in range(len(train)):
            others = [image for j, image in enumerate(train) if j != i]
            for place in places:
                total += math.log(chance(others, place, int(train[i][place]), weight))
        return total

    weight = max(independent.WEIGHTS, key=left_out)
    return [
        -sum(math.log(chance(train, place, int(image[place]), weight)) for place in places)
        for image in asked
    ]


@pytest.mark.parametrize("n", [2, 9])
def test_it_is_the_definition(n):
    train, asked = images(n, (1, 2, 3)), images(4, (1, 2, 3), seed=1)
    assert independent_nats(train, asked, 3).tolist() == pytest.approx(by_hand(train, asked, 3))


def test_few_places_at_a_time_are_the_same(monkeypatch):
    train, asked = images(40), images(5, seed=1)
    whole = independent_nats(train, asked, 3)
    monkeypatch.setattr(independent, "PLACES", 3)
    torch.testing.assert_close(independent_nats(train.byte(), asked.byte(), 3), whole)


def test_many_images_pay_the_entropy():
    chance = torch.linspace(0.1, 0.9, 16).view(1, 4, 4)
    generator = torch.Generator().manual_seed(0)
    train, asked = (
        torch.bernoulli(chance.expand(n, -1, -1, -1), generator=generator).long()
        for n in (20_000, 5_000)
    )
    entropy = torch.distributions.Bernoulli(chance).entropy().sum().item()
    assert independent_nats(train, asked, 2).mean().item() == pytest.approx(entropy, rel=0.01)


def test_what_cannot_be_asked():
    with pytest.raises(ValueError, match=r"train must be at least 2 images like the others"):
        independent_nats(images(1), images(3), 3)
    with pytest.raises(ValueError, match=r"train must be .* \(2, 2, 1\), got \(5, 2, 2, 2\)"):
        independent_nats(images(5), images(3)[..., :1], 3)
    with pytest.raises(ValueError, match=r"images must have levels in 0..1, got 0..2"):
        independent_nats(images(5).clamp(max=1), images(3), 2)
