"""The field of finite sets in closed form; straight lines, which need few steps."""

import pytest
import torch

from genzoo.datamodules import Toy
from genzoo.protocols import Bounded, Completer, Decoder, Encoder, Interpolator, Sampler
from genzoo.zoo import FlowMatching
from genzoo.zoo.diffusion.samplers import euler, even
from tests.helpers.closed_form_denoisers import PATHS, of_set
from tests.helpers.digits import digits, distance
from tests.helpers.point_clouds import earth_movers_distance, held_out
from tests.helpers.tiny import Tiny
from tests.helpers.trained_denoisers import (
    agreement,
    drawn,
    on_digits,
    on_ring,
    one_gaussian,
    spread,
)

TINY = Tiny(
    FlowMatching,
    {"width": 16, "blocks": 1, "steps": 4, "label_dropout": 0.5, "levels": 2},
    {Sampler, Decoder, Interpolator, Encoder, Bounded, Completer},
)


class Field(torch.nn.Module):
    """A network that says v."""

    def __init__(self, field):
        super().__init__()
        self.field, self.weight = field, torch.nn.Parameter(torch.zeros(()))

    def forward(self, x, c):
        return self.field(x, c / 1000)


def with_field(field, **settings) -> FlowMatching:
    model = FlowMatching((2,), ema_decay=0.0, **settings)
    model.network = Field(field)
    return model


def test_the_mean_direction_is_the_best_answer():
    """Of 16 points: E[epsilon - x | x_t] = (x_t - E[x | x_t]) / t costs less than anything near."""
    points = torch.randn(16, 2)
    denoise = of_set(PATHS["straight"], points)

    def best(x, t):
        return ((x - denoise(x.double(), t.double())) / t[:, None]).float()

    x, noise, t = points[torch.randint(16, (20_000,))], torch.randn(20_000, 2), torch.rand(20_000)
    x_t = (1 - t[:, None]) * x + t[:, None] * noise

    def cost(field):
        return with_field(field).loss(x_t, t, x, noise).mean()

    least = cost(best)
    assert least > 0.1  # lines cross: no field knows which is meant
    for other in (
        lambda x, t: 1.1 * best(x, t),
        lambda x, t: best(x, t) + 0.1,
        lambda x, t: best(x, (t + 0.05).clamp(max=1)),
        lambda x, t: best(x, t).flip(1),
    ):
        assert cost(other) > least + 1e-3


def test_velocity_and_denoised_are_two_words_for_one_thing():
    model = with_field(lambda x, t: 3 * x)
    x, t = torch.randn(4, 2), torch.tensor([0.0, 0.2, 0.5, 1.0])
    torch.testing.assert_close(model.denoise(x, t), x * (1 - 3 * t[:, None]))


def test_one_step_over_straight_lines_is_exact():
    """Data in one point: all lines lead there, and one step of Euler is as good as fifty."""
    point = torch.tensor([0.3, -0.7])
    model = with_field(lambda x, t: (x - point) / t[:, None])
    for steps in (1, 50):
        torch.testing.assert_close(model.sample(9, steps=steps), point.expand(9, 2))


def test_euler_is_the_solver_of_the_paper():
    """x - v / N, N times: t runs from noise to data."""
    model = with_field(lambda x, t: x.sin() + t[:, None])
    z = torch.randn(5, 2)
    x = z.double()
    for k in range(10):
        x = x - (x.sin() + (1 - k / 10)) / 10
    torch.testing.assert_close(model.decode(z, steps=10).double(), x, atol=1e-5, rtol=1e-5)


def test_times_are_drawn_as_asked_for():
    for time, deviation in (("uniform", 12**-0.5), ("logit_normal", 0.2083)):
        t = FlowMatching((2,), time=time).draw_times(100_000)
        assert t.min() >= 0 and t.max() <= 1
        assert t.mean().item() == pytest.approx(0.5, abs=0.01)
        assert t.std().item() == pytest.approx(deviation, abs=0.005)
    with pytest.raises(ValueError, match="time must be uniform or logit_normal, got 'cubic'"):
        FlowMatching((2,), time="cubic")


