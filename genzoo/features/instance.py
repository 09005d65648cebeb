"""An encoder whose features of an altered copy stay near its source's, trained on the data itself.

Each image is its own class: a view of an image must be identified with another, differently altered
view of it among the views of the whole batch (instance discrimination, Wu et al., 2018,
https://arxiv.org/abs/1805.01978; for copies: SSCD, Pizzi et al., 2022,
https://arxiv.org/abs/2202.10261). With unit vectors u_i, v_i of the two views, s_ij = u_i.v_j / T,

    loss = -1/2B sum_i [log softmax_j(s_ij)_i + log softmax_j(s_ji)_i],    T = 0.1

Views are altered as copies may be: rotated, zoomed, shifted, mirrored, blurred, noisy, brighter or
darker, with more or less contrast. Labels are not needed.

A test for copies must treat training and held-out images alike, so the encoder is trained on the
mixture of both, without the information which image is which.
"""

from collections.abc import Callable, Iterable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..images import from_uint8
from ..metrics.alterations import blurred, transformed

LARGEST_SIDE = 32  # larger images are pooled to this, by area
TEMPERATURE = 0.1
BATCH = 256
LEAST, MOST = 150, 300  # bounds of the number of training steps


class InstanceEncoder(nn.Module):
    """Three strided convolutions and a linear layer; features are unit vectors.

    Args:
        image_shape: (C, H, W); sides above 32 are pooled to 32 or less.
        width: Channels of the first convolution, doubled by each further one.
        num_features: Number of features d.
    """

    def __init__(self, image_shape: tuple[int, ...], width: int = 32, num_features: int = 128):
        super().__init__()
        if len(image_shape) != 3:
            raise ValueError(f"image_shape must be (C, H, W), got {tuple(image_shape)}")
        channels, *sides = image_shape
        self.sides = tuple(-(-side // -(-side // LARGEST_SIDE)) for side in sides)
        layers: list[nn.Module] = []
        for output in (width, 2 * width, 4 * width):
            layers += [nn.Conv2d(channels, output, 3, 2, 1), nn.BatchNorm2d(output), nn.ReLU()]
            channels = output
        height, breadth = (-(-side // 8) for side in self.sides)  # halved thrice, rounded up
        self.body = nn.Sequential(*layers, nn.Flatten())
        self.to_features = nn.Linear(channels * height * breadth, num_features)

    def pooled(self, x: Tensor) -> Tensor:
        """Images pooled to the network's sides."""
        return x if tuple(x.shape[-2:]) == self.sides else F.adaptive_avg_pool2d(x, self.sides)

    def forward(self, x: Tensor) -> Tensor:
        """Unit vectors (B, d) of images (B, C, H, W) in [-1, 1]."""
        return F.normalize(self.to_features(self.body(self.pooled(x))), dim=1)


@torch.inference_mode(False)
def train_encoder(
    images: Tensor,
    steps: int = 0,
    batch_size: int = BATCH,
    lr: float = 2e-3,
    device: torch.device | str = "cpu",
    track: Callable[[Iterable[int]], Iterable[int]] = iter,
) -> InstanceEncoder:
    """Trains an encoder; draws from the global random state.

    Args:
        images: uint8 (N, C, H, W), the mixture of training and held-out images.
        steps: Number of training steps; 0: `enough_steps`.
        track: Wraps the range of steps, to show progress.

    Returns:
        The encoder in evaluation mode, on the CPU.
    """
    steps = steps or enough_steps(len(images))
    encoder = InstanceEncoder(tuple(images.shape[1:])).to(device)
    optimizer = torch.optim.AdamW(encoder.parameters(), lr=lr, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, lr, steps, pct_start=0.2)
    batch_size = min(batch_size, len(images))
    target = torch.arange(batch_size, device=device)
    with torch.enable_grad():
        for _ in track(range(steps)):
            chosen = torch.randperm(len(images))[:batch_size]
            x = encoder.pooled(from_uint8(images[chosen].to(device)))
            u, v = encoder(torch.cat([altered(x), altered(x)])).chunk(2)
            s = u @ v.T / TEMPERATURE
            loss = (F.cross_entropy(s, target) + F.cross_entropy(s.T, target)) / 2
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            schedule.step()
    return encoder.eval().requires_grad_(False).cpu()


def enough_steps(n: int) -> int:
    """Number of steps in which each of n images is used 30 times, between 150 and 300."""
    return min(MOST, max(LEAST, 30 * n // BATCH))


def altered(x: Tensor) -> Tensor:
    """A view of each image, altered as copies may be.

    All are rotated by up to 15 degrees, zoomed by 0.85 to 1.2, shifted by up to 11 % of the side,
    multiplied by a contrast of 0.7 to 1.3, and changed in brightness by up to 0.15. A share of 0.3
    is mirrored, 0.4 blurred with a deviation of 0.5 to 1.3 pixels, and 0.6 get noise with a
    deviation of up to 0.25.

    Args:
        x: (B, C, H, W) in [-1, 1]; beyond the border the border's value is taken.
    """
    b, device = len(x), x.device

    def uniform(low: float, high: float) -> Tensor:
        return torch.rand(b, device=device) * (high - low) + low

    def some(share: float) -> Tensor:
        return (torch.rand(b, device=device) < share).float()

    x = transformed(
        x,
        turn=uniform(-15, 15),
        zoom=uniform(0.85, 1.2),
        right=uniform(-0.11, 0.11),
        down=uniform(-0.11, 0.11),
        mirror=some(0.3),
    )
    x = torch.lerp(x, blurred(x, uniform(0.5, 1.3)), _each(some(0.4)))
    x = x * _each(uniform(0.7, 1.3)) + _each(uniform(-0.15, 0.15))
    return x + torch.randn_like(x) * _each(uniform(0, 0.25) * some(0.6))


def _each(x: Tensor) -> Tensor:
    return x.view(-1, 1, 1, 1)
