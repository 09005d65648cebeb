"""The chain of a denoiser: its theorem on states that can be counted, its claim on digits."""

import numpy as np
import pytest
import torch
from sklearn.ensemble import RandomForestClassifier
from sklearn.model_selection import cross_val_predict
from torch.distributions import Bernoulli

from genzoo.protocols import Completer, Sampler
from genzoo.zoo.markov import GeneralizedDenoisingAutoencoder
from tests.helpers.tiny import Tiny
from tests.helpers.training import bits, fit, loader
from tests.zoo.markov.test_rbm import digits, learn

TINY = Tiny(GeneralizedDenoisingAutoencoder, {"width": 16, "steps": 10}, {Sampler, Completer})


STATES = 16  # of four pixels


class Ring(GeneralizedDenoisingAutoencoder):
    """Sixteen states in a ring; the noise moves by -1, 0 or 1, and P(x|x~) is a table."""

    def __init__(self):
        super().__init__((1, 2, 2), width=1)
        self.table = torch.full((STATES, STATES), 1 / STATES)  # of x~ to x

    def corrupt(self, bits):
        move = torch.randint(-1, 2, (len(bits),))
        return self.spell((self.read(bits) + move) % STATES)

    def reconstruct(self, corrupted, y=None):
        ring = self

        class Row:
            def sample(self):
                drawn = torch.multinomial(ring.table[ring.read(corrupted)], 1)[:, 0]
                return ring.spell(drawn)

        return Row()

    @staticmethod
    def spell(state):
        return (state[:, None] >> torch.arange(4) & 1).float()

    @staticmethod
    def read(bits):
        return (bits.long() << torch.arange(4)).sum(1)

    def learn(self, state):
        """Counts what was there before the noise: the best P for these data."""
        corrupted = self.read(self.corrupt(self.spell(state)))
        counts = torch.bincount(corrupted * STATES + state, minlength=STATES**2).double()
        counts = counts.view(STATES, STATES)
        self.table = counts / counts.sum(1, keepdim=True).clamp(min=1)

    def stationary(self):
        """Of corrupting, then drawing from the table: (16,)."""
        states = torch.arange(STATES)
        noise = torch.zeros(STATES, STATES, dtype=torch.double)
        for move in (-1, 0, 1):
            noise[states, (states + move) % STATES] += 1 / 3
        return torch.linalg.matrix_power(noise @ self.table.double(), 10_000)[0]


def law():
    p = 0.2 + torch.rand(STATES, dtype=torch.double)
    return p / p.sum()


def total_variation(p, q):
    return (p - q).abs().sum().item() / 2


def test_the_true_posterior_gives_the_data():
    """Theorem 1: and the chain that draws samples is the one that is spoken of."""
    p, ring, states = law(), Ring(), torch.arange(STATES)
    joint = torch.zeros(STATES, STATES, dtype=torch.double)
    for move in (-1, 0, 1):
        joint[(states + move) % STATES, states] += p / 3
    ring.table = joint / joint.sum(1, keepdim=True)
    assert total_variation(ring.stationary(), p) < 1e-10
    x = ring.sample(20_000, steps=100)
    counts = torch.bincount(ring.read((x.flatten(1) + 1) / 2), minlength=STATES)
    assert ((counts - 20_000 * p) ** 2 / (20_000 * p)).sum() < 37.7  # p = 0.001


@pytest.mark.claim
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_learned_chain_is_consistent(seed, measured):
    """The more pairs of image and noise were seen, the nearer its stationary law is the data's."""
    torch.manual_seed(seed)
    p, ring, found = law(), Ring(), []
    for n in (1_000, 10_000, 100_000):
        ring.learn(torch.multinomial(p, n, replacement=True))
        found.append(total_variation(ring.stationary(), p))
    measured("total variation after 1,000 pairs", found[0])
    measured("after 10,000", found[1], below=found[0])
    measured("after 100,000", found[2], below=min(0.03, found[1]))
    uniform = torch.full((STATES,), 1 / STATES, dtype=torch.double)
    measured("of a law that knows nothing", total_variation(uniform, p), above=0.1)


def test_noise_is_salt_and_pepper():
    model = GeneralizedDenoisingAutoencoder((1, 8, 8), width=4, corruption=0.3)
    on = torch.ones(2000, 64)
    assert model.corrupt(on).mean().item() == pytest.approx(0.85, abs=0.01)
    assert model.corrupt(1 - on).mean().item() == pytest.approx(0.15, abs=0.01)


