"""What is asked for is drawn, and what is called by a wrong name is found out."""

import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from genzoo.datamodules import Digits
from genzoo.protocols import Decoder, Interpolator, Sampler
from genzoo.zoo import CGAN, GAN
from tests.helpers.conditional_digits import Judge, played, split, spread
from tests.helpers.tiny import Tiny
from tests.helpers.training import fit, loader, trainer

TINY = Tiny(
    CGAN,
    {"latent_dim": 4, "width": 16},
    {Sampler, Decoder, Interpolator},
    needs_classes=True,
)


def test_it_is_a_gan_that_is_told_the_class():
    """The same game, to the bit."""
    weights = []
    for kind in (CGAN, GAN):
        torch.manual_seed(0)
        model = kind((1, 4, 4), 3, width=8, latent_dim=2)
        torch.manual_seed(1)
        fit(model, loader(torch.rand(16, 1, 4, 4) * 2 - 1), steps=4)
        weights.append(torch.cat([p.detach().flatten() for p in model.parameters()]))
    assert torch.equal(*weights)


def test_samples_are_judged_by_the_label_that_they_were_made_from():
    model = CGAN((1, 4, 4), 3, width=8, latent_dim=2)
    made, judged = [], []
    model.generator.register_forward_pre_hook(lambda _, given: made.append(given[1]))
    model.discriminator.register_forward_pre_hook(lambda _, given: judged.append(given[1]))
    batch = torch.randn(5, 1, 4, 4), torch.tensor([0, 2, 1, 1, 0])
    model.discriminator_loss(batch)
    model.generator_loss(batch)
    assert all(torch.equal(y, batch[1]) for y in made + judged)
    assert (len(made), len(judged)) == (2, 3)


@pytest.mark.parametrize("num_classes", [0, 1])
def test_a_model_of_classes_must_have_some(num_classes):
    with pytest.raises(ValueError, match=f"num_classes must be at least 2, got {num_classes}: CGA"):
        CGAN((1, 4, 4), num_classes)


class Deaf(CGAN):
    """Draws N(0, 1), whatever it is told; data of class 0 are N(-1, 1), of class 1 N(1, 1)."""

    def fake(self, z, *condition):
        return torch.randn(len(z), 1), *condition


@pytest.mark.claim
def test_the_best_discriminator_knows_what_each_class_looks_like(measured):
    """Prop. 1 of Goodfellow et al. for each y: a generator that does not listen is found out."""
    model = Deaf((1,), 2, width=64, latent_dim=1, lr=2e-3, d_steps=10**6)
    y = torch.randint(2, (512 * 500,))
    data = DataLoader(TensorDataset(torch.randn(len(y), 1) + 2 * y[:, None] - 1, y), 512)
    trainer(max_epochs=1).fit(model, data)
    x = torch.linspace(-2, 2, 41)
    for label, mean in ((0, -1.0), (1, 1.0)):
        score = model.score(x[:, None], torch.full((41,), label))
        expected = x * mean - 0.5  # log N(x; mean, 1) / N(x; 0, 1)
        error = (score.sigmoid() - expected.sigmoid()).abs().mean().item()
        measured(f"error of the best D, class {label}", error, below=0.03)


@pytest.mark.claim
@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_samples_show_the_class_that_was_asked_for(seed, measured):
    """Sec. 4.1. The baseline plays with labels that say nothing of the images."""
    data, agree, asked = Digits(seed=seed), {}, torch.arange(1000) % 10
    judge = Judge(data)
    for shuffled in (True, False):
        torch.manual_seed(seed)
        model = CGAN((1, 8, 8), 10, latent_dim=16, width=128, lr=1e-3, ema_decay=0.99)
        drawn = played(model, data, 60, shuffled).sample(1000, asked)
        agree["shuffled" if shuffled else "told"] = judge.agrees(drawn, asked)
    x, y = split(data, "test")
    wrong = (y + torch.randint(1, 10, y.shape)) % 10
    found = (model.score(x, y) > model.score(x, wrong)).float().mean().item()
    ratio = spread(drawn, asked) / spread(*split(data, "train"))
    measured("samples as asked", agree["told"], above=0.9)
    measured("with shuffled labels", agree["shuffled"], near=0.1, within=0.05)
    measured("held-out digits that D prefers by their own name", found, above=0.5)
    measured("spread within a class, over that of data", ratio, above=0.4, below=1.3)
