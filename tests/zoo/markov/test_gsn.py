"""The chain of a GSN: its theorem on states that can be counted, its claim on digits."""

import numpy as np
import pytest
import torch
from torch.distributions import Bernoulli

from genzoo.protocols import Completer, Sampler
from genzoo.zoo import GeneralizedDenoisingAutoencoder, load_model
from genzoo.zoo.markov import GSN
from tests.helpers.tiny import Tiny
from tests.helpers.training import bits, fit, loader, trainer
from tests.zoo.markov.test_generalized_denoising import (
    STATES,
    Ring,
    assert_known_bits_stay,
    law,
    total_variation,
    two_sample_test,
)
from tests.zoo.markov.test_rbm import digits, learn

TINY = Tiny(GSN, {"width": 16, "steps": 10}, {Sampler, Completer})


KNOWN = 6  # states of the latent


class Counted(GSN):
    """Sixteen images in a ring, and a latent of six states; all that is learned is a table."""

    spell, read = staticmethod(Ring.spell), staticmethod(Ring.read)

    def __init__(self):
        super().__init__((1, 2, 2), width=1)
        self.latent = (2 * torch.randn(KNOWN, STATES, KNOWN, dtype=torch.double)).softmax(2)
        self.image = torch.full((KNOWN, STATES), 1 / STATES, dtype=torch.double)  # P(X|H)

    def rest(self, bits):
        return torch.zeros(len(bits), dtype=torch.long)

    def step(self, bits, hidden, y=None):
        hidden = torch.multinomial(self.latent[hidden, self.read(bits)], 1)[:, 0]
        chance, spell = self.image[hidden], self.spell

        class Row:
            def sample(self):
                return spell(torch.multinomial(chance, 1)[:, 0])

        return Row(), hidden

    def known(self, settle: int) -> torch.Tensor:
        """P(H|X), (16, 6), after so many steps in which the image stayed, and one more."""
        law = torch.eye(KNOWN, dtype=torch.double)[0].expand(STATES, -1)
        for _ in range(settle + 1):
            law = torch.einsum("xh,hxg->xg", law, self.latent)
        return law

    def learn(self, p: torch.Tensor, settle: int) -> None:
        """P(X_0|H_1), the best there is."""
        joint = p * self.known(settle).T
        self.image = joint / joint.sum(1, keepdim=True)

    def stationary(self) -> torch.Tensor:
        """Of the images, (16,): the chain goes from (h, x) to (g, z)."""
        step = torch.einsum("hxg,gz->hxgz", self.latent, self.image).reshape(KNOWN * STATES, -1)
        return torch.linalg.matrix_power(step, 10_000)[0].view(KNOWN, STATES).sum(0)


@pytest.mark.claim
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_where_the_latent_has_settled_the_chain_gives_the_data(seed, measured):
    """The theorem: exact with P(H_0|X_0) = P(H_1|X_0), and wrong from the first glance alone."""
    torch.manual_seed(seed)
    p, chain, found = law(), Counted(), []
    for settle in (0, 1, 1000):
        chain.learn(p, settle)
        found.append(total_variation(chain.stationary(), p))
    print(" ".join(f"{distance:.1e}" for distance in found))
    measured("total variation, settled latent", found[2], below=1e-10)
    measured("from the first glance", min(found[:2]), above=0.01)


def test_samples_are_of_that_chain():
    torch.manual_seed(0)
    p, chain = law(), Counted()
    chain.learn(p, settle=1000)
    x = chain.sample(20_000, steps=100)
    counts = torch.bincount(chain.read((x.flatten(1) + 1) / 2), minlength=STATES)
    assert ((counts - 20_000 * p) ** 2 / (20_000 * p)).sum() < 37.7  # p = 0.001


# One step


def test_a_step_is_as_written():
    """h1 and h3 from v and h2, then v and h2 from these."""
    model = GSN((1, 2, 2), num_classes=3, width=5, depth=3, noise=0.0)
    for p in model.parameters():
        torch.nn.init.normal_(p)
    v, h2, y = torch.tensor([[0.0, 1.0, 1.0, 0.0]]), torch.randn(1, 5), torch.tensor([2])
    logits, (after,) = model.denoiser(v, [h2], y)
    (w1, w2, w3), (c1, c2, c3) = zip(*((u.weight, u.bias) for u in model.denoiser.up), strict=True)
    seen = torch.tensor([[-1.0, 1.0, 1.0, -1.0, 0.0, 0.0, 1.0]])
    h1, h3 = (seen @ w1.T + h2 @ w2 + c1).tanh(), (h2 @ w3.T + c3).tanh()
    torch.testing.assert_close(after, (h1 @ w2.T + h3 @ w3 + c2).tanh())
    torch.testing.assert_close(logits, h1 @ w1[:, :4] + model.denoiser.bias)


def test_noise_is_before_and_after_and_not_in_the_first_layer():
    model = GSN((1, 2, 2), width=2000, noise=0.5).eval()
    v, rest = torch.ones(1, 4), model.rest(torch.ones(1, 4))
    logits, (h2,) = model.denoiser(v, rest)
    again, (other,) = model.denoiser(v, rest)
    assert torch.equal(logits, again)
    h1 = model.denoiser.up[0](v).tanh()
    calm = model.denoiser.up[1](h1)
    expected = (calm + 0.5 * torch.randn_like(calm)).tanh() + 0.5 * torch.randn_like(calm)
    assert not torch.equal(h2, other)
    assert h2.std().item() == pytest.approx(expected.std().item(), rel=0.1)


