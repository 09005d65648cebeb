"""Known answers, agreement with torch-fidelity and prdc, ranks, and the verdict."""

import math

import numpy as np
import pytest
import torch
from prdc import compute_prdc
from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric
from torch_fidelity.metric_isc import isc_features_to_metric
from torch_fidelity.metric_kid import kid_features_to_metric
from torch_fidelity.metric_prc import prc_features_to_metric

from genzoo.callbacks.realism import (
    DensityCoverage,
    FrechetDistance,
    InceptionScore,
    KernelDistance,
    Moments,
    PrecisionRecall,
    Realism,
    density_coverage,
    expected_coverage,
    frechet_distance,
    frechet_distance_infinity,
    frechet_of_moments,
    inception_score,
    independent_pixels,
    kernel_distance,
    kernel_distance_of_subsets,
    precision_recall,
    way_to_real,
    wilson,
)
from genzoo.metrics.number import Number

from .evidence import Seen, evidence, pattern_means, texture


def exactly(n, mean, covariance):
    """n points with exactly this sample mean and covariance."""
    d = len(mean)
    x = torch.randn(n, d, dtype=torch.float64)
    x -= x.mean(0)
    x = torch.linalg.qr(x).Q * math.sqrt(n - 1)  # sample covariance 1
    values, vectors = torch.linalg.eigh(covariance)
    return mean + x @ (vectors * values.clamp(min=0).sqrt()) @ vectors.T


def contains(number, value):
    return number.low <= value <= number.high


# Frechet distance


def test_moments_of_a_stream_are_those_of_the_whole():
    x = 1e4 + torch.randn(1000, 7)  # where sums of squares in float32 lose everything
    moments = Moments()
    for batch in x.split([1, 300, 699]):
        moments.update(batch)
    other = Moments.of(x[:0])
    other.merge(moments)
    assert other.n == 1000
    expected = np.cov(x.double().numpy(), rowvar=False)
    torch.testing.assert_close(other.mean, x.double().mean(0), rtol=1e-14, atol=0)
    torch.testing.assert_close(other.covariance, torch.from_numpy(expected), rtol=0, atol=1e-12)


@pytest.mark.parametrize("smallest", [1.0, 1e-8, 0.0])
def test_frechet_distance_of_gaussians_is_the_closed_form(smallest):
    """Commuting covariances, down to singular ones: |dm|^2 + sum (sqrt a - sqrt b)^2."""
    d = 12
    a, b = torch.rand(d).double() + 0.5, torch.rand(d).double() + 0.5
    a[0], b[1] = smallest, smallest
    axes = torch.linalg.qr(torch.randn(d, d, dtype=torch.float64)).Q
    means = torch.randn(2, d, dtype=torch.float64)
    real = exactly(200, means[0], axes @ a.diag() @ axes.T)
    generated = exactly(300, means[1], axes @ b.diag() @ axes.T)
    truth = (means[0] - means[1]).square().sum() + (a.sqrt() - b.sqrt()).square().sum()
    found = frechet_distance(real, generated)
    # A direction of no variance costs the root of the rounding error.
    assert found.value == pytest.approx(truth.item(), rel=1e-10 if smallest else 1e-6)
    assert found.note == ""


def test_frechet_distance_moves_with_translation_and_not_with_rotation():
    x, y = torch.randn(400, 9).double(), 1.3 * torch.randn(500, 9).double() + 0.4
    whole = frechet_distance(x, y).value
    axes = torch.linalg.qr(torch.randn(9, 9, dtype=torch.float64)).Q
    assert frechet_distance(x @ axes, y @ axes).value == pytest.approx(whole, rel=1e-12)
    step = torch.randn(9).double()
    assert frechet_distance(x, x + step).value == pytest.approx(step.square().sum().item())
    assert abs(frechet_distance(x, x).value) < 1e-6 * 9


