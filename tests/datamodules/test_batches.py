"""The order of the data, the shares of several ranks, and the place that a run resumes from."""

import lightning as L
import pytest
import torch
from lightning.pytorch.strategies import DDPStrategy

from genzoo.datamodules import (
    Batches,
    Digits,
    ImageData,
    Images,
    SemiSupervisedBatches,
    TrainingBatches,
)
from genzoo.zoo import GAN
from tests.helpers.training import trainer


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
    for _ in range(2):
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
    def orders(seed):
        loader = TrainingBatches(numbered(24), 4, seed=seed)
        return [tuple(unfold(loader)) for _ in range(4)]

    first = orders(0)
    torch.manual_seed(5)
    assert orders(0) == first  # of nothing else
    assert len({order for seed in range(4) for order in orders(seed)}) == 16


@pytest.mark.parametrize("given", [0, 1, 5, 6, 7, 12, 15])
def test_a_loader_goes_on_where_another_was(given):
    unbroken = TrainingBatches(numbered(24), 4, seed=1)
    batches = [batch for _ in range(5) for batch in labels(unbroken)]  # 6 an epoch
    broken = TrainingBatches(numbered(24), 4, seed=1)
    for _ in range(given // 6):
        labels(broken)
    rest = iter(broken)
    for _ in range(given % 6):
        next(rest)
    resumed = TrainingBatches(numbered(24), 4, seed=1)
    resumed.load_state_dict(broken.state_dict())
    assert resumed.state_dict() == broken.state_dict()  # saved again before anything is drawn
    assert labels(resumed) == batches[given : given + 6]
    assert labels(resumed) == batches[given + 6 : given + 12]


def classes() -> Images:
    """Twenty-four images known by their pixel, of three classes in turn."""
    data = numbered(24)
    return Images(data.images, data.labels % 3)


def test_half_of_a_semi_supervised_batch_has_no_label_and_the_other_half_the_few_there_are():
    loader = SemiSupervisedBatches(classes(), 4, labels_per_class=2, seed=3)
    plain = TrainingBatches(classes(), 4, seed=3)
    drawn = []
    for _ in range(20):
        for (x, y), (same, _) in zip(loader, plain, strict=True):
            assert torch.equal(x[:4], same) and y[:4].tolist() == [-1] * 4
            assert torch.equal(y[4:], x[4:].flatten() % 3)
            drawn += x[4:].flatten().tolist()
    assert sorted(set(drawn)) == [0, 1, 2, 3, 4, 5]
    assert min(drawn.count(k) for k in range(6)) > 40  # of 480


def test_semi_supervised_batches_resume_and_do_not_depend_on_the_number_of_ranks():
    def batches(loader):
        return [(x.flatten().tolist(), y.tolist()) for x, y in loader]

    one = SemiSupervisedBatches(classes(), 8, labels_per_class=2)
    first = batches(one)
    again = SemiSupervisedBatches(classes(), 8, labels_per_class=2)
    again.load_state_dict(one.state_dict())
    assert batches(again) == batches(one) != first
    two = [
        batches(SemiSupervisedBatches(classes(), 4, labels_per_class=2, rank=rank, world_size=2))
        for rank in range(2)
    ]
    for (x, y), *shares in zip(first, *two, strict=True):
        assert sorted(zip(x, y, strict=True)) == sorted(
            pair for share in shares for pair in zip(*share, strict=True)
        )
    assert two[0] != two[1]


def test_only_training_is_semi_supervised():
    data = Digits(batch_size=50, conditional=True, labels_per_class=5)
    _, y = next(iter(data.train_dataloader()))
    assert (y < 0).tolist() == [True] * 50 + [False] * 50
    assert all((y >= 0).all() for _, y in data.val_dataloader())
    assert (data.split("train").labels >= 0).all()  # evaluation may know them


def test_the_same_batches_each_epoch_cannot_be_semi_supervised():
    data = Digits(batch_size=50, conditional=True, labels_per_class=5)
    with pytest.raises(ValueError, match="labels_per_class must be 0 with overfit_batches, got 5"):
        trainer(max_epochs=1, overfit_batches=2).fit(GAN((1, 8, 8), width=8), data)


def test_more_labels_than_there_are_images_are_refused():
    with pytest.raises(ValueError, match="at most the 8 training images of the rarest class"):
        SemiSupervisedBatches(classes(), 4, labels_per_class=9)
    unlabelled = Images(classes().images, torch.full((24,), -1))
    with pytest.raises(ValueError, match="labels_per_class must be at most the 0 training"):
        SemiSupervisedBatches(unlabelled, 4, labels_per_class=1)


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
        self.trained.append(y.tolist())
        return (self.weight * x).sum()

    def validation_step(self, batch):
        self.validated += batch[1].tolist()

    test_step = validation_step

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


class Keeper(L.Callback):
    """Writes a checkpoint wherever Lightning might."""

    def __init__(self, folder):
        self.folder = folder

    def keep(self, trainer, kind):
        trainer.save_checkpoint(self.folder / f"{trainer.global_step}-{kind}.ckpt")

    def on_train_batch_end(self, trainer, *_):
        self.keep(trainer, "batch")

    def on_validation_end(self, trainer, model):
        self.keep(trainer, "validation")

    def on_train_epoch_end(self, trainer, model):
        self.keep(trainer, "epoch")

    def on_train_end(self, trainer, model):
        self.keep(trainer, "end")


def fit(ckpt_path=None, **settings) -> list[list[int]]:
    """The labels of the batches that were trained on."""
    model = Recorder()
    runner = trainer(num_sanity_val_steps=0, **settings)
    runner.fit(model, datamodule=Numbered(batch_size=8, seed=4), ckpt_path=ckpt_path)
    return model.trained


@pytest.mark.parametrize("steps", [2, 5, 7, 10])  # 5 batches an epoch
def test_a_run_that_was_stopped_goes_on_with_the_batches_of_the_unbroken_run(tmp_path, steps):
    unbroken = fit(max_steps=15)
    assert len(unbroken) == 15
    assert fit(max_steps=steps, callbacks=[Keeper(tmp_path)]) == unbroken[:steps]
    for kind in ("batch", "epoch", "end"):
        place = tmp_path / f"{steps}-{kind}.ckpt"
        assert fit(place, max_steps=15) == unbroken[steps:], kind


@pytest.mark.parametrize("limit", [1.0, 4])
def test_a_run_that_was_killed_goes_on_with_the_batches_of_the_unbroken_run(tmp_path, limit):
    settings = dict(max_epochs=3, limit_train_batches=limit, val_check_interval=2)
    unbroken = fit(callbacks=[Keeper(tmp_path)], **settings)
    places = sorted(tmp_path.glob("*.ckpt"))
    assert len(places) >= 3 * (4 + 2 + 1)
    for place in places:
        step = int(place.stem.split("-")[0])
        assert fit(place, **settings) == unbroken[step:], place.name


@pytest.mark.parametrize(
    "before, steps, kind, after",
    [(4, 5, "batch", 10), (10, 3, "batch", 2), (4, 10, "epoch", 8), (3, 12, "batch", 5)],
)
def test_with_batches_of_another_size_a_run_goes_on_with_the_images(
    tmp_path, before, steps, kind, after
):
    """Of 40 images: those that are due come, each once, and then a whole epoch."""

    def labels(batch_size, ckpt_path=None, **settings):
        model, runner = Recorder(), trainer(num_sanity_val_steps=0, **settings)
        runner.fit(model, Numbered(batch_size=batch_size, seed=4), ckpt_path=ckpt_path)
        return model.trained, runner.current_epoch

    first, _ = labels(before, max_steps=steps, callbacks=[Keeper(tmp_path)])
    seen = {label for batch in first for label in batch}
    due = (40 - before * steps) // after
    second, epochs = labels(after, tmp_path / f"{steps}-{kind}.ckpt", max_epochs=2)
    rest = [label for batch in second[:due] for label in batch]
    assert len(rest) == due * after == len(set(rest)) and not seen & set(rest)
    assert sorted(sum(second[due:], [])) == list(range(40)) and epochs == 2


def test_the_place_of_a_loader_does_not_depend_on_batches_and_ranks():
    def images(loader):
        return [x.flatten().tolist() for x, _ in loader]

    one = TrainingBatches(numbered(24), 6, seed=1)
    whole = iter(one)
    given = [next(whole)[0].flatten().tolist() for _ in range(2)]
    shares = [TrainingBatches(numbered(24), 2, rank, 2, seed=1) for rank in range(2)]
    for share in shares:
        share.load_state_dict(one.state_dict())
    ranks = [images(share)[:3] for share in shares]
    assert sorted(sum(given + ranks[0] + ranks[1], [])) == list(range(24))
    old = TrainingBatches(numbered(24), 6, seed=1)
    old.load_state_dict({"batches": 2})  # what a checkpoint held that is older than this
    assert images(old)[:2] == [x.flatten().tolist() for x, _ in whole]


def test_a_loader_that_is_made_anew_goes_on():
    assert fit(max_epochs=3, reload_dataloaders_every_n_epochs=1) == fit(max_epochs=3)


def test_validation_and_test_see_every_image_once():
    runner, model, data = trainer(), Recorder(), Numbered(batch_size=4)
    runner.validate(model, data, verbose=False)
    assert model.validated == list(range(6))
    model.validated = []
    runner.test(model, data, verbose=False)
    assert model.validated == list(range(7))


def test_overfitting_sees_the_same_batches_in_every_epoch():
    batches = fit(max_epochs=2, overfit_batches=2)
    assert len(batches) == 4 and batches[:2] == batches[2:]


class Counter(Recorder):
    """Counts over all ranks how often each image was seen; has buffers that ranks exchange."""

    def __init__(self):
        super().__init__()
        self.norm = torch.nn.BatchNorm2d(1)
        self.counts = torch.zeros(2, 40)
        self.register_buffer("total", torch.zeros(2, 40))  # comes back from the processes

    def training_step(self, batch):
        self.counts[0] += batch[1].bincount(minlength=40)
        return self.norm(batch[0]).sum() + self.weight.sum()

    def validation_step(self, batch):
        self.counts[1] += self.norm(batch[0]).new_ones(1) * batch[1].bincount(minlength=40)

    def on_train_end(self):
        torch.distributed.all_reduce(self.counts)
        self.total.copy_(self.counts)


def test_two_processes_share_images_that_do_not_divide():
    """Five images in batches of two: two batches for one rank, one for the other."""

    class Uneven(Numbered):
        def read(self):
            return {"train": numbered(40), "val": numbered(5), "test": numbered(7)}

    model = Counter()
    strategy = DDPStrategy(start_method="fork", process_group_backend="gloo")
    runner = trainer(devices=2, strategy=strategy, max_epochs=2, num_sanity_val_steps=0)
    runner.fit(model, datamodule=Uneven(batch_size=2))
    assert model.total[0].tolist() == [2] * 40
    assert model.total[1].tolist() == [2] * 5 + [0] * 35
