"""Weights that are shared over the image need fewer images."""

import pytest
import torch

from genzoo.datamodules import Digits
from genzoo.images import from_uint8
from genzoo.protocols import Decoder, Encoder, Interpolator, Sampler
from genzoo.zoo.variational import Autoencoder, ConvAutoencoder
from tests.helpers.tiny import Tiny
from tests.helpers.training import trainer

TINY = Tiny(
    ConvAutoencoder,
    {"latent_dim": 3, "width": 4},
    {Sampler, Decoder, Interpolator, Encoder},
    draws_noise=False,
)


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 28, 28), (3, 32, 32)])
def test_shapes_there_and_back(shape):
    model = ConvAutoencoder(shape, latent_dim=5, width=4)
    x = torch.rand(2, *shape) * 2 - 1
    assert model.encode(x).shape == (2, 5) and model.reconstruct(x).shape == x.shape


def test_an_impossible_side_is_refused():
    with pytest.raises(ValueError, match="image_shape must be"):
        ConvAutoencoder((1, 9, 9))


@pytest.mark.claim
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_shared_weights_need_fewer_images(seed, measured):
    """256 digits teach it to lose at most 0.8 of what PCA loses on unseen ones, at a code of 8.

    Full layers, of twelve times as many weights and trained for twice as long, lose less than PCA
    on the 256 and more on unseen ones.
    """
    data = Digits(batch_size=64, num_train=256, seed=seed)
    x, unseen = (from_uint8(data.split(part).images) for part in ("train", "test"))
    mean = x.flatten(1).mean(0)
    _, _, directions = torch.linalg.svd(x.flatten(1) - mean, full_matrices=False)
    span = directions[:8].T @ directions[:8]
    error = {}
    for name, model, epochs in (
        ("shared", ConvAutoencoder((1, 8, 8), latent_dim=8, width=32, lr=3e-3), 50),
        ("full", Autoencoder((1, 8, 8), latent_dim=8, width=256, lr=3e-3), 100),
    ):
        torch.manual_seed(seed)
        trainer(max_epochs=epochs, limit_val_batches=0).fit(model, data)
        error[name] = model.error(unseen, model.reconstruct(unseen)).mean().item()
        error[name, "seen"] = model.error(x, model.reconstruct(x)).mean().item()
        error[name, "weights"] = sum(p.numel() for p in model.parameters())
    for name, images in (("PCA", unseen), (("PCA", "seen"), x)):
        centred = images.flatten(1) - mean
        error[name] = (centred - centred @ span).square().sum(1).mean().item()
    assert error["shared", "weights"] * 12 < error["full", "weights"]
    linear = measured("PCA, error on unseen digits", error["PCA"])
    measured("shared weights", error["shared"], below=0.8 * linear)
    measured("full layers", error["full"], above=linear)
    linear = measured("PCA, error on the 256", error["PCA", "seen"])
    measured("full layers, on the 256", error["full", "seen"], below=linear)
