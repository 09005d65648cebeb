"""Pictures that a person can see: right in size and place, the same in every logger."""

import math

import lightning as L
import pytest
import torch
from lightning.pytorch.callbacks import RichProgressBar, TQDMProgressBar
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger, WandbLogger
from PIL import Image

from genzoo.callbacks import Interpolations, Reconstructions, Samples
from genzoo.callbacks.progress import track
from genzoo.callbacks.publish import log_figure
from genzoo.report import figures
from genzoo.report.figures import GAP, PAPER, grid, scatter, to_picture
from tests.helpers.toy_model_and_data import Data, Toy, pictures, trainer

GUTTER, CELL = 8, 72  # around images of 8x8 that are enlarged eight times


def read(path):
    import numpy as np

    return torch.from_numpy(np.array(Image.open(path)))


# Grids


def test_a_grid_puts_every_image_in_its_place():
    x = torch.randint(0, 256, (7, 3, 16, 24), dtype=torch.uint8)
    page = grid(x, columns=3, padding=2)
    height, width = 16 * 3, 24 * 3  # enlarged until the longer side has 64 pixels
    assert page.shape == (3 * (height + 2) + 2, 3 * (width + 2) + 2, 3)
    for i in range(7):
        top, left = 2 + i // 3 * (height + 2), 2 + i % 3 * (width + 2)
        cell = page[top : top + height, left : left + width]
        assert torch.equal(cell[::3, ::3], x[i].permute(1, 2, 0))
        assert torch.equal(cell[1::3, 2::3], x[i].permute(1, 2, 0))  # nearest
        page[top : top + height, left : left + width] = GAP
    assert (page == GAP).all()


@pytest.mark.parametrize("side, shown", [(1, 64), (8, 64), (28, 84), (64, 64), (100, 100)])
def test_small_images_are_enlarged_in_whole_steps(side, shown):
    page = grid(torch.zeros(1, 1, side, side, dtype=torch.uint8), padding=0)
    assert page.shape == (shown, shown, 3)


def test_captions_and_rows_are_written_beside_the_images():
    x = torch.zeros(4, 1, 64, 64, dtype=torch.uint8)
    plain, page = grid(x, 2), grid(x, 2, captions=["one", "a caption that is far too long"] * 2)
    assert page.shape == (plain.shape[0] + 28, plain.shape[1], 3)
    under = page[66:80]
    assert (under[:, :66] < 100).any() and (under[:, 66:] < 100).any()
    named = grid(x, 2, rows=["first", "second"])
    assert named.shape[0] == plain.shape[0] and named.shape[1] > plain.shape[1] + 20
    assert torch.equal(named[:, -plain.shape[1] + 2 :], plain[:, 2:])
    assert (named[:66, :20] < 100).any() and (named[66:, :20] < 100).any()


@pytest.mark.parametrize(
    "images", [torch.rand(2, 1, 8, 8), torch.zeros(2, 2, 8, 8).byte(), torch.zeros(2, 8, 8).byte()]
)
def test_a_grid_refuses_what_it_cannot_show(images):
    with pytest.raises(ValueError, match=r"images must be uint8 \(N, C, H, W\), grey or RGB, got"):
        grid(images)


def test_points_are_drawn_where_they_are():
    real = torch.tensor([[-1.0, -1.0], [1.0, 1.0]])
    page = scatter(torch.tensor([[0.8, 0.8], [50.0, float("nan")]]), real, side=100)
    assert page.shape == (100, 100, 3)
    blue = (page[..., 2] > page[..., 0].int() + 60).nonzero().float().mean(0)
    expected = 50 - 0.8 / 1.2 * 50, 50 + 0.8 / 1.2 * 50  # y points up
    assert torch.allclose(blue, torch.tensor(expected), atol=1.5)
    grey = page[round(50 + 50 / 1.2), round(50 - 50 / 1.2)]
    assert grey.max() == grey.min() < 250
    with pytest.raises(ValueError, match=r"points must be points \(n, 2\)"):
        scatter(torch.zeros(3, 3), real)


