"""What a clean image is asked for, and the score that this gives."""

import math

import pytest
import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LinearLR

from genzoo.datamodules import Digits
from genzoo.images import from_uint8
from genzoo.protocols import Decoder, Encoder, Interpolator, Sampler
from genzoo.zoo.variational import Autoencoder, DenoisingAutoencoder
from tests.helpers.tiny import Tiny
from tests.helpers.training import trainer

TINY = Tiny(
    DenoisingAutoencoder, {"latent_dim": 3, "width": 64}, {Sampler, Decoder, Interpolator, Encoder}
)


def test_corruptions():
    x = torch.full((1000, 1, 8, 8), 0.25)
    noise = DenoisingAutoencoder(x.shape[1:], corruption="gaussian", amount=0.5).corrupt(x) - x
    assert noise.mean().abs() < 0.01 and noise.std().item() == pytest.approx(0.5, rel=0.02)
    masked = DenoisingAutoencoder(x.shape[1:], amount=0.3).corrupt(x)
    assert set(masked.unique().tolist()) == {-1.0, 0.25}
    assert (masked == -1).float().mean().item() == pytest.approx(0.3, abs=0.01)
    pepper = DenoisingAutoencoder(x.shape[1:], corruption="salt_and_pepper", amount=0.3).corrupt(x)
    for value, share in ((-1.0, 0.15), (1.0, 0.15), (0.25, 0.7)):
        assert (pepper == value).float().mean().item() == pytest.approx(share, abs=0.01)


def test_corruption_is_drawn_anew_and_only_in_training():
    torch.manual_seed(0)
    model = DenoisingAutoencoder((1, 8, 8), latent_dim=3, width=16)
    x = torch.rand(4, 1, 8, 8)
    assert not torch.equal(model.corrupt(x), model.corrupt(x))
    assert torch.equal(model.train().denoise(x), model.denoise(x))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"corruption": "blur"}, "corruption must be 'masking', 'gaussian' or"),
        ({"amount": 0.0}, r"amount must be a share of pixels in \(0, 1\], got 0.0"),
        ({"amount": 1.5}, r"amount must be a share of pixels in \(0, 1\], got 1.5"),
        ({"corruption": "gaussian", "amount": 0.0}, "amount must be above 0, got 0.0"),
        ({"image_shape": (2,)}, "corruption must be 'gaussian' for points, got 'masking'"),
    ],
)
def test_impossible_settings_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        DenoisingAutoencoder(**{"image_shape": (1, 8, 8), **settings})


def test_a_score_is_of_the_noise_of_training():
    x = torch.zeros(1, 1, 8, 8)
    with pytest.raises(ValueError, match="corruption must be 'gaussian' for a score"):
        DenoisingAutoencoder((1, 8, 8)).score(x)
    model = DenoisingAutoencoder((1, 8, 8), corruption="gaussian", amount=0.5)
    with pytest.raises(ValueError, match="sigma must be the noise of training, 0.5, got 0.3"):
        model.score(x, sigma=0.3)
    assert torch.equal(model.score(x, sigma=0.5), model.score(x))


class Affine(nn.Module):
    """x to x A + b."""

    def __init__(self, shape, latent_dim, num_classes, width):
        super().__init__()
        self.a, self.b = nn.Parameter(torch.eye(latent_dim)), nn.Parameter(torch.zeros(latent_dim))

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.a + self.b


class Linear(DenoisingAutoencoder):
    """The decoder is all there is."""

    Encoder = lambda *numbers: nn.Identity()  # noqa: E731
    Decoder = Affine


def gaussian() -> tuple[Tensor, Tensor]:
    """Mean (3,) and covariance (3, 3) of points."""
    root = torch.tensor([[1.0, 0.5, 0.0], [0.0, 0.7, -0.4], [0.0, 0.0, 0.2]]).double()
    return torch.tensor([1.0, -2.0, 0.5]).double(), root.T @ root


def test_the_score_of_a_gaussian():
    """r(x~) = mean + S (S + sigma^2 I)^-1 (x~ - mean) has the score -(S + sigma^2 I)^-1 (x - mean).

    Put in by hand it is exact; found by least squares on 200,000 points it is within 3 %.
    """
    sigma = 0.6
    mean, s = gaussian()
    noisy = s + sigma**2 * torch.eye(3).double()
    model = Linear((3,), latent_dim=3, corruption="gaussian", amount=sigma).double()
    x = torch.distributions.MultivariateNormal(mean, noisy).sample((1000,))
    expected = -(x - mean) @ noisy.inverse()
    gain = noisy.inverse() @ s
    model.decoder.a.data, model.decoder.b.data = gain, mean - mean @ gain
    torch.testing.assert_close(model.score(x), expected)
    clean = torch.distributions.MultivariateNormal(mean, s).sample((200_000,))
    shown = torch.cat((model.corrupt(clean), torch.ones(len(clean), 1)), dim=1)
    found = torch.linalg.lstsq(shown, clean).solution
    model.decoder.a.data, model.decoder.b.data = found[:3], found[3]
    error = (model.score(x) - expected).norm() / expected.norm()
    assert 0 < error < 0.03


