"""On a GPU, which is pretended: nothing is on a wrong device, and no step waits for the GPU."""

import pytest
import torch

from genzoo.protocols import (
    Bounded,
    Classifier,
    Completer,
    Decoder,
    Density,
    Encoder,
    Interpolator,
)
from genzoo.zoo import GAN, PixelVAE
from genzoo.zoo.base import GenerativeModel
from tests.helpers.models import MODELS, SHAPE, TINY, batches, build
from tests.helpers.pretended_gpu import GPU, moved, pretended_gpu, trained
from tests.helpers.training import bits, loader

SLOW = (Density, PixelVAE)
each = pytest.mark.parametrize("name", MODELS)


def labelled(name: str) -> GenerativeModel:
    return build(name, num_classes=3)


@each
def test_no_step_after_the_first_waits_for_the_gpu(name):
    """Nor does any tensor meet one of another device, or an error would end the training."""
    stages = "stage_steps" in TINY[name].settings
    found = trained(labelled(name), batches(name), batches=3 if stages else 2)
    allowed = TINY[name].waits
    assert not [str(w) for w in found if not any(part in w.text for part in allowed)]
    unused = [part for part in allowed if not any(part in w.text for w in found)]
    assert not unused, "no longer waited for: strike it from TINY"


@pytest.mark.parametrize("name", [name for name, tiny in TINY.items() if tiny.variant])
def test_nor_with_options_or_without_classes(name):
    model = build(name, **TINY[name].variant)
    assert not [str(wait) for wait in trained(model, batches(name), 3)]


@each
def test_all_that_a_model_can_do_it_does_on_its_device(name):
    # Pixel by pixel, hundreds of operations are followed for each.
    shape = (1, 2, 2) if isinstance(labelled(name), SLOW) else SHAPE
    model, y = MODELS[name](shape, num_classes=3, **TINY[name].settings), torch.arange(6) % 3
    with pretended_gpu():
        moved(model)
        x = bits(6, shape).to(GPU)
        told = y.to(GPU) if model.num_classes else None
        label = () if told is None else (told,)
        given = [model.sample(6, told)]
        if isinstance(model, Decoder):
            given.append(model.decode(model.prior(6), told))
        if isinstance(model, Interpolator):
            given.append(model.interpolate(model.prior(6), model.prior(6), steps=3, y=told))
        if isinstance(model, Encoder):
            given.append(model.encode(x, *label))
        if isinstance(model, Classifier):
            given.append(model.predict_proba(x))
        if isinstance(model, Bounded):
            given.append(model.elbo(x, told))
        if isinstance(model, Density):
            given.append(model.log_prob(x, told))
        if isinstance(model, Completer):
            mask = torch.zeros(6, 1, *shape[1:], device=GPU)
            mask[:, :, : shape[1] // 2] = 1
            given.append(model.complete(x, mask, *label))
    assert {tensor.device for tensor in given} == {GPU}


# What is found


class Faulty(GAN):
    """Whose step has the fault that a test names."""

    fault = ""

    def generator_loss(self, batch):
        loss = super().generator_loss(batch)
        if self.fault == "device":
            return loss * torch.ones(2)
        if self.fault == "number" and loss > 0:
            return loss
        if self.fault == "copy":
            return loss + torch.tensor([1.0]).to(loss).sum()
        if self.fault == "back":
            self.seen = loss.detach().cpu()
        if self.fault == "mask":
            x = batch[0]
            return loss + x[x > 0].sum()
        if self.fault == "log":
            self.log("half", 0.5)
        return loss


@pytest.mark.parametrize(
    ("fault", "operation"),
    [
        ("", None),
        ("number", "a number"),
        ("copy", "a copy from cpu to cuda"),
        ("back", "a copy from cuda to cpu"),
        ("mask", "a mask as an index"),
        ("log", "a copy from cpu to cuda"),
    ],
)
def test_what_waits_is_found(fault, operation):
    model = Faulty(SHAPE, width=8, latent_dim=4)
    model.fault = fault
    found = trained(model, loader(bits(24)), batches=3)
    assert [wait.operation for wait in found] == [operation] * 2 * bool(fault)  # two steps


def test_what_is_on_another_device_is_found():
    model = Faulty(SHAPE, width=8, latent_dim=4)
    model.fault = "device"
    with pytest.raises(RuntimeError, match="at least two devices, cuda:0 and cpu"):
        trained(model, loader(bits(24)), batches=3)
