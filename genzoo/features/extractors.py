"""Feature extractors: networks from images to the features that statistics are computed from.

A distance between distributions depends on its features, so the extractor's name is part of the
names of the numbers (`fd/domain`), and its protocol is part of the report. Only torch-fidelity's
InceptionV3 with the published weights, whose numbers can be compared with those of papers, has the
published names (`fid`).
"""

import io
import os
import pickle
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .. import __version__
from ..images import as_uint8, from_uint8
from . import cache

# The name of the published file ends with the first digits of its sha256.
PUBLISHED = "6726825d"
STEPS = 2000  # training steps of the classifier "domain"
OWN_NAMES = (
    *("auto", "domain", "instance", "pixels"),
    *("inception", "inception-clean", "dinov2", "cmmd", "sscd"),
)
NAMED = {
    "inception-clean": "CleanInception",
    "dinov2": "DINOv2",
    "cmmd": "CLIPEmbedding",
    "sscd": "SSCD",
}
Track = Callable[[Iterable[int]], Iterable[int]]


class Extractor(nn.Module, ABC):
    """A network from uint8 images to features; subclasses define `forward`.

    Args:
        name: Part of the names of all numbers from its features: `fd/<name>`.
        protocol: Settings that are needed to repeat its features; library versions are added.

    Attributes:
        reference: Whether its numbers have the published names (`fid`, `kid`, ...).
        lasting: Whether the protocol determines the features, so that they may be cached on the
            disk.
        published: Names of the Frechet distance, the kernel distance and the inception score, if
            `reference` holds.
        unit: Whether features are embeddings of unit length, from which `cmmd` is computed.
        learned: Whether it is trained on the data, so that its features depend on a seed.
    """

    reference: bool = False
    lasting: bool = True
    published: tuple[str, str, str] = ("fid", "kid", "inception_score")
    unit: bool = False
    learned: bool = False

    def __init__(self, name: str, **protocol: str | int | float):
        super().__init__()
        self.name = name
        versions = {"genzoo": __version__, "torch": torch.__version__}
        self.protocol: dict[str, str | int | float] = {"extractor": name, **protocol, **versions}

    def __call__(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        """`forward` after `as_uint8`: floats in [-1, 1] are converted to uint8, points (B, D) stay
        as they are, and floats that seem to be in another range are refused."""
        return super().__call__(images if images.ndim == 2 else as_uint8(images))

    @abstractmethod
    def forward(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        """Features (B, d) of uint8 images (B, C, H, W), and logits (B, K) or None."""


class Pixels(Extractor):
    """Pixels in [-1, 1] as features, pooled by area to at most 16 pixels a side.

    They are crude features, but need neither labels nor weights. Points (B, D) stay as they are.
    """

    def __init__(self):
        super().__init__("pixels", resize="area, at most 16 a side")

    def forward(self, images: Tensor) -> tuple[Tensor, None]:
        if images.ndim == 2:
            return images.float(), None
        sides = [-(-side // -(-side // 16)) for side in images.shape[-2:]]  # 28 is pooled to 14
        return F.adaptive_avg_pool2d(from_uint8(images), sides).flatten(1), None


class Domain(Extractor):
    """A small classifier of the data's own classes (`genzoo/features/classifier.py`).

    It is trained on the training images in half a minute, and cached under a hash of the data, the
    labels, the seed and the number of steps. Its numbers are not comparable between data sets or
    seeds, nor with published ones.
    """

    learned = True

    def __init__(
        self,
        images: Tensor,
        labels: Tensor | None,
        seed: int = 0,
        steps: int = 0,
        device: torch.device | str = "cpu",
        track: Track = iter,
    ):
        from ..rng import isolated
        from .classifier import DomainClassifier, train_classifier

        known = None if labels is None else labels >= 0
        if known is None or images.ndim != 4 or len(labels[known].unique()) < 2:
            raise ValueError(
                "extractor must be one that needs no labels, as 'pixels', for data without "
                "at least two labelled classes of images, got 'domain'"
            )
        images, labels = images[known], labels[known]
        steps = steps or STEPS
        key = f"classifier-{cache.digest(__version__, seed, steps, images, labels)}"
        saved = cache.load(key)
        with isolated(seed):
            if saved is None:
                classifier, facts = train_classifier(
                    images, labels, steps, seed=seed, device=device, track=track
                )
                saved = {"weights": classifier.state_dict(), **facts}
                cache.save(key, saved)
            classifier = DomainClassifier(tuple(images.shape[1:]), int(labels.max()) + 1)
        facts = {f"classifier_{name}": saved[name] for name in ("accuracy", "judged_on")}
        made = {"classifier_seed": seed, "classifier_steps": steps}
        super().__init__("domain", resize="area, at most 32 a side", **made, **facts)
        self.classifier = classifier
        self.classifier.load_state_dict(saved["weights"])
        self.classifier.eval().requires_grad_(False)
        self.protocol["dead_units"] = saved["dead_units"]
        self.protocol["weights"] = cache.digest_weights(self.classifier)[:16]

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        features = self.classifier.features(from_uint8(images))
        return features, self.classifier.logits(features)


class Instance(Extractor):
    """An encoder whose features of altered copies stay near their source's
    (`genzoo/features/instance.py`).

    It is trained on the training and held-out images in a minute and a half at most, and cached
    under a hash of the images, the seed and the number of steps. Its numbers are not comparable
    between data sets or seeds.

    Args:
        images: uint8 (N, C, H, W), in an order that is independent of the split.
    """

    learned = True

    def __init__(
        self,
        images: Tensor,
        seed: int = 0,
        steps: int = 0,
        device: torch.device | str = "cpu",
        track: Track = iter,
    ):
        from ..rng import isolated
        from .instance import InstanceEncoder, enough_steps, train_encoder

        if images.ndim != 4:
            raise ValueError(
                "extractor must be one that takes points, as 'pixels', for data that has no "
                "images, got 'instance'"
            )
        steps = steps or enough_steps(len(images))
        key = f"instance-{cache.digest(__version__, seed, steps, images)}"
        saved = cache.load(key)
        with isolated(seed):
            if saved is None:
                encoder = train_encoder(images, steps, device=device, track=track)
                saved = encoder.state_dict()
                cache.save(key, saved)
            encoder = InstanceEncoder(tuple(images.shape[1:]))
        made = {"instance_seed": seed, "instance_steps": steps, "instance_images": len(images)}
        super().__init__("instance", resize="area, at most 32 a side", **made)
        self.encoder = encoder
        self.encoder.load_state_dict(saved)
        self.encoder.eval().requires_grad_(False)
        self.protocol["weights"] = cache.digest_weights(self.encoder)[:16]

    def forward(self, images: Tensor) -> tuple[Tensor, None]:
        return self.encoder(from_uint8(images)), None


class Inception(Extractor):
    """torch-fidelity's InceptionV3, the protocol of published FID, KID and Inception scores.

    One forward gives the features of the last pooling (2048) and the logits without the bias. Grey
    images are repeated to three channels. The file is read as plain tensors: files that hold code
    are refused.

    Args:
        weights: File of the weights. None: the file that GENZOO_INCEPTION names, or else the one
            that torch-fidelity downloads, which is downloaded if it is missing. `reference` holds
            for the published file only, which is recognised by its hash.
    """

    def __init__(self, weights: str | Path | None = None):
        import torch_fidelity
        from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

        path = Path(weights or os.environ.get("GENZOO_INCEPTION") or _published_file())
        state = read_weights(path)
        sha = cache.digest_file(path)
        super().__init__(
            "inception",
            resize="299, bilinear as TensorFlow 1",
            weights=sha[:16],
            torch_fidelity=torch_fidelity.__version__,
        )
        self.reference = sha.startswith(PUBLISHED)
        plain = io.BytesIO()  # torch-fidelity would unpickle any object: it gets our plain tensors
        torch.save(state, plain)
        plain.seek(0)
        self.network = FeatureExtractorInceptionV3(
            "inception-v3-compat", ["2048", "logits_unbiased"], feature_extractor_weights_path=plain
        )

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        return self.network(_three_channels(images, self.name))


class Fidelity(Extractor):
    """Another extractor of torch-fidelity, with the weights that torch-fidelity downloads.

    Args:
        name: torch-fidelity's name: "clip-vit-b-32", "dinov2-vit-s-14", "vgg16", ...
    """

    def __init__(self, name: str):
        import torch_fidelity

        network = fidelity_network(name)
        (layer,) = network.features_list
        version = torch_fidelity.__version__
        weights = cache.digest_weights(network)[:16]
        super().__init__(name, layer=layer, weights=weights, torch_fidelity=version)
        self.network = network

    def forward(self, images: Tensor) -> tuple[Tensor, None]:
        (features,) = self.network(_three_channels(images, self.name))
        return features.flatten(1), None


def refuse_unknown(choice: str | nn.Module) -> None:
    """Refuses the name of an unknown extractor, before anything is trained.

    Raises:
        ValueError: names the known extractors.
    """
    if isinstance(choice, nn.Module) or choice in OWN_NAMES:
        return
    from torch_fidelity.registry import FEATURE_EXTRACTORS_REGISTRY as registry

    if choice not in registry:
        choices = ", ".join([*OWN_NAMES, *registry])
        raise ValueError(f"extractor must be a module or one of {choices}, got {choice!r}")


def fidelity_network(name: str) -> nn.Module:
    """A network of torch-fidelity, with the weights that torch-fidelity downloads."""
    from torch_fidelity.registry import FEATURE_EXTRACTORS_REGISTRY as registry
    from torch_fidelity.utils import create_feature_extractor

    refuse_unknown(name)
    layer = registry[name].get_default_feature_layer_for_metric("fid")
    try:
        return create_feature_extractor(name, [layer], cuda=False, verbose=False)
    except OSError as error:
        raise ValueError(
            f"extractor {name!r} must download its weights, and could not: {error}; "
            "'domain' and 'pixels' need none"
        ) from error


class Own(Extractor):
    """A user's own module, named after its class; its features are not cached on the disk.

    Args:
        module: Network from uint8 images (B, C, H, W) to features (B, ...), or to features and
            logits. Its inputs are always uint8.
    """

    lasting = False  # the hash does not cover its code

    def __init__(self, module: nn.Module):
        weights = cache.digest_weights(module)[:16]
        super().__init__(type(module).__name__, weights=weights)
        self.module = module.eval()

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        outputs = self.module(images)
        features, logits = outputs if isinstance(outputs, tuple) else (outputs, None)
        if not isinstance(features, Tensor) or len(features) != len(images):
            got = tuple(features.shape) if isinstance(features, Tensor) else type(features).__name__
            raise ValueError(f"{self.name} must give features ({len(images)}, d), got {got}")
        return features.flatten(1).float(), logits


def make_extractor(
    choice: str | nn.Module,
    images: Tensor,
    labels: Tensor | None,
    steps: int = 0,
    device: torch.device | str = "cpu",
    track: Track = iter,
    mixed: Callable[[], Tensor] | None = None,
) -> Extractor:
    """The chosen extractor, trained if it has to be.

    Args:
        choice: A name or a module, as in `resolve`.
        images: The training images, uint8 (N, C, H, W).
        labels: int64 (N,), -1 for unlabelled images; None: no labels.
        steps: Training steps of "domain" and "instance"; 0: their defaults.
        device: Where "domain" and "instance" are trained.
        track: Wraps the range of training steps, to show progress.
        mixed: Gives the images that "instance" is trained on; None: the training images.
    """
    choice = resolve(choice, images, labels)
    if isinstance(choice, Extractor):
        return choice
    if isinstance(choice, nn.Module):
        return Own(choice)
    if choice == "pixels":
        return Pixels()
    if choice == "instance":
        return Instance(mixed() if mixed else images, steps=steps, device=device, track=track)
    if choice == "domain":
        return Domain(images, labels, steps=steps, device=device, track=track)
    if choice in NAMED:
        from . import named

        return getattr(named, NAMED[choice])()
    return Inception() if choice == "inception" else Fidelity(choice)


def resolve(choice: str | nn.Module, images: Tensor, labels: Tensor | None) -> str | nn.Module:
    """The choice, with "auto" replaced by the extractor that fits these training images.

    Args:
        choice: "auto", "domain", "instance", "pixels", "inception", "inception-clean", "dinov2",
            "cmmd", "sscd", a name of torch-fidelity, or a module. "auto" becomes "domain" for
            images with labels of two classes or more, "instance" for other images, and "pixels" for
            points.
    """
    if not isinstance(choice, str) or choice != "auto":
        return choice
    if images.ndim != 4:
        return "pixels"
    several = labels is not None and len(labels[labels >= 0].unique()) > 1
    return "domain" if several else "instance"


def _three_channels(images: Tensor, name: str) -> Tensor:
    if images.ndim != 4 or images.shape[1] not in (1, 3):
        got = tuple(images.shape[1:])
        raise ValueError(f"{name} must be given grey or RGB images (C, H, W), got {got}")
    return images.expand(-1, 3, -1, -1)


def read_weights(path: Path) -> dict[str, Tensor]:
    """The plain tensors of a file of weights, by name."""
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise ValueError(f"weights must be an existing file, got {path}") from None
    except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
        raise ValueError(
            f"weights must be a file of plain tensors, got {path}, which is not or holds code"
        ) from error


def _published_file() -> Path:
    """The path of torch-fidelity's download, which is downloaded and checked if it is missing."""
    from torch_fidelity.feature_extractor_inceptionv3 import URL_INCEPTION_V3 as url

    path = Path(torch.hub.get_dir(), "checkpoints", url.rsplit("/", 1)[1])
    if not path.exists():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            torch.hub.download_url_to_file(url, str(path), hash_prefix=PUBLISHED, progress=False)
        except (OSError, RuntimeError) as error:
            raise ValueError(
                f"extractor 'inception' needs weights that could not be fetched ({error}): put "
                f"{url} where GENZOO_INCEPTION says, or choose 'domain' or 'pixels'"
            ) from error
    return path
