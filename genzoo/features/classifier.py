"""A small classifier of a data set's own classes: an extractor where no pretrained one fits.

Features learned on photographs do not suit clothes or digits, and their weights are not always
available. A classifier trained on the data's own labels gives features that separate its classes,
and probabilities of these classes for an Inception score (Salimans et al., 2016,
https://arxiv.org/abs/1606.03498). Values depend on its seed by a fifth or more; the order of
generators with gross defects does not. So compare numbers of one classifier only, and never with
published ones.

The features of a classifier of clean images change more under faint noise than for a missing class,
so this one is trained with light noise, blur and shifts. Features are taken before the
nonlinearity: after a ReLU many units are dead, which makes the covariance singular.
"""

from collections.abc import Callable, Iterable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..checks import at_least
from ..images import from_uint8

LARGEST_SIDE = 32  # larger images are pooled to this, by area


class DomainClassifier(nn.Module):
    """Three strided convolutions and two linear layers.

    Args:
        image_shape: (C, H, W); sides above 32 are pooled to 32.
        num_classes: Number of classes K.
        width: Channels of the first convolution, doubled by each further one.
        num_features: Number of features d.
    """

    def __init__(
        self,
        image_shape: tuple[int, ...],
        num_classes: int,
        width: int = 16,
        num_features: int = 64,
    ):
        super().__init__()
        if len(image_shape) != 3:
            raise ValueError(f"image_shape must be (C, H, W), got {tuple(image_shape)}")
        at_least(2, num_classes=num_classes)
        channels, *sides = image_shape
        self.image_shape, self.num_classes = tuple(image_shape), num_classes
        self.sides = tuple(min(side, LARGEST_SIDE) for side in sides)
        layers: list[nn.Module] = []
        for output in (width, 2 * width, 4 * width):
            layers += [nn.Conv2d(channels, output, 3, 2, 1), nn.BatchNorm2d(output), nn.ReLU()]
            channels = output
        height, breadth = (-(-side // 8) for side in self.sides)  # halved thrice, rounded up
        self.body = nn.Sequential(*layers, nn.Flatten())
        self.to_features = nn.Linear(channels * height * breadth, num_features)
        self.head = nn.Linear(num_features, num_classes)

    def features(self, x: Tensor) -> Tensor:
        """Features (B, d), before the nonlinearity, of images (B, C, H, W) in [-1, 1]."""
        if tuple(x.shape[-2:]) != self.sides:
            x = F.adaptive_avg_pool2d(x, self.sides)
        return self.to_features(self.body(x))

    def logits(self, features: Tensor) -> Tensor:
        """Logits (B, K) from features (B, d)."""
        return self.head(F.gelu(features))

    def forward(self, x: Tensor) -> Tensor:
        """Logits (B, K) of images (B, C, H, W) in [-1, 1]."""
        return self.logits(self.features(x))

    def predict_proba(self, x: Tensor) -> Tensor:
        """Class probabilities (B, K) of images (B, C, H, W) in [-1, 1]."""
        return self(x).softmax(dim=1)


def disturb(x: Tensor) -> Tensor:
    """Augmented images: one shift of at most a pixel for all, blur for half of the images, and
    noise for half of them."""
    down, right = torch.randint(-1, 2, (2,)).tolist()
    x = torch.roll(F.pad(x, [1] * 4, mode="replicate"), (down, right), (2, 3))[..., 1:-1, 1:-1]
    blurred = F.avg_pool2d(F.pad(x, [1] * 4, mode="replicate"), 3, 1)
    x = torch.lerp(x, blurred, _half(x, 1.0))
    return x + torch.randn_like(x) * _half(x, 0.2)


def _half(x: Tensor, most: float) -> Tensor:
    """Amounts (B, 1, 1, 1): 0 for half of the images, uniform up to `most` for the others."""
    return (torch.rand(len(x), 1, 1, 1, device=x.device) * 2 - 1).clamp(min=0) * most


@torch.inference_mode(False)
def train_classifier(
    images: Tensor,
    labels: Tensor,
    steps: int = 2000,
    batch_size: int = 128,
    lr: float = 4e-3,
    seed: int = 0,
    device: torch.device | str = "cpu",
    track: Callable[[Iterable[int]], Iterable[int]] = iter,
) -> tuple[DomainClassifier, dict[str, float | int]]:
    """Trains a classifier; a tenth of the images, at most 5,000, are held out to test it.

    It seeds the global random state and draws from it.

    Args:
        images: uint8 (N, C, H, W).
        labels: int64 (N,) in 0..K-1.
        steps: Number of training steps.
        track: Wraps the range of steps, to show progress.

    Returns:
        The classifier in evaluation mode on the CPU, and facts about it: its accuracy on the
        held-out images and the number of features that are constant on them.
    """
    torch.manual_seed(seed)
    order = torch.randperm(len(images))
    aside = order[: max(1, min(5_000, len(images) // 10))]
    order = order[len(aside) :]
    classifier = DomainClassifier(tuple(images.shape[1:]), int(labels.max()) + 1).to(device)
    optimizer = torch.optim.AdamW(classifier.parameters(), lr=lr, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, lr, steps, pct_start=0.2)
    with torch.enable_grad():
        for _ in track(range(steps)):
            chosen = order[torch.randint(len(order), (batch_size,))]
            x, y = from_uint8(images[chosen].to(device)), labels[chosen].to(device)
            loss = F.cross_entropy(classifier(disturb(x)), y)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            schedule.step()
    classifier.eval().requires_grad_(False)
    chunks = [classifier.features(from_uint8(images[i].to(device))) for i in aside.split(500)]
    features = torch.cat(chunks)
    right = classifier.logits(features).argmax(dim=1).cpu() == labels[aside]
    spread = features.std(dim=0, correction=0)
    facts = {
        "accuracy": right.float().mean().item(),
        "judged_on": len(aside),
        "num_features": features.shape[1],
        "dead_units": int((spread <= 1e-4 * spread.max()).sum()),
    }
    return classifier.cpu(), facts
