"""Features: equal to torch-fidelity's where they claim to be, and honest about what they are."""

import io
import pickle

import pytest
import torch
from PIL import Image
from torch import nn

from genzoo.features import cache, extractors
from genzoo.features.extractors import Domain, Inception, Own, Pixels, make_extractor
from genzoo.features.named import CleanInception
from genzoo.images import from_uint8
from genzoo.metrics.frechet import frechet_distance
from genzoo.metrics.inception_score import inception_score
from genzoo.metrics.kernel import kernel_distance_of_subsets
from tests.helpers.pictures import by_pillow
from tests.helpers.toy_model_and_data import pictures


def random_inception():
    """An InceptionV3 whose random weights keep signals alive through all layers."""
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    class Blank(FeatureExtractorInceptionV3):
        def load_state_dict(self, state):
            pass

    nothing = io.BytesIO()
    torch.save({}, nothing)
    nothing.seek(0)
    network = Blank("inception-v3-compat", ["2048"], feature_extractor_weights_path=nothing)
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
    nn.init.normal_(network.fc.weight, std=1.0)
    return network.state_dict()


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "inception.pth"
    torch.save(random_inception(), path)
    return path


def folder_of(path, images):
    path.mkdir()
    for i, image in enumerate(images):
        Image.fromarray(image[0].numpy()).save(path / f"{i:03}.png")
    return str(path)


@pytest.fixture(scope="module")
def two_sets(tmp_path_factory):
    """Two sets of grey images in memory and as PNG files."""
    base = tmp_path_factory.mktemp("sets")
    torch.manual_seed(1)
    sets = [pictures(12, seed=seed)[0].repeat_interleave(3, 2) for seed in (0, 1)]
    sets[1] = sets[1] // 2
    return sets, [folder_of(base / name, x) for name, x in zip("ab", sets, strict=True)]


@pytest.fixture(scope="module")
def seen(weights, two_sets):
    extractor = Inception(weights)
    with torch.no_grad():
        return extractor, [extractor(x) for x in two_sets[0]]


def fidelity(weights, two_sets, **metrics):
    from torch_fidelity import calculate_metrics

    generated, real = two_sets[1]
    quiet = {"cuda": False, "cache": False, "save_cpu_ram": True, "verbose": False}
    path = {"feature_extractor_weights_path": str(weights)}
    return calculate_metrics(input1=generated, input2=real, **quiet, **path, **metrics)


def test_inception_is_torch_fidelitys_own(weights, two_sets, seen):
    """The whole of torch-fidelity on PNG files against our features and our formulas."""
    extractor, ((a, logits), (b, _)) = seen
    assert a.shape == (12, 2048) and logits.shape == (12, 1008)
    settings = {"kid_subsets": 5, "kid_subset_size": 10, "isc_splits": 2}
    theirs = fidelity(weights, two_sets, isc=True, kid=True, **settings)
    score = inception_score(logits, splits=2).value
    assert score > 1.01
    assert score == pytest.approx(theirs["inception_score_mean"], rel=1e-4)
    distance = kernel_distance_of_subsets(b, a, subsets=5, size=10).value
    assert distance == pytest.approx(theirs["kernel_inception_distance_mean"], rel=1e-4)


@pytest.mark.slow  # the reference takes the eigenvalues of a 2048 x 2048 matrix
def test_fid_is_torch_fidelitys_own(weights, two_sets, seen):
    _, ((a, _), (b, _)) = seen
    theirs = fidelity(weights, two_sets, fid=True)["frechet_inception_distance"]
    assert frechet_distance(b, a).value == pytest.approx(theirs, rel=1e-4)


def test_only_published_weights_are_the_reference(weights, seen, monkeypatch):
    extractor, _ = seen
    sha = cache.digest_file(weights)
    assert extractor.name == "inception" and not extractor.reference
    assert extractor.protocol["weights"] == sha[:16]
    monkeypatch.setattr(extractors, "PUBLISHED", sha[:8])
    monkeypatch.setenv("GENZOO_INCEPTION", str(weights))
    assert make_extractor("inception", *pictures(2)).reference