def test_the_loss_is_the_nats_of_the_clean_image():
    model = GeneralizedDenoisingAutoencoder((1, 8, 8), width=4)
    seen = []

    def coin(corrupted, y=None):
        seen.append(corrupted)
        return Bernoulli(torch.full_like(corrupted, 0.25))

    model.reconstruct = coin
    x = bits(6)
    on = ((x + 1) / 2).sum((1, 2, 3))
    expected = -(on * np.log(0.25) + (64 - on) * np.log(0.75)).mean()
    assert model.denoising(x).item() == pytest.approx(expected.item(), rel=1e-5)
    model.walkback = 4
    assert model.denoising(x).item() == pytest.approx(expected.item(), rel=1e-5)
    assert len(seen) == 5  # each further step from a draw, which is far darker than the image
    assert seen[1].mean() > 0.45 and all(bits.mean() < 0.4 for bits in seen[2:])


def test_the_hidden_noise_is_there_when_drawing():
    model = GeneralizedDenoisingAutoencoder((1, 8, 8), width=8, noise=1.0).eval()
    v = torch.ones(2, 64)
    assert not torch.equal(model.denoiser(v), model.denoiser(v))
    calm = GeneralizedDenoisingAutoencoder((1, 8, 8), width=8, noise=0.0)
    assert torch.equal(calm.denoiser(v), calm.denoiser(v))


def assert_known_bits_stay(model):
    x, mask = bits(20), torch.zeros(20, 1, 8, 8)
    mask[:, :, :4] = 1
    drawn = model.complete(torch.where(mask == 1, x, 0.2), mask)
    assert torch.equal(drawn[:, :, :4], x[:, :, :4]) and (drawn.abs() == 1).all()
    assert not torch.equal(drawn, model.complete(x, mask))


def test_completion_leaves_what_is_known():
    assert_known_bits_stay(GeneralizedDenoisingAutoencoder((1, 8, 8), width=8, steps=3))


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"corruption": 0.0}, r"corruption must be in \(0, 1\], got 0.0"),
        ({"noise": -1.0}, "noise must be 0 or more, got -1.0"),
        ({"walkback": 0}, "walkback must be at least 1, got 0"),
        ({"steps": 0}, "steps must be at least 1, got 0"),
        ({"image_shape": (4,)}, r"image_shape must be \(C, H, W\), got \(4,\)"),
    ],
)
def test_impossible_settings_are_refused(setting, message):
    with pytest.raises(ValueError, match=message):
        GeneralizedDenoisingAutoencoder(**{"image_shape": (1, 4, 4), **setting})
    with pytest.raises(ValueError, match="GeneralizedDenoisingAutoencoder must get binary images"):
        fit(GeneralizedDenoisingAutoencoder((1, 8, 8), width=4), loader(torch.zeros(8, 1, 8, 8)), 1)


# The claim


def two_sample_test(a: torch.Tensor, b: torch.Tensor) -> float:
    """How often a random forest tells which of two sets an image is from; half: it cannot."""
    x = torch.cat((a, b)).flatten(1).numpy()
    which = np.repeat((0, 1), (len(a), len(b)))
    forest = RandomForestClassifier(60, min_samples_leaf=2, random_state=0)
    return float((cross_val_predict(forest, x, which, cv=5) == which).mean())


@pytest.mark.claim
@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_chain_draws_digits(seed, measured):
    """A forest tells its samples from held-out digits far less often than independent pixels."""
    train, held_out, _ = digits(seed)
    model = GeneralizedDenoisingAutoencoder((1, 8, 8), width=200, corruption=0.3)
    learn(model, train, epochs=EPOCHS)
    pixels = ((train + 1) / 2).mean(0).expand_as(held_out)
    ours, early, apart, real = (
        two_sample_test(held_out, x)
        for x in (
            model.sample(400),
            model.sample(400, steps=1),
            torch.bernoulli(pixels) * 2 - 1,
            train[:400],
        )
    )
    measured("independent pixels told from held-out digits", apart)
    measured("samples of one step told", early)
    measured("samples told from held-out digits", ours, below=min(0.8, apart - 0.1, early))
    measured("training digits told", real, above=0.4, below=0.6)


EPOCHS = 30
