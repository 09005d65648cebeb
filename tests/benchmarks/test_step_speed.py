"""What a training step costs beside the loop that one would write by hand.

pytest tests/benchmarks/test_step_speed.py -m benchmark -n 0 -s

The same networks, batches and losses, 32x32 images, CPU time of one thread. The loop is that of
PyTorch's DCGAN tutorial: one batch of samples for both players, two backward passes for the
discriminator, and its gradients computed once more, in vain, in the generator's turn.
"""

import copy
import time

import lightning as L
import pytest
import torch
from torch.nn.functional import binary_cross_entropy_with_logits as cross_entropy

from genzoo.callbacks import ChannelsLast, Compile
from genzoo.zoo.gan import DCGAN
from tests.helpers.training import loader, trainer

STEPS, BATCH = 22, 64
FIRST = 2  # steps that are not counted; compiled networks are compiled in them


def by_hand(model: DCGAN, data) -> float:
    """Seconds of a step, after the first ones."""
    model = copy.deepcopy(model)
    networks = model.generator, model.discriminator
    of_g, of_d = (torch.optim.Adam(n.parameters(), lr=2e-4, betas=(0.5, 0.999)) for n in networks)
    generator, discriminator = networks
    times = []
    for x, _ in data:
        of_d.zero_grad()
        cross_entropy(discriminator(x), torch.ones(BATCH)).backward()
        fake = generator(torch.rand(BATCH, model.latent_dim) * 2 - 1)
        cross_entropy(discriminator(fake.detach()), torch.zeros(BATCH)).backward()
        of_d.step()
        of_g.zero_grad()
        cross_entropy(discriminator(fake), torch.ones(BATCH)).backward()
        of_g.step()
        times.append(time.process_time())
    return of_one(times)


class Clock(L.Callback):
    def __init__(self):
        self.times = []

    def on_train_batch_end(self, *_):
        self.times.append(time.process_time())


def of_one(times: list[float]) -> float:
    return (times[-1] - times[FIRST - 1]) / (len(times) - FIRST)


def here(model: DCGAN, data, *callbacks: L.Callback) -> float:
    """Seconds of a step of this model, trained by Lightning."""
    clock = Clock()
    trainer(max_epochs=1, callbacks=[clock, *callbacks]).fit(copy.deepcopy(model), data)
    return of_one(clock.times)


@pytest.fixture(params=[64, 16])
def width(request):
    torch.set_num_threads(1)
    return request.param


def median_ratio(width: int, one, other) -> float:
    """Of the times of a step, one's to the other's, alternating; each a function of model, data."""
    data = loader(torch.rand(STEPS * BATCH, 1, 32, 32) * 2 - 1, BATCH)
    model = DCGAN((1, 32, 32), width=width)
    ratios = []
    for _ in range(5):
        a, b = one(model, data), other(model, data)
        ratios.append(a / b)
        print(f"\nwidth {width}: {1e3 * a:.0f} ms for {1e3 * b:.0f} ms")
    ratio = sorted(ratios)[2]
    print(f"ratio {ratio:.2f}")
    return ratio


def in_channels_last(model: DCGAN, data) -> float:
    return here(model, data, ChannelsLast())


def compiled(model: DCGAN, data) -> float:
    return here(model, data, Compile())


@pytest.mark.benchmark
def test_a_step_is_about_as_fast_as_by_hand(width):
    """In small networks the second batch of samples and Lightning's bookkeeping are felt."""
    assert median_ratio(width, here, by_hand) < {64: 1.05, 16: 1.3}[width]


@pytest.mark.benchmark
def test_with_channels_last_a_step_is_as_fast_as_by_hand(width):
    assert median_ratio(width, in_channels_last, by_hand) < {64: 1.0, 16: 1.1}[width]


@pytest.mark.benchmark
def test_channels_last_makes_a_step_faster(width):
    assert median_ratio(width, in_channels_last, here) < 1


@pytest.mark.benchmark
def test_compiled_networks_cost_a_cpu_hardly_more(width):
    """Nothing is gained on one core: convolutions take the time, and they are the same."""
    assert median_ratio(width, compiled, here) < 1.15