@pytest.mark.parametrize("n, m", [(40, 60), (60, 150)])
def test_fewer_images_than_features(n, m):
    """By images and by features it is the same distance, and torch-fidelity's; it is marked."""
    d = 120
    x = torch.randn(n, d).double() * torch.linspace(0.1, 2, d)
    y = torch.randn(m, d).double() + 0.3
    found = frechet_distance(x, y)
    by_features = frechet_of_moments(Moments.of(x), Moments.of(y))
    assert found.value == pytest.approx(by_features, rel=1e-6)
    theirs = fid_statistics_to_metric(
        fid_features_to_statistics(x), fid_features_to_statistics(y), False
    )["frechet_inception_distance"]
    assert found.value == pytest.approx(theirs, rel=1e-4)
    assert f"{n} images are too few for 120 features" in found.note


@pytest.mark.parametrize("n", [5, 60])
def test_images_without_variance_are_no_error(n):
    """Constant features, nearly constant ones, and one direction alone, in any combination."""
    constant = 1e3 * torch.rand(1, 16)
    kinds = {
        "constant": constant.expand(n, 16),
        "nearly": constant + 1e-7 * torch.randn(n, 16),
        "a line": constant + torch.randn(n, 1) * torch.randn(1, 16),
        "one feature": torch.randn(n, 16) * torch.tensor([1e-8] * 15 + [1e4]),
    }
    for a in kinds.values():
        for b in kinds.values():
            found = frechet_distance(a, b)
            assert 0 <= found.low <= found.value <= found.high < math.inf
            step = (a.double().mean(0) - b.double().mean(0)).square().sum().item()
            assert found.value >= step - 1e-6 * max(1, a.var(), b.var())


def test_both_ways_to_the_interval_agree():
    from genzoo.callbacks.realism import _frechet_by_features, _frechet_by_images

    x, y = torch.randn(150, 10).double(), torch.randn(90, 10).double() * 1.2
    for one, other in zip(_frechet_by_features(x, y), _frechet_by_images(x, y), strict=True):
        assert one == pytest.approx(other, rel=1e-9)


def test_frechet_distance_is_torch_fidelitys():
    x, y = torch.randn(3000, 64).relu(), (1.1 * torch.randn(2000, 64) + 0.1).relu()
    for kind in (torch.float32, torch.float64):
        theirs = fid_statistics_to_metric(
            fid_features_to_statistics(x.to(kind)), fid_features_to_statistics(y.to(kind)), False
        )["frechet_inception_distance"]
        ours = frechet_distance(x.to(kind), y.to(kind)).value
        assert ours == pytest.approx(theirs, rel=1e-4 if kind == torch.float32 else 1e-9)


@pytest.mark.parametrize("scale, shift", [(1.0, 0.0), (1.1, 0.1)])
def test_frechet_interval_holds_the_mean_of_repetitions(scale, shift):
    draws = [
        frechet_distance(torch.randn(600, 8), scale * torch.randn(600, 8) + shift)
        for _ in range(200)
    ]
    mean = sum(number.value for number in draws) / len(draws)
    assert sum(contains(number, mean) for number in draws) >= 180


def test_frechet_distance_infinity_removes_the_bias():
    """d (shift^2 + (scale - 1)^2) = 0.32; at 2,000 images the plain distance is biased."""
    real = exactly(50_000, torch.zeros(16).double(), torch.eye(16).double())
    draws = [1.1 * torch.randn(2000, 16) + 0.1 for _ in range(20)]
    limits = [frechet_distance_infinity(real, x, permutations=4) for x in draws]
    plain = [frechet_distance(real, x).value for x in draws]
    bias = sum(plain) / 20 - 0.32
    assert bias > 0.02
    assert abs(sum(x.value for x in limits) / 20 - 0.32) < bias / 2
    assert sum(contains(x, 0.32) for x in limits) >= 17
    alike = frechet_distance_infinity(real, torch.randn(2000, 16))
    assert contains(alike, 0)
    with pytest.raises(ValueError, match="at least 10 images per feature, 160, got 159"):
        frechet_distance_infinity(real, draws[0][:159])


# Kernel distance


def test_kernel_distance_of_gaussians_is_the_closed_form():
    """N(0, 1) and N(0.3, 1.44) in 64 dimensions: 0.31793 by the moments of the kernel."""
    found = [
        kernel_distance(torch.randn(1500, 64), 1.2 * torch.randn(1000, 64) + 0.3) for _ in range(8)
    ]
    errors = [(x.high - x.low) / 2 / 1.96 for x in found]
    mean = sum(x.value for x in found) / 8
    assert abs(mean - 0.31793) < 4 * max(errors) / math.sqrt(8)
    assert sum(contains(x, 0.31793) for x in found) >= 6


