"""The classifier of the data's own classes: its seed, its disturbance, what it refuses."""

import pytest
import torch

from genzoo.features import cache
from genzoo.features.classifier import DomainClassifier, disturb, train_classifier
from genzoo.features.extractors import Domain
from genzoo.images import from_uint8
from genzoo.protocols import Classifier
from tests.helpers.toy_model_and_data import pictures


def test_the_seed_decides_the_classifier():
    images, labels = pictures(90)
    nets = [train_classifier(images, labels, steps=3, seed=seed)[0] for seed in (0, 0, 1)]
    same, again, other = (cache.digest_weights(net) for net in nets)
    assert same == again != other


def test_unlabelled_images_are_left_out():
    images, labels = pictures(300)
    labels[::2] = -1
    assert Domain(images, labels, steps=2).protocol["classifier_judged_on"] == 15


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 28, 28), (3, 64, 48), (1, 5, 7)])
def test_classifier_speaks_the_zoos_protocol(shape):
    net = DomainClassifier(shape, 4).eval()
    assert isinstance(net, Classifier)
    p = net.predict_proba(torch.rand(6, *shape) * 2 - 1)
    assert p.shape == (6, 4) and torch.allclose(p.sum(1), torch.ones(6))


def test_classifier_refuses_what_it_cannot_learn():
    with pytest.raises(ValueError, match="num_classes must be at least 2, got 1"):
        DomainClassifier((1, 8, 8), 1)
    with pytest.raises(ValueError, match=r"image_shape must be \(C, H, W\), got \(2,\)"):
        DomainClassifier((2,), 3)


def test_disturbance_is_light():
    flat = torch.full((400, 1, 8, 8), 0.3)  # neither shift nor blur changes it
    noise = (disturb(flat) - flat).flatten(1).std(1)
    assert 0.4 < (noise < 1e-6).float().mean() < 0.6
    assert 0.1 < noise.max() < 0.3
    x = from_uint8(pictures(200, side=16)[0])
    assert disturb(x).shape == x.shape and not torch.equal(disturb(x), disturb(x))
