"""DCGAN: the guidelines of its networks, and a latent space that is smooth in meaning."""

import json
from itertools import product

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from genzoo.datamodules import Digits
from genzoo.datamodules.folder import decode
from genzoo.features.classifier import train_classifier
from genzoo.images import from_uint8, to_uint8
from genzoo.protocols import Decoder, Interpolator, Sampler
from genzoo.zoo import DCGAN, latent
from tests.helpers.tiny import Tiny
from tests.helpers.training import fit, trainer

TINY = Tiny(
    DCGAN,
    {"latent_dim": 4, "width": 4},
    {Sampler, Decoder, Interpolator},
    variant={"instance_noise": 0.1, "instance_noise_steps": 5, "clip_norm": 1.0, "g_steps": 2},
)


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
@pytest.mark.parametrize("seed", [0, *(pytest.param(s, marks=pytest.mark.slow) for s in (1, 2))])
def test_latent_walks_are_smooth_in_meaning(seed, measured):
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
    measured("digits: largest step of a walk, in mean steps", jumps["walk"], below=4)
    measured("of a memorised space", jumps["memorised"], above=4)
    blended = measured("confidence half-way, of a blend of pixels", middle["blend"])
    measured("confidence half-way", middle["walk"], above=blended + 0.03)
    assert to_uint8(ends).float().std(0).mean() > 10  # and not one image for all


# Arithmetic


class Linear:
    """Decodes z to z itself, as an image of one line."""

    def decode(self, z, y=None):
        return z[:, None, None]


def test_arithmetic_adds_and_takes_away_means():
    a, b, c = torch.randn(3, 5), torch.randn(4, 5), torch.randn(2, 5)
    images = latent.arithmetic(Linear(), plus=[a, c], minus=[b], n=400)[:, 0, 0]
    expected = a.mean(0) - b.mean(0) + c.mean(0)
    torch.testing.assert_close(images[0], expected)
    around = images[1:] - expected
    assert 0.24 < around.abs().max() <= 0.25 + 1e-6
    assert around.std().item() == pytest.approx(0.25 / 3**0.5, rel=0.05)
    model = DCGAN((1, 8, 8), num_classes=3, latent_dim=5, width=4)
    y = torch.tensor([2])
    found = model.arithmetic([a, c], [b], y=y)
    torch.testing.assert_close(found, model.decode(expected[None], y))


def test_arithmetic_of_nothing_is_refused():
    with pytest.raises(ValueError, match="plus must have at least one group of latents, got none"):
        latent.arithmetic(Linear(), plus=[])
    with pytest.raises(ValueError, match="n must be at least 1, got 0"):
        latent.arithmetic(Linear(), plus=[torch.zeros(3, 2)], n=0)


SEXES = ({"1F468", "2642"}, {"1F469", "2640"})  # men, women; other designs are neither
TONES = ("1F3FB", "1F3FC", "1F3FD", "1F3FE", "1F3FF")  # from light to dark


@pytest.fixture(scope="module")
def people(real_data):
    """Emoji of people, 16x16, and two classifiers that tell women from men and dark from light.

    The classifiers are judged on designs, in all their tones, that they have not seen: tones they
    know without fail, men and women not so well (0.67 to 0.80 in five folds).
    """
    images, sexes, tones, designs = [], [], [], []
    kinds = ("person", "person-role", "person-fantasy", "person-gesture")
    for vendor in ("google", "twitter"):
        folder = real_data / "emoji" / f"emoji-datasource-{vendor}"
        for design in json.loads((folder / "emoji.json").read_text()):
            varied = design.get("skin_variations", {})
            if design["subcategory"] not in kinds or not set(TONES) <= set(varied):
                continue
            points = set(design["unified"].split("-"))
            sex = next((sex for sex, marks in enumerate(SEXES) if marks & points), -1)
            for tone, point in enumerate(TONES):
                path = folder / "img" / vendor / "64" / varied[point]["image"]
                if path.exists():
                    images.append(decode(path, 16, 3))
                    sexes.append(sex)
                    tones.append(tone)
                    designs.append(vendor + design["unified"])
    images, sexes, tones = torch.stack(images), torch.tensor(sexes), torch.tensor(tones)
    names = sorted(set(designs))
    unseen = torch.tensor([names.index(design) % 5 == 0 for design in designs])
    judges, rights = [], []
    for labels, known in ((sexes, sexes >= 0), ((tones > 2).long(), tones != 2)):
        seen, kept = known & ~unseen, known & unseen
        judge, _ = train_classifier(images[seen], labels[seen], steps=300)
        right = (judge(from_uint8(images[kept])).argmax(1) == labels[kept]).float().mean().item()
        judges.append(judge)
        rights.append(right)
    return from_uint8(images), judges, rights