def test_clean_inception_sees_the_clean_resize(weights, monkeypatch):
    """The same layers, fed by hand with Pillow's pixels."""
    images = torch.randint(0, 256, (2, 1, 20, 28), dtype=torch.uint8)
    extractor = CleanInception(weights)
    with torch.no_grad():
        features, logits = extractor(images)
    network = Inception(weights).network
    x = (by_pillow(images, 299) - 128) / 128
    with torch.no_grad():
        for name, layer in network.named_children():
            x = x.flatten(1) if name == "fc" else layer(x)
    torch.testing.assert_close(features, x, rtol=1e-3, atol=1e-3 * x.abs().max().item())
    torch.testing.assert_close(logits, features @ network.fc.weight.T)
    assert extractor.name == "inception-clean" and not extractor.reference
    sha = cache.digest_file(weights)
    monkeypatch.setattr(extractors, "PUBLISHED", sha[:8])
    monkeypatch.setenv("GENZOO_INCEPTION", str(weights))
    assert make_extractor("inception-clean", images, None).reference


def test_weights_are_refused_in_one_line(tmp_path, monkeypatch):
    class Evil:
        def __reduce__(self):
            return (open, (str(tmp_path / "ran"), "w"))

    evil = tmp_path / "evil.pth"
    evil.write_bytes(pickle.dumps({"fc.bias": Evil()}))
    torch.save({"fc.bias": Evil()}, tmp_path / "evil2.pth")
    for path in (evil, tmp_path / "evil2.pth"):
        with pytest.raises(ValueError, match=f"weights must be .*plain tensors, got {path}"):
            Inception(path)
    assert not (tmp_path / "ran").exists()
    with pytest.raises(ValueError, match="weights must be an existing file, got .*none.pth"):
        Inception(tmp_path / "none.pth")
    monkeypatch.delenv("GENZOO_INCEPTION", raising=False)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))

    def offline(*args, **kwargs):
        raise OSError("no network")

    monkeypatch.setattr(torch.hub, "download_url_to_file", offline)
    with pytest.raises(ValueError, match="could not be fetched.*GENZOO_INCEPTION.*'pixels'") as e:
        make_extractor("inception", *pictures(2))
    assert "\n" not in str(e.value)


def test_four_channels_are_refused_by_inception(seen):
    with pytest.raises(ValueError, match=r"inception must be given grey or RGB.*\(4, 8, 8\)"):
        seen[0](torch.zeros(1, 4, 8, 8, dtype=torch.uint8))


@pytest.mark.parametrize("side, pooled", [(8, 8), (16, 16), (28, 14), (32, 16), (64, 16)])
def test_pixels_are_pooled_by_area(side, pooled):
    x = torch.randint(0, 256, (2, 3, side, side), dtype=torch.uint8)
    features, logits = Pixels()(x)
    assert logits is None and features.shape == (2, 3 * pooled * pooled)
    size = side // pooled
    expected = from_uint8(x).unfold(2, size, size).unfold(3, size, size).mean((-1, -2))
    assert torch.allclose(features, expected.flatten(1), atol=1e-6)


def test_pixels_of_an_odd_side():
    assert Pixels()(torch.zeros(1, 1, 33, 20, dtype=torch.uint8))[0].shape == (1, 11 * 10)


# The classifier


def test_domain_learns_the_classes_and_is_kept(monkeypatch):
    images, labels = pictures(600)
    domain = make_extractor("auto", images, labels, steps=60)
    assert domain.name == "domain" and not domain.reference
    assert domain.protocol["classifier_accuracy"] > 0.9
    assert domain.protocol["classifier_judged_on"] == 60 and domain.protocol["dead_units"] == 0
    other, truth = pictures(90, seed=5)
    with torch.no_grad():
        features, logits = domain(other)
    assert features.shape == (90, 64) and logits.shape == (90, 3)
    assert (logits.argmax(1) == truth).float().mean() > 0.9
    assert (features < 0).float().mean() > 0.1  # before the nonlinearity

    def never(*args, **kwargs):
        raise AssertionError("trained again")

    state = torch.get_rng_state()
    monkeypatch.setattr("genzoo.features.classifier.train_classifier", never)
    again = Domain(images, labels, steps=60)
    assert again.protocol == domain.protocol
    assert torch.equal(again(other)[0], features)
    assert torch.equal(state, torch.get_rng_state())
    for changed in ({"seed": 1}, {"steps": 61}):
        with pytest.raises(AssertionError, match="trained again"):
            Domain(images, labels, **({"steps": 60} | changed))
    with pytest.raises(AssertionError, match="trained again"):
        Domain(images, labels.flip(0), steps=60)


