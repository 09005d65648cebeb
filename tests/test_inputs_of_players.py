"""What is shown to whom, over all games: which batch, with which labels, never data and samples in
one, and samples of the prior to whoever makes them, with a gradient."""

import pytest
import torch
from torch import Tensor, nn

from genzoo.zoo import ALI, GAN, VAE, VAEGAN, WGAN, BetaVAE
from genzoo.zoo.base import GenerativeModel
from genzoo.zoo.gan.improved_gan import MinibatchDiscrimination
from genzoo.zoo.gan.progressive_gan import MinibatchStdDev
from tests.helpers.models import GAMES, TINY, build
from tests.helpers.training import bits, fit, loader

games = pytest.mark.parametrize("name", GAMES)
X = bits(24)  # no two alike
Y = torch.arange(24) % 3


class Watched:
    """A game whose every network writes down which images of the data it is given, and how."""

    def __init__(self, model: GenerativeModel):
        self.model, self.looks = model, []  # (turn, player, network, images' numbers or -1, y)
        self.taught = {}  # by player: the norm of the gradient at images made of the prior's z
        self.turn, self.player, self.batch, self.z = -1, "", [], []
        for name, module in model.named_modules():
            if name:
                module.register_forward_pre_hook(self._look(name))
                module.register_forward_hook(self._listen)
        self._wrap("training_step", self._begin)
        self._wrap("move", self._move)
        self._wrap("prior", self._prior)

    def _wrap(self, method: str, around) -> None:
        inner = getattr(self.model, method, None)
        if inner is not None:
            setattr(self.model, method, lambda *args: around(inner, *args))

    def _begin(self, inner, batch, batch_idx):
        self.turn, self.batch = self.turn + 1, numbers(batch[0]).tolist()
        return inner(batch, batch_idx)

    def _move(self, inner, player, optimizer, batch):
        self.player, self.z = player.name, []
        return inner(player, optimizer, batch)

    def _prior(self, inner, *args):
        self.z.append(inner(*args))
        return self.z[-1]

    def _look(self, name: str):
        def look(module, seen):
            if seen and isinstance(seen[0], Tensor) and seen[0][0].numel() == 64:
                y = [v for v in seen[1:] if isinstance(v, Tensor) and v.shape == (len(seen[0]),)]
                found = numbers(seen[0].detach())
                self.looks.append((self.turn, self.player, self.batch, name, found, y))

        return look

    def _listen(self, module, seen, made):
        given = seen[0] if seen and isinstance(seen[0], Tensor) else None
        of_prior = given is not None and any(part_of(given, z) for z in self.z)
        if of_prior and isinstance(made, Tensor) and made.requires_grad:
            player = self.player
            self.taught.setdefault(player, [])
            made.register_hook(lambda slope: self.taught[player].append(slope.norm().item()))


def part_of(x: Tensor, whole: Tensor) -> bool:
    """Whether it lies in the memory of the other: a game may part its latent."""
    return x.untyped_storage().data_ptr() == whole.untyped_storage().data_ptr()


def numbers(x: Tensor) -> Tensor:
    """(B,), which images of the data these are; -1: none of them."""
    same = (x.flatten(1)[:, None] == X.flatten(1).to(x)).all(2)
    return torch.where(same.any(1), same.int().argmax(1), -1)


@games
def test_a_turn_is_about_its_own_batch(name):
    watched = Watched(build(name, num_classes=3))
    fit(watched.model, loader(X), steps=3)
    looks = [look for look in watched.looks if (look[4] >= 0).any()]
    assert looks
    for turn, player, batch, network, found, labels in looks:
        where = f"turn {turn}, {player}, {network}"
        assert batch == list(range(turn % 3 * 8, turn % 3 * 8 + 8)), where
        assert set(found[found >= 0].tolist()) <= set(batch), where
        assert (found >= 0).all(), f"{where}: data and samples in one batch"
        for y in labels:
            assert torch.equal(y, Y[found]), f"{where}: another image's label"


BOUND = {"augment": ("translation", "cutout"), "instance_noise": 0.1}


