"""Networks that take noise out: sizes of the papers, their conditions, what they cannot be."""

import pytest
import torch

from genzoo.conditions import Classes, ImageOf, Nothing, Vector
from genzoo.zoo.networks import DenoisingUNet, TimeMLP
from genzoo.zoo.networks.embedding import ConditionEmbedding, sinusoids


@pytest.mark.parametrize(
    ("side", "multipliers", "attention", "parameters"),
    [
        (32, (1, 2, 2, 2), (16,), 35_746_307),  # CIFAR-10, "35.7 million" (app. B)
        (256, (1, 1, 2, 2, 4, 4), (16,), 113_673_219),  # "114 million"
    ],
)
def test_the_papers_networks(side, multipliers, attention, parameters):
    with torch.device("meta"):
        network = DenoisingUNet(
            (3, side, side), Nothing(), 128, 2, 0.1, multipliers=multipliers, attention=attention
        )
    assert sum(p.numel() for p in network.parameters()) == parameters


@pytest.mark.parametrize("side", [8, 16, 32, 64, 256])
def test_from_8_to_256_pixels_by_numbers(side):
    """Down to 4 pixels a side or more, on any device, and nothing is said at first."""
    multipliers = (1, 2) if side == 8 else (1, 1, 2)
    with torch.device("meta"):
        network = DenoisingUNet((3, side, side), Classes(10), 32, 1, multipliers=multipliers)
        x, c, y = torch.randn(2, 3, side, side), torch.rand(2), torch.zeros(2, dtype=torch.long)
        assert network(x, c, y).shape == x.shape


@pytest.mark.parametrize("patch", [1, 2])
def test_at_first_it_says_nothing_and_then_sees_all(patch):
    torch.manual_seed(0)
    network = DenoisingUNet((1, 16, 16), Nothing(), 16, 1, multipliers=(1, 2), patch=patch)
    x, c = torch.randn(1, 1, 16, 16), torch.tensor([3.0])
    assert not network(x, c).any()
    for p in network.parameters():
        if p.ndim > 1:
            torch.nn.init.normal_(p, std=0.1)
    x.requires_grad_()
    (slope,) = torch.autograd.grad(network(x, c)[0, 0, 3, 12], x)
    assert (slope != 0).all()  # attention in the middle
    assert not torch.allclose(network(x, c), network(x, torch.tensor([4.0])))


def test_a_patch_costs_less():
    def work(patch):
        with torch.device("meta"):
            sides = {"multipliers": (1, 2), "attention": ()}
            network = DenoisingUNet((1, 32, 32), Nothing(), 16, 1, patch=patch, **sides)
            pixels = []
            for part in network.modules():
                if isinstance(part, torch.nn.Conv2d):
                    part.register_forward_hook(lambda _, x, out: pixels.append(out[0, 0].numel()))
            network(torch.randn(1, 1, 32, 32), torch.rand(1))
        return sum(pixels)

    assert work(1) == 4 * work(2)


def test_sinusoids():
    waves = sinusoids(torch.tensor([0.0, 2.0]), 8)
    assert waves.shape == (2, 8)
    torch.testing.assert_close(waves[0], torch.tensor([0.0] * 4 + [1.0] * 4))
    assert waves[1, 0] == torch.tensor(2.0).sin()
    assert waves[1, 3].item() == pytest.approx(2e-4, rel=1e-4)
    assert sinusoids(torch.rand(3), 1).shape == (3, 1)
    assert sinusoids(torch.rand(3), 7).shape == (3, 7)


def test_no_condition_has_a_code_of_its_own():
    """A row for no class, and one for no numbers, which is not what a network says of zeros."""
    embedding = ConditionEmbedding(Classes(3), 4)
    codes = embedding.vector(torch.tensor([-1, 0, 1, 2]))
    assert len(codes.unique(dim=0)) == 4
    embedding = ConditionEmbedding(Vector(2), 4)
    zeros, others = embedding.vector(torch.zeros(2, 2)), embedding.vector(torch.eye(2))
    assert torch.equal(zeros, embedding.codes["of_"].none.expand(2, 4))
    assert not torch.allclose(zeros, others)
    embedding = ConditionEmbedding(ImageOf((3, 4, 4)), 4)
    assert embedding.vector(torch.zeros(1, 3, 4, 4)) is None and embedding.planes == 3
    beside = embedding.beside(torch.zeros(1, 1, 8, 8), torch.ones(1, 3, 4, 4))
    assert beside.shape == (1, 4, 8, 8) and beside[:, 1:].min() == 1


def test_points():
    network = TimeMLP((2,), Classes(3), 16, 2)
    assert network(torch.randn(5, 2), torch.rand(5), torch.arange(5) % 3).shape == (5, 2)
