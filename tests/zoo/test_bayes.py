"""Bayes' rule where every probability is known, then on digits, with what it must not be trusted
with shown beside what it can do."""

from itertools import product

import pytest
import torch
from sklearn.metrics import roc_auc_score
from torch import nn

from genzoo.datamodules import Digits, FashionMNIST, MNIST10k
from genzoo.images import from_levels, from_uint8
from genzoo.protocols import Classifier
from genzoo.zoo import PixelCNN
from genzoo.zoo.bayes import BayesClassifier, IndependentPixels

IMAGES = torch.tensor(list(product([-1.0, 1.0], repeat=4))).view(16, 1, 2, 2)  # all there are


class Table(nn.Module):
    """A density over the sixteen images, each class with its own."""

    def __init__(self, chance: torch.Tensor):
        super().__init__()
        self.num_classes, self.chance = len(chance), chance  # (K, 16)
        self.dropout = nn.Dropout()  # whose mode must come back

    def log_prob(self, x, y):
        assert not self.dropout.training and not torch.is_grad_enabled()
        number = ((x.flatten(1) > 0) * torch.tensor([8, 4, 2, 1])).sum(1)
        return self.chance[y, number].log()


@pytest.fixture
def chance():
    return torch.rand(3, 16, dtype=torch.double).softmax(1)


def test_the_posterior_is_bayes_rule(chance):
    prior = torch.tensor([0.5, 0.2, 0.3]).double()
    classifier = BayesClassifier(Table(chance), prior=[5, 2, 3])
    joint = chance * prior[:, None]
    posterior = classifier.predict_proba(IMAGES).double()
    torch.testing.assert_close(posterior, (joint / joint.sum(0)).T)
    torch.testing.assert_close(classifier.log_marginal(IMAGES).exp().double(), joint.sum(0))
    assert classifier.log_marginal(IMAGES).exp().sum().item() == pytest.approx(1, abs=1e-6)
    assert isinstance(classifier, Classifier) and classifier.model.dropout.training


def test_without_a_prior_classes_are_alike(chance):
    posterior = BayesClassifier(Table(chance)).predict_proba(IMAGES)
    torch.testing.assert_close(posterior.double(), (chance / chance.sum(0)).T)


def test_images_beyond_one_pass_are_all_answered(chance):
    classifier = BayesClassifier(Table(chance))
    many = IMAGES.repeat(70, 1, 1, 1)
    torch.testing.assert_close(
        classifier.log_joint(many), classifier.log_joint(IMAGES).repeat(70, 1)
    )


def test_counting_gives_naive_bayes():
    x, y = IMAGES[[0, 1, 3, 15]], torch.tensor([0, 0, 0, 1])
    model = IndependentPixels(x, y, levels=2)
    # Class 0 was seen thrice, its last pixel white twice; each level counts once more.
    assert model.log_prob(IMAGES[:1], torch.tensor([0])).exp().item() == pytest.approx(
        4 / 5 * 4 / 5 * 3 / 5 * 2 / 5
    )
    for label in (0, 1):
        total = model.log_prob(IMAGES, torch.full((16,), label)).exp().sum().item()
        assert total == pytest.approx(1, abs=1e-6)
    grey = from_levels(torch.tensor([0, 1, 2, 2]).view(4, 1, 1, 1), 3)
    three = IndependentPixels(grey, torch.zeros(4).long(), levels=3)
    assert three.log_chance.exp().flatten().tolist() == pytest.approx([2 / 7, 2 / 7, 3 / 7])


def test_thresholds_are_quantiles_of_the_validation_images(chance):
    classifier = BayesClassifier(Table(chance))
    x = IMAGES[torch.randint(16, (4000,))]
    classifier.calibrate(x, x[:100], refused=0.25)
    nats = classifier.log_marginal(x).double()
    assert classifier.thresholds["L"] == pytest.approx(-nats.quantile(0.25).item())
    typical = (nats - nats.mean()).abs().quantile(0.75).item()
    assert classifier.thresholds["T"] == pytest.approx(typical, abs=1e-5)
    for score in ("L", "T"):
        assert classifier.reject(x, score).float().mean() <= 0.25
        assert torch.equal(
            classifier.reject(x, score),
            classifier.strangeness(x, score) > classifier.thresholds[score],
        )


def test_rejection_is_on_both_sides_only_by_typicality():
    """Sixteen images of which the likeliest is as unlike the mean as the least likely."""
    nats = torch.full((16,), -3.0)
    nats[0], nats[15] = -0.5, -9.0
    table = (nats.double().exp() / nats.double().exp().sum()).expand(2, 16)
    classifier = BayesClassifier(Table(table))
    validation = IMAGES[[1, 2, 3, 4, 5, 6, 7, 8]]
    classifier.calibrate(validation, refused=0.01)
    assert classifier.reject(IMAGES, "L").nonzero().flatten().tolist() == [15]
    assert classifier.reject(IMAGES, "T").nonzero().flatten().tolist() == [0, 15]
    assert torch.equal(classifier.reject(IMAGES), classifier.reject(IMAGES, "T"))


