"""Four players: means are matched, classes heeded, and nobody learns what is another's."""

from functools import cache

import pytest
import torch
from torch import nn

from genzoo.datamodules import MNIST10k
from genzoo.features.classifier import train_classifier
from genzoo.images import from_uint8
from genzoo.metrics.frechet import frechet_distance
from genzoo.protocols import Classifier, Completer, Decoder, Encoder, Interpolator, Sampler
from genzoo.zoo import CVAEGAN
from genzoo.zoo.adversarial import Player
from genzoo.zoo.gan.gan import Payoff
from tests.helpers.conditional_digits import spread
from tests.helpers.tiny import Tiny
from tests.helpers.training import bits, fit, loader

TINY = Tiny(
    CVAEGAN,
    {"latent_dim": 3, "width": 16},
    {Sampler, Decoder, Interpolator, Encoder, Classifier, Completer},
    needs_classes=True,
)


BATCH = bits(6), torch.tensor([0, 1, 0, 0, 1, 1])  # no image of class 2


def tiny(**settings) -> CVAEGAN:
    return CVAEGAN((1, 8, 8), 3, **{"latent_dim": 3, "width": 16, **settings})


def nothing(*scores):
    return sum(0 * score.sum() for score in scores)


WEIGHTS = {"kl_weight": 0, "like_weight": 0, "mean_weight": 0, "class_weight": 0}


@pytest.mark.parametrize(
    ("wanted", "moved"),
    [
        ({"like_weight": 1}, {"encoder", "generator"}),
        ({"like_weight": 0}, {"encoder"}),  # whose weight it is not
        ({"kl_weight": 3}, {"encoder"}),
        ({"mean_weight": 1}, {"encoder", "generator"}),
        ({"class_weight": 1}, {"encoder", "generator"}),
    ],
)
def test_what_images_are_to_be_like_moves_neither_discriminator_nor_classifier(wanted, moved):
    """Both have no loss of their own here, and all else flows through them."""

    class Silent(CVAEGAN):
        loss = Payoff(nothing, nothing)

        def classifier_loss(self, batch):
            return 0 * super().classifier_loss(batch)

    assert trained(Silent, **wanted) == moved


@pytest.mark.parametrize("wanted", ["mean_weight", "class_weight"])
def test_means_of_features_move_the_generator_alone(wanted):
    class Unlike(CVAEGAN):
        def likeness(self, real, fake):
            return 0 * fake[0].sum()

    assert trained(Unlike, **{wanted: 1}) == {"generator", "discriminator", "classifier"}
    assert trained(Unlike) == {"discriminator", "classifier"}
    assert trained(Unlike, kl_weight=1) == {"discriminator", "classifier", "encoder"}


def trained(model_class, **wanted) -> set[str]:
    """The parts whose parameters another moved in two batches."""
    torch.manual_seed(0)
    settings = {"latent_dim": 3, "width": 16, **WEIGHTS, **wanted}
    model = model_class((1, 8, 8), 3, **settings)
    before = {name: p.clone() for name, p in model.named_parameters()}
    fit(model, loader(bits(16)), steps=2)
    return {n.split(".")[0] for n, p in model.named_parameters() if not torch.equal(p, before[n])}


def test_the_classifier_learns_from_real_images_and_each_player_has_its_turn():
    model = tiny()
    names = ["classifier", "encoder", "discriminator", "generator"]
    assert [player.name for player in model.players()] == names
    assert [player.modules for player in model.players()] == [(getattr(model, n),) for n in names]
    seen = []
    judge = model.classifier.outputs
    model.classifier.outputs = lambda *images: seen.append(images) or judge(*images)
    model.classifier_loss(BATCH)
    ((images,),) = seen
    assert torch.equal(images, BATCH[0])


def test_likeness_is_of_pixels_and_of_both_kinds_of_features():
    model = tiny()
    x, again = bits(4), torch.rand(4, 1, 8, 8)
    views = (torch.Tensor.clone, model.discriminator.features, model.classifier.features)
    by_hand = sum(0.5 * (view(x) - view(again)).square().sum().item() / 4 for view in views)
    y = torch.arange(4) % 3
    assert model.likeness((x, y), (again, y)).item() == pytest.approx(by_hand)


@pytest.mark.parametrize("weight", [0.5, 3.0])
def test_the_encoder_pays_its_divergence_by_weight(weight):
    model, (x, y) = tiny(kl_weight=weight), BATCH
    model.likeness = lambda real, fake: 0.0
    q = model.encoder(x, y)
    divergence = 0.5 * (q.mean.square() + q.variance - 1 - q.variance.log()).sum(1).mean()
    torch.testing.assert_close(model.encoder_loss(BATCH), weight * divergence)


class Mirror(nn.Module):
    """Features (B, 2) of images: their first two pixels."""

    def features(self, x, *label):
        return x.flatten(1)[:, :2]


def matching(made, mean_weight, class_weight) -> float:
    """What the generator pays for samples whose first two pixels are these."""
    model = tiny(like_weight=0.0, mean_weight=mean_weight, class_weight=class_weight)
    model.discriminator, model.classifier = Mirror(), Mirror()
    x = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 0.0], [0.2, 0.0], [0.0, 0.5], [0.0, 0.0]])
    shown = torch.zeros(6, 1, 8, 8).flatten(1)
    shown[:, :2] = x
    samples = shown.clone()
    samples[:, :2] = made(x)
    samples = samples.view(6, 1, 8, 8)
    model._fakes = lambda x, y: ((samples, y), (samples, y))
    return model.generator_loss((shown.view(6, 1, 8, 8), BATCH[1])).item()