@pytest.mark.parametrize("depth", [2, 3, 4, 5])
def test_every_second_layer_is_carried(depth):
    model = GSN((1, 2, 2), width=3, depth=depth)
    before = model.rest(torch.ones(7, 4))
    assert [tuple(h.shape) for h in before] == [(7, 3)] * (depth // 2)
    _, after = model.step(torch.ones(7, 4), before)
    assert [h.shape for h in after] == [h.shape for h in before]


class Recorder(GSN):
    """Notes what each step is shown; says that few pixels are on."""

    def step(self, bits, hidden, y=None):
        self.shown.append((bits, hidden))
        guess = Bernoulli(torch.full_like(bits, 0.25))
        return guess, [torch.full_like(h, len(self.shown)) for h in hidden]


def test_each_training_settles_and_then_walks():
    model, x = Recorder((1, 8, 8), width=4, settle=2, walkback=3), bits(6)
    model.shown = []
    clean = (x.flatten(1) + 1) / 2
    on = clean.sum(1)
    expected = -(on * np.log(0.25) + (64 - on) * np.log(0.75)).mean()
    assert model.denoising(x).item() == pytest.approx(expected.item(), rel=1e-5)
    shown, hidden = zip(*model.shown, strict=True)
    assert len(shown) == 5  # three of the image, then two of draws, which are far darker
    assert all(torch.equal(each, clean) for each in shown[:3])
    assert all(each.mean() < 0.4 < clean.mean() for each in shown[3:])
    assert [h[0].unique().item() for h in hidden] == [0, 1, 2, 3, 4]  # carried


def test_samples_and_completions_carry_the_latent():
    model = Recorder((1, 8, 8), width=4, steps=5)
    mask = torch.ones(3, 1, 8, 8)
    for draw in (lambda: model.sample(3), lambda: model.complete(bits(3), mask)):
        model.shown = []
        draw()
        assert [h[0].unique().item() for _, h in model.shown] == [0, 1, 2, 3, 4]


def test_completion_leaves_what_is_known():
    assert_known_bits_stay(GSN((1, 8, 8), width=8, steps=3))


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"depth": 1}, "depth must be at least 2, got 1"),
        ({"settle": -1}, "settle must be 0 or more, got -1"),
        ({"settle": 0, "walkback": 1}, "settle must be at least 1 where walkback is 1, got 0"),
        ({"walkback": 0}, "walkback must be at least 1, got 0"),
        ({"annealing": 0.0}, r"annealing must be in \(0, 1\], got 0.0"),
        ({"corruption": 0.0}, r"corruption must be in \(0, 1\], got 0.0"),
    ],
)
def test_impossible_settings_are_refused(setting, message):
    with pytest.raises(ValueError, match=message):
        GSN(**{"image_shape": (1, 4, 4), **setting})


def test_a_checkpoint_from_when_the_other_had_this_name(tmp_path):
    model = GeneralizedDenoisingAutoencoder((1, 8, 8), width=4, noise=0.2, steps=7)
    runner = trainer(max_steps=1)
    runner.fit(model, loader(bits(8)))
    runner.save_checkpoint(tmp_path / "new.ckpt")
    checkpoint = torch.load(tmp_path / "new.ckpt", weights_only=True)
    checkpoint["class_path"] = "genzoo.zoo.markov.gsn.GSN"
    torch.save(checkpoint, tmp_path / "old.ckpt")
    old = load_model(tmp_path / "old.ckpt")
    assert type(old) is GeneralizedDenoisingAutoencoder and old.steps == 7
    torch.testing.assert_close(old.state_dict(), model.state_dict())
    model = GSN((1, 8, 8), width=4)
    runner = fit(model, loader(bits(8)), 1)
    runner.save_checkpoint(tmp_path / "gsn.ckpt")
    assert type(load_model(tmp_path / "gsn.ckpt")) is GSN


def test_the_rate_falls_with_each_epoch():
    model = GSN((1, 8, 8), width=4, lr=0.1, annealing=0.5)
    runner = trainer(max_epochs=3)
    runner.fit(model, loader(bits(8)))
    assert runner.optimizers[0].param_groups[0]["lr"] == pytest.approx(0.1 * 0.5**3)


# The claim


class Forgetful(GSN):
    """The same layers, of which none is carried."""

    def step(self, bits, hidden, y=None):
        return super().step(bits, self.rest(bits), y)


@pytest.mark.claim
@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_what_is_carried_completes_digits(seed, measured):
    """Right halves drawn beside the left ones, of which each step is shown 30 %.

    One glance tells too little of what is known. So a forest tells the digits far more often from
    whole ones where the chain forgets each.
    """
    train, held_out, _ = digits(seed)
    mask = torch.zeros(400, 1, 8, 8)
    mask[..., :4] = 1
    numbers = {"corruption": 0.7, "settle": 6, "walkback": 2, "lr": 3e-3, "annealing": 0.85}
    told = []
    for kind in (GSN, Forgetful):
        torch.manual_seed(seed)
        model = kind((1, 8, 8), width=100, steps=50, **numbers)
        learn(model, train, epochs=EPOCHS)
        told.append(two_sample_test(held_out, model.complete(held_out, mask)))
    carried, forgetful = told
    measured("completed digits told from real ones, of a chain that forgets", forgetful)
    measured("completed digits told from real ones", carried, below=forgetful - 0.08)


EPOCHS = 15
