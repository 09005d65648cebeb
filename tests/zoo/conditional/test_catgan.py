"""Entropies in numbers, who wants which, and categories of digits that are digits."""

import math

import numpy as np
import pytest
import torch
from scipy.optimize import linear_sum_assignment
from sklearn.cluster import KMeans

from genzoo.datamodules import Digits
from genzoo.images import from_uint8
from genzoo.protocols import Classifier, Decoder, Interpolator, Sampler
from genzoo.zoo import CatGAN
from genzoo.zoo.conditional.catgan import evenness, sureness
from tests.helpers.few_labels import held_out
from tests.helpers.tiny import Tiny
from tests.helpers.training import trainer

TINY = Tiny(
    CatGAN,
    {"latent_dim": 4, "width": 16},
    {Sampler, Decoder, Interpolator, Classifier},
    draws_classes=False,  # they teach the discriminator only
    refuses={"r1": "0 for a discriminator with batch norm"},
    waits=("[without_label(y)]",),  # how many images of a batch have no label
)


def tiny(**settings):
    return CatGAN((1, 4, 4), **{"num_categories": 3, "width": 8, "latent_dim": 2, **settings})


SURE = torch.eye(3).repeat(2, 1) * 100  # (6, 3), each category twice
ONE = torch.tensor([[100.0, 0.0, 0.0]]).repeat(6, 1)
UNSURE = torch.zeros(6, 3)


@pytest.mark.claim
def test_sure_of_each_and_even_over_all_are_not_the_same():
    """Entropy of the mean and mean of the entropies: each player wants one of them large."""
    cases = {"sure and even": SURE, "one category for all": ONE, "unsure": UNSURE}
    found = {name: (sureness(v).mean().item(), evenness(v).item()) for name, v in cases.items()}
    assert found["sure and even"] == pytest.approx((0, math.log(3)))
    assert found["one category for all"] == pytest.approx((0, 0))
    assert found["unsure"] == pytest.approx((-math.log(3), math.log(3)))


def test_entropies_are_those_of_the_definition_and_finite_far_away():
    logits = torch.randn(5, 4, dtype=torch.double)
    p = logits.softmax(dim=1)
    torch.testing.assert_close(sureness(logits), (p * p.log()).sum(1))
    mean = p.mean(0)
    torch.testing.assert_close(evenness(logits), -(mean * mean.log()).sum())
    far = torch.tensor([[500.0, -500.0]], requires_grad=True)
    (sureness(far).sum() + evenness(far)).backward()
    assert torch.isfinite(far.grad).all()


def costs(model, of_data, of_samples):
    """What both players pay where the discriminator says this of data and of samples."""
    x, y = torch.zeros(6, 1, 4, 4), torch.full((6,), -1)
    z = model.prior(6)
    model.prior = lambda n: z

    def outputs(inputs):
        return {"classes": of_data if inputs is x else of_samples}

    model.discriminator.outputs = outputs
    return model.discriminator_loss((x, y)).item(), model.generator_loss((x, y)).item()


@pytest.mark.claim
def test_who_pays_what():
    """L_D is least, -2 log K, where data are sure and even and samples unsure; L_G, -log K, where
    samples are sure and even."""
    k = math.log(3)
    assert costs(tiny(), SURE, UNSURE) == pytest.approx((-2 * k, 0))
    assert costs(tiny(), SURE, SURE) == pytest.approx((-k, -k))
    assert costs(tiny(), ONE, UNSURE) == pytest.approx((-k, 0))
    assert costs(tiny(), UNSURE, ONE) == pytest.approx((0, 0))


def test_labels_teach_where_the_model_is_told_how_many_there_are():
    """The game is then about the two images without a label."""
    x, y = torch.rand(6, 1, 4, 4), torch.tensor([0, -1, 1, 1, -1, 0])
    game = {0: (x[[1, 4]], y[[1, 4]]), 2: (x, y)}
    costs = {}
    for num_classes in (0, 2):
        torch.manual_seed(0)
        model = tiny(num_classes=num_classes, num_categories=5, label_weight=3.0).eval()
        z = model.prior(2)
        model.prior = lambda n, z=z: z.repeat(n // 2, 1)  # samples are as many as images
        costs[num_classes] = model.discriminator_loss(game[num_classes]).item()
    known = [0, 2, 3, 5]
    nats = -model.discriminator.outputs(x)["classes"].log_softmax(1)[known, y[known]]
    assert costs[2] - costs[0] == pytest.approx(3 * nats.mean().item(), rel=1e-5)


@pytest.mark.parametrize(("network", "width"), [("own", 8), ("mlp", 8), ("conv", 4)])
def test_every_network_sorts(network, width):
    model = CatGAN((1, 8, 8), num_categories=7, network=network, width=width)
    x = torch.rand(3, 1, 8, 8)
    p = model.predict_proba(x)
    assert p.shape == (3, 7)
    torch.testing.assert_close(p.sum(1), torch.ones(3))
    torch.testing.assert_close(model.score(x), (p * p.log()).sum(1))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_categories": 1}, "num_categories must be at least 2, got 1"),
        ({"num_classes": 10, "num_categories": 9}, "num_categories must be at least 10, got 9"),
        ({"hidden_noise": -0.5}, "hidden_noise must be 0 or more, got -0.5"),
        ({"network": "residual", "width": 4}, "hidden_noise must be 0 for a network without leaky"),
    ],
)
def test_impossible_numbers_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        CatGAN((1, 8, 8), **settings)


def agreement(found: np.ndarray, y: torch.Tensor) -> float:
    """Share of images in the category that is their class's, by the best assignment."""
    counts = np.zeros((10, 10))
    np.add.at(counts, (found, y.numpy()), 1)
    return counts[linear_sum_assignment(-counts)].sum() / len(y)


@pytest.mark.slow
@pytest.mark.claim
def test_categories_are_classes_that_nobody_named(measured):
    """Sec. 4.1, on digits, without a label. The baseline is k-means."""
    found, means = [], []
    for seed in (0, 1, 2):
        torch.manual_seed(seed)
        data = Digits(batch_size=128, seed=seed)
        model = CatGAN((1, 8, 8))
        trainer(max_epochs=120, limit_val_batches=0).fit(model, data)
        x, y = held_out(data)
        found.append(agreement(model.predict_proba(x).argmax(1).numpy(), y))
        train = from_uint8(data.split("train").images).flatten(1)
        clusters = KMeans(10, n_init=10, random_state=seed).fit(train).predict(x.flatten(1))
        means.append(agreement(clusters, y))
    naive = measured.median("k-means", means)
    what = "held-out digits in the category of their class"
    measured.median(what, found, above=max(0.80, naive))
