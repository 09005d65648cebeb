"""Earlier names of methods and of weights in files still work."""

import pytest
import torch

from genzoo.zoo import (
    EBGAN,
    GAN,
    LAPGAN,
    GatedPixelCNN,
    ImprovedGAN,
    PixelCNNpp,
    QuadrantCVAE,
    SemiSupervisedGAN,
)
from genzoo.zoo.conditional.catgan import Categories

SHAPE = (1, 4, 4)


@pytest.mark.parametrize(
    "make, name",
    [
        (lambda: GatedPixelCNN(SHAPE, 3, levels=2, width=4, layers=2), "vertical.condition"),
        (lambda: PixelCNNpp(SHAPE, levels=4, width=4, layers=1, stages=1, mixtures=1), "across"),
    ],
)
def test_weights_with_their_earlier_names_are_read(make, name):
    model, again = make(), make()
    state = model.state_dict()
    before = f".{name.rpartition('.')[0]}.told.".replace("..", ".")
    old = {key.replace(f".{name}.", before): value for key, value in state.items()}
    assert old.keys() != state.keys()
    again.load_state_dict(old)
    for key, value in again.state_dict().items():
        assert torch.equal(value, state[key]), key


def test_methods_with_their_earlier_names_give_the_same():
    x = torch.zeros(2, 1, 8, 8)
    model = GAN((1, 8, 8), latent_dim=4, width=8).eval()
    assert torch.equal(model.verdict(x), model.raw_scores(x))
    heads = ImprovedGAN((1, 8, 8), latent_dim=4, width=8).eval().discriminator
    assert heads.judge(x).keys() == heads.outputs(x).keys()
    energy = EBGAN((1, 8, 8), latent_dim=4, width=8, network="conv").eval().discriminator
    assert torch.equal(energy.judge(x)[0], energy.score_and_code(x)[0])
    pyramid = LAPGAN((1, 8, 8), levels=1, latent_dim=4, width=8).eval()
    pyramid.prior = lambda n: torch.ones(n, pyramid.latent_dim)
    batch = x, torch.full((2,), -1)
    torch.testing.assert_close(pyramid.seen(batch, 1), pyramid.inputs(batch, 1))
    earlier = type("Earlier", (SemiSupervisedGAN,), {"Judge": Categories})
    assert isinstance(earlier((1, 8, 8), 3, latent_dim=4, width=8).discriminator, Categories)
    completing = QuadrantCVAE((1, 4, 4), latent_dim=2, width=4)
    image, mask = torch.ones(2, 1, 4, 4), torch.ones(2, 1, 4, 4)
    assert torch.equal(completing.seen(image, mask).image, completing.known(image, mask).image)
