"""Named protocols: the features behind numbers that papers print under a name of their own.

    clean FID      Parmar et al., 2022, https://arxiv.org/abs/2104.11222
    FD on DINOv2   Stein et al., 2023, https://arxiv.org/abs/2306.04675
    CMMD           Jayasumana et al., 2023, https://arxiv.org/abs/2401.09603

All three enlarge images with Pillow's bicubic filter, antialiased and in floats, where
torch-fidelity's own networks do it as TensorFlow 1 does. The networks are torch-fidelity's, with
the weights that it downloads itself; only then do the numbers carry the published names.
"""

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from . import cache
from .extractors import Extractor, Inception, _read_weights, _three_channels, fidelity_network

CLIP = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def resized(images: Tensor, side: int) -> Tensor:
    """Bytes (B, C, H, W) as floats in [0, 255], (B, C, side, side): not rounded, and overshoot cut
    off, as clean-fid has it."""
    x = F.interpolate(images.float(), (side, side), mode="bicubic", antialias=True)
    return x.clamp(0, 255)


def normalised(images: Tensor, mean: tuple[float, ...], deviation: tuple[float, ...]) -> Tensor:
    """From [0, 255] in three channels, each by its own mean and deviation in [0, 1]."""
    shape = (1, 3, 1, 1)
    return (images / 255 - images.new_tensor(mean).view(shape)) / images.new_tensor(deviation).view(
        shape
    )


class CleanInception(Inception):
    """Inception features as clean-fid takes them: `fid_clean`.

    Args: as `Inception`.
    """

    published = "fid_clean", "kid_clean", "inception_score"

    def __init__(self, weights: str | Path | None = None):
        super().__init__(weights)
        self.name = self.protocol["extractor"] = "inception-clean"
        self.protocol["resize"] = "299, bicubic and antialiased as Pillow"
        self._given: Tensor | None = None
        # torch-fidelity's network enlarges images itself: what it made gives way to ours.
        self.network.Conv2d_1a_3x3.register_forward_pre_hook(lambda layer, made: (self._given,))

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        self._given = (resized(_three_channels(images, self.name), 299) - 128) / 128
        try:
            return super().forward(images)
        finally:
            self._given = None


class DINOv2(Extractor):
    """The class token of DINOv2 ViT-L/14 at 224 pixels: `fd_dinov2`.

    Args:
        network: From normalised images (B, 3, 224, 224) to features; None: the published one,
            by torch-fidelity.
    """

    published = "fd_dinov2", "kd/dinov2", "is/dinov2"

    def __init__(self, network: nn.Module | None = None):
        published = network is None
        if network is None:
            network = fidelity_network("dinov2-vit-l-14").model
        weights = cache.digest_weights(network)[:16]
        super().__init__("dinov2", resize="224, bicubic and antialiased as Pillow", weights=weights)
        self.reference = self.lasting = published
        self.network = network.eval().requires_grad_(False)

    def forward(self, images: Tensor) -> tuple[Tensor, None]:
        x = normalised(resized(_three_channels(images, self.name), 224), *IMAGENET)
        return self.network(x).float(), None


class CLIPEmbedding(Extractor):
    """CLIP's embedding of unit length, of ViT-L/14 at 336 pixels: `cmmd`.

    Args:
        weights: File of a CLIP model's plain tensors, of any size of its vision transformer; its
            numbers are called `cmmd/clip`. None: the published one, by torch-fidelity.
    """

    published = "fd/clip", "kd/clip", "is/clip"
    unit = True

    def __init__(self, weights: str | Path | None = None):
        from torch_fidelity.feature_extractor_clip import build_model

        if weights is None:
            model = fidelity_network("clip-vit-l-14-336px").model
        else:
            model = build_model(_read_weights(Path(weights)), torch.float32)
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
