"""Codes: how they are drawn, what they cost, what they come to mean."""

import math

import numpy as np
import pytest
import torch
from scipy.optimize import linear_sum_assignment
from torch import nn

from genzoo.datamodules import Digits
from genzoo.protocols import Decoder, Interpolator, Sampler
from genzoo.zoo import InfoGAN
from tests.helpers.conditional_digits import Judge, played, split
from tests.helpers.tiny import Tiny

TINY = Tiny(InfoGAN, {"latent_dim": 4, "width": 16}, {Sampler, Decoder, Interpolator})


def small(**settings) -> InfoGAN:
    settings = {"latent_dim": 3, "categorical": (4, 2), "continuous": 2, "width": 8, **settings}
    return InfoGAN((1, 4, 4), **settings)


def test_the_latent_is_noise_then_categories_then_numbers():
    model = small()
    z = model.prior(4000)
    assert z.shape == (4000, model.latent_dim) and model.latent_dim == 3 + 4 + 2 + 2
    for hot in (z[:, 3:7], z[:, 7:9]):
        assert torch.equal(hot.sum(1), torch.ones(4000)) and set(hot.unique().tolist()) == {0, 1}
        torch.testing.assert_close(
            hot.mean(0), torch.full_like(hot[0], 1 / hot.shape[1]), atol=0.03, rtol=0
        )
    for uniform in (z[:, :3], z[:, 9:]):
        assert uniform.abs().max() <= 1
        torch.testing.assert_close(
            uniform.var(0), torch.full_like(uniform[0], 1 / 3), atol=0.03, rtol=0
        )


@pytest.mark.parametrize(("info", "continuous"), [(1.0, 0.1), (0.5, 2.0)])
def test_an_ignorant_q_pays_the_entropy_of_the_codes_and_knows_nothing(info, continuous):
    model = small(info_weight=info, continuous_weight=continuous)
    for p in model.q.parameters():
        nn.init.zeros_(p)
    features, z = torch.randn(20_000, model.discriminator.num_features), model.prior(20_000)
    expected = info * (math.log(4) + math.log(2) + continuous * (1 / 3 + 1 / 3) / 2)
    assert model.missing_information(features, z).item() == pytest.approx(expected, rel=0.01)
    known = model.information(20_000)
    assert known[:2].tolist() == pytest.approx([0.0, 0.0], abs=1e-5)
    # The best Gaussian for a uniform code: worse than the code's own law.
    lost = math.log(2) - 0.5 * math.log(2 * math.pi * math.e / 3)
    assert known[2:].tolist() == pytest.approx([lost, lost], abs=0.02) and lost < 0


def test_a_q_that_knows_the_codes_knows_their_entropy():
    model, drawn = small(), []
    fake = model.fake
    model.fake = lambda z, *y: drawn.append(z) or fake(z, *y)
    model.q.forward = lambda _: torch.cat((1e3 * drawn[0][:, 3:9], drawn[0][:, 9:] + 0.01), dim=1)
    known = model.information(2000).tolist()
    sharp = math.log(2) - 0.5 * math.log(2 * math.pi * math.e * 0.01**2)
    assert known == pytest.approx([math.log(4), math.log(2), sharp, sharp], abs=1e-3)


def test_both_players_move_q_and_the_generator_at_a_rate_of_its_own():
    model = small(lr=0.01, g_lr=0.02)
    d, g = model.players()
    assert model.q in d.modules and model.q in g.modules
    rates = [model.optimizer(player).param_groups[0]["lr"] for player in (d, g)]
    assert rates == [0.01, 0.02]
    # The codes reach both: the features through samples only, and the generator.
    z = model.prior(8)
    features = model.discriminator.features(*model.fake(z))
    model.missing_information(features, z).backward()
    body, first = model.discriminator.body, model.generator.body[0].weight
    assert all(p.grad.abs().sum() > 0 for p in (body.body[0].weight, first, model.q[0].weight))


