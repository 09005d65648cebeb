"""Compiled training is the same training: same steps, same names, nothing left behind."""

import pytest
import torch
from torch._dynamo.backends.debugging import aot_eager

from genzoo.callbacks import Compile
from genzoo.modes import eager
from genzoo.zoo import GAN, VAE, WGANGP
from tests.toys import bits, fit, loader


@pytest.fixture
def graphs():
    torch._dynamo.reset()
    yield []
    torch._dynamo.reset()


def counting(graphs):
    """A backend that needs no C++ compiler, and notes what it is given."""

    def compiler(graph, inputs):
        graphs.append(graph)
        return aot_eager(graph, inputs)

    return compiler


MODELS = {
    "gan": lambda: GAN((1, 8, 8), width=16, latent_dim=4, ema_decay=0.9),
    "conv": lambda: GAN((1, 16, 16), network="conv", width=4, latent_dim=4, num_classes=3),
    "r1": lambda: GAN((1, 8, 8), width=16, latent_dim=4, r1=1.0),
    "wgan_gp": lambda: WGANGP((1, 8, 8), width=16, latent_dim=4, d_steps=2),
    "vae": lambda: VAE((1, 8, 8), width=16, latent_dim=4),
}


@pytest.mark.parametrize("make", MODELS.values(), ids=MODELS)
def test_weights_and_their_names_stay_what_they_are(make, graphs):
    found = []
    for callbacks in ([], [Compile(backend=counting(graphs))]):
        torch.manual_seed(0)
        model = make()
        size = model.image_shape[-1]
        fit(model, loader(bits(24, (1, size, size))), 3, callbacks=callbacks)
        assert bool(graphs) == bool(callbacks)
        assert not any(part._compiled_call_impl for part in model.modules())
        found.append(model.state_dict())
    plain, compiled = found
    assert list(plain) == list(compiled)
    torch.testing.assert_close(compiled, plain, rtol=1e-4, atol=1e-5)


def test_looking_at_a_model_is_not_compiled(graphs):
    model = GAN((1, 8, 8), width=16, latent_dim=4)
    model.generator.compile(backend=counting(graphs))
    model.sample(2)
    assert not graphs
    model.generator(model.prior(2))
    assert len(graphs) == 1
    with eager(model):
        model.generator(model.prior(3))
    assert len(graphs) == 1
    assert model.generator._compiled_call_impl