def test_kernel_distance_of_equals_covers_zero_and_may_be_negative():
    found = [kernel_distance(torch.randn(150, 32), torch.randn(200, 32)) for _ in range(60)]
    assert sum(contains(x, 0) for x in found) >= 55
    values = torch.tensor([x.value for x in found])
    assert abs(values.mean()) < 4 * values.std() / math.sqrt(60)
    assert (values < 0).sum() > 15


def test_kernel_distance_does_not_depend_on_blocks(monkeypatch):
    from genzoo.callbacks import realism

    x, y = torch.randn(70, 5), torch.randn(90, 5)
    whole = kernel_distance(x, y)
    monkeypatch.setattr(realism, "ROWS", 16)
    assert kernel_distance(x, y).value == pytest.approx(whole.value, rel=1e-12)


@pytest.mark.parametrize("n", [1300, 400])
def test_kernel_distance_of_subsets_is_torch_fidelitys(n):
    real, generated = torch.randn(1500, 48), torch.randn(n, 48) * 1.1
    size = min(1000, n)
    theirs = kid_features_to_metric(
        generated.double(),
        real.double(),
        kid_subsets=10,
        kid_subset_size=size,
        verbose=False,
        rng_seed=2020,
    )
    ours = kernel_distance_of_subsets(real, generated, subsets=10)
    assert ours.value == pytest.approx(theirs["kernel_inception_distance_mean"], rel=1e-9)
    single = kid_features_to_metric(
        generated, real, kid_subsets=10, kid_subset_size=size, verbose=False, rng_seed=2020
    )
    assert ours.value == pytest.approx(single["kernel_inception_distance_mean"], rel=1e-4)
    assert f"10 subsets of {size:,}" in ours.note


# Inception score


def test_inception_score_of_perfect_classes_is_their_number():
    logits = 100 * torch.eye(10).repeat(500, 1)
    assert inception_score(logits, splits=1).value == pytest.approx(10)
    ordered = logits[torch.arange(5000) % 10 * 500 % 5000].sort(0).values
    assert inception_score(ordered).value >= 1
    in_order = 100 * torch.eye(10).repeat_interleave(500, 0)
    assert inception_score(in_order).value == pytest.approx(9.91, abs=0.02)  # log K - (K-1)/2n


def test_inception_score_of_a_constant_answer_is_one():
    assert inception_score(torch.randn(1, 10).expand(200, 10)).value == pytest.approx(1)


def test_inception_score_is_torch_fidelitys():
    logits = 3 * torch.randn(1003, 20)
    for splits in (10, 3):
        theirs = isc_features_to_metric(logits, splits=splits)
        ours = inception_score(logits, splits)
        assert ours.value == pytest.approx(theirs["inception_score_mean"], rel=1e-9)
        assert f"{theirs['inception_score_std']:.2g}" in ours.note
        assert contains(ours, ours.value)


def test_inception_score_survives_impossible_classes():
    logits = torch.tensor([[0.0, -1e5, 0.0], [0.0, -1e5, 0.0]]).repeat(50, 1)
    assert inception_score(logits).value == pytest.approx(1)


# Precision, recall, density, coverage


def test_precision_and_recall_are_torch_fidelitys():
    real, generated = torch.randn(700, 16), 0.9 * torch.randn(500, 16) + 0.2
    theirs = prc_features_to_metric(
        generated.double(),
        real.double(),
        prc_neighborhood=3,
        prc_batch_size=1000,
        save_cpu_ram=False,
        verbose=False,
    )
    precision, recall = precision_recall(real, generated)
    assert precision.value == pytest.approx(theirs["precision"], rel=1e-4)
    assert recall.value == pytest.approx(theirs["recall"], rel=1e-4)


