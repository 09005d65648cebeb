"""Mirrored and moved training images: which, how far, and that a resumed run sees the same."""

import pytest
import torch

from genzoo.datamodules import Digits, Images, SemiSupervisedBatches, TrainingBatches
from genzoo.datamodules.augment import Augmented
from genzoo.zoo import GAN
from tests.helpers.training import trainer


def ramps(count: int = 64, side: int = 6) -> Images:
    """Images whose pixels say where they were, labelled by their number."""
    places = torch.arange(side * side, dtype=torch.uint8).view(1, 1, side, side)
    return Images(places.expand(count, 2, side, side).clone(), torch.arange(count))


def loader(rank=0, world_size=1, batch_size=16, seed=0, **changes) -> Augmented:
    batches = TrainingBatches(ramps(), batch_size, rank, world_size, seed)
    return Augmented(batches, **changes)


def test_about_every_second_image_is_mirrored():
    plain = ramps(1).images[0]
    x = torch.cat([x for x, _ in loader(mirror=True)])
    mirrored = (x == plain.flip(-1)).flatten(1).all(1)
    assert ((x == plain).flatten(1).all(1) ^ mirrored).all()
    assert x.dtype == torch.uint8 and 16 < mirrored.sum() < 48


def test_an_image_is_moved_and_its_border_goes_on():
    plain = ramps(1).images[0]
    seen = set()
    for _ in range(3):
        for x, _ in (batches := loader(shifts=2, seed=len(seen))):
            for image in x:
                down, right = (place - 3 for place in divmod(int(image[0, 3, 3]), 6))
                rows = (torch.arange(6) + down).clamp(0, 5)
                columns = (torch.arange(6) + right).clamp(0, 5)
                assert torch.equal(image, plain[:, rows][:, :, columns])
                seen.add((down, right))
        assert len(batches) == 4
    assert seen == {(i, j) for i in range(-2, 3) for j in range(-2, 3)}


def test_each_epoch_draws_anew_and_a_run_that_goes_on_draws_the_same():
    changes = dict(mirror=True, shifts=1)
    unbroken = loader(**changes)
    batches = [x for _ in range(3) for x, _ in unbroken]
    assert not torch.equal(torch.cat(batches[:4]), torch.cat(batches[4:8]))
    broken = loader(**changes)
    rest = iter(broken)
    for _ in range(3):
        next(rest)
    resumed = loader(**changes)
    resumed.load_state_dict(broken.state_dict())
    again = [x for _ in range(2) for x, _ in resumed]
    assert all(torch.equal(a, b) for a, b in zip(again, batches[3:11], strict=True))


def test_all_ranks_together_see_what_one_would():
    changes = dict(mirror=True, shifts=2)
    one = {int(y): x for xs, ys in loader(**changes) for x, y in zip(xs, ys, strict=True)}
    two = [loader(rank, 2, 8, **changes) for rank in (0, 1)]
    for share in two:
        for xs, ys in share:
            assert all(torch.equal(one[int(y)], x) for x, y in zip(xs, ys, strict=True))


def test_a_training_that_was_killed_ends_like_an_unbroken_one(tmp_path):
    def train(steps, path=None, **changes) -> torch.Tensor:
        torch.manual_seed(3)
        model = GAN((1, 8, 8), width=4)
        runner = trainer(max_epochs=-1, max_steps=steps)
        runner.fit(model, Digits(batch_size=400, **changes), ckpt_path=path, weights_only=True)
        runner.save_checkpoint(tmp_path / f"{steps}.ckpt")
        return torch.cat([parameter.detach().flatten() for parameter in model.parameters()])

    changes = dict(mirror=True, shifts=1)
    unbroken = train(7, **changes)  # three steps an epoch
    for killed in (2, 3, 4):
        train(killed, **changes)
        assert torch.equal(train(7, tmp_path / f"{killed}.ckpt", **changes), unbroken)
    assert not torch.equal(train(7), unbroken)


def test_both_halves_of_a_semi_supervised_batch_are_changed():
    data = Images(ramps().images, torch.arange(64) % 2)
    batches = Augmented(SemiSupervisedBatches(data, 16, labels_per_class=4), mirror=True)
    x, y = next(iter(batches))
    mirrored = (x != data.images[0]).flatten(1).any(1)
    assert len(x) == 32 and mirrored[:16].any() and mirrored[16:].any()
    assert (y[:16] == -1).all()


def test_only_the_training_is_augmented():
    plain, changed = Digits(batch_size=50), Digits(batch_size=50, mirror=True, shifts=1)
    for part in ("val", "test"):
        pairs = zip(
            getattr(plain, f"{part}_dataloader")(),
            getattr(changed, f"{part}_dataloader")(),
            strict=True,
        )
        assert all(torch.equal(a, b) for (a, _), (b, _) in pairs)
    assert torch.equal(plain.split("train").images, changed.split("train").images)
    (x, y), (moved, same) = (next(iter(d.train_dataloader())) for d in (plain, changed))
    assert torch.equal(y, same) and not torch.equal(x, moved)


def test_impossible_augmentation_is_refused():
    with pytest.raises(ValueError, match="shifts must be 0 or more, got -1"):
        Digits(shifts=-1)