def test_a_traversal_changes_one_code_only():
    model, seen = small(), []
    z = model.prior(5)
    decode = model.decode
    model.decode = lambda z, y=None: seen.append(z) or decode(z, y)
    assert model.traverse(z, code=0).shape == (5, 4, 1, 4, 4)
    assert model.traverse(z, code=1).shape == (5, 2, 1, 4, 4)
    assert model.traverse(z, code=3, steps=7, reach=2.0).shape == (5, 7, 1, 4, 4)
    for walk, columns in zip(seen, (range(3, 7), range(7, 9), range(10, 11)), strict=True):
        walk = walk.unflatten(0, (5, -1))
        others = [i for i in range(model.latent_dim) if i not in columns]
        assert torch.equal(walk[..., others], z[:, None, others].expand_as(walk[..., others]))
    assert torch.equal(seen[0].unflatten(0, (5, 4))[2, :, 3:7], torch.eye(4))
    torch.testing.assert_close(seen[2][:7, 10], torch.linspace(-2, 2, 7))
    with pytest.raises(ValueError, match=r"code must be in 0\.\.3, got 4"):
        model.traverse(z, code=4)


@pytest.mark.parametrize(("categorical", "continuous"), [((), 0), ((1,), 2), ((3,), -1)])
def test_codes_that_say_nothing_are_refused(categorical, continuous):
    with pytest.raises(ValueError, match="categorical must be numbers of at least 2 values"):
        small(categorical=categorical, continuous=continuous)


def test_codes_of_one_kind_are_enough():
    for settings in ({"categorical": ()}, {"continuous": 0}):
        model = small(**settings)
        batch = torch.rand(4, 1, 4, 4), torch.zeros(4, dtype=torch.long)
        assert torch.isfinite(model.discriminator_loss(batch) + model.generator_loss(batch))
        assert model.information(10).isfinite().all()


class Silent(InfoGAN):
    """The paper's control (fig. 1): Q learns, but nobody is made to tell it anything."""

    def _codes(self, features):
        return super()._codes(features.detach())


def agreement(codes: torch.Tensor, classes) -> float:
    """Share of images whose code is their class's, by the best pairing of both."""
    together = np.zeros((10, 10))
    np.add.at(together, (codes.numpy(), np.asarray(classes)), 1)
    rows, columns = linear_sum_assignment(-together)
    return together[rows, columns].sum() / together.sum()


@pytest.mark.claim
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_samples_tell_their_code_only_if_they_must(seed, measured):
    """Fig. 1: the bound reaches H(c) = log 10, and does not without the term."""
    known = []
    for kind in (InfoGAN, Silent):
        torch.manual_seed(seed)
        model = kind((1, 8, 8), latent_dim=16, width=64)
        known.append(played(model, Digits(seed=seed), 8).information(2000)[0].item())
    measured("nats known of the code (log 10 = 2.303)", known[0], above=0.95 * math.log(10))
    measured("not made to tell", known[1], below=0.3)


@pytest.mark.claim
@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_categorical_code_finds_the_classes_without_a_label(seed, measured):
    """Sec. 7.2: by the best pairing of both, of held-out data and of samples."""
    data, found = Digits(seed=seed), {}
    judge = Judge(data)
    for kind in (InfoGAN, Silent):
        torch.manual_seed(seed)
        model = played(kind((1, 8, 8), latent_dim=16, width=128), data, 40)
        x, y = split(data, "test")
        z = model.prior(1000)
        found[kind.__name__] = (
            agreement(model.codes(x).categorical[0].argmax(1), y),
            agreement(z[:, 16:26].argmax(1), judge.names(model.decode(z))),
        )
    (data_told, told), (data_untold, untold) = found["InfoGAN"], found["Silent"]
    measured("code and class of samples agree", told, above=0.6)
    measured("of samples, not made to tell", untold, below=0.25)
    measured("code and class of held-out digits agree", data_told)
    measured("of held-out digits, not made to tell", data_untold)
