"""A training that is killed and resumed ends where the unbroken one ends, to the bit."""

import csv
import multiprocessing
import os
import random
import signal
import threading
from pathlib import Path
from time import monotonic, sleep

import pytest
import torch
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from lightning.pytorch.tuner import Tuner

from genzoo.__main__ import main
from genzoo.callbacks import GameMonitor, Throughput
from genzoo.callbacks.progress import Bar, ProgressLines
from genzoo.datamodules import Digits
from genzoo.runs.checkpoints import AtomicCheckpointIO, read
from genzoo.runs.folders import last_checkpoint
from genzoo.zoo import DBM, DCGAN, EDM, GAN, GSN, RBM, VAE, PixelCNN
from tests.helpers.training import trainer

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
    "EDM": lambda: EDM((1, 8, 8), num_classes=10, width=8, blocks=1, warmup_steps=9),
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


# Through the command line, with all callbacks that it adds

LINE = (
    "fit --model {model} --data Digits --data.num_train 85 --data.batch_size 16 "  # 5 batches
    "--data.binarise threshold --evaluation.extractor pixels --evaluation.num_samples_fit 20 "
    "--evaluation.num_real 40 --test_after_fit false --trainer.log_every_n_steps 1 "
    "--trainer.accelerator cpu --trainer.enable_model_summary false "
)
SMALL = {
    "GAN": "GAN --model.width 8 --model.ema_decay 0.9",
    "VAE": "VAE --model.width 8",
    "PixelCNN": "PixelCNN --model.levels 2 --model.width 4 --model.layers 3",
    "EDM": "EDM --model.width 8 --model.blocks 1 --model.steps 3 --model.warmup_steps 9",
}


def command(name: str, folder: Path, steps: int, more: str = "") -> None:
    """Fits for so many steps of the model, its runs in this folder."""
    line = LINE.format(model=SMALL[name])
    line += f"--trainer.max_steps {steps} --trainer.default_root_dir {folder} {more}"
    assert main(line.split()) == 0


def end(folder: Path) -> tuple[dict, list[dict[str, str]]]:
    """The last checkpoint, and the metrics that do not depend on the clock."""
    (runs,) = folder.iterdir()
    path = last_checkpoint(runs)
    with (path.parents[1] / "metrics.csv").open() as file:
        rows = [
            {name: value for name, value in row.items() if value and name != "images/s"}
            for row in csv.DictReader(file)
        ]
    return read(path), [row for row in rows if row]


PARTS = ("state_dict", "optimizer_states", "lr_schedulers", "global_step", "epoch", "noise_seed")


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """What a command that nothing stopped ends with, by the model's name."""
    ends = {}

    def ended(name: str) -> tuple[dict, list[dict[str, str]]]:
        if name not in ends:
            folder = tmp_path_factory.mktemp("whole") / "runs"
            command(name, folder, 12)
            ends[name] = end(folder)
        return ends[name]

    return ended


@pytest.mark.parametrize(
    "name, steps",
    [("GAN", 3), ("GAN", 5), ("VAE", 6), ("EDM", 3)]
    + [pytest.param("VAE", 5, marks=pytest.mark.slow)]
    + [pytest.param("PixelCNN", steps, marks=pytest.mark.slow) for steps in (4, 10, 11)],
)
def test_a_stopped_command_goes_on_to_the_bit(name, steps, whole, tmp_path):
    """Inside an epoch of five batches, at its end, and after it."""
    expected, metrics = whole(name)
    command(name, tmp_path / "runs", steps)
    command(name, tmp_path / "runs", 12, "--ckpt_path last")
    found, again = end(tmp_path / "runs")
    for part in (*PARTS, "loops"):
        assert differences(expected[part], found[part], part) == []
    assert again == metrics


class Moment:
    """SIGKILL at the count-th time that the training is there."""

    def __init__(self, count: int):
        self.left = count

    def reached(self) -> bool:
        self.left -= 1
        return self.left == 0

    def die(self) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def training(self) -> None:
        kinds = GAN, VAE, PixelCNN, EDM
        before = [kind.training_step for kind in kinds]

        for kind, step in zip(kinds, before, strict=True):

            def then(model, *args, step=step):
                result = step(model, *args)
                if self.reached():
                    self.die()  # the weights have moved, nothing else has
                return result

            kind.training_step = then

    def evaluation(self) -> None:
        for kind in (GAN, VAE, PixelCNN, EDM):

            def then(model, *args, sample=kind.sample):
                if self.reached():
                    self.die()
                return sample(model, *args)

            kind.sample = then

    def writing(self) -> None:
        write = torch.save

        def half(content, file):
            if self.reached():
                file.write(b"half of it")
                file.flush()
                self.die()
            write(content, file)

        torch.save = half

    def naming(self) -> None:
        replace = Path.replace

        def then(path, target):
            replace(path, target)
            if target.suffix == ".ckpt" and self.reached():
                self.die()  # the file is there, what follows is not

        Path.replace = then


