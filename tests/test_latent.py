"""Walks, planes and edits in a latent space, against a decoder that can be read."""

import math

import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch import nn

from genzoo.datamodules import Digits
from genzoo.images import from_uint8
from genzoo.latent import direction, edit, manifold, traverse
from genzoo.zoo.variational import BetaVAE
from tests.helpers.training import trainer


class Legible(nn.Module):
    """An image is its latent, in the pixels of a row."""

    def __init__(self, dim: int = 3, num_classes: int = 0):
        super().__init__()
        self.dim, self.num_classes = dim, num_classes

    def prior(self, n):
        return torch.randn(n, self.dim, dtype=torch.double)

    def decode(self, z, y=None):
        assert (y is None) == (not self.num_classes)
        z = z if y is None else z + 10 * y[:, None]
        return z[:, None, None]

    def encode(self, x, y=None):
        z = x[:, 0, 0]
        return z if y is None else z - 10 * y[:, None]


def test_a_direction_is_the_difference_of_the_mean_codes():
    x = torch.randn(40, 1, 1, 3)
    has = torch.arange(40) < 12
    expected = x[:12].mean(0)[0, 0] - x[12:].mean(0)[0, 0]
    torch.testing.assert_close(direction(Legible(), x, has), expected)
    y = torch.arange(40) % 2
    told = Legible(num_classes=2)
    shifted = told.decode(x[:, 0, 0], y)
    torch.testing.assert_close(direction(told, shifted, has, y), expected)


def test_within_groups_what_goes_along_with_the_attribute_cancels():
    """The attribute adds 1 to the first entry, the class 5 to the second; they are correlated."""
    has = torch.tensor([1] * 9 + [0] + [1] + [0] * 9 + [1] * 3).bool()
    group = torch.tensor([0] * 10 + [1] * 10 + [2] * 3)  # the last knows one kind only
    x = torch.stack((has.float(), 5.0 * group, torch.zeros(23)), dim=1)[:, None, None]
    model = Legible()
    torch.testing.assert_close(direction(model, x, has, within=group), torch.tensor([1.0, 0, 0]))
    assert direction(model, x, has)[1] < -1  # it does not cancel by itself
    with pytest.raises(ValueError, match="has must tell some images from others"):
        direction(model, x, torch.ones(23))


def test_edits_move_by_the_direction_and_no_further():
    x, along = torch.randn(4, 1, 1, 3), torch.tensor([1.0, -2.0, 0.0])
    model = Legible()
    torch.testing.assert_close(edit(model, x, along), x + along)
    torch.testing.assert_close(edit(model, x, along, 0), x)
    strength = torch.tensor([0.0, 1.0, 2.0, -1.0])
    moved = edit(model, x, along, strength)
    torch.testing.assert_close(moved, x + strength.view(-1, 1, 1, 1) * along)
    y = torch.tensor([0, 1, 0, 1])
    torch.testing.assert_close(edit(Legible(num_classes=2), x, along, 1.0, y), x + along)


def test_traversals_change_one_dimension_each():
    z = torch.tensor([0.5, -1.0, 2.0])
    walks = traverse(Legible(), z, steps=5, reach=2.0)
    assert walks.shape == (3, 5, 1, 1, 3)
    for i in range(3):
        others = [j for j in range(3) if j != i]
        assert walks[i, :, 0, 0, i].tolist() == [-2, -1, 0, 1, 2]
        assert (walks[i, :, 0, 0, others] == z[others]).all()
    some = traverse(Legible(num_classes=2), z, [2, 0], steps=5, reach=2.0, y=torch.tensor([1]))
    torch.testing.assert_close(some, walks[[2, 0]] + 10)
    with pytest.raises(ValueError, match=r"dimensions must be in 0\.\.2, got \[3\]"):
        traverse(Legible(), z, [3])
    with pytest.raises(ValueError, match="steps must be at least 2, got 1"):
        traverse(Legible(), z, steps=1)


def test_a_manifold_is_even_in_probability():
    z = manifold(Legible(2), side=10)[:, :, 0, 0]  # (10, 10, 2)
    right, up = z[0, :, 0], z[:, 0, 1]
    assert (z[..., 0] == right).all() and (z[..., 1] == up[:, None]).all()
    chance = 0.5 * (1 + torch.erf(right / math.sqrt(2)))
    torch.testing.assert_close(chance, torch.linspace(0.05, 0.95, 10).double())
    torch.testing.assert_close(up, right.flip(0))  # the second entry grows upwards
    with pytest.raises(ValueError, match="latent_dim must be 2 for a picture of the plane, got 3"):
        manifold(Legible(3))
    with pytest.raises(ValueError, match="side must be at least 2, got 1"):
        manifold(Legible(2), side=1)


# The claim


def framed(x: torch.Tensor, has: torch.Tensor) -> torch.Tensor:
    """8x8 digits on 10x10, some with a white frame around."""
    x = nn.functional.pad(x, (1, 1, 1, 1), value=-1.0)
    frame = torch.ones(10, 10).bool()
    frame[1:-1, 1:-1] = False
    return torch.where(has.view(-1, 1, 1, 1) & frame, 1.0, x)


def has_frame(x: torch.Tensor) -> torch.Tensor:
    border = torch.cat((x[:, 0, 0], x[:, 0, -1], x[:, 0, :, 0], x[:, 0, :, -1]), dim=1)
    return border.mean(1) > 0


@pytest.mark.claim
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_an_edit_changes_the_attribute_and_keeps_the_digit(seed, measured):
    torch.manual_seed(seed)
    data = Digits(binarise="threshold", seed=seed)
    y = data.split("train").labels
    x, x_test = (from_uint8(data.split(part).images) for part in ("train", "test"))
    has, has_test = torch.rand(len(x)) < 0.5, torch.rand(len(x_test)) < 0.5
    images = framed(x, has)
    # At beta 1 so few digits teach a code to say too little of what digit it is.
    model = BetaVAE((1, 10, 10), latent_dim=10, width=128, lr=2e-3, beta=0.1)
    batches = torch.utils.data.TensorDataset(images, y)
    loader = torch.utils.data.DataLoader(batches, 32, shuffle=True)
    trainer(max_epochs=25, limit_val_batches=0).fit(model, loader)

    along = direction(model, images, has, within=y)
    held_out = framed(x_test, has_test)
    towards = torch.where(has_test, -1.0, 1.0)  # what has a frame is to lose it
    judge = LogisticRegression(max_iter=200).fit(x.flatten(1), y)

    before = judge.predict(x_test.flatten(1))

    def changes(step):
        edited = edit(model, held_out, step, towards)
        digit = judge.predict(edited[:, :, 1:-1, 1:-1].flatten(1))
        flipped = (has_frame(edited) != has_test).float().mean().item()
        return flipped, (digit == before).mean().item()

    any_other = torch.randn(10)
    flipped, kept = changes(along)
    by_chance, _ = changes(any_other * along.norm() / any_other.norm())
    measured("frames put on or off by an edit", flipped, above=0.8)
    measured("digits that stay the same", kept, above=0.8)
    measured("frames put on or off along a random direction", by_chance, below=0.2)