def test_all_four_are_prdcs():
    real, generated = torch.randn(400, 16), 0.9 * torch.randn(300, 16) + 0.2
    theirs = compute_prdc(real.double().numpy(), generated.double().numpy(), nearest_k=5)
    precision, recall = precision_recall(real, generated, k=5)
    density, coverage = density_coverage(real, generated, k=5)
    for name, ours in zip(theirs, (precision, recall, density, coverage), strict=True):
        assert ours.value == pytest.approx(theirs[name], rel=1e-9), name
        assert contains(ours, ours.value)


def test_supports_that_are_known():
    real = torch.randn(500, 8)
    precision, recall = precision_recall(real, real[torch.randint(500, (500,))])
    assert precision.value == 1  # copies
    precision, recall = precision_recall(real, real[:1] + 1e-3 * torch.randn(500, 8))
    assert precision.value > 0.99 and recall.value < 0.01  # collapse
    density, coverage = density_coverage(real, real[:1] + 1e-3 * torch.randn(500, 8))
    assert coverage.value < 0.05
    for pair in (precision_recall, density_coverage):
        assert [x.value for x in pair(real, real + 100)] == [0, 0]
    half = torch.cat([torch.randn(250, 8), torch.randn(250, 8) + 50])
    density, coverage = density_coverage(half, torch.randn(2000, 8))
    assert coverage.value == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize("n, m, d", [(300, 300, 4), (300, 90, 32)])
def test_coverage_of_equals_is_the_same_whatever_they_are(n, m, d):
    found = [density_coverage(torch.randn(n, d), torch.randn(m, d))[1] for _ in range(25)]
    values = torch.tensor([x.value for x in found])
    expected = expected_coverage(n, m)
    assert abs(values.mean().item() - expected) < 4 * values.std().item() / 5
    assert sum(contains(x, expected) for x in found) >= 22


def test_intervals_of_shares_hold_the_mean_of_repetitions():
    draws = [
        (*precision_recall(real, fake), *density_coverage(real, fake))
        for real, fake in ((torch.randn(250, 6), torch.randn(250, 6) + 0.3) for _ in range(40))
    ]
    for numbers in zip(*draws, strict=True):
        mean = sum(x.value for x in numbers) / len(numbers)
        assert sum(contains(x, mean) for x in numbers) >= 35


def test_wilson():
    """Against the roots of (p - s)^2 = z^2 p (1 - p) / n."""
    for share, n in ((0.0, 20), (0.3, 50), (1.0, 10)):
        for p in wilson(share, n):
            assert (p - share) ** 2 == pytest.approx(1.959964**2 * p * (1 - p) / n, abs=1e-12)


# Metrics in anybody's loop


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


def ranks(rank, world, store, out):
    torch.set_num_threads(1)
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{store}", rank=rank, world_size=world
    )
    real, generated = pictures()
    found = metrics(Doubled())
    fill(found, real[rank::world], generated[rank::world], 11)
    values = flat({name: metric.compute() for name, metric in found.items()})
    if rank == 1:
        torch.save(values, out)
    torch.distributed.destroy_process_group()


def test_two_ranks_are_one_process(tmp_path):
    found = metrics(Doubled())
    fill(found, *pictures(), 40)
    alone = flat({name: metric.compute() for name, metric in found.items()})
    out = tmp_path / "values.pt"
    torch.multiprocessing.spawn(ranks, (2, tmp_path / "store", out), nprocs=2)
    together = torch.load(out, weights_only=True)
    torch.testing.assert_close(together, alone, rtol=1e-6, atol=1e-9)


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


# The evaluation


def settings(**kwargs):
    return Realism(extractor="pixels", **kwargs)


def test_independent_pixels_keep_each_places_values_and_nothing_else():
    images = texture(300, 0)[0]
    images[:, 0, 3, 4] = 9
    drawn = independent_pixels(images, 500, torch.Generator().manual_seed(0))
    assert drawn.shape == (500, 1, 12, 12) and drawn.dtype == torch.uint8
    assert (drawn[:, 0, 3, 4] == 9).all()
    means = images.float().mean(0), drawn.float().mean(0)
    assert (means[0] - means[1]).abs().max() < 25
    assert not (drawn.flatten(1)[:, None] == images.flatten(1)[None]).all(2).any()


