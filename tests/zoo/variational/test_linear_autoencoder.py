"""One matrix, there and back, against principal component analysis."""

import pytest
import torch
from torch.optim.lr_scheduler import LinearLR

from genzoo.datamodules import Digits
from genzoo.images import from_uint8
from genzoo.protocols import Decoder, Encoder, Interpolator, Sampler
from genzoo.zoo.variational import LinearAutoencoder
from tests.helpers.tiny import Tiny

TINY = Tiny(
    LinearAutoencoder,
    {"latent_dim": 3},
    {Sampler, Decoder, Interpolator, Encoder},
    draws_noise=False,
)


SIZE = 4  # where the digits' spectrum has a gap: 0.083 of the variance, then 0.057


def principal(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The mean (P,) and the first directions (P, SIZE) of images."""
    mean = x.flatten(1).mean(0)
    _, _, directions = torch.linalg.svd(x.flatten(1) - mean, full_matrices=False)
    return mean, directions[:SIZE].T


def angle(basis: torch.Tensor, directions: torch.Tensor) -> float:
    """The largest principal angle between two subspaces, in degrees, by its sine."""
    q = torch.linalg.qr(basis).Q
    outside = q - directions @ (directions.T @ q)
    return torch.linalg.matrix_norm(outside, 2).clamp(max=1).asin().rad2deg().item()


def test_one_matrix_both_ways():
    """The tie outlives training, a change of precision, and a checkpoint."""
    model = LinearAutoencoder((1, 4, 4), latent_dim=3)
    assert len(list(model.parameters())) == 2
    model = model.double()
    x, z = torch.randn(5, 1, 4, 4).double(), torch.randn(5, 3).double()
    w, b = model.encoder.weight, model.encoder.bias
    b.data.normal_()
    torch.testing.assert_close(model.encode(x), (x.flatten(1) - b) @ w)
    torch.testing.assert_close(model.decoder(z).flatten(1), z @ w.T + b)
    other = LinearAutoencoder((1, 4, 4), latent_dim=3).double()
    other.load_state_dict(model.state_dict())
    assert other.decoder.weight is other.encoder.weight and torch.equal(other.encoder.weight, w)


def test_images_are_cut_at_the_border():
    model = LinearAutoencoder((1, 4, 4), latent_dim=3)
    z = 100 * torch.randn(5, 3)
    assert model.decoder(z).abs().max() > 1 == model.decode(z).abs().max()


@pytest.mark.claim
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_it_finds_the_principal_subspace(seed, measured):
    """Within a degree of it, where a random subspace is at more than 60; all digits at a time."""
    torch.manual_seed(seed)
    x = from_uint8(Digits().split("train").images, torch.double)
    mean, directions = principal(x)
    model = LinearAutoencoder((1, 8, 8), latent_dim=SIZE, lr=0.1).double()
    start = angle(model.encoder.weight.detach(), directions)
    optimizer = model.configure_optimizers()
    slower = LinearLR(optimizer, 1, 0, 700)  # at a constant rate Adam never quite comes to rest
    for _ in range(700):
        optimizer.zero_grad()
        error = model.error(x, model.decoder(model.encoder(x))).mean()
        error.backward()
        optimizer.step()
        slower.step()
    w, b = model.encoder.weight.detach(), model.encoder.bias.detach()
    centred = x.flatten(1) - mean
    least = (centred - centred @ directions @ directions.T).square().sum(1).mean()
    excess = (error.detach() / least - 1).item()
    measured("largest angle to PCA's subspace, degrees", angle(w, directions), below=1)
    measured("before training", start, above=60)
    measured("error in excess of PCA's, share", excess, near=0, within=1e-4)
    torch.testing.assert_close(w.T @ w, torch.eye(SIZE).double(), atol=1e-3, rtol=0)
    beside = (b - mean) - directions @ (directions.T @ (b - mean))
    assert beside.abs().max() < 1e-3  # b is the mean, but for what lies in the span
