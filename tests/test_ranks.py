"""Two processes on a CPU: one game, the same weights, different noise."""

import pytest
import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.strategies import DDPStrategy

from genzoo.zoo.gan import DCGAN
from genzoo.zoo.markov import RBM
from tests.helpers.models import MODELS, batches, build
from tests.helpers.training import bits, loader, trainer


def gathered(tensor: torch.Tensor) -> list[torch.Tensor]:
    ranks = [torch.empty_like(tensor) for _ in range(torch.distributed.get_world_size())]
    torch.distributed.all_gather(ranks, tensor.detach().contiguous())
    return ranks


class Watched(DCGAN):
    """Counts what it checked after every move, and before evaluation, on every rank."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.register_buffer("checked", torch.zeros(3))

    def move(self, player, optimizer, batch):
        before = torch.cat([p.detach().flatten() for p in player.parameters()])
        loss = super().move(player, optimizer, batch)
        after = torch.cat([p.detach().flatten() for p in player.parameters()])
        a, b = gathered(after)
        assert torch.equal(a, b), f"{player.name} differs by rank"
        assert not torch.equal(before, after)
        self.checked[0] += 1
        return loss

    def prior(self, n):
        z = super().prior(n)
        if self.trainer.training:
            a, b = gathered(z)
            assert not torch.equal(a, b), "ranks draw the same noise"
            self.checked[1] += 1
        return z

    def on_validation_epoch_end(self):
        super().on_validation_epoch_end()
        for name, buffer in self.named_buffers():
            a, b = gathered(buffer.float())
            assert torch.equal(a, b), f"{name} differs by rank"
        self.checked[2] += 1


@pytest.mark.parametrize("strategy", ["ddp", "find_unused"])
def test_ranks_agree(strategy):
    # A sampler by rank: Lightning's own shuffles, so batches differ, and so do BN statistics.
    model = Watched((1, 8, 8), num_classes=3, width=4, latent_dim=4, ema_decay=0.9)
    kwargs = {} if strategy == "ddp" else {"find_unused_parameters": True}
    ddp = DDPStrategy(start_method="fork", process_group_backend="gloo", **kwargs)
    runner = trainer(devices=2, strategy=ddp, max_epochs=2, num_sanity_val_steps=0)
    data = loader(bits(32), batch_size=4)
    runner.fit(model, data, data)
    assert model.checked.tolist() == [16.0, 16.0, 2.0]  # four batches, two epochs, two players


class Chained(RBM):
    """Counts the steps in which the ranks moved chains of their own and shared them."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.register_buffer("checked", torch.zeros(1))

    def training_step(self, batch, batch_idx):
        loss = super().training_step(batch, batch_idx)
        a, b = gathered(self.chains)
        assert torch.equal(a, b), "ranks hold different chains"
        assert not torch.equal(*a.chunk(2)), "ranks move their chains alike"
        for parameter in self.parameters():
            a, b = gathered(parameter)
            assert torch.equal(a, b), "weights differ by rank"
        self.checked += 1
        return loss


def test_ranks_share_persistent_chains():
    model = Chained((1, 8, 8), num_classes=3, hidden=5, chains=12)
    ddp = DDPStrategy(start_method="fork", process_group_backend="gloo")
    runner = trainer(devices=2, strategy=ddp, max_epochs=2, num_sanity_val_steps=0)
    data = loader(bits(32), batch_size=4)
    before = model.chains.clone()
    runner.fit(model, data, data)
    assert model.checked.item() == 8
    assert not (model.chains == before).all(1).any()


class SameWeights(Callback):
    """On both ranks, which see other images and other noise, after every batch."""

    def on_train_batch_end(self, trainer, module, outputs, batch, batch_idx):
        a, b = gathered(batch[0])
        assert not torch.equal(a, b), "ranks see the same images"
        for name, parameter in module.named_parameters():
            a, b = gathered(parameter)
            assert torch.equal(a, b), f"{name} differs by rank"


@pytest.mark.parametrize("name", MODELS)
def test_every_model_is_one_on_two_ranks(name):
    model = build(name)
    before = {key: p.clone() for key, p in model.named_parameters()}
    ddp = DDPStrategy(start_method="fork", process_group_backend="gloo")
    trainer(devices=2, strategy=ddp, max_epochs=1, callbacks=[SameWeights()]).fit(
        model, batches(name)
    )
    assert any(not torch.equal(p, before[key]) for key, p in model.named_parameters())