@pytest.mark.claim
@pytest.mark.data
@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_arithmetic_carries_real_attributes(seed, people, measured):
    """Sec. 6.3.2, of four kinds of people: man or woman, light or dark. Each is the sum of the two
    that have one attribute of it, less the one that has none.

    The baselines are those two alone, and another difference added to one of them: means of
    latents drawn at random. What stands for an attribute is a classifier's word.
    """
    x, judges, (sexes, tones) = people
    measured("emoji: sex named right, of unseen designs", sexes, above=0.7)
    measured("emoji: tone named right, of unseen designs", tones, above=0.95)
    torch.manual_seed(seed)
    model = DCGAN((3, 16, 16), latent_dim=32, width=16, lr=1e-3, ema_decay=0.99)
    images = TensorDataset(x, torch.zeros(len(x), dtype=torch.long))
    fit(model, DataLoader(images, 32, shuffle=True, drop_last=True), steps=2000)

    z = model.prior(4000)
    chances = [judge.predict_proba(model.decode(z)) for judge in judges]
    kinds = list(product((0, 1), (0, 1)))
    groups = {
        kind: z[(chances[0][:, kind[0]] > 0.9) & (chances[1][:, kind[1]] > 0.9)] for kind in kinds
    }
    assert min(len(group) for group in groups.values()) > 50

    def three(group):
        return group[torch.randint(len(group), (3,))]

    right, toned, steps = {}, {}, []
    for sex, dark in kinds:
        made = {
            "of sums": [],
            "of its sex alone": [],
            "of its tone alone": [],
            "by any difference": [],
        }
        for _ in range(100):
            tone, both, same = (
                three(groups[kind])
                for kind in ((1 - sex, dark), (1 - sex, 1 - dark), (sex, 1 - dark))
            )
            made["of sums"].append(model.arithmetic([tone, same], [both]))
            made["of its sex alone"].append(model.arithmetic([same]))
            made["of its tone alone"].append(model.arithmetic([tone]))
            made["by any difference"].append(model.arithmetic([three(z), same], [three(z)]))
        for name, images in made.items():
            said = [judge(torch.cat(images)).argmax(1) for judge in judges]
            hit = (said[0] == sex) & (said[1] == dark)
            right.setdefault(name, []).append(hit.float().mean().item())
            toned.setdefault(name, []).append((said[1] == dark).float().mean().item())
        walk = model.interpolate(groups[sex, 1 - dark][:50], groups[sex, dark][:50], steps=33)
        steps.append(largest_step(walk))
    mean = {name: sum(shares) / 4 for name, shares in right.items()}
    tone = {name: sum(shares) / 4 for name, shares in toned.items()}
    measured("emoji: tone right, of its sex alone", tone["of its sex alone"], below=0.3)
    measured("emoji: tone right, of sums", tone["of sums"], above=0.6)
    others = [
        measured(f"emoji: both right, {name}", share)
        for name, share in mean.items()
        if name != "of sums"
    ]
    measured("emoji: both right, of sums", mean["of sums"], above=max(0.35, 2 * max(others)))
    measured("emoji: largest step of a walk, in mean steps", max(steps), below=4)
