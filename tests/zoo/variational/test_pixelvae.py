"""PixelVAE against what can be counted, and what z is worth to it."""

import math
from itertools import product

import pytest
import torch
from torch import nn
from torch.distributions import Normal

from genzoo.datamodules import MNIST10k
from genzoo.images import from_levels, from_uint8, to_levels
from genzoo.protocols import Bounded, Decoder, Encoder, Interpolator, Sampler
from genzoo.zoo.autoregressive import GatedPixelCNN
from genzoo.zoo.variational import VAE, PixelVAE
from tests.helpers.tiny import Tiny
from tests.helpers.training import bits, trainer

TINY = Tiny(
    PixelVAE,
    {"latent_dim": 3, "width": 16, "levels": 2, "features": 4, "lr": 0.03},
    {Sampler, Decoder, Interpolator, Encoder, Bounded},
)


def small(shape=(1, 2, 2), latent_dim=1, levels=2, layers=2, num_classes=0) -> PixelVAE:
    """An untrained model in double precision that listens to its latent."""
    settings = {"latent_dim": latent_dim, "width": 8, "levels": levels, "features": 6}
    model = PixelVAE(shape, num_classes, layers=layers, **settings).double()
    for p in model.decoder.parameters():
        nn.init.normal_(p, std=0.7)
    with torch.no_grad():
        model.network.logits.weight.mul_(10)
    return model


def every_image(shape, levels) -> torch.Tensor:
    values = torch.tensor(list(product(range(levels), repeat=math.prod(shape))))
    return from_levels(values.view(-1, *shape), levels, torch.float64)


@pytest.mark.parametrize(
    ("shape", "levels", "num_classes"), [((1, 3, 3), 2, 0), ((3, 1, 2), 3, 0), ((2, 2, 1), 4, 3)]
)
def test_given_z_the_probabilities_of_all_images_sum_to_one(shape, levels, num_classes):
    model, x = small(shape, 3, levels, num_classes=num_classes), every_image(shape, levels)
    costs = []
    for z in torch.randn(2, 3).double():
        y = torch.full((len(x),), 1) if num_classes else None
        with torch.no_grad():
            costs.append(model.log_likelihood(x, z.expand(len(x), -1), y))
        assert abs(costs[-1].exp().sum().item() - 1) < 1e-10
        assert costs[-1].exp().max() > 1.5 / len(x)
    assert (costs[0] - costs[1]).abs().max() > 0.01  # z is listened to


def test_bounds_rise_to_the_exact_likelihood():
    """ELBO <= importance-weighted bound <= log p, which an integral over z gives and sums to 1."""
    model, x = small(), every_image((1, 2, 2), 2)
    z = torch.linspace(-8, 8, 1001).double()[:, None]
    prior = Normal(0.0, 1.0).log_prob(z[:, 0])

    def averaged(bound, draws):
        return bound(x.repeat(draws, 1, 1, 1)).view(draws, 16).mean(0)

    with torch.no_grad():
        nats = [model.log_likelihood(one.expand(len(z), -1, -1, -1), z) + prior for one in x]
        exact = torch.stack(nats).logsumexp(1) + math.log(16 / 1000)
        assert exact.exp().sum().item() == pytest.approx(1, abs=1e-6)
        elbo = averaged(model.elbo, 1000)
        tight = averaged(lambda x: model.importance_weighted(x, samples=50), 100)
    assert (elbo < tight + 0.02).all() and (tight < exact + 0.03).all()  # each but for its noise
    assert elbo.mean() + 0.01 < tight.mean() < exact.mean() + 0.005
    assert (exact - tight).abs().max() < 0.03 < (exact - elbo).max()


@pytest.mark.parametrize(("shape", "levels", "layers"), [((1, 5, 4), 2, 1), ((3, 3, 4), 5, 2)])
def test_cached_and_naive_draw_the_same_images(shape, levels, layers):
    model = small(shape, 2, levels, layers)
    uniforms = torch.rand(3, *shape[1:], shape[0], dtype=torch.double)
    drawn = []
    for method in ("cached", "naive"):
        torch.manual_seed(1)
        drawn.append(model.sample(3, method=method, uniforms=uniforms))
    assert torch.equal(*drawn) and not torch.equal(drawn[0][0], drawn[0][1])
    grid = from_levels(to_levels(drawn[0], levels), levels, torch.float64)
    assert torch.equal(drawn[0], grid)


