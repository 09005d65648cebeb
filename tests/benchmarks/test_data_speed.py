"""How fast images come, against a DataLoader over a torchvision data set.

pytest tests/benchmarks -m benchmark -n 0 -s
"""

import time

import pytest
import torch
from torch.utils.data import DataLoader
from torchvision import datasets, transforms

from genzoo.datamodules import MNIST
from tests.helpers.dataset_files import mnist_layout

BATCH = 128


def images_per_second(batches, epochs: int) -> float:
    """The best of several epochs, so that other work on the machine does not count."""
    best = 0.0
    for _ in range(epochs):
        start, count = time.perf_counter(), 0
        for x, _ in batches():
            count += len(x)
        best = max(best, count / (time.perf_counter() - start))
    return best


@pytest.mark.benchmark
def test_images_come_twenty_times_as_fast(tmp_path):
    """One core, batches of 128, shuffled, scaled to [-1, 1]."""
    mnist_layout(tmp_path, train=10_000, test=BATCH)
    torch.set_num_threads(1)

    scale = transforms.Compose([transforms.ToTensor(), transforms.Normalize(0.5, 0.5)])
    dataset = datasets.MNIST(tmp_path, transform=scale)
    loader = DataLoader(dataset, BATCH, shuffle=True, drop_last=True)
    data = MNIST(str(tmp_path), batch_size=BATCH, val_size=1)
    ours = data.train_dataloader()

    def scaled():
        for batch in ours:
            yield data.on_after_batch_transfer(batch, 0)

    for x, _ in (next(iter(loader)), next(scaled())):
        assert x.shape == (BATCH, 1, 28, 28) and x.dtype == torch.float32
        assert -1 <= x.min() < -0.9 and 0.9 < x.max() <= 1

    slow = images_per_second(lambda: loader, epochs=3)
    fast = images_per_second(scaled, epochs=20)
    print(
        f"\ntorchvision {slow:,.0f} images/s, genzoo {fast:,.0f} images/s: {fast / slow:.0f} times"
    )
    assert fast > 20 * slow
