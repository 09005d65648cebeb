"""A price on the divergence: what is trained changes, what is reported does not."""

import pytest
import torch

from genzoo.datamodules import Digits
from genzoo.images import from_uint8
from genzoo.protocols import Bounded, Decoder, Encoder, Interpolator, Sampler
from genzoo.zoo.variational import VAE, BetaVAE
from tests.helpers.tiny import Tiny
from tests.helpers.training import bits, trainer

TINY = Tiny(
    BetaVAE, {"latent_dim": 3, "width": 16}, {Sampler, Decoder, Interpolator, Encoder, Bounded}
)


def test_beta_weighs_the_divergence_in_training_and_nowhere_else():
    x = bits(8, (1, 2, 2))
    losses, elbos = [], []
    for beta in (1.0, 4.0):
        torch.manual_seed(0)
        model = BetaVAE((1, 2, 2), latent_dim=3, width=8, beta=beta)
        torch.manual_seed(1)
        losses.append(model.training_step((x, None), 0))
        torch.manual_seed(1)
        elbos.append(model.elbo(x))
    divergence = model.terms(x)[1].mean()
    torch.testing.assert_close(losses[1] - losses[0], 3 * divergence)
    torch.testing.assert_close(losses[0], -elbos[0].mean())
    assert torch.equal(*elbos) and divergence > 0


def test_beta_is_4_unless_said_otherwise_and_1_is_a_vae():
    assert BetaVAE((1, 2, 2)).beta == BetaVAE((1, 2, 2)).hparams.beta == 4
    assert VAE((1, 2, 2)).beta == 1
    with pytest.raises(ValueError, match="beta must be 0 or more, got -1"):
        BetaVAE((1, 2, 2), beta=-1)


@pytest.mark.claim
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_higher_price_buys_less_rate_and_more_distortion(seed, measured):
    """At beta 2: at 4, digits of 64 pixels are not worth a single dimension."""
    rates, distortions, active = [], [], []
    for beta in (1.0, 2.0):
        torch.manual_seed(seed)
        data = Digits(batch_size=64, binarise="threshold", seed=seed)
        x = from_uint8(data.split("test").images)
        model = BetaVAE((1, 8, 8), latent_dim=8, width=128, lr=3e-3, beta=beta)
        trainer(max_epochs=20, limit_val_batches=0).fit(model, data)
        with torch.no_grad():
            reconstruction, divergence = model.terms(x)
        rates.append(divergence.mean().item())
        distortions.append(-reconstruction.mean().item())
        active.append((model.encode(x).var(0) > 0.01).sum().item())
    print(f"rate {rates}, distortion {distortions} nats, active dimensions {active}")
    measured("rate at beta 1, nats", rates[0])
    measured("rate at beta 2, nats", rates[1], above=0.1, below=0.6 * rates[0])
    measured("distortion at beta 1, nats", distortions[0])
    measured("distortion at beta 2, nats", distortions[1], above=distortions[0])
    assert active[1] <= active[0]
