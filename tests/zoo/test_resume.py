"""A training that is killed and resumed ends where the unbroken one ends, to the bit."""

import multiprocessing
import os
import signal

import pytest
import torch
from lightning.pytorch.callbacks import Callback, ModelCheckpoint

from genzoo.datamodules import Digits
from genzoo.zoo import DBM, DCGAN, GAN, GSN, RBM, VAE, PixelCNN
from genzoo.zoo.checkpoint import AtomicCheckpointIO
from tests.toys import trainer

BATCHES = 4  # an epoch


class Decaying(GAN):
    """With all that has a state: an average, schedules, several moves of one player."""

    def schedule(self, player, optimizer):
        return torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.9)


MODELS = {
    "GAN": lambda: Decaying((1, 8, 8), latent_dim=4, width=8, d_steps=2, ema_decay=0.9),
    "DCGAN": lambda: DCGAN((1, 8, 8), num_classes=10, latent_dim=4, width=4),
    "VAE": lambda: VAE((1, 8, 8), latent_dim=3, width=8),
    "PixelCNN": lambda: PixelCNN((1, 8, 8), levels=2, width=4, layers=3),
    "RBM": lambda: RBM((1, 8, 8), num_classes=10, hidden=6, chains=20),
    "DBM": lambda: DBM((1, 8, 8), hidden=6, top=4, chains=20),
    "GSN": lambda: GSN((1, 8, 8), width=8, walkback=2),
}


class Kill(Callback):
    """SIGKILL between two steps, after so many batches."""

    def __init__(self, batches):
        self.batches = batches

    def on_train_batch_start(self, trainer, module, batch, batch_idx):
        if trainer.fit_loop.epoch_loop.total_batch_idx == self.batches:
            os.kill(os.getpid(), signal.SIGKILL)


def train(name, folder, save_every, kill_after=None, resume=None):
    torch.manual_seed(1)
    data = Digits(batch_size=64, binarise="threshold", num_train=64 * BATCHES + 5, conditional=True)
    when = {"every_n_epochs": 1} if save_every == "epoch" else {"every_n_train_steps": save_every}
    saver = ModelCheckpoint(folder, "{step}", save_top_k=-1, **when)
    callbacks = [saver, Kill(kill_after)] if kill_after else [saver]
    runner = trainer(
        max_epochs=3,
        enable_checkpointing=True,
        callbacks=callbacks,
        plugins=[AtomicCheckpointIO()],
        num_sanity_val_steps=0,
        val_check_interval=2,
        limit_val_batches=1,
    )
    runner.fit(MODELS[name](), data, ckpt_path=resume, weights_only=True)
    runner.save_checkpoint(folder / "end.ckpt")
    return torch.load(folder / "end.ckpt", weights_only=True)


def differences(a, b, path: str = "") -> list[str]:
    """Where two states are not equal to the bit, all the way down."""
    if isinstance(a, torch.Tensor):
        return [] if torch.equal(a, b) else [path]
    if isinstance(a, dict) and isinstance(b, dict) and a.keys() == b.keys():
        return [d for key in a for d in differences(a[key], b[key], f"{path}.{key}")]
    if isinstance(a, list | tuple) and isinstance(b, list | tuple) and len(a) == len(b):
        pairs = enumerate(zip(a, b, strict=True))
        return [d for i, pair in pairs for d in differences(*pair, f"{path}[{i}]")]
    return [] if a == b else [path]


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize(
    ("save_every", "kill_after"),
    [(1, 6), (1, 2 * BATCHES), ("epoch", 2 * BATCHES + 1)],
    ids=["within an epoch", "after its last batch", "from the end of an epoch"],
)
def test_killed_and_resumed(name, save_every, kill_after, tmp_path):
    unbroken, broken, resumed = (tmp_path / part for part in ("unbroken", "broken", "resumed"))
    expected = train(name, unbroken, save_every)
    child = multiprocessing.get_context("fork").Process(
        target=train, args=(name, broken, save_every, kill_after)
    )
    child.start()
    child.join(60)
    assert child.exitcode == -signal.SIGKILL
    saved = sorted(broken.glob("*.ckpt"), key=lambda path: int(path.stem.split("=")[1]))
    assert not list(broken.glob("end.ckpt"))
    found = train(name, resumed, save_every, resume=saved[-1])
    for part in ("state_dict", "optimizer_states", "lr_schedulers", "global_step", "epoch"):
        assert differences(expected[part], found[part], part) == []
    assert expected["noise_seed"] == found["noise_seed"]
