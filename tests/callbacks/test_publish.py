"""A picture goes to every logger and to a file, and none of them ends a training."""

import pytest
import torch
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger, WandbLogger
from PIL import Image

from genzoo.callbacks import Samples
from genzoo.callbacks.publish import log_figure
from genzoo.report import figures
from tests.helpers.pictures import CELL, GUTTER, read
from tests.helpers.toy_model_and_data import Data, Toy, trainer


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


def test_only_whole_files_are_left(tmp_path, monkeypatch):
    def full(self, file, format):
        file.write(b"half")
        raise OSError("no space left")

    monkeypatch.setattr(Image.Image, "save", full)
    with pytest.raises(OSError, match="no space"):
        figures.save_png(torch.zeros(4, 4, 3, dtype=torch.uint8), tmp_path / "a.png")
    assert list(tmp_path.iterdir()) == []