def test_real_images_look_real_and_noisy_ones_do_not():
    train, held_out, fresh = (texture(n, i) for i, n in enumerate((1000, 600, 600)))
    extractor = Seen(pattern_means())
    good = settings().evaluate(evidence(train, held_out, fresh, extractor))
    assert good.flag == "good", good.verdict
    noise = torch.randint(0, 256, fresh[0].shape).byte()
    bad = settings().evaluate(evidence(train, held_out, noise, extractor))
    assert bad.flag == "bad", bad.verdict
    assert good.numbers["way_to_real"].value > 0.95 > 0.5 > bad.numbers["way_to_real"].value
    names = {"fd/toy", "fd/toy_held_out", "fd/toy_independent", "kd/toy", "is/toy", "recall"}
    assert names <= set(good.numbers) and "fid" not in good.numbers
    assert {"precision_held_out", "density", "coverage", "fd/toy_infinity"} <= set(good.numbers)
    for name, number in good.numbers.items():
        if name != "fd/toy_infinity_held_out":
            assert number.low <= number.value <= number.high, name
    assert contains(good.numbers["kd/toy"], 0) and not contains(bad.numbers["kd/toy"], 0)


def test_published_names_are_for_the_published_protocol():
    parts = [texture(n, i) for i, n in enumerate((80, 60, 60))]
    section = settings().evaluate(evidence(*parts, Seen(pattern_means(), reference=True)))
    assert {"fid", "kid", "inception_score", "fid_held_out"} <= set(section.numbers)
    assert not any("/" in name for name in section.numbers)
    assert "subsets of 60" in section.numbers["kid"].note


def test_too_few_images_for_the_features_are_named():
    parts = [texture(n, i) for i, n in enumerate((400, 50, 40))]
    section = settings().evaluate(evidence(*parts, Seen(width=100)))
    assert "40 images are too few for 100 features" in section.numbers["fd/toy"].note
    assert "is/toy" not in section.numbers and "fd/toy_infinity" not in section.numbers


def test_the_yardstick_is_made_once():
    train, held_out, fresh = (texture(n, i) for i, n in enumerate((200, 100, 100)))
    extractor, callback = Seen(), settings()
    given = evidence(train, held_out, fresh, extractor)
    first = callback.evaluate(given)
    calls = extractor.calls
    second = callback.evaluate(given)
    assert extractor.calls == calls and first.numbers == second.numbers
    other = evidence(train, held_out, fresh, extractor)
    calls = extractor.calls
    callback.evaluate(other)
    assert extractor.calls > calls  # other data, another yardstick


def test_where_real_images_are_independent_pixels_nobody_decides():
    noise = [torch.randint(0, 256, (150, 1, 6, 6)).byte() for _ in range(3)]
    section = settings().evaluate(evidence(*noise))
    assert section.flag == "unsure" and "do not tell real images" in section.verdict
    assert math.isnan(section.numbers["way_to_real"].value)


def test_way_to_real_is_a_share_of_roots():
    floor, ceiling = Number(1.0), Number(121.0)
    way = way_to_real(Number(36.0, 25.0, 49.0), floor, ceiling)
    assert (way.low, way.value, way.high) == pytest.approx((0.4, 0.5, 0.6))


def test_collapsed_images_are_a_bad_verdict_and_no_error():
    train, held_out = texture(300, 0), texture(200, 1)
    black = torch.zeros(200, 1, 12, 12, dtype=torch.uint8)
    section = settings().evaluate(evidence(train, held_out, black, Seen(pattern_means())))
    assert section.flag == "bad" and section.numbers["recall"].value == 0


def test_points_are_taken_too():
    class Points(Seen):
        def forward(self, x):
            self.calls += 1
            return x, None

    points = [torch.randn(n, 2) @ torch.tensor([[1.0, 0.9], [0.0, 0.3]]) for n in (500, 200, 200)]
    section = settings().evaluate(evidence(*points, Points()))
    assert section.numbers["fd/toy"].value < section.numbers["fd/toy_independent"].value


def test_too_few_samples_are_refused_when_asked_for():
    with pytest.raises(ValueError, match="num_samples_fit must be at least 10, got 5"):
        settings(num_samples_fit=5)
    with pytest.raises(ValueError, match="most must be at least 10, got 3"):
        settings(most=3)
