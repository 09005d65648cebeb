"""Turns, counts and ranks: each silent failure of alternating training has a test here."""

import csv

import pytest
import torch
from lightning.pytorch.callbacks import EMAWeightAveraging, ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger
from torch import nn

from genzoo.zoo.adversarial import Adversarial, Player
from genzoo.zoo.gan import DCGAN, GAN
from tests.helpers.models import GAMES, TINY, build
from tests.helpers.training import bits, fit, loader, trainer


class Game(Adversarial):
    """Two numbers; writes down who moved and which of them required gradients."""

    def __init__(self, d_steps=1, g_steps=1, clip_norm=0.0, decay=0.0):
        super().__init__(lr=0.1, betas=(0.5, 0.9))
        self.a, self.b = nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False)
        self.d_steps, self.g_steps, self.clip_norm, self.decay = d_steps, g_steps, clip_norm, decay
        self.turns, self.seen, self.gradients = "", [], []

    def players(self):
        return (
            Player("d", (self.a,), lambda batch: self.pay("d", batch), clip_norm=self.clip_norm),
            Player(
                "g",
                (self.b,),
                lambda batch: self.pay("g", batch),
                every=self.d_steps,
                moves=self.g_steps,
            ),
        )

    def pay(self, name, batch):
        self.turns += name
        self.seen.append((name, self.a.weight.requires_grad, self.b.weight.requires_grad))
        if name == "d":
            return 1000 * (self.a.weight * self.b.weight).sum()
        return (self.a.weight * self.b.weight).sum() + self.b.weight.square().sum()

    def move(self, player, optimizer, batch):
        loss = super().move(player, optimizer, batch)
        norms = [None if p.grad is None else p.grad.norm().item() for p in self.parameters()]
        self.gradients.append((player.name, *norms))
        return loss

    def optimizer(self, player):
        return torch.optim.SGD(player.parameters(), lr=1e-3)

    def schedule(self, player, optimizer):
        if self.decay:
            return torch.optim.lr_scheduler.ExponentialLR(optimizer, self.decay)


data = loader(torch.zeros(24, 1, 8, 8))  # three batches an epoch


def test_turns_go_on_over_epochs():
    game = Game(d_steps=5, g_steps=2)
    fit(game, data, steps=6)
    assert game.turns == "dddddgg" * 3  # batch_idx would never reach five


