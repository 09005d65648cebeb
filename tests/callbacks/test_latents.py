"""Pictures of a latent space, where what each should show is known."""

import pytest
import torch

from genzoo.callbacks import Edits, Manifold, Traversals
from genzoo.images import to_uint8
from genzoo.latent import manifold
from genzoo.report.figures import grid
from tests.helpers.pictures import CELL, GUTTER, Coder
from tests.helpers.toy_model_and_data import Data, Toy, pictures, trainer


def test_traversals_lead_with_what_changes_most(tmp_path):
    class Uneven(Coder):
        def decode(self, z, y=None):
            weight = torch.tensor([0.1, 0.3, 0.0, 0.2])
            return super().decode(z * weight, y)

    own, model = Traversals(count=3, steps=5), Uneven(num_classes=3)
    trainer(tmp_path, [own]).test(model, Data(), verbose=False)
    page = own.figures["traversals"]
    assert page.shape[0] == 3 * CELL + GUTTER
    cells = page[:, -(5 * CELL + GUTTER) :]  # beside the names of the rows
    moving = []
    for row in range(3):
        first, last = (
            cells[GUTTER + CELL * row :, GUTTER + CELL * column :][:64, :64, 0].int()
            for column in (0, 4)
        )
        quarters = (first != last).unflatten(1, (2, 32)).unflatten(0, (2, 32)).any(3).any(1)
        moving.append(quarters.flatten().nonzero().flatten().tolist())
    assert moving == [[1], [3], [0]]
    assert model.told.unique().numel() == 1  # the label stays that of the image


def test_the_manifold_is_of_planes_only(tmp_path):
    class Plane(Coder):
        latent_dim = 2

        def prior(self, n):
            return torch.randn(n, 2)

        def decode(self, z, y=None):
            return super().decode(torch.cat((z, z), dim=1) / 3, y)

    own, model = Manifold(side=4), Plane()
    own.required = False
    trainer(tmp_path, [own]).test(model, Data(), verbose=False)
    expected = grid(to_uint8(manifold(model, 4).flatten(0, 1)), 4)
    assert torch.equal(own.figures["manifold"], expected)
    for other in (Coder(), Toy()):  # who has no plane is passed over
        own.figures = {}
        trainer(tmp_path, [own]).test(other, Data(), verbose=False)
        assert own.figures == {}
    with pytest.raises(ValueError, match="latent_dim must be 2 for a picture of the plane, got 4"):
        trainer(tmp_path, [Manifold()]).test(Coder(), Data(), verbose=False)
    with pytest.raises(TypeError, match="Manifold needs images and the methods prior and decode"):
        trainer(tmp_path, [Manifold()]).test(Toy(), Data(), verbose=False)


def test_edits_carry_one_class_towards_another(tmp_path):
    """Class 0 is bright in the first quarter and class 1 in the second: the light moves over."""
    own = Edits(source=0, target=1, count=3, steps=3, reach=1.0)
    trainer(tmp_path, [own]).test(Coder(), Data(), verbose=False)
    page = own.figures["edits"]
    assert page.shape == (3 * CELL + GUTTER, 4 * CELL + GUTTER, 3)
    images, labels = pictures(170, seed=2)
    of_class = images[labels == 0][:3]

    def cell(row, column):
        top, left = GUTTER + CELL * row, GUTTER + CELL * column
        return page[top : top + 64, left : left + 64, 0].float()

    for row in range(3):
        assert torch.equal(cell(row, 0)[::8, ::8].byte(), of_class[row, 0])
        plain, moved = (cell(row, c).unflatten(1, (2, 32)).unflatten(0, (2, 32)) for c in (1, 3))
        before, after = plain.mean((1, 3)), moved.mean((1, 3))
        assert before[0, 0] - before[0, 1] > 60 and after[0, 1] - after[0, 0] > 60
        assert (before[1] - after[1]).abs().max() < 10


def test_edits_need_both_classes(tmp_path):
    with pytest.raises(ValueError, match="label must occur in the train data, got 7"):
        trainer(tmp_path, [Edits(0, 7)]).test(Coder(), Data(), verbose=False)
    with pytest.raises(ValueError, match="target must be another label than source, got 2"):
        Edits(2, 2)
    with pytest.raises(TypeError, match="Edits needs .* encode.*Toy lacks"):
        trainer(tmp_path, [Edits(0, 1)]).test(Toy(), Data(), verbose=False)