def killed(name: str, folder: Path, steps: int, kind: str, count: int) -> None:
    """The command in a process that does not live to its end."""

    def run() -> None:
        torch.set_num_threads(1)
        if kind == "any":
            threading.Thread(target=lambda: (sleep(count), moment.die()), daemon=True).start()
        else:
            getattr(moment, kind)()
        command(name, folder, steps, "--checkpoint.every_n_train_steps 2")

    moment = Moment(count)
    child = multiprocessing.get_context("fork").Process(target=run)
    child.start()
    child.join(120)
    assert child.exitcode == -signal.SIGKILL


def same_end(name: str, folder: Path, expected: dict) -> None:
    command(name, folder, 12, "--checkpoint.every_n_train_steps 2 --ckpt_path last")
    found, _ = end(folder)
    for part in PARTS:
        assert differences(expected[part], found[part], part) == []


@pytest.mark.parametrize("kind, count", [("training", 8), ("naming", 10)])  # at an epoch's end
def test_a_killed_command_goes_on_to_the_bit(kind, count, whole, tmp_path):
    expected, _ = whole("GAN")
    killed("GAN", tmp_path / "runs", 12, kind, count)
    same_end("GAN", tmp_path / "runs", expected)


@pytest.mark.slow
@pytest.mark.parametrize("name", SMALL)
def test_killed_at_random_moments(name, whole, tmp_path):
    """Seven moments each: at any time, and in training, evaluation and writing."""
    expected, _ = whole(name)
    since = monotonic()
    command(name, tmp_path / "timed", 12, "--checkpoint.every_n_train_steps 2")
    seconds = monotonic() - since
    draw = random.Random(name)
    kinds = ["any", "any", "any", "training", "evaluation", "writing", "naming"]
    counts = {"training": 11, "evaluation": 2, "writing": 12, "naming": 12}
    for index, kind in enumerate(kinds):
        folder = tmp_path / f"killed-{index}"
        moment = (
            draw.uniform(0.2, 0.8) * seconds if kind == "any" else draw.randint(1, counts[kind])
        )
        killed(name, folder, 12, kind, moment)
        same_end(name, folder, expected)


@pytest.mark.parametrize("kind", [Throughput, GameMonitor, Bar, ProgressLines])
def test_each_callback_goes_on_inside_an_epoch(kind, tmp_path):
    """Where Lightning leaves out the hooks of a beginning epoch."""

    def run(steps, resume=None):
        settings = {"enable_progress_bar": True} if kind in (Bar, ProgressLines) else {}
        runner = trainer(max_epochs=-1, max_steps=steps, callbacks=[kind()], **settings)
        model = GAN((1, 8, 8), latent_dim=4, width=8)
        runner.fit(model, Digits(batch_size=64, num_train=325), ckpt_path=resume)
        return runner

    run(3).save_checkpoint(tmp_path / "inside.ckpt")
    runner = run(7, tmp_path / "inside.ckpt")
    assert (runner.global_step, runner.current_epoch) == (7, 2)  # as unbroken: the next one


def test_lightnings_tuner_trains_before_the_training(tmp_path):
    runner = trainer(max_steps=4, default_root_dir=tmp_path)
    data = Digits(batch_size=2)
    model = GAN((1, 8, 8), width=8)
    assert Tuner(runner).scale_batch_size(model, data, max_trials=3, steps_per_trial=2) == 8
    runner.fit(model, data)
    assert runner.global_step == 4 and data.batch_size == 8
    runner = trainer(max_steps=4, default_root_dir=tmp_path)
    data = Digits(batch_size=16)
    model = VAE((1, 8, 8), width=8, decoder="gaussian")
    found = Tuner(runner).lr_find(model, datamodule=data, max_lr=1e4, num_training=60)
    assert len(found.results["loss"]) < 60  # it diverged
    assert 1e-8 < found.suggestion() < 1e4 and model.lr == found.suggestion()