def test_neighbours_are_measured_in_features(chance):
    def one_pixel(x):
        return x.flatten(1)[:, :1]

    classifier = BayesClassifier(Table(chance), features=one_pixel, neighbours=2)
    known = torch.zeros(3, 1, 2, 2)
    known[:, 0, 0, 0] = torch.tensor([-1.0, 0.0, 0.25])
    classifier.calibrate(IMAGES[:8], known)  # whose first pixel is -1, as the second nearest's 0
    assert classifier.strangeness(IMAGES, "kNN").tolist() == [1.0] * 16  # 1 is 0.75 and 1 away
    assert classifier.thresholds["kNN"] == 1
    far = torch.full((1, 1, 2, 2), 4.0)
    assert classifier.strangeness(far, "kNN").item() == 4
    assert classifier.reject(far, "kNN").all() and not classifier.reject(IMAGES, "kNN").any()


def test_any_of_the_scores_rejects(chance):
    classifier = BayesClassifier(Table(chance), neighbours=1).calibrate(IMAGES, IMAGES[:15], 0.05)
    by = {score: classifier.reject(IMAGES, score) for score in ("L", "T", "kNN")}
    assert torch.equal(classifier.reject(IMAGES), by["T"] | by["kNN"])
    assert torch.equal(classifier.reject(IMAGES, "L", "kNN"), by["L"] | by["kNN"])
    assert by["kNN"].any() and not torch.equal(by["T"], by["kNN"])


def test_what_cannot_be_is_refused(chance):
    with pytest.raises(TypeError, match="Linear has no log_prob"):
        BayesClassifier(nn.Linear(2, 2))
    with pytest.raises(ValueError, match="num_classes must be at least 2, got 0"):
        BayesClassifier(PixelCNN((1, 2, 2), levels=2, width=2, layers=0))
    with pytest.raises(ValueError, match="prior must be 3 positive numbers"):
        BayesClassifier(Table(chance), prior=[1, 0, 1])
    classifier = BayesClassifier(Table(chance))
    with pytest.raises(ValueError, match="thresholds must be set by calibrate"):
        classifier.reject(IMAGES)
    with pytest.raises(ValueError, match="score must be one of L, T, kNN, got 'R'"):
        classifier.strangeness(IMAGES, "R")
    with pytest.raises(ValueError, match="score must be 'L' before calibrate"):
        classifier.strangeness(IMAGES, "T")
    with pytest.raises(ValueError, match="score 'kNN' must be given training images"):
        classifier.calibrate(IMAGES).strangeness(IMAGES, "kNN")
    with pytest.raises(ValueError, match="refused must be between 0 and 1, got 1"):
        classifier.calibrate(IMAGES, refused=1)
    with pytest.raises(ValueError, match="train must be at least 5 images, got 4"):
        classifier.calibrate(IMAGES, IMAGES[:4])


# The claim