def test_a_finite_set_is_copied():
    """Walked with the best denoiser of 16 points, every sample is one of them."""
    points, path = torch.randn(16, 2), PATHS["straight"]
    *_, x = euler(of_set(path, points), path, torch.randn(500, 2).double(), even(50))
    assert torch.cdist(x, points.double()).min(1).values.max() < 1e-6


@pytest.mark.claim
@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_few_steps_are_enough_and_one_is_not(seed):
    """W1 to fresh points of the ring. One step gives the mean of all that lies ahead."""
    model, fresh = on_ring(FlowMatching, seed), held_out("ring")
    floor = earth_movers_distance(held_out("ring", 2000)[1000:], fresh)
    found = {}
    for steps in (1, 2, 4, 8, 50):
        torch.manual_seed(seed)
        found[steps] = earth_movers_distance(model.sample(1000, steps=steps), fresh)
    print(f"seed {seed}: W1 {found}, floor {floor:.3f}")
    assert found[50] < 2 * floor
    assert found[8] < 3 * floor
    assert found[1] > 5 * found[50]


@pytest.mark.claim
@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_digits_in_twelve_steps(seed):
    """Nearly as near to the training images as held-out ones are, and what was asked for; one
    Gaussian of the pixels is not."""
    model = on_digits(FlowMatching, seed, lr=1e-3)
    x, y = drawn(model, seed, steps=12)
    floor, found, right = distance(digits()[2]), distance(x), agreement(x, y)
    gaussian, one = distance(one_gaussian()), distance(drawn(model, seed, steps=1)[0])
    print(
        f"seed {seed}: fd {found:.2f}, in one step {one:.2f}, held out {floor:.2f}, "
        f"a Gaussian {gaussian:.2f}, right {right:.3f}"
    )
    assert found < 2 * floor
    assert found < 0.25 * gaussian
    assert found < 0.25 * one
    assert right > 0.9


@pytest.mark.claim
@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_guidance_raises_agreement_and_lowers_diversity(seed):
    """And too much of it lowers quality. After 400 steps, while there is something to be gained."""
    model = on_digits(FlowMatching, seed, steps=400, lr=1e-3)
    found = {}
    for g in (0, 1, 2, 4):
        x, y = drawn(model, seed, steps=12, guidance=float(g))
        found[g] = agreement(x, y), spread(x, y), distance(x)
    print(f"seed {seed}: (right, variance within a class, fd) by g: {found}")
    assert found[0][0] < 0.2  # nobody was asked
    assert found[2][0] >= found[1][0]
    assert found[2][1] < found[1][1]
    assert found[4][2] > 1.5 * found[1][2]


@pytest.mark.claim
@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_unseen_digits_come_back_from_their_codes(seed):
    model, (*_, unseen, labels) = on_digits(FlowMatching, seed, lr=1e-3), digits()
    found = {}
    for steps in (5, 25):
        z = model.encode(unseen, labels, steps=steps, sampler="midpoint")
        back = model.decode(z, labels, steps=steps, sampler="midpoint")
        found[steps] = (back - unseen).square().mean().sqrt().item()
    print(f"seed {seed}: rmse {found}, deviation of the codes {z.std():.3f}")
    assert found[25] < 0.01 < 5 * found[5]
    assert 0.85 < z.std() < 1.15


@pytest.mark.claim
@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_density_of_the_ring(seed):
    """Nats of fresh points: near the truth, and far better than one Gaussian."""
    data, model = Toy("ring"), on_ring(FlowMatching, seed)
    fresh = held_out("ring")
    squares = torch.cdist(fresh, data.centres).square() / (2 * data.sigma**2)
    normaliser = torch.tensor(8 * 2 * torch.pi * data.sigma**2).log()
    truth = ((-squares).logsumexp(1) - normaliser).mean().item()
    train = data.split("train").images
    one = torch.distributions.MultivariateNormal(train.mean(0), train.T.cov())
    gaussian = one.log_prob(fresh).mean().item()
    found = model.elbo(fresh, steps=100).mean().item()
    print(f"seed {seed}: {found:.3f} nats, truth {truth:.3f}, one Gaussian {gaussian:.3f}")
    assert found < truth + 0.05
    assert found > truth - 0.35
    assert found > gaussian + 1
