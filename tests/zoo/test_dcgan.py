"""DCGAN: the guidelines of its networks, and a latent space that is smooth in meaning."""

import pytest
import torch
from torch import nn

from genzoo.datamodules import Digits
from genzoo.images import from_uint8, to_uint8
from genzoo.zoo import DCGAN
from genzoo.zoo.classifier import train_classifier
from tests.toys import trainer


@pytest.mark.parametrize("side", [8, 16, 28, 32, 64])
@pytest.mark.parametrize("channels", [1, 3])
def test_the_guidelines_hold_at_every_side(side, channels):
    model = DCGAN((channels, side, side), width=4, latent_dim=8)
    kinds = {name: [type(m) for m in net.modules()] for name, net in model.named_children()}
    for layers in kinds.values():
        assert nn.Linear not in layers
        assert not any("Pool" in kind.__name__ for kind in layers)
    up, down = list(model.generator.body), list(model.discriminator.body)
    assert isinstance(up[-1], nn.Tanh) and nn.ReLU in kinds["generator"]
    assert isinstance(up[-2], nn.ConvTranspose2d)  # no batch norm at the output ...
    assert isinstance(down[1], nn.LeakyReLU) and down[1].negative_slope == 0.2  # ... or the input
    assert nn.BatchNorm2d in kinds["generator"]
    assert (nn.BatchNorm2d in kinds["discriminator"]) == (side > 8)  # 8 is halved but once
    assert model.sample(2).shape == (2, channels, side, side)
    assert model.score(model.sample(2)).shape == (2,)


def test_weights_are_drawn_as_in_section_4():
    model = DCGAN((1, 32, 32))
    weights = [m.weight for m in model.modules() if isinstance(m, nn.Conv2d | nn.ConvTranspose2d)]
    drawn = torch.cat([w.flatten() for w in weights])
    assert drawn.mean().abs() < 1e-3 and drawn.std().item() == pytest.approx(0.02, rel=0.02)
    assert model.prior(1000).abs().max() <= 1


@pytest.mark.parametrize("shape", [(1, 30, 30), (1, 4, 4), (3, 32, 64), (2,)])
def test_sides_that_cannot_be_reached_are_refused(shape):
    with pytest.raises(ValueError, match=r"image_shape must be \(C, side, side\).*got"):
        DCGAN(shape)


def largest_step(path):
    """The largest change from one image of a path to the next, in mean changes. (n, T, ...)

    The median over paths; one that never changes, as a memorised one may, has none.
    """
    steps = path.flatten(2).diff(dim=1).norm(dim=2)
    return (steps.amax(1) / steps.mean(1)).nanmedian().item()


@pytest.mark.claim
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_latent_walks_are_smooth_in_meaning(seed):
    """Sec. 6.1: no sharp transitions, which a memorised space would show, and images of things
    all along the way, which a walk through pixels does not.

    The classifier's confidence in the middle of walks between digits it is sure of stands for
    being an image of something; the baselines are the nearest training image of the pixel blend
    (memorised: it jumps) and the pixel blend itself (smooth, but a ghost of two digits).
    """
    torch.manual_seed(seed)
    data = Digits(batch_size=64)
    model = DCGAN(data.image_shape, latent_dim=32, width=32, lr=5e-4, ema_decay=0.99)
    trainer(max_epochs=40, limit_val_batches=0).fit(model, data)
    train = data.split("train")
    classifier, _ = train_classifier(train.images, train.labels, steps=600, seed=seed)

    def confidence(x):
        return classifier.predict_proba(x).amax(1)

    z = model.prior(2000)
    ends = model.decode(z)
    sure, told = confidence(ends) > 0.95, classifier(ends).argmax(1)
    z, ends, told = z[sure], ends[sure], told[sure]
    half = len(z) // 2
    differ = told[:half] != told[half : 2 * half]
    z0, z1 = z[:half][differ], z[half : 2 * half][differ]
    x0, x1 = ends[:half][differ], ends[half : 2 * half][differ]
    assert len(z0) > 100

    walk = model.interpolate(z0[:50], z1[:50], steps=33)
    t = torch.linspace(0, 1, 33).view(1, -1, 1, 1, 1)
    blend = torch.lerp(x0[:50, None], x1[:50, None], t)
    real = from_uint8(train.images).flatten(1)
    nearest = real[torch.cdist(blend.flatten(0, 1).flatten(1), real).argmin(1)]
    jumps = {"walk": largest_step(walk), "memorised": largest_step(nearest.view(blend.shape))}
    middle = {
        "walk": confidence(model.interpolate(z0, z1, steps=3)[:, 1]).mean().item(),
        "blend": confidence((x0 + x1) / 2).mean().item(),
    }
    print(seed, jumps, middle)
    assert jumps["walk"] < 4 < jumps["memorised"]
    assert middle["walk"] > middle["blend"] + 0.03
    assert to_uint8(ends).float().std(0).mean() > 10  # and not one image for all