def test_domain_disturbs_nothing_and_works_in_inference_mode():
    images, labels = pictures(90)
    state = torch.get_rng_state()
    with torch.inference_mode():
        domain = Domain(images.clone(), labels, steps=3)
    assert torch.equal(state, torch.get_rng_state())
    assert not any(parameter.requires_grad for parameter in domain.parameters())


@pytest.mark.parametrize("labels", [None, torch.zeros(30).long(), torch.full((30,), -1)])
def test_domain_without_classes_names_pixels(labels):
    images = pictures(30)[0]
    with pytest.raises(ValueError, match="extractor must be.*'pixels'.*got 'domain'"):
        make_extractor("domain", images, labels)
    assert make_extractor("auto", images, labels, steps=1).name == "instance"
    assert make_extractor("auto", torch.randn(30, 2), labels).name == "pixels"


# Own modules and torch-fidelity's others


class Means(nn.Module):
    def forward(self, images):
        return images.float().mean((2, 3))


class Both(nn.Module):
    def forward(self, images):
        return images.double()[:, :, :2, :2], images.float().flatten(1)


def test_own_modules_are_named_after_their_class():
    images, labels = pictures(6)
    own = make_extractor(Means(), images, labels)
    assert own.name == "Means" and not own.reference and not own.lasting
    features, logits = own(images)
    assert torch.equal(features, images.float().mean((2, 3))) and logits is None
    features, logits = make_extractor(Both(), images, labels)(images)
    assert features.shape == (6, 4) and features.dtype == torch.float32 and logits.shape == (6, 64)
    assert make_extractor(own, images, labels) is own
    with pytest.raises(ValueError, match=r"Flatten must give features \(6, d\), got \(384,\)"):
        Own(nn.Flatten(0))(images)


def test_torch_fidelitys_others_are_found_by_name(monkeypatch):
    from torch_fidelity import registry
    from torch_fidelity.feature_extractor_base import FeatureExtractorBase

    class Tiny(FeatureExtractorBase):
        def __init__(self, name, features_list, **kwargs):
            super().__init__(name, features_list)

        @staticmethod
        def get_provided_features_list():
            return ("mean",)

        @staticmethod
        def get_default_feature_layer_for_metric(metric):
            return "mean"

        def forward(self, x):
            assert x.dtype == torch.uint8 and x.shape[1] == 3
            return (x.float().mean((2, 3)),)

    class Far(Tiny):
        def __init__(self, *args, **kwargs):
            raise OSError("no network")

    for name, kind in (("tiny", Tiny), ("far", Far)):
        monkeypatch.setitem(registry.FEATURE_EXTRACTORS_REGISTRY, name, kind)
    images, labels = pictures(4)
    extractor = make_extractor("tiny", images, labels)
    assert extractor.name == "tiny" and not extractor.reference
    assert torch.equal(extractor(images)[0], images.float().mean((2, 3)).expand(4, 3))
    with pytest.raises(ValueError, match="'far' must download.*no network"):
        make_extractor("far", images, labels)
    with pytest.raises(ValueError, match="extractor must be.*domain.*dinov2.*got 'inceptoin'"):
        make_extractor("inceptoin", images, labels)


@pytest.mark.data
@pytest.mark.slow
def test_domain_knows_fashion(real_data):
    """Half a minute on one core; the accuracy on test images was 0.906."""
    datamodules = pytest.importorskip("genzoo.datamodules")
    data = datamodules.FashionMNIST(str(real_data))
    train, test = data.split("train"), data.split("test")
    domain = Domain(train.images, train.labels)
    with torch.no_grad():
        answers = torch.cat([domain(x)[1].argmax(1) for x in test.images.split(500)])
    assert (answers == test.labels).float().mean() > 0.89
    assert domain.protocol["dead_units"] == 0


@pytest.mark.parametrize("kind", ["pixels", "own"])
def test_float_images_are_the_bytes_that_they_stand_for(kind):
    """At every extractor, a stranger's too, or they are refused."""
    extractor = Pixels() if kind == "pixels" else Own(nn.Flatten())
    images = pictures(8, seed=0)[0]
    expected = extractor(images)[0]
    torch.testing.assert_close(extractor(from_uint8(images))[0], expected)
    with pytest.raises(ValueError, match=r"images must be .* look as if in \[0, 1\]"):
        extractor(images / 255)
    with pytest.raises(ValueError, match="got floats from 0 to"):
        extractor(images.float())
    points = 7 * torch.rand(5, 2)
    torch.testing.assert_close(extractor(points)[0], points)