@pytest.mark.claim
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_score_of_a_mixture(seed, measured):
    """Three Gaussians on the plane: within 15 % of the noisy density's score.

    The best linear denoiser is not, nor is this the score of the density without the noise.
    """
    torch.manual_seed(seed)
    sigma, spread, steps = 0.5, 0.5, 1000
    centres = torch.tensor([[-2.0, 0.0], [1.5, 1.5], [1.0, -2.0]])
    share = torch.tensor([0.3, 0.4, 0.3])

    def points(n, deviation):
        return centres[torch.multinomial(share, n, True)] + deviation * torch.randn(n, 2)

    def score(x, variance):
        towards = centres - x[:, None]  # (n, 3, 2)
        logit = share.log() - towards.square().sum(2) / (2 * variance)
        return (logit.softmax(1)[:, :, None] * towards).sum(1) / variance

    model = DenoisingAutoencoder(
        (2,), latent_dim=16, width=64, corruption="gaussian", amount=sigma, lr=3e-3
    )
    optimizer = model.configure_optimizers()
    slower = LinearLR(optimizer, 1, 0, steps)  # what is left at a constant rate is Adam's noise
    for _ in range(steps):
        x = points(1024, spread)
        optimizer.zero_grad()
        model.error(x, model.decoder(model.encoder(model.corrupt(x)))).mean().backward()
        optimizer.step()
        slower.step()
    x = points(5000, math.hypot(spread, sigma))
    expected = score(x, spread**2 + sigma**2)

    def error(found, expected=expected):
        return ((found - expected).norm() / expected.norm()).item()

    clean = points(100_000, spread)
    shown = torch.cat((model.corrupt(clean), torch.ones(len(clean), 1)), dim=1)
    best = torch.linalg.lstsq(shown, clean).solution
    linear = (x @ best[:2] + best[2] - x) / sigma**2
    found = model.score(x)
    cosine = torch.cosine_similarity(found, expected).mean().item()
    measured("error of the score", error(found), below=0.15)
    measured("by the best linear denoiser", error(linear), above=0.15)
    measured("cosine with the score", cosine, above=0.99)
    sharp = error(found, score(x, spread**2))
    measured("error, were it the score of points without noise", sharp, above=0.3)


class Layer(nn.Module):
    """One hidden layer, wider than the image, as in the paper: half of a network."""

    def __init__(self, shape, latent_dim, num_classes, width):
        super().__init__()
        self.body = nn.Sequential(nn.Flatten(), nn.Linear(math.prod(shape), latent_dim), nn.ReLU())

    def forward(self, x):
        return self.body(x)


class Back(nn.Sequential):
    def __init__(self, shape, latent_dim, num_classes, width):
        super().__init__(nn.Linear(latent_dim, math.prod(shape)), nn.Unflatten(1, shape))


class Wide(Autoencoder):
    Encoder, Decoder = Layer, Back


class WideDenoising(DenoisingAutoencoder):
    Encoder, Decoder = Layer, Back


@pytest.mark.claim
@pytest.mark.parametrize("seed", [0, *(pytest.param(s, marks=pytest.mark.slow) for s in (1, 2))])
def test_digits_come_out_of_noise(seed, measured):
    """At least 4 dB better than the noisy digits, and 3 better than what a plain one makes of them.

    256 hidden units for 64 pixels, noise of 0.3 on a scale from 0 to 1. The plain autoencoder
    learns to copy, to more than 30 dB, noise included.
    """
    torch.manual_seed(seed)
    settings = {"image_shape": (1, 8, 8), "latent_dim": 256, "lr": 3e-3}
    data = Digits(batch_size=64, seed=seed)
    clean = from_uint8(data.split("test").images)
    plain = Wide(**settings)
    model = WideDenoising(corruption="gaussian", amount=0.6, **settings)
    noisy = model.corrupt(clean)
    for each in (plain, model):
        trainer(max_epochs=20, limit_val_batches=0).fit(each, data)

    def decibels(x):
        return 10 * math.log10(4 / (x - clean).square().mean().item())

    with torch.no_grad():  # nothing is cut at the border, which alone would win 2 dB
        before, kept = decibels(noisy), decibels(plain.decoder(plain.encoder(clean)))
        copied, after = (decibels(each.decoder(each.encoder(noisy))) for each in (plain, model))
    measured("noisy digits, dB", before)
    measured("after a plain autoencoder", copied)
    measured("after denoising", after, above=max(before + 4, copied + 3))
    measured("clean digits after the plain one, dB", kept, above=30)
