"""What of Lightning and torch is used that they do not document.

Each name stands in `genzoo/_lightning` or `genzoo/_torch.py`, and a test here fails when a version
of theirs changes it:

    fit_loop.epoch_loop.total_batch_idx     resumed trainings draw other noise and turns are lost
    checkpoint["loops"]["fit_loop"]         resumed trainings end an epoch early or late
    LightningModule._trainer                a model without a Trainer cannot be saved or loaded
    _apply_batch_transfer_handler           bytes reach a model unscaled
    strategy._ddp_kwargs                    a game of several ranks ends in an error of DDP
    _train_time_interval,
    _every_n_train_steps                    checkpoints that Lightning never saves are not refused
    val_loop._has_run                       a misspelt monitor is not named
    epoch_loop._batches_that_stepped        a resumed run's axis is off by one
    fit_loop._combined_loader,
    _combined_loader_states_to_load,
    epoch_loop.batch_progress               resumed trainings see other images
    cloud_io._is_local_file_protocol        addresses are not fetched, or files not written whole
    ModelCheckpoint's steps                 files have untrue names, the end of a training is lost
    loggers' _experiment, _wandb_init, ...  a resumed run's metrics.csv is deleted, wandb hangs
    LightningCLI's steps                    a checkpoint overrides what was said
    Module._compiled_call_impl              looking at a compiled model compiles it again
    _save_to_state_dict,
    _load_from_state_dict                   steps of an average or a phase are not in checkpoints
    _forward_pre_hooks                      augmentation is not found, and not refused
    Module._modules, _parameters            spectrally normal networks do not pickle
    batchnorm._BatchNorm, _NormBase,
    conv._ConvNd                            normalisation is not refused beside a penalty
    torch._foreach_lerp_                    averages are slow, or not made
"""

import ast
import inspect
import pickle
import re
from datetime import timedelta
from functools import cache
from importlib import import_module
from pathlib import Path

import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.demos.boring_classes import BoringDataModule, BoringModel
from lightning.pytorch.strategies import DDPStrategy
from torch import nn

from genzoo import _torch
from genzoo._lightning import checkpoint, command_line, logger, place_of, trainer_of
from genzoo._lightning import training as loops
from genzoo.zoo import GAN, VAE
from tests.helpers.training import bits, fit, loader, trainer

ROOT = Path(__file__).parents[1]
FOLDERS = ("genzoo", "zoo", "datamodules", "callbacks")
FOREIGN = ("lightning", "torch")
PRIVATE = re.compile(r"_[A-Za-z]\w*")
# Of named tuples, argparse, the operating system and torchmetrics
OTHERS = {"_replace", "_make", "_actions", "_option_string_actions", "_SubParsersAction", "_exit"}
OTHERS |= {"_reductions"}


def sources() -> list[Path]:
    homes = [ROOT / "genzoo" / name for name in ("_lightning", "_torch.py")]
    every = (path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*.py")))
    return [path for path in every if not any(map(path.is_relative_to, homes))]


def defined(tree: ast.AST) -> set[str]:
    """Private names that a file gives to something itself."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            found.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            if ast.unparse(node.value) == "self":
                found.add(node.attr)
        elif isinstance(node, ast.ImportFrom) and node.level:
            found.update(alias.asname or alias.name for alias in node.names)
    return {name for name in found if PRIVATE.fullmatch(name)}


def foreign(tree: ast.AST, ours: set[str]) -> set[str]:
    """Private names that a file uses and that are nobody's of ours, and loops of the Trainer."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            if node.attr in ("fit_loop", "epoch_loop", "val_loop"):
                found.add(node.attr)
            if PRIVATE.fullmatch(node.attr) and node.attr not in ours | OTHERS:
                found.add(node.attr)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            found.update(a.name for a in node.names if PRIVATE.fullmatch(a.name))
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in ("getattr", "setattr"):
            name = node.args[1]
            if isinstance(name, ast.Constant) and PRIVATE.fullmatch(name.value):
                found |= {name.value} - ours - OTHERS
    return found


def test_private_names_of_others_stand_in_one_place():
    trees = {path: ast.parse(path.read_text()) for path in sources()}
    ours = set().union(*map(defined, trees.values()))
    assert {p.name: found for p, tree in trees.items() if (found := foreign(tree, ours))} == {}


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("trainer.fit_loop.restarting", "fit_loop"),
        ("from torch.nn.modules.conv import _ConvNd", "_ConvNd"),
        ("nn.modules.conv._ConvNd", "_ConvNd"),
        ("getattr(callback, '_every_n_train_steps')", "_every_n_train_steps"),
    ],
)
def test_a_private_name_is_seen(text, name):
    assert foreign(ast.parse(text), set()) == {name}


