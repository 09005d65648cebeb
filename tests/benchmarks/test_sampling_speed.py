"""What remembering is worth: the time of cached drawing beside a whole pass for each pixel.

`pytest -m benchmark -n 0 -s tests/benchmarks` prints the table.
"""

from time import perf_counter

import pytest
import torch

from genzoo.zoo.autoregressive import GatedPixelCNN, PixelCNN, PixelCNNpp

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


def naive_seconds(model, n: int, rows: int) -> float:
    """Of naive drawing, a whole pass for each pixel: timed on the last rows only, the others
    being known, and scaled to all, as each pixel takes the same time."""
    _, height, width = model.image_shape
    mask = torch.zeros(n, 1, height, width)
    mask[:, :, : height - rows] = 1
    x = torch.zeros(n, *model.image_shape)
    took = seconds(lambda: model.complete(x, mask, method="naive"))
    return took * height / rows


part_or_all = pytest.mark.parametrize("rows", [1, pytest.param(28, marks=pytest.mark.slow)])


@part_or_all
def test_cached_gated_pixelcnn_is_a_hundred_times_faster(rows):
    """12 layers of 64 channels, 256 levels, 16 images of 28x28, in this one run."""
    model = GatedPixelCNN((1, 28, 28), width=64, layers=12)
    model.sample(2)
    cached = seconds(lambda: model.sample(16))
    naive = naive_seconds(model, 16, rows)
    print(
        f"\nnaive {naive:.0f} s (timed on {rows} of 28 rows), cached {cached:.2f} s, "
        f"{naive / cached:.0f} times"
    )
    assert naive > 100 * cached


@part_or_all
def test_pytorch_generative_takes_a_hundred_times_as_long(rows):
    """Its Gated PixelCNN of the same size, drawn by its own sampler, a whole pass for each pixel;
    in part: as many of these passes and draws as `rows` rows have, scaled to all."""
    peers = pytest.importorskip("pytorch_generative").models

    def draw(logits):  # (n, 256) to levels on [0, 1]
        return torch.distributions.Categorical(logits=logits).sample().float() / 255

    sizes = {"n_gated": 11, "gated_channels": 64, "head_channels": 64}
    peer = peers.GatedPixelCNN(1, 256, sample_fn=draw, **sizes).eval()
    model = GatedPixelCNN((1, 28, 28), width=64, layers=12)
    model.sample(2)
    cached = seconds(lambda: model.sample(16))
    x = torch.rand(16, 1, 28, 28)
    with torch.no_grad():
        peer(x)
    if rows == 28:
        theirs = seconds(lambda: peer.sample(16))
    else:

        def some() -> None:
            with torch.no_grad():
                for _ in range(rows * 28):
                    draw(peer(x)[:, :, 0, 0])

        theirs = seconds(some) * 28 / rows
    print(
        f"\npytorch-generative {theirs:.0f} s (timed on {rows} of 28 rows), "
        f"ours {cached:.2f} s, {theirs / cached:.0f} times"
    )
    assert theirs > 100 * cached


@pytest.mark.parametrize("Model", [GatedPixelCNN, PixelCNNpp])
def test_time_grows_as_the_number_of_pixels(Model):
    """An image of four times the pixels takes four times as long, not sixteen."""
    microseconds = []
    for side in (14, 28, 56):
        sizes = {"width": 32, "layers": 4} if Model is GatedPixelCNN else {"width": 16, "layers": 1}
        model = Model((1, side, side), **sizes)
        model.sample(2)
        took = min(seconds(lambda m=model: m.sample(4)) for _ in range(2))
        microseconds.append(1e6 * took / side**2)
    print("\n" + ", ".join(f"{each:.0f} microseconds a pixel" for each in microseconds))
    assert max(microseconds) < 2 * min(microseconds)


def test_cached_pixelcnn_pp_is_twenty_times_faster():
    """Two halvings, 2 layers at each size, 32 features, 16 images of 28x28."""
    model = PixelCNNpp((1, 28, 28), width=32, layers=2, ema_decay=0)
    model.sample(2)
    cached = seconds(lambda: model.sample(16))
    naive = naive_seconds(model, 16, 1)
    print(
        f"\nnaive {naive:.0f} s (timed on 1 of 28 rows), cached {cached:.2f} s, "
        f"{naive / cached:.0f} times"
    )
    assert naive > 20 * cached
