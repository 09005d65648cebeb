"""A classifier of K classes as a discriminator: the K + 1 softmax in numbers, and what images
without labels teach it."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, TensorDataset

from genzoo.datamodules import Digits
from genzoo.protocols import Classifier, Decoder, Interpolator, Sampler
from genzoo.zoo import CCGAN, CatGAN, SemiSupervisedGAN
from genzoo.zoo.networks.noise import GaussianNoise, noisy
from tests.helpers.few_labels import accuracy, taught
from tests.helpers.tiny import Tiny
from tests.helpers.training import fit, trainer

TINY = Tiny(
    SemiSupervisedGAN,
    {"latent_dim": 4, "width": 16},
    {Sampler, Decoder, Interpolator, Classifier},
    needs_classes=True,
    draws_classes=False,  # they teach the discriminator only
    waits=("[plays]", "[without_label(y)]"),  # how many images of a batch have no label
)


def tiny(**settings):
    settings = {"width": 8, "latent_dim": 2, **settings}
    return SemiSupervisedGAN((1, 4, 4), 3, **settings)


def images(n: int) -> torch.Tensor:
    return torch.rand(n, 1, 4, 4) * 2 - 1


def test_the_score_is_that_of_a_softmax_of_k_plus_1_classes_whose_last_logit_is_0():
    model = tiny()
    x = images(6)
    with torch.no_grad():
        logits = model.discriminator.eval().outputs(x)["classes"]
    p = nn.functional.pad(logits, (0, 1)).softmax(dim=1)  # (B, K + 1)
    torch.testing.assert_close(model.score(x).sigmoid(), 1 - p[:, -1])
    torch.testing.assert_close(model.predict_proba(x), p[:, :-1] / (1 - p[:, -1:]))


@pytest.mark.claim
@pytest.mark.parametrize("y", [[0, 2, 1, 0, 1], [-1, 2, -1, -1, 1], [-1] * 5])
def test_the_loss_is_the_supervised_and_the_unsupervised_part_of_the_paper(y):
    """Sec. 5: labels where there are any, "not a sample" of data without, "a sample" of samples,
    of which there are as many as images."""
    model = tiny(label_weight=2.0).eval()
    x, y = images(5), torch.tensor(y)
    unknown = y < 0 if (y < 0).any() else y >= 0
    z = model.prior(5)
    model.prior = lambda n: z[:n]
    data, samples = (
        nn.functional.pad(model.discriminator.outputs(v)["classes"], (0, 1)).log_softmax(dim=1)
        for v in (x, model.generator(z))
    )
    unsupervised = -(1 - data[unknown, 3].exp()).log().mean() - samples[:, 3].mean()
    known = y >= 0
    supervised = cross_entropy(data[known, :3], y[known]) if known.any() else 0
    torch.testing.assert_close(model.discriminator_loss((x, y)), unsupervised + 2 * supervised)


@pytest.mark.parametrize("y", [[-1] * 7, [-1, 2, -1, -1, 1, 0, 0]])
def test_the_generator_matches_features_of_images_without_a_label(y):
    model = tiny().eval()
    x, y = images(7), torch.tensor(y)
    z = model.prior(7)
    model.prior = lambda n: z[:n]
    f, f_fake = (model.discriminator.features(v).mean(0) for v in (x[y < 0], model.generator(z)))
    torch.testing.assert_close(model.generator_loss((x, y)), (f - f_fake).square().sum())


@pytest.mark.parametrize("network", ["own", "conv"])
@pytest.mark.parametrize("kind", [SemiSupervisedGAN, CatGAN, CCGAN])
def test_one_image_without_a_label_is_enough(kind, network):
    """All that batch normalisation sees is as large as the batch."""
    x, y = torch.rand(12, 1, 8, 8) * 2 - 1, torch.arange(12) % 3
    y[::6] = -1
    model = kind((1, 8, 8), num_classes=3, network=network, width=8, latent_dim=2)
    asked, prior = [], model.prior
    model.prior = lambda n: asked.append(n) or prior(n)
    before = [p.clone() for p in model.parameters()]
    fit(model, DataLoader(TensorDataset(x, y), 6), steps=4)
    assert set(asked) == {6}
    after = list(model.parameters())
    assert all(torch.isfinite(p).all() for p in after)
    assert all(not torch.equal(p, q) for p, q in zip(after, before, strict=True))


@pytest.mark.parametrize(("network", "width"), [("mlp", 8), ("conv", 4), ("residual", 8)])
def test_every_network_classifies(network, width):
    hidden = 0.0 if network == "residual" else 0.3
    model = SemiSupervisedGAN((1, 8, 8), 4, network=network, width=width, hidden_noise=hidden)
    x = torch.rand(3, 1, 8, 8)
    p = model.predict_proba(x)
    assert p.shape == (3, 4)
    torch.testing.assert_close(p.sum(1), torch.ones(3))
    assert model.score(x).shape == (3,)


def test_noise_is_for_training_only():
    layer = GaussianNoise(0.5)
    x = torch.zeros(20_000)
    assert layer(x).std().item() == pytest.approx(0.5, rel=0.03)
    assert torch.equal(layer.eval()(x), x)
    model = tiny()
    x = images(4)
    assert torch.equal(model.predict_proba(x), model.predict_proba(x))
    assert not torch.equal(model.discriminator(x), model.discriminator(x))


def test_noise_stands_on_the_input_and_behind_each_activation():
    network = nn.Sequential(nn.Linear(2, 3), nn.LeakyReLU(), nn.Linear(3, 3), nn.LeakyReLU())
    deviations = [
        m.deviation for m in noisy(network, 0.1, 0.2).modules() if isinstance(m, GaussianNoise)
    ]
    assert deviations == [0.1, 0.2, 0.2]
    with pytest.raises(ValueError, match="hidden_noise must be 0 for a network without leaky"):
        noisy(nn.Linear(2, 3), 0.1, 0.2)
    with pytest.raises(ValueError, match="input_noise must be 0 or more, got -1"):
        noisy(network, -1.0, 0.2)


def test_accuracy_is_that_of_the_labelled_images():
    """Two batches: all right, and half of the two labelled ones wrong."""
    model = tiny()
    x = images(6)
    named = model.predict_proba(x).argmax(1)
    y = named.clone()
    y[3], y[5] = -1, (named[5] + 1) % 3
    batches = DataLoader([(x[:3], y[:3]), (x[3:], y[3:])], batch_size=None)
    (found,) = trainer().validate(model, batches, verbose=False)
    assert found["accuracy"] == pytest.approx(4 / 5)


@pytest.mark.parametrize("num_classes", [0, 1])
def test_it_must_have_classes(num_classes):
    with pytest.raises(ValueError, match=f"num_classes must be at least 2, got {num_classes}: Sem"):
        SemiSupervisedGAN((1, 4, 4), num_classes)


def test_a_loss_that_nobody_pays_is_refused():
    with pytest.raises(ValueError, match="saturating must be False: SemiSupervisedGAN has its own"):
        tiny(saturating=True)


@pytest.mark.slow
@pytest.mark.claim
def test_images_without_labels_teach_the_classifier(measured):
    """Sec. 5, 5 labels of each digit. The baseline is the same network without the other images."""
    found, without = [], []
    for seed in (0, 1, 2):
        torch.manual_seed(seed)
        data = Digits(batch_size=100, conditional=True, labels_per_class=5, seed=seed)
        model = SemiSupervisedGAN((1, 8, 8), 10, lr=1e-3)
        trainer(max_epochs=120, limit_val_batches=0).fit(model, data)
        found.append(accuracy(model, data))
        torch.manual_seed(seed)
        baseline = taught(SemiSupervisedGAN((1, 8, 8), 10), data, steps=600, lr=1e-3)
        without.append(accuracy(baseline, data))
    measured.median("accuracy", found, above=0.88)
    measured.median("accuracy without the other images", without)
    measured.median("accuracy gained by them", np.subtract(found, without), above=0.05)