@cache
def private(kind: type) -> set[str]:
    """Private names that a class defines, or reads and sets on itself."""
    text = inspect.getsource(kind)
    return set(re.findall(r"(?:self\.|super\(\)\.|def |^    )(_[a-zA-Z]\w*)", text, re.MULTILINE))


def hidden(kind: type) -> set[str]:
    """Private names that a class shares with a base class of others: it changes or uses them."""
    bases = [base for base in kind.__mro__ if base.__module__.split(".")[0] in FOREIGN]
    return private(kind) & set().union(*map(private, bases))


def classes() -> list[type]:
    """Of ours that are built on one of theirs."""
    found = {}
    for path in sources():
        parts = path.relative_to(ROOT).with_suffix("").parts
        parts = parts if parts[0] == "genzoo" else ("genzoo", *parts)
        if parts[-1] == "__main__":
            continue
        module = import_module(".".join(part for part in parts if part != "__init__"))
        for kind in vars(module).values():
            if isinstance(kind, type) and kind.__module__ == module.__name__:
                if any(b.__module__.split(".")[0] in FOREIGN for b in kind.__mro__):
                    found[f"{module.__name__}.{kind.__qualname__}"] = kind
    return [found[name] for name in sorted(found)]


def test_no_class_changes_or_shadows_what_is_private_to_its_base():
    every = classes()
    assert len(every) > 100
    assert {kind.__qualname__: found for kind in every if (found := hidden(kind))} == {}


def test_what_a_class_shares_with_its_base_is_seen():
    assert "_save_checkpoint" in hidden(checkpoint.OpenCheckpoint)
    assert "_trainer" not in hidden(GAN)


