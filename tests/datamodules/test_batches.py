"""The order of the data, the shares of several ranks, and the place that a run resumes from."""

import lightning as L
import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint

from genzoo.datamodules import Batches, ImageData, Images, TrainingBatches

QUIET = dict(
    accelerator="cpu",
    logger=False,
    enable_progress_bar=False,
    enable_model_summary=False,
    num_sanity_val_steps=0,
)


def numbered(count: int) -> Images:
    """Images that are known by their label."""
    return Images(torch.arange(count, dtype=torch.uint8).view(-1, 1, 1, 1), torch.arange(count))


def labels(loader) -> list[list[int]]:
    return [y.tolist() for _, y in loader]


def unfold(loader) -> list[int]:
    return [label for batch in labels(loader) for label in batch]


def test_batches_hold_the_images_that_belong_to_the_labels():
    for x, y in TrainingBatches(numbered(20), 4, seed=3):
        assert x.shape == (4, 1, 1, 1) and x.dtype == torch.uint8
        assert torch.equal(x.flatten().long(), y)


@pytest.mark.parametrize("world_size", [1, 3])
@pytest.mark.parametrize("count", [22, 23, 24])
def test_evaluation_sees_every_image_once_over_the_ranks(count, world_size):
    loaders = [Batches(numbered(count), 4, rank, world_size) for rank in range(world_size)]
    assert sorted(label for loader in loaders for label in unfold(loader)) == list(range(count))
    assert [len(labels(loader)) for loader in loaders] == [len(loader) for loader in loaders]


@pytest.mark.parametrize("world_size", [1, 3])
def test_an_epoch_of_training_sees_every_image_once_over_the_ranks(world_size):
    loaders = [TrainingBatches(numbered(24), 4, rank, world_size) for rank in range(world_size)]
    assert sorted(label for loader in loaders for label in unfold(loader)) == list(range(24))


def test_all_ranks_train_on_as_many_full_batches_and_drop_other_images_each_epoch():
    loaders = [TrainingBatches(numbered(29), 4, rank, 3) for rank in range(3)]
    left = []
    for epoch in range(2):
        for loader in loaders:
            loader.set_epoch(epoch)
        batches = [labels(loader) for loader in loaders]
        assert [[len(batch) for batch in share] for share in batches] == [[4, 4]] * 3
        seen = {label for share in batches for batch in share for label in batch}
        assert len(seen) == 24
        left.append(set(range(29)) - seen)
    assert left[0] != left[1]


def test_the_batches_of_all_ranks_together_do_not_depend_on_their_number():
    one = labels(TrainingBatches(numbered(24), 12))
    three = [labels(TrainingBatches(numbered(24), 4, rank, 3)) for rank in range(3)]
    together = [sorted(sum(step, [])) for step in zip(*three, strict=True)]
    assert [sorted(batch) for batch in one] == together


def test_the_order_is_a_function_of_seed_and_epoch():
    def order(seed, epoch):
        loader = TrainingBatches(numbered(24), 4, seed=seed)
        loader.set_epoch(epoch)
        return unfold(loader)

    assert order(0, 0) == order(0, 0)
    orders = {tuple(order(seed, epoch)) for seed in range(4) for epoch in range(4)}
    assert len(orders) == 16  # (0, 1) is not (1, 0) either
    torch.manual_seed(5)
    assert order(0, 0) in [list(o) for o in orders]  # and of nothing else


def test_an_epoch_can_be_gone_through_again():
    loader = TrainingBatches(numbered(24), 4)
    first = next(iter(loader))[1].tolist()
    assert labels(loader)[0] == first and len(labels(loader)) == 6


@pytest.mark.parametrize("given", [0, 1, 3, 6])
def test_a_loader_goes_on_where_another_was(given):
    unbroken, broken = (TrainingBatches(numbered(24), 4, seed=1) for _ in range(2))
    unbroken.set_epoch(2)
    broken.set_epoch(2)
    batches = iter(broken)
    for _ in range(given):
        next(batches)
    resumed = TrainingBatches(numbered(24), 4, seed=1)
    resumed.load_state_dict(broken.state_dict())
    assert resumed.state_dict() == broken.state_dict()  # saved again before anything is drawn
    assert labels(resumed) == labels(unbroken)[given:]
    resumed.set_epoch(3)
    unbroken.set_epoch(3)
    assert labels(resumed) == labels(unbroken)