def test_samples_match_means_and_not_images():
    """Images of a class exchanged cost nothing; classes exchanged cost their means only."""
    within, across = [2, 4, 0, 3, 5, 1], [1, 0, 4, 5, 2, 3]
    assert matching(lambda x: x[within], 1.0, 1.0) == pytest.approx(0, abs=1e-12)
    assert matching(lambda x: x[across], 1.0, 0.0) == pytest.approx(0, abs=1e-12)
    # Means are (0.4, 0) of class 0 and (0, 0.5) of class 1, and change places.
    expected = 0.5 * 2 * (0.4**2 + 0.5**2)
    assert matching(lambda x: x[across], 0.0, 2.0) == pytest.approx(2 * expected)
    # All moved by one: the means of all and of both classes.
    assert matching(lambda x: x + torch.tensor([1.0, 0.0]), 1.0, 0.0) == pytest.approx(0.5)
    assert matching(lambda x: x + torch.tensor([1.0, 0.0]), 0.0, 1.0) == pytest.approx(1.0)


def test_neither_critic_is_told_the_class_and_features_are_the_same_each_time():
    model = tiny(network="conv", width=4).train()
    x, y = bits(6), torch.tensor([0, 1, 2, 0, 1, 2])
    assert torch.equal(model.score(x, y), model.score(x, y.flip(0)))
    state = {name: part.clone() for name, part in model.classifier.state_dict().items()}
    assert torch.equal(model.kinds(x), torch.cat((model.kinds(x[:2]), model.kinds(x[2:]))))
    assert all(torch.equal(part, state[n]) for n, part in model.classifier.state_dict().items())
    assert model.classifier.training


def test_it_names_images_and_completes_them():
    model, (x, y) = tiny(), BATCH
    assert isinstance(model, Classifier) and isinstance(model, Completer)
    assert torch.allclose(model.predict_proba(x).sum(1), torch.ones(6))
    mask = torch.zeros(6, 1, 8, 8)
    mask[..., :4] = 1
    whole = model.complete(x, mask, y, steps=2)
    assert torch.equal(whole[..., :4], x[..., :4])
    blank = torch.where(mask == 1, x, torch.zeros_like(x))
    once = torch.where(mask == 1, x, model.reconstruct(blank, y))
    assert torch.equal(whole, torch.where(mask == 1, x, model.reconstruct(once, y)))
    assert torch.equal(whole, model.complete(blank, mask, y, steps=2))  # what is hidden is not seen


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"num_classes": 0}, "num_classes must be at least 2, got 0: CVAEGAN learns from labels"),
        ({"kl_weight": -1}, "kl_weight must be 0 or more, got -1"),
        ({"class_weight": -1}, "class_weight must be 0 or more, got -1"),
        ({"like_weight": -1}, "like_weight must be 0 or more, got -1"),
        ({"saturating": True}, "saturating must be False: the generator is not paid for scores"),
    ],
)
def test_impossible_settings_are_refused(setting, message):
    with pytest.raises(ValueError, match=message):
        CVAEGAN((1, 8, 8), **{"num_classes": 3, **setting})


class ByPixels(CVAEGAN):
    """The CVAE of the same encoder and generator: a Gaussian around pixels."""

    variance = 0.1

    def players(self):
        both = (self.encoder, self.generator)
        return (Player("vae", both, self.encoder_loss),)

    def likeness(self, real, fake):
        return (real[0] - fake[0]).square().flatten(1).sum(1).mean() / (2 * self.variance)


class Blurred(ByPixels):
    """With the weights that CVAEGAN has for pixels and divergence, where that is a CVAE."""

    variance = 3.0


@cache
def judge(root):
    """MNIST at 14x14, 8,000 digits and 2,000 that are held out, and a classifier of the first with
    its accuracy."""
    data = MNIST10k(root=str(root), image_size=14, conditional=True)
    parts = [data.split(part) for part in ("train", "val", "test")]
    with torch.random.fork_rng():
        classifier, facts = train_classifier(parts[0].images, parts[0].labels, steps=800)
    unseen = from_uint8(torch.cat([part.images for part in parts[1:]]))
    labels = torch.cat([part.labels for part in parts[1:]])
    return data, unseen, labels, classifier, facts["accuracy"]


@pytest.mark.claim
@pytest.mark.slow
@pytest.mark.data
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_samples_show_their_class_and_lie_nearer_to_data_than_a_cvaes(real_data, seed, measured):
    """Beside two CVAEs of the same encoder and generator, after as many steps."""
    data, unseen, labels, classifier, known = judge(real_data)
    measured("digits named by the classifier that judges", known, above=0.95)
    found = {}
    for model_class in (CVAEGAN, ByPixels, Blurred):
        torch.manual_seed(seed)
        weight = 3.0 if model_class is CVAEGAN else 1.0
        model = model_class(data.image_shape, 10, latent_dim=10, lr=3e-4, kl_weight=weight)
        fit(model, data, steps=STEPS, limit_val_batches=0)
        drawn = model.sample(2000, labels)
        with torch.no_grad():
            features = [classifier.features(x) for x in (unseen, drawn)]
            right = (classifier.logits(features[1]).argmax(1) == labels).float().mean().item()
        distance = frechet_distance(*features).value
        found[model_class.__name__] = distance, right, spread(drawn, labels)
    variance = spread(unseen, labels)
    (ours, right, within), *others = found.values()
    for name, other in zip(("a CVAE's", "a CVAE's with its weights"), others, strict=True):
        measured(f"Fréchet distance, {name}", other[0])
        measured(f"samples as asked, {name}", other[1])
        measured(f"variance within a class, {name}", other[2])
    measured("Fréchet distance", ours, below=0.5 * min(distance for distance, *_ in others))
    measured("samples as asked", right, above=0.95)
    measured("variance within a class, of data", variance)
    measured("variance within a class", within, above=0.45 * variance)


STEPS = 3000
