"""A loss that runs away is said once, with whose it is and what to do."""

import warnings

import pytest

from genzoo.zoo import GAN, VAE, WGAN, Autoencoder
from tests.helpers.training import bits, fit, loader

DATA = loader(bits(24))  # three batches an epoch


def lost(model, steps: int, **settings) -> list[str]:
    """What is said of losses in so many steps."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        fit(model, DATA, steps, **settings)
    return [str(w.message) for w in caught if "the loss of" in str(w.message)]


class Scripted(GAN):
    """Its players pay what is written, step by step, whatever they do."""

    def __init__(self, discriminator=(), generator=()):
        super().__init__((1, 8, 8), latent_dim=2, width=8)
        self.paid = {"discriminator": [*discriminator], "generator": [*generator]}

    def pay(self, name, loss):
        return loss * 0 + self.paid[name].pop(0) if self.paid[name] else loss

    def discriminator_loss(self, batch):
        return self.pay("discriminator", super().discriminator_loss(batch))

    def generator_loss(self, batch):
        return self.pay("generator", super().generator_loss(batch))


NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("discriminator", "generator", "said"),
    [
        ([1.0, 1.0], [1.0, NAN], ["step 2: the loss of the generator is nan"]),
        ([1.0, 1.0], [1.0, -1e14], ["step 2: the loss of the generator is -1e+14"]),
        ([1.0, 2e13], [1.0, 1.0], ["step 2: the loss of the discriminator is 2e+13"]),
        ([1.0, 1.0], [INF], ["step 1: the loss of the generator is inf"]),
        ([NAN], [NAN], ["step 1: the loss of the discriminator is nan and the loss of the gen"]),
        ([1e14, 1e14], [1.0, -INF], ["step 1: the loss of the d", "step 2: the loss of the disc"]),
        ([1e8] * 6, [-1e8] * 6, []),  # as sums over pixels may begin
        ([1e8, *[9e13] * 5], [1.0] * 6, ["step 2: the loss of the discriminator is 9e+13"]),
        # It has to stay: at two looks in a row, or when training ends.
        ([1e-3, *[2e6] * 5], [1.0] * 6, ["step 3: the loss of the discriminator is 2e+06"]),
        ([1.0, 2e6, 1.0, 2e6, 1.0], [1.0] * 6, []),
        ([1.0] * 6, [*[1.0] * 5, -2e6], ["step 6: the loss of the generator is -2e+06"]),
        ([1.0, *[9e5] * 5], [10.0, *[9e6] * 5], []),
        ([1e4, *[9e9] * 5], [1e4, *[2e10] * 5], ["step 3: the loss of the generator is 2e+10"]),
    ],
)
def test_a_lost_loss_is_said_once_by_its_players_name(discriminator, generator, said):
    model = Scripted(discriminator, generator)
    found = lost(model, 6, log_every_n_steps=1)
    assert len(found) == len(said), found
    for line, start in zip(found, said, strict=True):
        assert line.startswith(start)
        assert line.endswith("with a smaller lr or clip_norm, if no image of the data has NaN")


def test_it_is_looked_at_now_and_then_and_when_training_ends():
    for at, said in ((1, 10), (7, 10), (10, 10), (12, 12)):
        model = Scripted(generator=[1.0] * (at - 1) + [NAN] * 20)
        (line,) = lost(model, 12, log_every_n_steps=10)
        assert line.startswith(f"step {said}:"), (at, line)


def test_every_training_says_it_anew():
    model = Scripted(generator=[NAN] * 10)
    assert len(lost(model, 2)) == len(lost(model, 2)) == 1


def test_a_training_that_really_diverges():
    (line,) = lost(Autoencoder((1, 8, 8), latent_dim=2, width=8, lr=1e30), 60)
    assert "the loss of this Autoencoder is" in line
    assert "a smaller lr or Trainer(gradient_clip_val=...), if no image" in line


def test_growth_is_that_of_this_training():
    model = Scripted([1.0] * 3 + [2e6] * 6)
    assert lost(model, 3) == lost(model, 6, log_every_n_steps=1) == []


@pytest.mark.parametrize("kind", [GAN, WGAN, VAE])
def test_a_sound_training_says_nothing(kind):
    assert lost(kind((1, 8, 8), latent_dim=2, width=8), 12, log_every_n_steps=1) == []


def test_the_command_line_shows_it(genzoo, capsys):
    line = "fit --model GAN --model.width 8 --model.lr 1e30 --data own.Noise --evaluate false "
    with pytest.warns(UserWarning, match="the loss of the discriminator is nan"):
        genzoo(line + "--trainer.accelerator cpu --trainer.max_epochs 2 --test_after_fit false")


class Own(Scripted):
    """A subclass whose hook does not call the library's."""

    def on_train_batch_end(self, outputs, batch, batch_idx):
        pass


@pytest.mark.parametrize(
    ("generator", "said"), [([1.0, 1.0], []), ([1.0, NAN], ["step 2: the loss of the generator"])]
)
def test_without_the_librarys_hook_training_ends_and_a_loss_is_named_at_the_end(generator, said):
    found = lost(Own([1.0, 1.0], generator), steps=2)
    assert len(found) == len(said) and all(map(str.startswith, found, said))
