"""Who moves in which phase, when a phase begins, and that a resumed game is in the right one."""

from lightning.pytorch.callbacks import ModelCheckpoint
from torch import nn

from genzoo.zoo import GAN
from genzoo.zoo.adversarial import Adversarial, Phase, Player
from tests.helpers.training import bits, fit, loader, trainer


class Game(Adversarial):
    """Three weights, in three phases: both play, a third one learns alone, and one goes on."""

    def __init__(self, waiting=False, moves=1):
        super().__init__(lr=0.1, betas=(0.5, 0.9))
        self.boxes = nn.ModuleDict({name: nn.Linear(1, 1, bias=False) for name in "abc"})
        self.waiting, self.moves, self.turns, self.begun = waiting, moves, [], []

    def players(self):
        def pay(name):
            self.turns[-1] += name
            return self.boxes[name].weight.square().sum()

        return tuple(
            Player(n, (self.boxes[n],), lambda _, n=n: pay(n), moves=self.moves if n == "c" else 1)
            for n in "abc"
        )

    def phases(self):
        def begin():
            self.begun.append((self.phase, self.trainer.global_step))

        return (
            Phase("both", 2, ("b", "c"), waiting=self.waiting),
            Phase("alone", 3, ("a",), begin, waiting=self.waiting),
            Phase("one", 0, ("c",), begin, waiting=self.waiting),
        )

    def on_train_batch_start(self, batch, batch_idx):
        super().on_train_batch_start(batch, batch_idx)
        self.turns.append("")


DATA = loader(bits(24))  # three batches


def test_phases_follow_each_other():
    """What the last player has no part in ends with the last of its own moves, in a batch."""
    game = Game()
    runner = fit(game, DATA, steps=4)
    assert game.turns == ["bc", "bc", "a", "a", "ac", "c"]
    assert game.begun == [(1, 2), (2, 2)] and runner.global_step == 4
    assert type(game.phase) is int


def test_steps_are_counted_between_batches():
    game = Game(moves=3)
    fit(game, DATA, steps=6)
    assert game.turns == ["bccc", "a", "a", "accc"]
    assert game.begun == [(1, 3), (2, 3)]


def test_each_phase_counts_its_own_moves():
    game = Game()
    phases = *(Phase(name, 2, (name,)) for name in "ab"), Phase("c")
    game.phases = lambda: phases
    fit(game, DATA, steps=2)
    assert game.turns == ["a", "ab", "bc", "abc"]


def test_who_has_left_is_not_spoken_of_and_who_waits_pays_nothing():
    logged = {}
    for waiting in (False, True):
        game = Game(waiting)
        runner = fit(game, DATA, steps=1)
        logged[waiting] = {
            name: value.item()
            for name, value in runner.callback_metrics.items()
            if name.startswith("loss/")
        }
    assert logged[False].keys() == {"loss/b", "loss/c"}
    assert logged[True].keys() == {"loss/a", "loss/b", "loss/c"} and logged[True]["loss/a"] == 0


def test_a_resumed_game_is_in_its_phase(tmp_path):
    saver = ModelCheckpoint(tmp_path, "{epoch}", every_n_epochs=1, save_top_k=-1)
    unbroken, resumed = Game(), Game()
    trainer(max_epochs=2, callbacks=[saver], enable_checkpointing=True).fit(unbroken, DATA)
    trainer(max_epochs=2).fit(resumed, DATA, ckpt_path=tmp_path / "epoch=0.ckpt", weights_only=True)
    assert unbroken.turns == ["bc", "bc", "a", "a", "ac", "c"] and resumed.turns == ["a", "ac", "c"]
    assert resumed.begun == [(2, 2)]  # each begins once
    assert (resumed.phase, unbroken.phase) == (2, 2)


def test_where_a_game_is_at_a_step():
    class Three(Game):
        def phases(self):
            return Phase("x", 4), Phase("y", 2), Phase("z")

    game = Three()
    at = {step: game.phase_at(step) for step in (0, 3, 4, 5, 6, 99)}
    assert at == {0: (0, 0), 3: (0, 0.75), 4: (1, 0), 5: (1, 0.5), 6: (2, 0), 99: (2, 0)}


def test_phases_that_are_over_at_once_all_begin():
    """As where weights and their phase come from elsewhere, or a file says only the step."""
    game = Game()
    game.phases = lambda: (Phase("x", 1), Phase("y", 1), Phase("z", 1), Phase("w"))
    game.begin_phases(3, "c")
    assert game.phase == 3
    game.begin_phases(0, "c")
    assert game.phase == 3  # none goes back


def test_a_game_without_phases_has_no_number():
    model = GAN((1, 8, 8))
    assert model.phases() == () and "phase" not in model.state_dict()