# Trainers


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A Trainer after three of ten batches, its model, and what it has saved."""
    path = tmp_path_factory.mktemp("trained") / "c.ckpt"
    model = VAE((1, 8, 8), latent_dim=2, width=8)
    runner = fit(model, loader(bits(80)), steps=3)
    runner.save_checkpoint(path)
    return runner, model, checkpoint.load(path, "cpu")


def test_the_place_of_a_training(trained):
    runner, _, _ = trained
    assert place_of(runner) == 2 and loops.batches_begun(runner) == 3


def test_an_epoch_that_is_not_over_is_open_in_a_checkpoint(trained, tmp_path):
    runner, _, saved = trained
    assert saved["epoch"] == 0 and loops.epochs_of(saved) == 0
    whole = fit(VAE((1, 8, 8), latent_dim=2, width=8), loader(bits(16)), steps=2)
    whole.save_checkpoint(tmp_path / "c.ckpt")
    assert loops.epochs_of(checkpoint.load(tmp_path / "c.ckpt", "cpu")) == 1


def test_a_model_knows_whether_it_has_a_trainer(trained):
    runner, model, _ = trained
    assert trainer_of(model) is runner and trainer_of(VAE((1, 8, 8))) is None


def test_whether_a_step_is_a_models_own():
    assert loops.has_own("validation_step", VAE((1, 8, 8)))
    assert not loops.has_own("predict_step", VAE((1, 8, 8)))


def test_batches_are_unpacked_after_all_hooks():
    seen = []

    class Watched(VAE):
        def on_after_batch_transfer(self, batch, dataloader_idx):
            seen.append(batch[0].dtype)
            return batch

        def training_step(self, batch, batch_idx):
            seen.append((batch[0].min().item(), batch[0].max().item()))
            return super().training_step(batch, batch_idx)

    images = ((bits(8) + 1) * 127.5).byte()
    fit(Watched((1, 8, 8), latent_dim=2, width=8), loader(images), steps=1)
    assert seen == [torch.uint8, (-1.0, 1.0)]


def test_ddp_bears_unused_parameters_unless_told_otherwise():
    ours, theirs = DDPStrategy(), DDPStrategy(find_unused_parameters=False)
    for strategy in (ours, theirs, None):
        loops.allow_unused(strategy)
    assert ours._ddp_kwargs["find_unused_parameters"]
    assert not theirs._ddp_kwargs["find_unused_parameters"]


def test_when_a_checkpoint_is_saved():
    timed = ModelCheckpoint(train_time_interval=timedelta(minutes=1))
    assert loops.saves_by_time(timed) and not loops.saves_by_time(ModelCheckpoint())
    assert loops.saves_every(ModelCheckpoint(every_n_train_steps=5)) == 5
    assert loops.saves_every(timed) == loops.saves_every(object()) == 0


def test_whether_a_validation_has_run(trained):
    assert not loops.has_validated(trained[0])
    runner = trainer(max_epochs=1, num_sanity_val_steps=0)
    model = VAE((1, 8, 8), latent_dim=2, width=8)
    runner.fit(model, loader(bits(8)), loader(bits(8)))
    assert loops.has_validated(runner)


def test_the_loggers_axis_counts_the_batches_before():
    axes = []

    class Watched(VAE):
        def on_train_batch_start(self, batch, batch_idx):
            super().on_train_batch_start(batch, batch_idx)
            self.trainer.fit_loop.epoch_loop._batches_that_stepped = 99
            loops.count_as_begun(self.trainer)

        def on_train_batch_end(self, outputs, batch, batch_idx):
            super().on_train_batch_end(outputs, batch, batch_idx)
            axes.append(self.trainer.fit_loop.epoch_loop._batches_that_stepped)

    fit(Watched((1, 8, 8), latent_dim=2, width=8), loader(bits(24)), steps=3)
    assert axes == [0, 1, 2]


def test_loaders_and_their_places():
    data, runner = loader(bits(24)), trainer(max_epochs=1)
    assert loops.loaders_before(runner) == [] == loops.places_to_load(runner)
    runner.fit(VAE((1, 8, 8), latent_dim=2, width=8), data)
    assert loops.loaders_before(runner)[0] is data
    runner.fit_loop._combined_loader_states_to_load = [{"images": 8}]
    assert loops.places_to_load(runner) == [{"images": 8}]
    loops.drop_places(runner)
    assert loops.places_to_load(runner) == []
    loops.move_on(runner, 2, over=False)
    assert loops.batches_begun(runner) == 5


# Checkpoints


def test_a_path_is_of_this_machine():
    assert checkpoint.is_local("a/b.ckpt") and checkpoint.is_local(Path("/a/b.ckpt"))
    assert not checkpoint.is_local("s3://a/b.ckpt")


def test_a_file_brings_no_code(tmp_path):
    torch.save({"a": Path("code")}, tmp_path / "c.ckpt")
    with pytest.raises(pickle.UnpicklingError, match="weights_only"):
        checkpoint.load(tmp_path / "c.ckpt", "cpu")


def test_the_steps_of_a_checkpoint_are_called(tmp_path):
    called = []

    class Watched(checkpoint.OpenCheckpoint):
        def candidates(self, trainer, found):
            called.append("candidates")
            return found | {"mine": torch.tensor(7)}

        def file_name(self, pattern, values):
            called.append("file_name")
            return pattern

        def before_best(self, trainer, candidates):
            called.append("before_best")
            assert candidates["mine"] == 7

        def saved(self):
            called.append("saved")

    keeper = Watched(tmp_path, "at-{mine}", every_n_train_steps=2, save_last=True)
    model, runner = VAE((1, 8, 8), latent_dim=2, width=8), trainer
    runner = runner(max_steps=3, callbacks=[keeper], enable_checkpointing=True)
    runner.fit(model, loader(bits(32)))
    assert set(called) == {"candidates", "file_name", "before_best", "saved"}
    assert {path.name for path in tmp_path.iterdir()} == {"at-mine=7.ckpt", "last.ckpt"}
    assert checkpoint.load(tmp_path / "last.ckpt", "cpu")["global_step"] == 2
    keeper.save_now(runner)
    assert checkpoint.load(tmp_path / "last.ckpt", "cpu")["global_step"] == 3
    files = called.count("saved")
    keeper.save_now(runner)
    assert called.count("saved") == files  # it is saved already
    keeper.save_now(runner, again=True)
    assert called.count("saved") == files + 1


# Loggers and the command line


def test_metrics_that_are_there_are_asked_about(tmp_path):
    taken = []

    class Writer(logger.OpenWriter):
        def take_up(self, path):
            taken.append(Path(path).read_text())

    class Logger(logger.OpenCSVLogger):
        def writer(self):
            return Writer(self.log_dir)

    for value in (1, 2):
        log = Logger(tmp_path, "run", 0)
        assert isinstance(log.experiment, Writer) and log.experiment is log.experiment
        log.log_metrics({"a": value}, step=value)
        log.save()
    assert taken == ["a,step\n1,1\n"]


def test_a_run_of_wandb_that_has_not_begun_can_be_changed(tmp_path):
    begun = []

    class Logger(logger.OpenWandbLogger):
        def begin(self):
            begun.append(dict(self.arguments))
            return logger.nobody()

    log = Logger(project="a", offline=True)
    assert log.run is None and log.is_offline
    log.settle_in(tmp_path), log.rename("b"), log.go_on_with("c")
    assert (log.save_dir, log.name, log.version) == (str(tmp_path), "a", "c")
    log.log_metrics({"x": 1})
    assert logger.is_nobody(log.run) and not logger.is_nobody(None)
    log.forget_run()
    log.experiment.finish()
    assert [b["name"] for b in begun] == ["b", "b"] and begun[0]["dir"] == str(tmp_path)


def test_the_steps_of_a_command_are_called(tmp_path):
    called = []

    class Mine(command_line.OpenCLI):
        def instantiate_trainer(self, **kwargs):
            config = self.get(self.config_init, "trainer")
            return self.make_trainer({**config, "callbacks": [], **kwargs})

        def arguments_of(self, command, found):
            called.append((command, "ckpt_path" in found))
            return found

        def run_command(self, command):
            called.append("before")
            super().run_command(command)

    options = ["--trainer.fast_dev_run=1", f"--trainer.default_root_dir={tmp_path}"]
    options += ["--trainer.accelerator=cpu", "--ckpt_path=null"]
    Mine(BoringModel, BoringDataModule, args=["fit", *options], save_config_callback=None)
    assert called == ["before", ("fit", True)]


# Networks


class Steps(_torch.Stored):
    steps = 0

    def stored(self):
        return {"steps": torch.tensor(self.steps)}

    def restore(self, name, value):
        self.steps = int(value)

    def before_loading(self, state_dict, prefix):
        if f"{prefix}old" in state_dict:
            state_dict[f"{prefix}steps"] = state_dict.pop(f"{prefix}old")


def test_numbers_are_stored_beside_weights():
    network = nn.Sequential(nn.Linear(1, 1), Steps())
    network[1].steps = 3
    state = network.state_dict()
    assert list(state) == ["0.weight", "0.bias", "1.steps"]
    other = nn.Sequential(nn.Linear(1, 1), Steps())
    other.load_state_dict(state)
    assert other[1].steps == 3
    state["1.old"] = torch.tensor(5)
    other.load_state_dict(state)
    assert other[1].steps == 5
    del state["1.steps"], state["1.old"]
    with pytest.raises(RuntimeError, match="Missing key.*1.steps"):
        other.load_state_dict(state)
    assert other.load_state_dict(state, strict=False).missing_keys == ["1.steps"]


def test_what_compilation_puts_before_a_network():
    network = nn.Linear(1, 1)
    assert _torch.compiled_call(network) is None
    network.compile(backend="eager")
    call = _torch.compiled_call(network)
    assert call is not None
    _torch.set_compiled_call(network, None)
    assert torch.equal(network(torch.ones(1, 1)), network.forward(torch.ones(1, 1)))
    _torch.set_compiled_call(network, lambda x: "compiled")
    assert network(None) == "compiled"


def test_hooks_before_a_network_are_found_and_removed():
    class Hook:
        def __call__(self, network, inputs):
            return None

    network, ours = nn.Linear(1, 1), Hook()
    network.register_forward_pre_hook(ours)
    network.register_forward_pre_hook(lambda *_: None)
    assert list(_torch.hooks_before(network))[0] is ours
    _torch.remove_hooks_before(network, Hook)
    assert len(list(_torch.hooks_before(network))) == 1


def test_a_layer_is_what_it_holds():
    layer = nn.Sequential(nn.Linear(2, 1), nn.Tanh())
    layer.register_parameter("p", nn.Parameter(torch.ones(1)))
    state, other = _torch.state_without(layer, "1", q=layer[0].bias), nn.Sequential()
    other.__dict__.update(state)
    assert [name for name, _ in other.named_parameters()] == ["q", "p", "0.weight"]
    assert [name for name, _ in other.named_children()] == ["0"]


@pytest.mark.parametrize(
    ("kind", "members", "strangers"),
    [
        (_torch.BATCH_NORM, (nn.BatchNorm1d, nn.BatchNorm2d), (nn.InstanceNorm2d, nn.LayerNorm)),
        (_torch.NORM, (nn.BatchNorm1d, nn.InstanceNorm2d), (nn.GroupNorm, nn.Linear)),
        (_torch.CONVOLUTION, (nn.Conv2d, nn.ConvTranspose2d), (nn.Linear,)),
    ],
)
def test_kinds_of_layers(kind, members, strangers):
    assert all(issubclass(member, kind) for member in members)
    assert not any(issubclass(stranger, kind) for stranger in strangers)


def test_averages_of_many_tensors_at_once():
    a, b = [torch.zeros(2), torch.ones(3)], [torch.ones(2), torch.ones(3)]
    _torch.lerp_all(a, b, 0.25)
    assert [x.tolist() for x in a] == [[0.25] * 2, [1.0] * 3]
