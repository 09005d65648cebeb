"""The field of finite sets in closed form; straight lines, which need few steps."""

import pytest
import torch

from genzoo.datamodules import Digits, Toy
from genzoo.images import from_uint8
from genzoo.protocols import Bounded, Completer, Decoder, Encoder, Interpolator, Sampler
from genzoo.zoo import DCGAN, DDPM, FlowMatching
from genzoo.zoo.diffusion.samplers import euler, even
from tests.helpers.closed_form_denoisers import PATHS, of_set
from tests.helpers.digits import digits, distance
from tests.helpers.point_clouds import earth_movers_distance, held_out
from tests.helpers.tiny import Tiny
from tests.helpers.trained_denoisers import (
    DIGITS,
    agreement,
    asked_of_copies,
    copies,
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
    points, path = torch.randn(16, 8), PATHS["straight"]
    *_, x = euler(of_set(path, points), path, torch.randn(500, 8).double(), even(50))
    assert torch.cdist(x, points.double()).min(1).values.max() < 1e-6


@pytest.mark.claim
@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_few_steps_are_enough_and_one_is_not(seed, measured):
    """W1 to fresh points of the ring. One step gives the mean of all that lies ahead."""
    model, fresh = on_ring(FlowMatching, seed), held_out("ring")
    floor = earth_movers_distance(held_out("ring", 2000)[1000:], fresh)
    floor = measured("W1 of other fresh points of the ring", floor)
    found = {}
    for steps in (50, 8, 4, 2, 1):
        torch.manual_seed(seed)
        found[steps] = earth_movers_distance(model.sample(1000, steps=steps), fresh)
    measured("W1 of samples in 50 steps", found[50], below=2 * floor)
    for steps in (8, 4, 2):
        measured(f"W1 in {steps} steps", found[steps])
    measured("W1 in 1 step", found[1], above=5 * found[50])


@pytest.mark.claim
@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_digits_in_twelve_steps(seed, measured):
    """As near to the training images as held-out ones are, and what was asked for. DCGAN after as
    many steps is not, nor is one Gaussian of the pixels, nor one step."""
    model = on_digits(FlowMatching, seed, lr=1e-3)
    game = on_digits(DCGAN, seed, width=16, ema_decay=0.99)
    x, y = drawn(model, seed, steps=12)
    floor = measured("fd of held-out digits", distance(digits()[2]))
    found = measured("fd of digits drawn in 12 steps", distance(x), below=1.2 * floor)
    measured("share of them that shows the class asked for", agreement(x, y), above=0.95)
    measured("fd of DCGAN's", distance(drawn(game, seed)[0]), above=2 * found)
    measured("fd of one Gaussian's", distance(one_gaussian()), above=2 * found)
    measured(
        "fd of digits drawn in 1 step", distance(drawn(model, seed, steps=1)[0]), above=2 * found
    )


@pytest.mark.claim
@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_ten_steps_are_worth_more_than_diffusions(seed, measured):
    """The same network and as many steps of training; drawn by ten calls of it."""
    model, other = on_digits(FlowMatching, seed, lr=1e-3), on_digits(DDPM, seed, **DIGITS)
    ours = measured("fd of digits drawn in 10 steps", distance(drawn(model, seed, steps=10)[0]))
    theirs, _ = drawn(other, seed, steps=10, sampler="ddim")
    measured("fd of DDPM's by DDIM in 10 steps", distance(theirs), above=ours / 0.8)


@pytest.mark.claim
@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_guidance_raises_agreement_and_lowers_diversity(seed, measured):
    """2207.12598, sec. 4.1; and too much of it lowers quality."""
    model = on_digits(FlowMatching, seed, lr=1e-3)
    right, varied, fd = {}, {}, {}
    for g in (0, 1, 2, 4):
        x, y = drawn(model, seed, steps=12, guidance=float(g))
        right[g], varied[g], fd[g] = agreement(x, y), spread(x, y), distance(x)
    measured("guidance 0: share of the class asked for", right[0], below=0.2)  # nobody was asked
    measured("guidance 1: share of the class asked for", right[1], above=0.9)
    measured(
        "guidance 2: share of the class asked for", right[2], above=right[1] - 1e-6
    )  # at least as many
    measured("guidance 1: variance within a class", varied[1])
    measured("guidance 2: variance within a class", varied[2], below=varied[1])
    measured("guidance 1: fd", fd[1])
    measured("guidance 2: fd", fd[2])
    measured("guidance 4: fd", fd[4], above=2 * fd[1])


@pytest.mark.claim
@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_unseen_digits_come_back_from_their_codes(seed, measured):
    model, (*_, unseen, labels) = on_digits(FlowMatching, seed, lr=1e-3), digits()
    found = {}
    for steps in (5, 25):
        z = model.encode(unseen, labels, steps=steps, sampler="midpoint")
        back = model.decode(z, labels, steps=steps, sampler="midpoint")
        found[steps] = (back - unseen).square().mean().sqrt().item()
    fine = measured("error of unseen digits from their codes, 25 steps", found[25], below=0.01)
    measured("error from their codes, 5 steps", found[5], above=5 * fine)
    measured("deviation of the codes", z.std().item(), near=1, within=0.15)


@pytest.mark.claim
@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_density_of_the_ring(seed, measured):
    """Nats of fresh points: far better than one Gaussian, and no better than the truth. That it is
    within 0.35 nats of the truth did not hold for every seed."""
    data, model = Toy("ring"), on_ring(FlowMatching, seed)
    fresh = held_out("ring")
    squares = torch.cdist(fresh, data.centres).square() / (2 * data.sigma**2)
    normaliser = torch.tensor(8 * 2 * torch.pi * data.sigma**2).log()
    truth = ((-squares).logsumexp(1) - normaliser).mean().item()
    measured("log p of fresh points of the ring by the truth, nats", truth)
    train = data.split("train").images
    one = torch.distributions.MultivariateNormal(train.mean(0), train.T.cov())
    gaussian = measured("log p by one Gaussian", one.log_prob(fresh).mean().item())
    found = model.elbo(fresh, steps=100).mean().item()
    measured("log p by flow matching", found, above=gaussian + 1, below=truth + 0.05)


@pytest.mark.claim
@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_few_images_are_copied_and_many_are_not(seed, measured):
    """And the card says so: of 25 digits after 2,600 steps, and of all 1,297 after 600."""
    *_, unseen, _ = digits()
    for name, count, steps in (("25 digits", 25, 2600), ("1,297 digits", 0, 600)):  # 0: all
        settings = {"steps": steps, "lr": 1e-3, "ema_decay": 0.99}
        model = on_digits(FlowMatching, seed, num_train=count, **settings)
        train = from_uint8(Digits(num_train=count).split("train").images)
        share = copies(drawn(model, seed, n=500, steps=50)[0], train, unseen)
        bound = {"above": 0.5} if count else {"below": 0.05}
        measured(f"copies among samples of {name}", share, **bound)
        section = asked_of_copies(model, count, n=2000)
        measured(f"copied by the card, {name}", section.numbers["copied"].value)
        assert (section.flag == "bad") == bool(count), section.verdict
        # 250 held-out images are too few for the card to be sure that there are none.
        assert section.verdict.startswith("Yes" if count else "No copies"), section.verdict