def test_a_place_in_another_epoch_is_forgotten():
    loader = TrainingBatches(numbered(24), 4)
    loader.load_state_dict({"epoch": 0, "batches": 5})
    loader.set_epoch(1)
    assert len(labels(loader)) == 6
    loader.set_epoch(1)
    assert loader.state_dict() == {"epoch": 1, "batches": 6}


class Numbered(ImageData):
    raw_shape, class_names = (1, 1, 1), tuple(map(str, range(40)))

    def read(self):
        return {"train": numbered(40), "val": numbered(6), "test": numbered(7)}


class Recorder(L.LightningModule):
    """Notes the labels of what it is given."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.trained, self.validated = [], []

    def training_step(self, batch):
        x, y = batch
        assert x.dtype == torch.float32 and -1 <= x.min() and x.max() <= 1
        self.trained.append((self.current_epoch, *y.tolist()))
        return (self.weight * x).sum()

    def validation_step(self, batch):
        self.validated += batch[1].tolist()

    test_step = validation_step

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


def fit(folder, ckpt_path=None, **settings) -> tuple[L.Trainer, Recorder]:
    trainer = L.Trainer(default_root_dir=folder, **(QUIET | settings))
    model = Recorder()
    trainer.fit(model, datamodule=Numbered(batch_size=8, seed=4), ckpt_path=ckpt_path)
    return trainer, model


@pytest.mark.parametrize("steps", [2, 5, 7, 10])  # 5 batches an epoch
def test_a_run_that_was_stopped_goes_on_with_the_batches_of_the_unbroken_run(tmp_path, steps):
    settings = dict(max_epochs=3, enable_checkpointing=False)
    unbroken = fit(tmp_path, **settings)[1].trained
    trainer, model = fit(tmp_path, **(settings | dict(max_epochs=None, max_steps=steps)))
    trainer.save_checkpoint(tmp_path / "stopped.ckpt")
    assert model.trained == unbroken[:steps]
    resumed = fit(tmp_path, ckpt_path=tmp_path / "stopped.ckpt", **settings)[1].trained
    assert resumed == unbroken[steps:]


@pytest.mark.parametrize("limit", [1.0, 4])
def test_every_kind_of_checkpoint_resumes_with_the_right_batches(tmp_path, limit):
    """Written after a batch, after the last batch of an epoch, at an epoch's end, in validation."""
    settings = dict(max_epochs=3, limit_train_batches=limit, val_check_interval=2)
    after_batch = ModelCheckpoint(
        tmp_path, "batch-{step}", every_n_train_steps=1, save_top_k=-1, monitor=None
    )
    after_epoch = ModelCheckpoint(
        tmp_path, "epoch-{step}", every_n_epochs=1, save_top_k=-1, save_on_train_epoch_end=True
    )
    in_validation = ModelCheckpoint(
        tmp_path, "validation-{step}", every_n_epochs=1, save_top_k=-1, save_on_train_epoch_end=False
    )
    callbacks = [after_batch, after_epoch, in_validation]
    unbroken = fit(tmp_path, callbacks=callbacks, **settings)[1].trained
    places = sorted(tmp_path.glob("*.ckpt"))
    kinds = {path.name.split("-")[0] for path in places}
    assert kinds == {"batch", "epoch", "validation"} and len(places) >= 15
    for path in places:
        step = int(path.stem.split("=")[1].split("-")[0])
        resumed = fit(tmp_path, ckpt_path=path, enable_checkpointing=False, **settings)[1].trained
        assert resumed == unbroken[step:], path.name


def test_validation_and_test_see_every_image_once(tmp_path):
    settings = QUIET | dict(default_root_dir=tmp_path, enable_checkpointing=False)
    trainer, model, data = L.Trainer(**settings), Recorder(), Numbered(batch_size=4)
    trainer.validate(model, data, verbose=False)
    assert model.validated == list(range(6))
    model.validated = []
    trainer.test(model, data, verbose=False)
    assert model.validated == list(range(7))


def test_overfitting_sees_the_same_batches_in_every_epoch(tmp_path):
    _, model = fit(tmp_path, max_epochs=2, overfit_batches=2, enable_checkpointing=False)
    assert [y for _, *y in model.trained[:2]] == [y for _, *y in model.trained[2:]]
    assert len(model.trained) == 4