@games
@pytest.mark.parametrize("settings", [{}, BOUND], ids=["plain", "bound"])
def test_who_makes_samples_of_the_prior_is_taught_by_them(name, settings):
    """Whatever the discriminator sees of them, and beside whatever else."""
    try:
        model = build(name, num_classes=3, **settings)
    except (TypeError, ValueError) as error:
        assert settings, error
        pytest.skip(str(error))
    watched = Watched(model)
    fit(model, loader(X), steps=3)
    for player in TINY[name].sampling_players:
        slopes = watched.taught.get(player)
        assert slopes and min(slopes) > 0, player


# What binds a discriminator, in numbers


class Bowl(nn.Module):
    """Scores w |x|^2 / 2, whose gradient at x is w x: w |x| is its slope."""

    def __init__(self, image_shape, num_classes, width):
        super().__init__()
        self.w = nn.Parameter(torch.full((), 0.3))

    def forward(self, x, y=None):
        return self.w / 2 * x.flatten(1).square().sum(1)


class Dark(nn.Module):
    """Draws images whose pixels are all the same, and nearly 0."""

    def __init__(self, image_shape, latent_dim, num_classes, width):
        super().__init__()
        self.level, self.shape = nn.Parameter(torch.full((), 0.01)), image_shape

    def forward(self, z, y=None):
        return self.level.expand(len(z), *self.shape)


class Bowls(GAN):
    Generator, Discriminator = Dark, Bowl


@pytest.mark.parametrize("num_classes", [0, 3])
@pytest.mark.parametrize("batch", [X[:8], X[:8] * torch.rand(8, 1, 8, 8)], ids=["bits", "grey"])
def test_r1_is_half_gamma_times_the_squared_slope_at_data_summed_over_pixels(num_classes, batch):
    """Mescheder et al., eq. 9: E over data, and of a gradient all entries."""
    paid = {}
    for r1 in (0.0, 5.0):
        torch.manual_seed(0)
        runner = fit(Bowls((1, 8, 8), num_classes, r1=r1), loader(batch), steps=1)
        paid[r1] = runner.callback_metrics["loss/discriminator"].item()
    square = batch.flatten(1).square().sum(1).mean().item()
    assert paid[5.0] - paid[0.0] == pytest.approx(5 / 2 * 0.3**2 * square, rel=1e-4)


def test_only_the_critics_weights_are_clipped():
    model = WGAN((2,), clip_value=0.01, lr=1e-5, d_steps=1)
    before = [p.abs().max().item() for p in model.generator.parameters()]
    fit(model, loader(torch.randn(32, 2)), steps=3)
    assert max(p.abs().max().item() for p in model.discriminator.parameters()) <= 0.01
    after = [p.abs().max().item() for p in model.generator.parameters()]
    assert after == pytest.approx(before, abs=1e-3) and min(before) > 0.05


class Counting(nn.Module):
    """Draws what it holds; a buffer goes up by one with each pass."""

    def __init__(self, image_shape, latent_dim, num_classes, width):
        super().__init__()
        self.level = nn.Parameter(torch.zeros(image_shape))
        self.register_buffer("passes", torch.zeros(()))

    def forward(self, z, y=None):
        self.passes += self.training
        return self.level.expand(len(z), *self.level.shape)


def test_an_average_is_one_of_buffers_too():
    """As batch normalisation has them: those of the last step are not the average's."""

    class Counted(GAN):
        Generator = Counting

    model = Counted((1, 8, 8), latent_dim=2, width=8, ema_decay=0.9)
    fit(model, loader(X), steps=6)
    last, mean = model.generator.passes.item(), model.ema.module.passes.item()
    assert last == 12  # one pass in each turn of either player
    assert 2 < mean < 11


# The batch as a whole


def test_a_group_is_taught_by_how_much_it_varies():
    """The plane's gradient at each feature, by hand: d/dx of the mean of roots of variances."""
    x = torch.randn(4, 3, 2, 2, dtype=torch.double, requires_grad=True)
    MinibatchStdDev(4)(x)[0, 3, 0, 0].backward()
    deviation = x.std(0, correction=0)
    by_hand = (x - x.mean(0)) / (4 * deviation) / 12  # of 4 images, 12 features each
    torch.testing.assert_close(x.grad, by_hand.detach(), rtol=1e-4, atol=1e-6)


