"""The bound of Kingma and Welling against what can be computed otherwise."""

import math

import pytest
import torch
from torch import nn
from torch.distributions import Bernoulli, Normal

from genzoo.datamodules import MNIST10k
from genzoo.images import from_uint8
from genzoo.protocols import Bounded, Decoder, Encoder, Interpolator, Sampler
from genzoo.zoo.variational import VAE
from tests.helpers.tiny import Tiny
from tests.helpers.training import bits, trainer

TINY = Tiny(
    VAE,
    {"latent_dim": 3, "width": 16},
    {Sampler, Decoder, Interpolator, Encoder, Bounded},
    variant={"decoder": "gaussian"},
)


def test_the_divergence_is_appendix_b():
    model = VAE((1, 2, 2), latent_dim=3, width=8)
    q = model.posterior(bits(4, (1, 2, 2)))
    mean, variance = q.base_dist.loc, q.base_dist.scale.square()
    formula = 0.5 * (mean.square() + variance - 1 - variance.log()).sum(1)
    torch.testing.assert_close(model.terms(bits(4, (1, 2, 2)))[1], formula)
    z = q.sample((20_000,))
    sampled = (q.log_prob(z) - model.latent_prior(z).log_prob(z)).mean(0)
    torch.testing.assert_close(sampled, formula, rtol=0.05, atol=0.02)


def test_bounds_rise_to_the_exact_likelihood():
    """ELBO <= importance-weighted bound <= log p, where log p can be integrated on a grid."""
    torch.manual_seed(0)
    model = VAE((1, 2, 2), latent_dim=1, width=16).double()
    for p in model.decoder.parameters():
        nn.init.normal_(p, std=0.7)
    x = bits(8, (1, 2, 2)).double()
    z = torch.linspace(-8, 8, 2001, dtype=torch.double)[:, None]
    prior = Normal(0.0, 1.0).log_prob(z[:, 0]).double()

    def integrated(x):
        nats = [model.log_likelihood(one.expand(len(z), -1, -1, -1), z) + prior for one in x]
        return torch.stack(nats).logsumexp(1) + math.log(16 / 2000)

    exact = integrated(x)
    every = torch.tensor([[int(b) for b in f"{i:04b}"] for i in range(16)]).double() * 2 - 1
    every = every.view(16, 1, 2, 2)
    assert integrated(every).exp().sum().item() == pytest.approx(1, abs=1e-6)

    def averaged(bound, draws):
        with torch.no_grad():
            return bound(x.repeat(draws, 1, 1, 1)).view(draws, len(x)).mean(0)

    elbo = averaged(model.elbo, 4000)
    five = averaged(lambda x: model.importance_weighted(x, samples=5), 2000)
    many = averaged(lambda x: model.importance_weighted(x, samples=200), 100)
    assert (elbo < five).all() and (five < many + 0.01).all() and (many < exact + 0.01).all()
    assert (exact - many).abs().max() < 0.02 < (exact - elbo).max()


def test_the_gaussian_bound_is_of_levels():
    """A decoder that is uniform over all 256 levels costs log 256 nats a pixel, and no less."""
    model = VAE((1, 4, 4), latent_dim=2, width=8, decoder="gaussian")
    x = from_uint8(torch.randint(0, 256, (64, 1, 4, 4)))

    class Uniform(torch.distributions.Distribution):
        def log_prob(self, x):
            inside = (x > -1) & (x < 1)
            assert inside.all()  # every cell of a level lies in [-1, 1]
            return torch.full((len(x),), -16 * math.log(2.0))

    model.likelihood = lambda z, y=None: Uniform(validate_args=False)
    nats = model.log_likelihood(x, torch.zeros(64, 2))
    torch.testing.assert_close(nats, torch.full((64,), -16 * math.log(256)))


def test_a_sharp_gaussian_cannot_beat_certainty():
    """However small the variance, no level has a probability above 1."""
    model = VAE((1, 1, 1), latent_dim=1, width=4, decoder="gaussian")
    raw = torch.tensor([[0.0], [-50.0]])  # mean 0, least variance
    model.decoder.forward = lambda z, y=None: raw.view(2, 1, 1, 1, 1).expand(2, len(z), 1, 1, 1)
    level = torch.arange(256, dtype=torch.uint8)
    x = from_uint8(level).view(256, 1, 1, 1)
    nats = torch.stack([model.log_likelihood(x, torch.zeros(256, 1)) for _ in range(200)]).mean(0)
    assert nats.exp().sum() <= 1


def test_grey_values_have_no_bernoulli_likelihood():
    with pytest.raises(ValueError, match="Bernoulli decoder must get binary images"):
        VAE((1, 2, 2)).elbo(torch.zeros(1, 1, 2, 2))


@pytest.mark.parametrize(
    ("setting", "message"),
    [({"decoder": "poisson"}, "decoder must be"), ({"latent_dim": 0}, "latent_dim must be")],
)
def test_impossible_settings_are_refused(setting, message):
    with pytest.raises(ValueError, match=message):
        VAE((1, 2, 2), **setting)


@pytest.mark.claim
@pytest.mark.data
@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_elbo_on_binarised_digits(real_data, seed, measured):
    """Better than -105 nats on 2,000 held-out digits; independent pixels have about -206."""
    torch.manual_seed(seed)
    data = MNIST10k(str(real_data), batch_size=100, binarise="threshold")
    train, val, test = (from_uint8(data.split(part).images) for part in ("train", "val", "test"))
    held_out = torch.cat((val, test))
    assert len(train) == 8000 and len(held_out) == 2000
    chance = (((train + 1) / 2).sum(0) + 1) / (len(train) + 2)
    independent = Bernoulli(chance).log_prob((held_out + 1) / 2).sum((1, 2, 3)).mean().item()
    model = VAE(data.image_shape)
    trainer(max_epochs=40, limit_val_batches=0).fit(model, data)
    with torch.no_grad():
        elbo = model.elbo(held_out).mean().item()
    five, fifty = (model.importance_weighted(held_out, samples=k).mean().item() for k in (5, 50))
    measured("log density of independent pixels, nats", independent, below=-200)
    measured("ELBO, nats", elbo, above=-105)
    measured("5 importance samples, nats", five, above=elbo)
    measured("50 importance samples, nats", fifty, above=five)
