"""What remembering is worth: the time of cached drawing beside a whole pass for each pixel.

`pytest -m benchmark -s tests/benchmarks` prints the table.
"""

from time import perf_counter

import pytest
import torch

from genzoo.zoo.autoregressive import PixelCNN

pytestmark = pytest.mark.benchmark


def seconds(call) -> float:
    start = perf_counter()
    call()
    return perf_counter() - start


@pytest.mark.parametrize("levels", [2, 256])
def test_cached_pixelcnn_is_fifty_times_faster(levels):
    """12 blocks of 64 channels, 16 images of 28x28, both methods in full, in this one run."""
    model = PixelCNN((1, 28, 28), levels=levels, width=64, layers=12)
    uniforms = torch.rand(16, 28, 28, 1)
    model.sample(2)  # first calls pay for what libraries set up
    cached = seconds(lambda: model.sample(16, uniforms=uniforms))
    naive = seconds(lambda: model.sample(16, method="naive", uniforms=uniforms))
    print(
        f"\n{levels} levels: naive {naive:.1f} s, cached {cached:.2f} s, {naive / cached:.0f} times"
    )
    assert naive > 50 * cached


def test_the_gain_grows_with_the_image():
    gains = []
    for side in (8, 16, 24):
        model = PixelCNN((1, side, side), levels=2, width=32, layers=4)
        model.sample(2)
        cached = min(seconds(lambda m=model: m.sample(8)) for _ in range(3))
        naive = seconds(lambda m=model: m.sample(8, method="naive"))
        gains.append(naive / cached)
    print("\n" + ", ".join(f"{gain:.0f} times" for gain in gains))
    assert gains == sorted(gains) and gains[0] > 1
