"""Real images of any loader or DataModule, in the order of the data."""

import lightning as L
import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from genzoo.images import from_uint8
from tests.helpers.fingerprint import fingerprint
from tests.helpers.toy_model_and_data import Toy, pictures, trainer

pytestmark = pytest.mark.usefixtures("empty_cache")


def loaders(scale, batch=33):
    parts = (pictures(count, seed=seed) for count, seed in ((330, 0), (150, 1)))
    data = [TensorDataset(scale(x), y) for x, y in parts]
    return DataLoader(data[0], batch, shuffle=True), DataLoader(data[1], batch)


@pytest.mark.parametrize("scale", [from_uint8, lambda x: x], ids=["floats", "bytes"])
def test_plain_dataloaders_are_read_in_the_order_of_the_data(tmp_path, scale):
    class Bytes(Toy):
        def training_step(self, batch, batch_idx):
            return super().training_step((batch[0].float(), batch[1]), batch_idx)

    own = fingerprint()
    trainer(tmp_path, [own]).fit(Bytes(), *loaders(scale))
    for part, (x, y) in (("train", pictures(330)), ("held_out", pictures(150, seed=1))):
        seen = getattr(own.evidence, part)
        assert torch.equal(seen.images, x) and torch.equal(seen.labels, y)
    missing = trainer(tmp_path, [fingerprint()])
    with pytest.raises(ValueError, match="given no train dataloader"):
        missing.test(Toy(), loaders(scale)[1], verbose=False)


def test_an_iterator_in_use_is_not_disturbed(tmp_path):
    class Order(Toy):
        def __init__(self):
            super().__init__()
            self.order = []

        def training_step(self, batch, batch_idx):
            self.order.append(batch[0].sum().item())
            return super().training_step(batch, batch_idx)

    orders = []
    for callbacks in ([], [fingerprint()]):
        torch.manual_seed(0)
        model = Order()
        trainer(tmp_path, callbacks, val_check_interval=4).fit(model, *loaders(from_uint8))
        orders.append(model.order)
    assert orders[0] == orders[1] and len(set(orders[0])) == 10


def test_a_foreign_datamodule_gives_what_the_model_is_given(tmp_path):
    class Foreign(L.LightningDataModule):
        ready = False

        def setup(self, stage):
            self.ready = self.ready or stage == "fit"

        def train_dataloader(self):
            assert self.ready
            return loaders(lambda x: x.float() / 255)[0]

        def test_dataloader(self):
            return loaders(lambda x: x.float() / 255)[1]

        def on_after_batch_transfer(self, batch, dataloader_idx):
            return batch[0] * 2 - 1, batch[1]

    own = fingerprint()
    trainer(tmp_path, [own]).test(Toy(), Foreign(), verbose=False)
    assert torch.equal(own.evidence.train.images, pictures(330)[0])

    class Unscaled(Foreign):
        def on_after_batch_transfer(self, batch, dataloader_idx):
            return batch

    with pytest.raises(ValueError, match="train data must be.*minimum of 0.*2 x - 1"):
        trainer(tmp_path, [own]).test(Toy(), Unscaled(), verbose=False)