def test_samples_given_z_are_as_frequent_as_their_probability():
    model, x = small(), every_image((1, 2, 2), 2)
    z = torch.tensor([[0.7]]).double()
    with torch.no_grad():
        expected = 20_000 * model.log_likelihood(x, z.expand(16, -1)).exp()
        drawn = model.likelihood(z.expand(20_000, -1)).sample()
    counts = torch.bincount((to_levels(drawn, 2).flatten(1) * torch.tensor([8, 4, 2, 1])).sum(1))
    assert ((counts - expected) ** 2 / expected).sum() < 37.7  # 15 degrees of freedom, p = 0.001


def test_decoding_draws_the_median_of_each_pixel():
    model = small((1, 3, 3), 2)
    z = torch.randn(4, 2).double()
    x = model.decode(z)
    with torch.no_grad():
        given = model.likelihood(z).conditionals(x).probs
    chosen = given.gather(-1, to_levels(x, 2)[..., None])
    assert (chosen >= 0.5 - 1e-12).all() and torch.equal(x, model.decode(z))


def test_the_divergence_warms_up():
    model = PixelVAE((1, 2, 2), latent_dim=1, width=8, levels=2, features=4, warm_up=4, beta=2.0)
    weights = []
    divergence_weight = model.divergence_weight
    model.divergence_weight = lambda: weights.append(divergence_weight()) or weights[-1]
    batches = torch.utils.data.TensorDataset(bits(12, (1, 2, 2)), torch.zeros(12).long())
    loader = torch.utils.data.DataLoader(batches, 2)
    trainer(max_steps=6, max_epochs=1, limit_val_batches=0).fit(model, loader)
    assert weights == [0.0, 0.5, 1.0, 1.5, 2.0, 2.0]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: PixelVAE((1, 4, 4), levels=1), r"levels must be in 2\.\.256, got 1"),
        (lambda: PixelVAE((1, 4, 4), warm_up=-1), "warm_up must be 0 or more steps, got -1"),
        (lambda: small().elbo(torch.full((1, 1, 2, 2), 9.0).double()), r"images in \[-1, 1\]"),
        (lambda: small().elbo(torch.zeros(1, 1, 1, 4).double()), r"images \(n, 1, 2, 2\)"),
        (lambda: small().sample(1, method="quick"), "method must be 'cached' or 'naive'"),
    ],
)
def test_errors_say_what_is_wrong(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.claim
@pytest.mark.data
@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_few_masked_layers_suffice_and_z_says_less(real_data, seed, measured):
    """On digits of 14 pixels: better than a VAE by a nat with half its rate or less, and better
    with one masked layer than PixelCNN with three."""
    folder = str(real_data)
    data = MNIST10k(folder, batch_size=64, image_size=14, binarise="threshold", seed=seed)
    x = torch.cat([from_uint8(data.split(part).images) for part in ("val", "test")])
    sizes = {"latent_dim": 12, "width": 200, "lr": 3e-3}
    costs, rates = {}, {}
    for name, model in {
        "VAE": lambda: VAE(data.image_shape, **sizes),
        "PixelVAE": lambda: PixelVAE(
            data.image_shape, levels=2, features=16, layers=1, warm_up=0, **sizes
        ),
        "PixelCNN": lambda: GatedPixelCNN(data.image_shape, levels=2, width=16, layers=3, lr=3e-3),
    }.items():
        torch.manual_seed(seed)
        model = model()
        trainer(max_epochs=8, limit_val_batches=0).fit(model, data)
        with torch.no_grad():
            if name == "PixelCNN":
                costs[name] = -model.log_prob(x).mean().item()
                continue
            reconstruction, divergence = (term.mean().item() for term in model.terms(x))
            costs[name], rates[name] = divergence - reconstruction, divergence
    measured("VAE, nats", costs["VAE"])
    measured("PixelCNN with three layers, nats", costs["PixelCNN"])
    largest = min(costs["VAE"] - 1, costs["PixelCNN"])
    measured("PixelVAE with one masked layer, nats", costs["PixelVAE"], below=largest)
    measured("KL of the VAE, nats", rates["VAE"])
    measured("KL of the PixelVAE, nats", rates["PixelVAE"], below=rates["VAE"] / 2)
