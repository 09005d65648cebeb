"""Metrics in anybody's loop: they are the functions, over batches and ranks."""

import pytest
import torch

from genzoo.callbacks import (
    DensityCoverage,
    FrechetDistance,
    InceptionScore,
    KernelDistance,
    PrecisionRecall,
)
from genzoo.images import from_uint8
from genzoo.metrics.frechet import frechet_distance
from genzoo.metrics.inception_score import inception_score
from genzoo.metrics.kernel import kernel_distance
from genzoo.metrics.support import density_coverage, precision_recall


class Doubled(torch.nn.Module):
    """uint8 images to features and logits."""

    def forward(self, images):
        x = images.flatten(1).float() / 255
        return x[:, :6], 2 * x[:, 6:]


def metrics(extractor=None):
    return {
        "fd": FrechetDistance(6, extractor),
        "kd": KernelDistance(extractor),
        "is": InceptionScore(extractor, splits=3),
        "pr": PrecisionRecall(extractor),
        "dc": DensityCoverage(extractor),
    }


def flat(values):
    parts = [list(v.values()) if isinstance(v, dict) else [v] for v in values.values()]
    return torch.stack([x for part in parts for x in part])


def fill(found, real, generated, size):
    for x, is_real in ((real, True), (generated, False)):
        for batch in x.split(size):
            for metric in found.values():
                metric.update(batch, real=is_real)


def pictures():
    generator = torch.Generator().manual_seed(3)
    real = torch.randint(0, 256, (90, 1, 3, 4), generator=generator, dtype=torch.uint8)
    generated = torch.randint(0, 200, (70, 1, 3, 4), generator=generator, dtype=torch.uint8)
    return real, generated


def test_metrics_are_the_functions():
    real, generated = pictures()
    found = metrics(Doubled())
    fill(found, real, generated, 17)
    x, y = Doubled()(real)[0], Doubled()(generated)[0]
    precision, recall = precision_recall(x, y)
    density, coverage = density_coverage(x, y)
    expected = {"fd": frechet_distance(x, y), "kd": kernel_distance(x, y)}
    for name, number in expected.items():
        assert found[name].compute().item() == pytest.approx(number.value, rel=1e-9)
    pairs = found["pr"].compute() | found["dc"].compute()
    assert pairs["precision"] == precision.value and pairs["recall"] == recall.value
    assert pairs["density"] == density.value and pairs["coverage"] == coverage.value
    score = found["is"].compute()
    assert score.dtype == torch.float64 and 1 < score < 6
    given = FrechetDistance(6)  # features instead of images
    fill({"fd": given}, x, y, 90)
    assert given.compute().item() == pytest.approx(expected["fd"].value, rel=1e-9)
    found["fd"].reset()
    fill({"fd": found["fd"]}, generated, generated, 50)
    assert abs(found["fd"].compute()) < 1e-6


def test_a_type_that_is_set_costs_no_digits():
    """Neither the counts nor the sums, before or after a reset."""
    real, generated = (x.flatten(1)[:, :6].double() + 1e6 for x in pictures())
    expected = frechet_distance(real, generated).value
    metric = FrechetDistance(6)
    for _ in range(2):
        metric.set_dtype(torch.float32)
        fill({"fd": metric}, real, generated, 17)
        metric.set_dtype(torch.float32)
        assert metric.compute().item() == pytest.approx(expected, rel=1e-9)
        metric.reset()
        assert metric.real_n.dtype == torch.int64 and metric.real_mean.dtype == torch.float64


@pytest.mark.parametrize("name", ["fd", "kd", "is", "pr", "dc"])
def test_float_images_are_the_bytes_that_they_stand_for(name):
    real, generated = pictures()
    expected, found = metrics(Doubled())[name], metrics(Doubled())[name]
    fill({name: expected}, real, generated, 17)
    fill({name: found}, from_uint8(real), from_uint8(generated), 17)
    torch.testing.assert_close(flat({0: found.compute()}), flat({0: expected.compute()}))
    assert real.dtype == torch.uint8
    with pytest.raises(ValueError, match=r"images must be .* look as if in \[0, 1\]"):
        found.update(real / 255, real=False)
    with pytest.raises(ValueError, match="images in .* uint8, got floats from 0 to 255"):
        found.update(real.float(), real=False)
    with pytest.raises(ValueError, match="images in .* uint8, got NaN"):
        found.update(from_uint8(real) / 0, real=False)
    with pytest.raises(ValueError, match="images in .* uint8, got torch.int64"):
        found.update(real.long(), real=False)


def ranks(rank, world, store, out):
    torch.set_num_threads(1)
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{store}", rank=rank, world_size=world
    )
    real, generated = pictures()
    found = metrics(Doubled())
    fill(found, real[rank::world], generated[rank::world], 11)
    values = flat({name: metric.compute() for name, metric in found.items()})
    for metric in found.values():
        metric.set_dtype(torch.float32)
        metric.reset()
    if rank == 0:  # the other saw nothing since
        fill(found, real, generated, 40)
    one_sided = flat({name: metric.compute() for name, metric in found.items()})
    doubles = KernelDistance()  # nobody has seen the same kind of features, nor both sides
    doubles.update(real.flatten(1).to([torch.float32, torch.float64][rank]), real=True)
    if rank:
        doubles.update(generated.flatten(1).double(), real=False)
    if rank == 1:
        torch.save([values, one_sided, doubles.compute()], out)
    else:
        doubles.compute()
    nobody = KernelDistance()
    with pytest.raises(ValueError, match="must be given real images, got none"):
        nobody.compute()
    torch.distributed.destroy_process_group()


def test_two_ranks_are_one_process(tmp_path):
    found = metrics(Doubled())
    fill(found, *pictures(), 40)
    alone = flat({name: metric.compute() for name, metric in found.items()})
    out = tmp_path / "values.pt"
    torch.multiprocessing.spawn(ranks, (2, tmp_path / "store", out), nprocs=2)
    together, one_sided, doubles = torch.load(out, weights_only=True)
    torch.testing.assert_close(together, alone, rtol=1e-6, atol=1e-9)
    torch.testing.assert_close(one_sided, alone, rtol=1e-6, atol=1e-9)
    real, generated = (x.flatten(1).double() for x in pictures())
    expected = kernel_distance(torch.cat([real, real]), generated).value
    assert doubles.item() == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("metric", metrics().values(), ids=metrics())
@pytest.mark.filterwarnings("ignore:The ``compute`` method")
def test_a_metric_without_images_says_so(metric):
    with pytest.raises(ValueError, match="must be given|must have at least 2 images, got 0"):
        metric.compute()


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda x: frechet_distance(x, x[:1]), "generated must be at least 2 images, got"),
        (lambda x: frechet_distance(x * torch.nan, x), "real must be finite, got NaN"),
        (lambda x: frechet_distance(x, x[:, :3]), "as many features as real, got 3 and 5"),
        (lambda x: kernel_distance(x[0], x), r"real must be float features \(n, d\)"),
        (lambda x: kernel_distance(x, x.byte()), r"generated must be float features"),
        (lambda x: precision_recall(x, x[:3]), "generated must be at least 4 images"),
        (lambda x: density_coverage(x[:5], x), "real must be at least 6 images"),
        (lambda x: inception_score(x[:9]), "logits must be at least 10 images"),
        (lambda x: FrechetDistance(4).update(x, real=True), "must be 4 features"),
    ],
)
def test_bad_input_is_one_clear_line(call, message):
    with pytest.raises(ValueError, match=message) as error:
        call(torch.randn(40, 5))
    assert "\n" not in str(error.value)
