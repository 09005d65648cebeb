"""An encoder that draws: gradients reach its width, and only the posterior fools."""

import math

import pytest
import torch
from torch.distributions import Normal

from genzoo.protocols import Decoder, Encoder, Interpolator, Sampler
from genzoo.zoo import ALI
from genzoo.zoo.gan.gan import cross_entropy
from tests.helpers.tiny import Tiny
from tests.helpers.training import bits, loader, trainer

TINY = Tiny(
    ALI, {"latent_dim": 3, "width": 16, "pair_width": 16}, {Sampler, Decoder, Interpolator, Encoder}
)


def test_the_encoder_draws_and_gradients_reach_its_width():
    model = ALI((1, 8, 8), latent_dim=3, width=16)
    x = bits(6)
    assert not torch.equal(model.code(x), model.code(x))
    q = model.encoder(x)
    scale = q.base_dist.scale
    scale.retain_grad()
    model.encoder.forward = lambda *seen: q
    model.generator_loss((x, torch.arange(6))).backward()
    assert (scale.grad != 0).all()


def test_codes_are_the_posteriors_mean():
    model = ALI((1, 8, 8), num_classes=3, latent_dim=3, width=16)
    x, y = bits(6), torch.arange(6) % 3
    q = model.posterior(x, y)
    assert torch.equal(model.encode(x, y), q.mean) and not q.mean.requires_grad
    drawn = q.sample((20_000,))
    torch.testing.assert_close(drawn.std(0), q.stddev, rtol=0.05, atol=0)


def test_no_width_is_without_bounds():
    model = ALI((1, 8, 8), latent_dim=3, width=16)
    head = model.encoder.body.heads["code"]
    for raw in (-1e6, 1e6):
        torch.nn.init.constant_(head.bias, raw)
        width = model.posterior(bits(2)).stddev
        torch.testing.assert_close(width, torch.full_like(width, math.exp(math.copysign(4, raw))))


def test_the_prior_is_a_gaussian():
    z = ALI((1, 8, 8), latent_dim=3, width=16).prior(20_000)
    torch.testing.assert_close(z.T.cov(), torch.eye(3), atol=0.05, rtol=0)


class Known(ALI):
    """x = z + noise, both N(0, 1), so that q(z|x) = N(x / 2, 1/2) is the posterior."""

    slope, variance = 0.5, 0.5

    def code(self, x):
        return Normal(self.slope * x, math.sqrt(self.variance)).sample()

    def fake(self, z, *condition):
        return z + torch.randn_like(z), z


def density_ratio(x, z, slope, variance):
    """log q(x, z) / p(x, z), of encoded images over decoded latents."""
    encoded = Normal(0, math.sqrt(2)).log_prob(x) + Normal(slope * x, variance**0.5).log_prob(z)
    decoded = Normal(0, 1).log_prob(z) + Normal(z, 1).log_prob(x)
    return (encoded - decoded).squeeze(1)


@pytest.mark.claim
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_only_the_posterior_fools_the_discriminator(seed, measured):
    """Codes that follow the prior all together are not enough: of slope 0 they can be told."""
    torch.manual_seed(seed)

    def cost(slope):
        """What the discriminator pays, and what one pays who knows all densities."""
        model = Known((1,), latent_dim=1, width=32, pair_width=32, lr=3e-3, d_steps=10**6)
        model.slope, model.variance = slope, 1 - 2 * slope**2
        images = math.sqrt(2) * torch.randn(128 * 300, 1)
        trainer(max_epochs=1).fit(model, loader(images, batch_size=128))
        x = math.sqrt(2) * torch.randn(50_000, 1)
        with torch.no_grad():
            real, fake = model.real(x), model.fake(model.prior(len(x)))
            paid = cross_entropy(model.discriminator(*real), model.discriminator(*fake))
        ratios = (density_ratio(*pairs, slope, model.variance) for pairs in (real, fake))
        return paid.item(), cross_entropy(*ratios).item()

    (right, none), (wrong, best) = cost(0.5), cost(0.0)
    assert none == pytest.approx(math.log(4))
    measured("cost of D, posterior (log 4)", right, near=math.log(4), within=0.02)
    measured("the best D's, codes of the prior", best, below=math.log(4) - 0.1)
    measured("cost of D, codes of the prior", wrong, near=best, within=0.02)
