"""The margin and the pulling-away term by hand, and what they do to digits."""

import pytest
import torch

from genzoo.protocols import Decoder, Interpolator, Sampler
from genzoo.zoo import EBGAN, GAN
from genzoo.zoo.gan.ebgan import energy_margin, pulling_away
from tests.helpers.digits import classes, digits, distance
from tests.helpers.game_loop import among, play
from tests.helpers.tiny import Tiny
from tests.helpers.training import bits

TINY = Tiny(
    EBGAN,
    {"latent_dim": 4, "width": 16, "code_dim": 4},
    {Sampler, Decoder, Interpolator},
    refuses={"r1": "0 for a discriminator with batch norm"},
    variant={"network": "conv", "width": 4},
)


def test_losses_by_hand():
    real, fake = torch.tensor([-0.5, -1.5]), torch.tensor([-0.25, -3.0])
    payoff = energy_margin(2.0)
    assert payoff.discriminator(real, fake).item() == pytest.approx(1.0 + (1.75 + 0) / 2)
    assert payoff.generator(fake).item() == pytest.approx((0.25 + 3) / 2)


@pytest.mark.claim
def test_samples_beyond_the_margin_are_let_go_by_the_discriminator_only():
    payoff, fake = energy_margin(1.0), torch.tensor([-0.9, -1.1], requires_grad=True)
    (raised,) = torch.autograd.grad(payoff.discriminator(torch.zeros(2), fake), fake)
    (lowered,) = torch.autograd.grad(payoff.generator(fake), fake)
    assert raised.tolist() == [0.5, 0.0]  # energy, minus the score, goes up to the margin
    assert lowered.tolist() == [-0.5, -0.5]


def test_the_pulling_away_term_of_known_codes():
    assert pulling_away(3 * torch.eye(4)).item() == pytest.approx(0, abs=1e-6)
    assert pulling_away(torch.tensor([[2.0, 1.0], [-4.0, -2.0], [6.0, 3.0]])).item() == (
        pytest.approx(1, abs=1e-6)
    )
    halfway = torch.tensor([[1.0, 0.0], [1.0, 1.0]])  # 45 degrees
    assert pulling_away(halfway).item() == pytest.approx(0.5)


def test_the_generator_alone_pays_for_codes_alike():
    losses = []
    for weight in (0.0, 5.0):
        torch.manual_seed(0)
        model = EBGAN((1, 8, 8), width=16, pulling_away_weight=weight)
        torch.manual_seed(1)
        batch = bits(8), None
        losses.append((model.discriminator_loss(batch).item(), model.generator_loss(batch).item()))
    (apart, near), (same, higher) = losses
    assert apart == same and higher > near + 0.01


@pytest.mark.parametrize(
    ("shape", "settings"),
    [
        ((2,), {"network": "mlp"}),
        ((1, 8, 8), {"network": "mlp", "num_classes": 3}),
        ((3, 16, 16), {"network": "conv", "num_classes": 3}),
        ((1, 28, 28), {"network": "residual", "num_classes": 3}),
    ],
)
def test_energies_are_mean_squares_of_what_does_not_come_back(shape, settings):
    model = EBGAN(shape, width=4, code_dim=5, **settings)
    x, y = torch.rand(6, *shape) * 2 - 1, torch.arange(6) % 3 if model.num_classes else None
    back = model.reconstruct(x, y)
    assert back.shape == x.shape
    error = (back - x).square().flatten(1).mean(1)
    torch.testing.assert_close(model.energy(x, y), error)
    torch.testing.assert_close(model.score(x, y), -error)
    assert model.generator_loss((x, y)).shape == ()


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"margin": 0.0}, "margin must be positive, got 0.0"),
        ({"code_dim": 0}, "code_dim must be at least 1, got 0"),
        ({"saturating": True}, "saturating must be False: EBGAN has its own loss"),
    ],
)
def test_impossible_settings_are_refused(setting, message):
    with pytest.raises(ValueError, match=message):
        EBGAN((1, 8, 8), **setting)


def played(model_class: type, x: torch.Tensor, seed: int, **settings):
    torch.manual_seed(seed)
    model = model_class((1, 8, 8), latent_dim=16, width=128, lr=1e-3, **settings)
    return play(model, among(x), steps=800)


@pytest.mark.claim
@pytest.mark.slow
def test_digits_are_nearer_than_goodfellows_and_codes_apart(measured):
    x, _, unseen, _ = digits()
    rows = []
    for seed in (0, 1, 2):
        ours, plain = played(EBGAN, x, seed), played(EBGAN, x, seed, pulling_away_weight=0.0)
        drawn = ours.sample(1297), plain.sample(1297), played(GAN, x, seed).sample(1297)
        row = [distance(images) for images in drawn]
        share = torch.bincount(classes(drawn[0]), minlength=10) / 1297
        row.append(torch.special.entr(share).sum().item())
        for model, images in zip((ours, plain), drawn, strict=False):
            row.append(pulling_away(model.eval().discriminator.encode(images)).item())
        row.append(ours.energy(unseen).mean().item())
        row.append(ours.energy(torch.rand(500, 1, 8, 8) * 2 - 1).mean().item())
        rows.append(row)
    ours, plain, goodfellow, entropy, near, far, held_out, noise = zip(*rows, strict=True)
    largest = min(
        measured.median("distance to data, Goodfellow's GAN", goodfellow),
        1.1 * measured.median("distance to data, without the pulling-away term", plain),
    )
    measured.median("distance to data", ours, below=largest)
    measured.median("entropy of classes, nats (log 10 = 2.303)", entropy, above=2.1)
    without = measured.median("pulling-away term, where it is not asked for", far)
    measured.median("pulling-away term", near, below=without)
    energy = measured.median("energy of noise", noise)
    measured.median("energy of held-out digits", held_out, below=energy)
