"""Pictures that a person can see: right in size and place, the same in every logger."""

import math

import lightning as L
import pytest
import torch
from lightning.pytorch.callbacks import RichProgressBar, TQDMProgressBar

from genzoo.callbacks import Interpolations, Reconstructions, Samples
from genzoo.callbacks.progress import track
from genzoo.report.figures import PAPER
from tests.helpers.pictures import CELL, GUTTER, Coder
from tests.helpers.toy_model_and_data import Data, Toy, pictures, trainer

# The pictures


def test_samples_come_of_the_same_noise_each_time(tmp_path):
    class Still(Toy):
        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=0.0)

    own, model = Samples(count=6, columns=3), Still()
    seen = []

    class Keep(L.Callback):
        def on_validation_end(self, trainer, pl_module):
            if not trainer.sanity_checking:
                seen.append(own.figures["samples"])

    model.net[1].track_running_stats = False
    model.net[1].running_mean = model.net[1].running_var = None
    trainer(tmp_path, [own, Keep()], max_epochs=2).fit(model, Data())
    assert torch.equal(*seen) and seen[0].shape == (2 * CELL + GUTTER, 3 * CELL + GUTTER, 3)
    other = Samples(count=6, columns=3, seed=1)
    trainer(tmp_path, [other]).test(model, Data(), verbose=False)
    assert not torch.equal(other.figures["samples"], seen[0])
    assert (tmp_path / "figures" / "test-samples-step=0.png").exists()


def test_a_conditional_model_has_a_row_for_each_class(tmp_path):
    class Flat(Toy):
        def sample(self, n, y=None):
            return (y.float() / 2 - 0.5).view(-1, 1, 1, 1).expand(-1, 1, 8, 8)

    own = Samples(columns=4)
    trainer(tmp_path, [own]).test(Flat(num_classes=3), Data(), verbose=False)
    page = own.figures["samples"]
    assert page.shape[0] == 3 * CELL + GUTTER
    for row, level in enumerate((64, 128, 191)):
        assert (page[GUTTER + CELL * row : CELL + CELL * row, -CELL:-GUTTER] == level).all()


def test_interpolations_go_from_one_prior_draw_to_another(tmp_path):
    own = Interpolations(count=2, steps=5)
    model = Coder(num_classes=3)
    trainer(tmp_path, [own]).test(model, Data(), verbose=False)
    page = own.figures["interpolations"]
    assert page.shape == (2 * CELL + GUTTER, 5 * CELL + GUTTER, 3)
    assert model.told.tolist() == [0] * 5 + [1] * 5  # each row keeps its class
    corner = page[12::CELL, 12::CELL, 0].float()
    assert (corner.diff(dim=1).abs() > 0).all()  # it moves at each step


def test_reconstructions_stand_under_their_images(tmp_path):
    own = Reconstructions(count=6, columns=4)
    trainer(tmp_path, [own]).test(Coder(), Data(), verbose=False)
    page = own.figures["reconstructions"]
    assert page.shape == (4 * CELL + GUTTER, 4 * CELL + GUTTER, 3)

    def cell(row, column):
        return page[
            GUTTER + CELL * row : CELL + CELL * row,
            GUTTER + CELL * column : CELL + CELL * column,
            0,
        ][::8, ::8]

    x = chosen(pictures(170, seed=2)[0], 6)
    means = x.float().unflatten(3, (2, 4)).unflatten(2, (2, 4)).mean((3, 5))
    for i in range(6):
        row, column = 2 * (i // 4), i % 4
        assert torch.equal(cell(row, column), x[i, 0])
        again = cell(row + 1, column).float()[::4, ::4]
        assert torch.allclose(again, means[i, 0], atol=1)
    assert (cell(2, 2) == PAPER).all() and (cell(3, 3) == PAPER).all()


def chosen(images, limit):
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))
    return images[order[:limit].sort().values]


def test_abilities_are_asked_for_by_name(tmp_path):
    for callback, lacks in ((Interpolations(), "prior and decode"), (Reconstructions(), "encode")):
        with pytest.raises(TypeError, match=f"{type(callback).__name__} needs.*{lacks}.*Toy lacks"):
            trainer(tmp_path, [callback]).test(Toy(), Data(), verbose=False)
        callback.required = False
        trainer(tmp_path, [callback]).test(Toy(), Data(), verbose=False)
        assert callback.figures == {}


def test_a_bad_picture_does_not_end_a_training_but_a_test(tmp_path):
    class Bad(Toy):
        def sample(self, n, y=None):
            return super().sample(n) * math.nan

    with pytest.warns(UserWarning, match="no picture of samples at step 10: Bad.*finite"):
        trainer(tmp_path, [Samples()]).fit(Bad(), Data())
    with pytest.raises(ValueError, match="Bad must give finite images"):
        trainer(tmp_path, [Samples()]).test(Bad(), Data(), verbose=False)


def test_points_are_scattered(tmp_path):
    class Points(Toy):
        def __init__(self):
            super().__init__()
            self.image_shape = (2,)

        def sample(self, n, y=None):
            return torch.randn(n, 2)

    class Plane(Data):
        def split(self, part):
            data = super().split(part)
            data.images = data.images.float().flatten(1)[:, :2]
            return data

        def _loader(self, part, shuffle=False):
            return Data()._loader(part)

    own, walks = Samples(), Interpolations()
    walks.required = False
    trainer(tmp_path, [own, walks]).test(Points(), Plane(), verbose=False)
    assert own.figures["samples"].shape == (384, 384, 3)


# Progress


@pytest.mark.parametrize("bar", [RichProgressBar, TQDMProgressBar, None])
def test_progress_shows_beside_either_bar(tmp_path, bar, capsys):
    seen = []

    class Long(L.Callback):
        def on_test_epoch_end(self, trainer, pl_module):
            seen.extend(track(trainer, range(3), "Long work", 3))
            if bar is RichProgressBar:
                tasks = trainer.progress_bar_callback.progress.tasks
                assert not any(task.description == "Long work" for task in tasks)
                steps = track(trainer, range(3), "Long work", 3)
                next(steps), next(steps)
                (task,) = (t for t in tasks_of(trainer) if t.description == "Long work")
                assert (task.completed, task.total) == (1, 3)
                steps.close()
                assert not any(t.description == "Long work" for t in tasks_of(trainer))

    callbacks = [Long()] + ([bar()] if bar else [])
    runner = trainer(tmp_path, callbacks, enable_progress_bar=bar is not None)
    runner.test(Toy(), Data(), verbose=False)
    assert seen == [0, 1, 2]
    shown = capsys.readouterr()
    if bar is TQDMProgressBar:
        assert "Long work" in shown.err
    if bar is None:
        assert "Long work" not in shown.out + shown.err


def tasks_of(trainer):
    return trainer.progress_bar_callback.progress.tasks
