"""Named protocols: the features of numbers that papers report under their own names.

    clean FID      Parmar et al., 2022, https://arxiv.org/abs/2104.11222
    FD on DINOv2   Stein et al., 2023, https://arxiv.org/abs/2306.04675
    CMMD           Jayasumana et al., 2023, https://arxiv.org/abs/2401.09603
    SSCD           Pizzi et al., 2022, https://arxiv.org/abs/2202.10261, for copies

The first three resize images with Pillow's bicubic filter, antialiased and in floats; the networks
of torch-fidelity resize them as TensorFlow 1 does. The numbers have the published names only with
torch-fidelity's networks and the weights that it downloads.
"""

import os
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from . import cache
from .extractors import Extractor, Inception, _three_channels, fidelity_network, read_weights
from .vit import VisionTransformer

CLIP = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def resized(images: Tensor, side: int) -> Tensor:
    """uint8 images (B, C, H, W) as floats in [0, 255], (B, C, side, side): not rounded, and with
    overshoot clamped, as in clean-fid."""
    x = F.interpolate(images.float(), (side, side), mode="bicubic", antialias=True)
    return x.clamp(0, 255)


def normalised(images: Tensor, mean: tuple[float, ...], deviation: tuple[float, ...]) -> Tensor:
    """Images (B, 3, H, W) in [0, 255], normalised by channel; mean and deviation are of [0, 1]."""
    shape = (1, 3, 1, 1)
    return (images / 255 - images.new_tensor(mean).view(shape)) / images.new_tensor(deviation).view(
        shape
    )


class CleanInception(Inception):
    """Inception features with clean-fid's resizing, for `fid_clean`.

    Args:
        weights: File of the weights, as in `Inception`.
    """

    published = "fid_clean", "kid_clean", "inception_score"

    def __init__(self, weights: str | Path | None = None):
        super().__init__(weights)
        self.name = self.protocol["extractor"] = "inception-clean"
        self.protocol["resize"] = "299, bicubic and antialiased as Pillow"
        self._given: Tensor | None = None
        # torch-fidelity's network resizes images itself: the hook replaces them with ours.
        self.network.Conv2d_1a_3x3.register_forward_pre_hook(lambda layer, made: (self._given,))

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        self._given = (resized(_three_channels(images, self.name), 299) - 128) / 128
        try:
            return super().forward(images)
        finally:
            self._given = None


class DINOv2(Extractor):
    """The class token of DINOv2 ViT-L/14 at 224 pixels, for `fd_dinov2`.

    Args:
        network: Network from normalised images (B, 3, 224, 224) to features, or a file of DINOv2's
            weights of any size. Numbers of a file are called `fd/dinov2`, since it may not be the
            published one. None: the file that GENZOO_DINOV2 names, or else the published network
            of torch-fidelity.
    """

    published = "fd_dinov2", "kd/dinov2", "is/dinov2"

    def __init__(self, network: nn.Module | str | Path | None = None):
        network = network or os.environ.get("GENZOO_DINOV2")
        lasting = not isinstance(network, nn.Module)  # the hash does not cover a user's code
        if published := network is None:
            network = fidelity_network("dinov2-vit-l-14").model
        elif not isinstance(network, nn.Module):
            network = VisionTransformer(read_weights(Path(network)))
        weights = cache.digest_weights(network)[:16]
        super().__init__("dinov2", resize="224, bicubic and antialiased as Pillow", weights=weights)
        self.reference, self.lasting = published, lasting
        self.network = network.eval().requires_grad_(False)

    def forward(self, images: Tensor) -> tuple[Tensor, None]:
        x = normalised(resized(_three_channels(images, self.name), 224), *IMAGENET)
        return self.network(x).float(), None


class CLIPEmbedding(Extractor):
    """CLIP's embedding of unit length, of ViT-L/14 at 336 pixels, for `cmmd`.

    Args:
        weights: File of a CLIP model's plain tensors, with a vision transformer of any size;
            numbers of a file are called `cmmd/clip`. None: the published one of torch-fidelity.
    """

    published = "fd/clip", "kd/clip", "is/clip"
    unit = True

    def __init__(self, weights: str | Path | None = None):
        from torch_fidelity.feature_extractor_clip import build_model

        if weights is None:
            model = fidelity_network("clip-vit-l-14-336px").model
        else:
            model = build_model(read_weights(Path(weights)), torch.float32)
        side = model.visual.input_resolution
        super().__init__(
            "clip",
            resize=f"{side}, bicubic and antialiased as Pillow",
            weights=cache.digest_weights(model)[:16],
        )
        self.reference, self.side = weights is None, side
        self.network = model.visual.eval().requires_grad_(False)

    def forward(self, images: Tensor) -> tuple[Tensor, None]:
        x = normalised(resized(_three_channels(images, self.name), self.side), *CLIP)
        return F.normalize(self.network(x).float(), dim=1), None


class SSCD(Extractor):
    """SSCD's descriptor of unit length, at 320 pixels, for `Memorisation(space="sscd")`.

    A residual network whose last feature maps y are pooled to (mean y^3)^(1/3) in each channel.

    Args:
        weights: File of the authors' weights "for torchvision", sscd_disc_mixup.torchvision.pt;
            None: the file that GENZOO_SSCD names.
    """

    side = 320
    unit = True

    def __init__(self, weights: str | Path | None = None):
        weights = weights or os.environ.get("GENZOO_SSCD")
        if weights is None:
            raise ValueError(
                "extractor 'sscd' needs its weights in a file, sscd_disc_mixup.torchvision.pt of "
                "the authors, and GENZOO_SSCD to say where; 'instance' needs none"
            )
        network = _residual(read_weights(Path(weights)))
        super().__init__(
            "sscd",
            resize=f"{self.side}, bilinear and antialiased as Pillow",
            weights=cache.digest_weights(network)[:16],
        )
        self.network = network.eval().requires_grad_(False)

    def forward(self, images: Tensor) -> tuple[Tensor, None]:
        x, sides = _three_channels(images, self.name).float(), (self.side, self.side)
        x = F.interpolate(x, sides, mode="bilinear", antialias=True)
        return F.normalize(self.network(normalised(x, *IMAGENET)).float(), dim=1), None


class _CubicMean(nn.Module):
    def forward(self, y: Tensor) -> Tensor:
        """(B, C, H, W) to (B, C, 1, 1)."""
        return y.clamp(min=1e-6).pow(3).mean((2, 3), keepdim=True).pow(1 / 3)


def _residual(state: dict[str, Tensor]) -> nn.Module:
    """torchvision's residual network with these weights."""
    from torchvision.models import resnet18, resnet50

    state = {name.removeprefix("backbone."): tensor for name, tensor in state.items()}
    kind = resnet50 if "layer1.0.conv3.weight" in state else resnet18
    network = kind(num_classes=len(state.get("fc.bias", [0])))
    network.avgpool = _CubicMean()
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"weights must be those of SSCD, got others: {reason:.200}") from None
    return network