def taught(data, levels: int, epochs: int, seed: int, **settings) -> tuple[BayesClassifier, ...]:
    """A calibrated classifier by a class-conditional PixelCNN, and naive Bayes."""
    torch.manual_seed(seed)
    train = data.split("train")
    x, y = from_uint8(train.images), train.labels
    model = PixelCNN(data.image_shape, 10, levels, **settings)
    optimizer, steps = model.configure_optimizers(), epochs * (len(x) // 32)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, model.lr, steps, pct_start=0.2)
    for _ in range(epochs):
        for index in torch.randperm(len(x))[: len(x) // 32 * 32].split(32):
            optimizer.zero_grad()
            model.bits_per_dim(x[index], y[index]).mean().backward()
            optimizer.step()
            schedule.step()
    validation = from_uint8(data.split("val").images)
    densities = (model, IndependentPixels(x, y, levels))
    return tuple(BayesClassifier(each).calibrate(validation, x) for each in densities)


def look(classifier, x) -> tuple[torch.Tensor, torch.Tensor]:
    """Classes named (B,), and log p(x) (B,)."""
    joint = classifier.log_joint(x)
    return joint.argmax(1), joint.logsumexp(1)


def auroc(ordinary, outliers) -> float:
    """How often an outlier is stranger than an image of the data, of their scores."""
    truth = [0] * len(ordinary) + [1] * len(outliers)
    return roc_auc_score(truth, torch.cat((ordinary, outliers)))


def outliers(x) -> dict[str, torch.Tensor]:
    mixed = x.flatten(1)[:, torch.randperm(x[0].numel())].view_as(x)
    return {"noise": torch.rand_like(x) * 2 - 1, "mixed": mixed, "inverted": -x}


def share(part) -> float:
    return part.float().mean().item()


@pytest.mark.claim
@pytest.mark.parametrize("seed", [0, *(pytest.param(s, marks=pytest.mark.slow) for s in (1, 2))])
def test_digits_are_named_and_what_is_none_is_rejected(seed, measured):
    data = Digits(seed=seed)
    bayes, naive = taught(data, 17, epochs=10, seed=seed, width=24, layers=2, lr=5e-3)
    test = data.split("test")
    x, y = from_uint8(test.images), test.labels
    (named, nats), (named_naively, naive_nats) = look(bayes, x), look(naive, x)
    right, right_naively = share(named == y), share(named_naively == y)
    strange = outliers(x)
    found = {name: auroc(-nats, bayes.strangeness(s, "L")) for name, s in strange.items()}
    measured("8x8: naive Bayes", right_naively, below=right)
    measured("8x8: digits named", right, above=0.93)
    ahead = (nats.mean() - naive_nats.mean()).item()
    measured("8x8: nats ahead of naive Bayes", ahead, above=8)
    measured("8x8: least AUROC of four kinds of outliers", min(found.values()), above=0.95)
    measured("8x8: digits rejected by typicality", share(bayes.reject(x, "T")), below=0.05)
    sure = bayes.predict_proba(strange["noise"]).max(1).values
    # p(y|x) has no doubt of noise.
    measured("8x8: certainty of a class, of noise", sure.median().item(), above=0.99)

    # The trap: an empty page is likelier than any digit.
    empty = torch.full_like(x[:1], -1)
    assert bayes.log_marginal(empty) > nats.max()
    assert not bayes.reject(empty, "L") and bayes.reject(empty, "T") and bayes.reject(empty)


SMALL = {"levels": 5, "epochs": 4, "width": 24, "layers": 4, "lr": 4e-3}


@pytest.mark.claim
@pytest.mark.slow
@pytest.mark.data
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_clothes_are_no_digits(real_data, seed, measured):
    """Accuracy above 0.8, AUROC above 0.95 by likelihood, of 14x14 pixels and five levels."""
    data = MNIST10k(str(real_data), image_size=14, seed=seed)
    bayes, naive = taught(data, seed=seed, **SMALL)
    test = data.split("test")
    x, y = from_uint8(test.images), test.labels
    clothes = FashionMNIST(str(real_data), image_size=14).split("test").images[:500]
    (named, nats), (named_naively, naive_nats) = look(bayes, x), look(naive, x)
    right, right_naively = share(named == y), share(named_naively == y)
    strange = {**outliers(x[:500]), "clothes": from_uint8(clothes)}
    found = {name: auroc(-nats, bayes.strangeness(s, "L")) for name, s in strange.items()}
    empty = torch.full_like(x[:1], -1)
    dot = empty.clone()
    dot[..., 7, 7] = 1
    pages = torch.cat((empty, dot, -empty))
    limits = bayes.thresholds
    refused = {
        "L": share(-nats > limits["L"]),
        "T": share((nats - bayes.mean).abs() > limits["T"]),
        "kNN": share(bayes.reject(x, "kNN")),
    }
    of_pages = {score: bayes.reject(pages, score).tolist() for score in limits}
    measured("14x14: naive Bayes", right_naively)
    measured("14x14: digits named", right, above=max(0.8, right_naively))
    ahead = (nats.mean() - naive_nats.mean()).item()
    measured("14x14: nats ahead of naive Bayes", ahead, above=20)
    for name, area in found.items():
        measured(f"14x14: AUROC of {name}", area, above=0.95)
    for score, part in refused.items():
        measured(f"14x14: digits rejected by {score}", part, below=0.04)
    for name, density in zip(("empty", "dot", "white"), bayes.log_marginal(pages), strict=True):
        measured(f"14x14: log density of a page, {name}", density.item())
    assert not of_pages["L"][0] and of_pages["T"][0] and of_pages["kNN"][2]


@pytest.mark.claim
@pytest.mark.slow
@pytest.mark.data
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_digits_are_simpler_than_clothes(real_data, seed, measured):
    """The other way round likelihood is the poorer judge, for what is simple is likely."""
    data = FashionMNIST(str(real_data), image_size=14, num_train=8000, val_size=1000, seed=seed)
    bayes, naive = taught(data, seed=seed, **SMALL)
    test = data.split("test")
    x, y = from_uint8(test.images[:1000]), test.labels[:1000]
    digits = MNIST10k(str(real_data), image_size=14).split("test").images[:500]
    (named, nats), (named_naively, _) = look(bayes, x), look(naive, x)
    right, right_naively = share(named == y), share(named_naively == y)
    strange = {"digits": from_uint8(digits), "inverted": -x[:500]}
    found = {name: auroc(-nats, bayes.strangeness(s, "L")) for name, s in strange.items()}
    empty = torch.full_like(x[:1], -1)
    measured("of clothes, 14x14: naive Bayes", right_naively)
    measured("of clothes, 14x14: clothes named", right, above=max(0.7, right_naively))
    measured("of clothes, 14x14: AUROC of inverted ones", found["inverted"], above=0.9)
    measured("of clothes, 14x14: AUROC of digits", found["digits"], below=found["inverted"])
    measured("of clothes, 14x14: mean log density of them", nats.mean().item())
    measured("of clothes, 14x14: log density of an empty page", bayes.log_marginal(empty).item())
    # Clothes differ so much in likelihood that typicality lets an empty page pass, too.
    assert not bayes.reject(empty, "L")