def test_any_layout_becomes_one():
    x = torch.randint(0, 256, (5, 7, 3), dtype=torch.uint8)
    for given in (x, x.permute(2, 0, 1)):
        assert torch.equal(to_picture(given), x)
    for given in (x[..., 0], x[..., :1], x[None, ..., 0]):
        assert torch.equal(to_picture(given), x[..., :1].expand(-1, -1, 3))
    with pytest.raises(ValueError, match="a picture must be uint8"):
        to_picture(x.float())


# Loggers


class Board(TensorBoardLogger):
    """Remembers what it is given; tensorboard itself need not be installed."""

    def __init__(self, fail=False):
        self.images, self.fail = [], fail

    experiment = property(lambda self: self)
    name = version = root_dir = "board"
    save_dir = log_dir = None

    def add_image(self, key, image, step, dataformats):
        if self.fail:
            raise RuntimeError("the board is gone")
        self.images.append((key, torch.from_numpy(image), step, dataformats))

    def log_metrics(self, metrics, step=None):
        self.step = step

    def save(self):
        pass

    def log_graph(self, *args, **kwargs):
        pass

    log_hyperparams = finalize = after_save_checkpoint = log_graph


def test_every_logger_gets_the_same_picture_at_the_same_step(tmp_path):
    wandb = WandbLogger(save_dir=tmp_path, offline=True, project="p")
    board, broken = Board(), Board(fail=True)
    loggers = [CSVLogger(tmp_path), wandb, broken, board]
    runner = trainer(tmp_path, [Samples(count=4, columns=2)], logger=loggers)
    with pytest.warns(UserWarning, match="Board did not take the picture samples: the board is"):
        runner.fit(Toy(), Data())
    wandb.experiment.finish()
    (png,) = (tmp_path / runner.log_dir / "figures").iterdir()
    assert png.name == "samples-step=10.png"
    picture = read(png)
    assert (
        picture.shape == (2 * CELL + GUTTER, 2 * CELL + GUTTER, 3)
        and picture[..., 0].float().std() > 10
    )
    ((key, image, step, layout),) = board.images
    assert (key, step, layout) == ("samples", 10, "HWC") and torch.equal(image, picture)
    (media,) = tmp_path.glob("wandb/offline-run-*/files/media/images/**/*.png")
    assert torch.equal(read(media)[..., :3], picture)


def test_a_folder_that_cannot_be_written_is_only_a_warning(tmp_path):
    (tmp_path / "figures").write_text("")
    with pytest.warns(UserWarning, match="samples could not be written to .*figures/samples-step"):
        trainer(tmp_path, [Samples()]).fit(Toy(), Data())


def test_slashes_make_no_folders(tmp_path):
    runner = trainer(tmp_path)
    path = log_figure(runner, "test/realism/worst", torch.zeros(4, 4, 3, dtype=torch.uint8))
    assert path == tmp_path / "figures" / "test-realism-worst-step=0.png" and path.exists()
    assert path.stat().st_mode & 0o077 == 0o044


# The pictures


class Coder(Toy):
    """Decodes what it encodes: the mean of each quarter."""

    def prior(self, n):
        return torch.rand(n, 4) * 2 - 1

    def decode(self, z, y=None):
        self.told = y
        return z.view(-1, 1, 2, 2).repeat_interleave(4, 2).repeat_interleave(4, 3).clamp(-1, 1)

    def encode(self, x, y=None):
        return x.unflatten(3, (2, 4)).unflatten(2, (2, 4)).mean((3, 5)).flatten(1)


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


def test_only_whole_files_are_left(tmp_path, monkeypatch):
    def full(self, file, format):
        file.write(b"half")
        raise OSError("no space left")

    monkeypatch.setattr(Image.Image, "save", full)
    with pytest.raises(OSError, match="no space"):
        figures.save_png(torch.zeros(4, 4, 3, dtype=torch.uint8), tmp_path / "a.png")
    assert list(tmp_path.iterdir()) == []
