"""What is asked for is drawn, and what is called by a wrong name is found out."""

import pytest
import torch

from genzoo.zoo import CGAN, GAN
from tests.toys import fit, loader
from tests.zoo.asked import Judge, played, split, spread


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


@pytest.mark.claim
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_samples_show_the_class_that_was_asked_for(seed):
    """Sec. 4.1. The baseline plays with the labels of the images shuffled."""
    torch.manual_seed(seed)
    model, data = played(CGAN((1, 8, 8), 10, latent_dim=16, lr=1e-3), seed, epochs=60)
    judge, asked = Judge(data), torch.arange(1000) % 10
    drawn = model.sample(1000, asked)
    train = data.split("train")
    train.labels.copy_(train.labels[torch.randperm(len(train.labels))])
    trained_blind = CGAN((1, 8, 8), 10, latent_dim=16, lr=1e-3)
    blind, _ = played(trained_blind, seed, epochs=1)
    x, y = split(data, "test")
    wrong = (y + torch.randint(1, 10, y.shape)) % 10
    found = (model.score(x, y) > model.score(x, wrong)).float().mean().item()
    ratio = spread(drawn, asked) / spread(*split(data, "train"))
    print(f"as asked {judge.agrees(drawn, asked):.3f}, wrong names found {found:.3f}, {ratio:.2f}")