def test_closeness_within_a_batch_teaches():
    layer = MinibatchDiscrimination(num_features=4, kernels=3, dims=2).double()
    x = torch.randn(5, 4, dtype=torch.double, requires_grad=True)
    assert torch.autograd.gradcheck(layer, (x,))
    layer(x)[:, 4:].sum().backward()
    assert (x.grad != 0).all() and (layer.project.weight.grad != 0).all()


# Likelihoods


@pytest.mark.parametrize("beta", [1.0, 4.0])
@pytest.mark.parametrize("decoder", ["bernoulli", "gaussian"])
@pytest.mark.parametrize("kind", [VAE, BetaVAE])
def test_what_is_descended_is_minus_the_bound_with_the_divergence_weighed(kind, decoder, beta):
    model = kind((1, 8, 8), latent_dim=3, width=16, decoder=decoder, beta=beta)
    runner = fit(model, loader(X[:8]), steps=1, limit_val_batches=0)
    batch, noise = (X[:8], Y[:8]), 1
    torch.manual_seed(noise)
    reconstruction, divergence = (term.mean() for term in model.terms(*batch))
    model.log = lambda *args, **kwargs: None
    torch.manual_seed(noise)
    loss = model.training_step(batch, 0)
    assert divergence > 0 > reconstruction
    assert loss.item() == pytest.approx((beta * divergence - reconstruction).item())
    torch.manual_seed(noise)
    bound = model.elbo(*batch).mean()
    assert bound.item() == pytest.approx((reconstruction - divergence).item())
    assert runner.callback_metrics["loss/elbo"] > 0


@pytest.mark.parametrize("decoder", ["bernoulli", "gaussian"])
def test_a_reconstruction_teaches_the_encoder_through_the_draw(decoder):
    """Sec. 2.4: z = mu + sigma * epsilon; a plain draw would carry nothing back."""
    model = VAE((1, 8, 8), latent_dim=3, width=16, decoder=decoder)
    reconstruction, _ = model.terms(X[:8])
    reconstruction.sum().backward()
    assert all((p.grad != 0).any() for p in model.encoder.parameters())


def test_encoders_of_games_are_taught_through_the_draw():
    vae_gan = VAEGAN((1, 8, 8), latent_dim=3, width=16)
    vae_gan.divergence = lambda q: 0.0
    vae_gan.encoder_loss((X[:8], Y[:8])).backward()
    ali = ALI((1, 8, 8), latent_dim=3, width=16, pair_width=16)
    ali.score(X[:8])
    ali.discriminator(*ali.real(X[:8])).sum().backward()
    for model in (vae_gan, ali):
        assert all((p.grad != 0).any() for p in model.encoder.parameters())


def test_pixels_are_dequantised_over_their_whole_level():
    """Theis et al., sec. 3.1: u is uniform on one level, another one for each pixel and draw."""
    model, seen = VAE((1, 8, 8), latent_dim=2, width=8, decoder="gaussian"), []

    class Listening(torch.distributions.Distribution):
        def log_prob(self, x):
            seen.append(x)
            return torch.zeros(len(x))

    model.likelihood = lambda z, y=None: Listening(validate_args=False)
    level = torch.randint(0, 256, (500, 1, 8, 8))
    model.log_likelihood(level / 127.5 - 1, torch.zeros(500, 2))
    u = (seen[0] + 1) * 128 - level  # each level a cell of width 1, the first from 0 to 1
    assert 0 <= u.min() < 0.001 and 0.999 < u.max() <= 1.0001
    assert u.mean().item() == pytest.approx(0.5, abs=0.01)
    assert u.var().item() == pytest.approx(1 / 12, abs=0.003)
    assert torch.corrcoef(u.flatten(1).T).fill_diagonal_(0).abs().max() < 0.25