@pytest.mark.parametrize(
    ("d_steps", "g_steps", "max_steps"), [(1, 1, 7), (2, 1, 4), (5, 1, 3), (1, 2, 5)]
)
def test_steps_are_the_generators(d_steps, g_steps, max_steps):
    game = Game(d_steps, g_steps)
    runner = fit(game, data, max_steps)
    assert runner.global_step == game.turns.count("g") == max_steps  # no overshoot
    assert game.turns.count("d") == -(-max_steps // g_steps) * d_steps


def test_checkpoints_and_loggers_count_generator_steps(tmp_path):
    logger = CSVLogger(tmp_path, flush_logs_every_n_steps=1)
    saver = ModelCheckpoint(tmp_path, "{step}", every_n_train_steps=2, save_top_k=-1)
    runner = trainer(
        logger=logger,
        callbacks=[saver],
        enable_checkpointing=True,
        max_steps=6,
        max_epochs=-1,
        log_every_n_steps=1,
    )
    runner.fit(Game(d_steps=3), data, data)
    assert sorted(p.name for p in tmp_path.glob("*.ckpt")) == [f"step={n}.ckpt" for n in (2, 4, 6)]
    rows = list(csv.DictReader(open(f"{logger.log_dir}/metrics.csv")))
    assert max(int(row["step"]) for row in rows) == 6  # of 18 batches


def test_only_the_mover_requires_gradients():
    game = Game()
    fit(game, data, steps=2)
    assert {("d", True, False), ("g", False, True)} == set(game.seen)
    assert game.a.weight.requires_grad and game.b.weight.requires_grad


def test_a_mover_does_not_touch_the_others_gradients():
    game = Game()
    fit(game, data, steps=1)
    (_, d_after_d, g_after_d), (_, d_after_g, g_after_g) = game.gradients
    assert g_after_d is None and g_after_g is not None
    assert d_after_d == d_after_g  # the generator's backward left it alone


def test_requires_grad_comes_back_when_a_loss_raises():
    class Broken(Game):
        def pay(self, name, batch):
            raise RuntimeError("broken")

    game = Broken()
    with pytest.raises(RuntimeError, match="broken"):
        fit(game, data, steps=1)
    assert all(p.requires_grad for p in game.parameters())


def test_clipping_is_a_players_own():
    game = Game(clip_norm=0.5)
    fit(game, data, steps=1)
    assert game.gradients[0][1] == pytest.approx(0.5, rel=1e-3)
    free = Game()
    fit(free, data, steps=1)
    assert free.gradients[0][1] > 10  # what was clipped


def test_schedules_count_a_players_own_moves():
    game = Game(d_steps=2, decay=0.5)
    runner = fit(game, data, steps=3)
    rates = [optimizer.param_groups[0]["lr"] for optimizer in runner.optimizers]
    assert rates == pytest.approx([1e-3 * 0.5**6, 1e-3 * 0.5**3])


def test_bf16_moves_both_players():
    model = GAN((1, 8, 8), width=16)
    before = [p.clone() for p in model.parameters()]
    fit(model, loader(bits(24)), steps=3, precision="bf16-mixed")
    after = list(model.parameters())
    assert all(p.dtype == torch.float32 and p.isfinite().all() for p in after)
    assert all(not torch.equal(a, b) for a, b in zip(before, after, strict=True))


def test_fp16_is_refused(monkeypatch):
    runner = trainer(max_steps=1)
    monkeypatch.setattr(type(runner), "precision", "16-mixed")  # a CPU would turn it into bf16
    with pytest.raises(ValueError, match="precision must be 32-true, 64-true or .*got 16-mixed"):
        runner.fit(Game(), data)


@pytest.mark.parametrize("setting", [{"gradient_clip_val": 1.0}, {"accumulate_grad_batches": 2}])
def test_what_lightning_cannot_do_by_hand_is_refused(setting):
    with pytest.raises(ValueError, match="must be .* where players move in turn.*clip_norm"):
        fit(Game(), data, steps=1, **setting)


@pytest.mark.parametrize("precision", ["bf16-true", "16-true"])
def test_weights_of_half_a_word_are_refused(precision, monkeypatch):
    runner = trainer(max_steps=1)
    monkeypatch.setattr(type(runner), "precision", precision)
    with pytest.raises(ValueError, match=f"precision must be 32-true.* got {precision}: "):
        runner.fit(Game(), data)


RATES = {"d_lr": 0.02, "g_lr": 0.03}
FOLLOWS = {"generator": "g_lr", "simulator": "g_lr", "discriminator": "d_lr", "ratio": "d_lr"}


@pytest.mark.parametrize("name", GAMES)
def test_each_player_has_a_rate_of_its_own_and_all_fall_along_a_line(name):
    model = build(name, lr=0.01, **RATES, decay_steps=10, decay_start=4)
    players = model.players()
    for player in players:
        role = FOLLOWS.get(player.name.partition("_")[0])
        expected = RATES[role] if role else TINY[name].own_rates.get(player.name, 0.01)
        optimizer = model.optimizer(player)
        assert optimizer.param_groups[0]["lr"] == pytest.approx(expected), player.name
        schedule = model.schedule(player, optimizer)
        moves_a_step = (player.moves / player.every) / (players[-1].moves / players[-1].every)
        rates = []
        for _ in range(int(12 * moves_a_step)):
            rates.append(optimizer.param_groups[0]["lr"] / expected)
            optimizer.step()
            schedule.step()
        at = [round(step * moves_a_step) for step in (0, 4, 7, 10)]
        assert [rates[move] for move in at] == pytest.approx([1, 1, 0.5, 0], abs=1e-6), player.name
    plain = build(name, lr=0.01)
    flat = [plain.lr_left(player, 99) for player in plain.players()]
    assert flat == [1.0] * len(players)


def test_rates_have_fallen_together_when_training_ends():
    model = GAN((2,), latent_dim=2, width=4, d_steps=3, decay_steps=4, lr=0.1, d_lr=0.2)
    runner = fit(model, loader(torch.randn(24, 2)), steps=2)
    rates = [optimizer.param_groups[0]["lr"] for optimizer in runner.optimizers]
    assert rates == pytest.approx([0.1, 0.05])
    with pytest.raises(ValueError, match="decay_start must be below decay_steps, got 4"):
        GAN((2,), decay_steps=4, decay_start=4)


def test_checkpoints_by_time_are_refused(tmp_path):
    from datetime import timedelta

    saver = ModelCheckpoint(tmp_path, train_time_interval=timedelta(seconds=1))
    with pytest.raises(ValueError, match="train_time_interval must be None"):
        fit(Game(), data, steps=1, callbacks=[saver], enable_checkpointing=True)


def test_checkpoints_that_would_be_skipped_are_refused(tmp_path):
    saver = ModelCheckpoint(tmp_path, every_n_train_steps=5)
    with pytest.raises(ValueError, match="multiple of the 2 steps"):
        fit(Game(g_steps=2), data, steps=1, callbacks=[saver], enable_checkpointing=True)


def test_lightnings_weight_averaging_is_refused():
    with pytest.raises(ValueError, match="give the model an ema_decay"):
        fit(Game(), data, steps=1, callbacks=[EMAWeightAveraging()])


def test_samples_come_from_the_averaged_generator(tmp_path):
    model = DCGAN((1, 8, 8), width=4, latent_dim=4, lr=0.05, ema_decay=0.9)
    runner = fit(model, loader(bits(24)), steps=5)
    z = model.prior(3)
    averaged, raw = model.ema.module.eval()(z), model.generator.eval()(z)
    assert torch.equal(model.decode(z), averaged) and not torch.allclose(averaged, raw, atol=1e-3)
    runner.save_checkpoint(tmp_path / "m.ckpt")
    loaded = DCGAN.load_from_checkpoint(tmp_path / "m.ckpt", weights_only=True)
    assert torch.equal(loaded.decode(z), averaged)
    assert not any(p.requires_grad for p in model.ema.parameters())


def test_ema_counts_generator_steps():
    model = GAN((2,), latent_dim=2, width=4, d_steps=3, ema_decay=0.5)
    fit(model, loader(torch.randn(24, 2)), steps=4)
    assert model.ema.updates == 4
