"""Toys: mixtures of Gaussians in the plane, on which the modes that a model misses are visible.

Eight on a ring, from Metz et al., Unrolled Generative Adversarial Networks, 2016,
https://arxiv.org/abs/1611.02163, and 25 on a grid, from Dumoulin et al., Adversarially Learned
Inference, 2016, https://arxiv.org/abs/1606.00704.
"""

import math
from typing import Literal

import torch
from torch import Tensor

from .base import ImageData, check_size
from .batches import Images, generator


def ring() -> tuple[Tensor, float]:
    """8 centres on a circle of radius 2, sigma 0.1; both divided by 2."""
    angle = torch.arange(8) * (2 * math.pi / 8)
    return torch.stack([angle.cos(), angle.sin()], dim=1), 0.1 / 2


def grid() -> tuple[Tensor, float]:
    """25 centres at {-4, -2, 0, 2, 4}^2, sigma 0.05; both divided by 2.828."""
    side = torch.arange(-4.0, 5.0, 2.0)
    return torch.cartesian_prod(side, side) / 2.828, 0.05 / 2.828


KINDS = {"ring": ring, "grid": grid}


class Toy(ImageData):
    """Points, float (2,), of standard deviation about 1; a label is the number of its Gaussian.

    Args:
        kind: "ring" or "grid".
        num_points: Number of points, drawn once with the seed.
        test_size: Test points: a fraction below 1 of all, or a count.

    Attributes:
        centres: Means of the K Gaussians, (K, 2).
        sigma: Standard deviation of each Gaussian.
    """

    raw_shape = (2,)

    def __init__(
        self,
        kind: Literal["ring", "grid"] = "ring",
        num_points: int = 50_000,
        batch_size: int = 256,
        conditional: bool = False,
        seed: int = 0,
        val_size: float = 0.1,
        test_size: float = 0.1,
        num_train: int = 0,
    ):
        if kind not in KINDS:
            raise ValueError(f"kind must be one of {', '.join(KINDS)}, got {kind!r}")
        if num_points < 1:
            raise ValueError(f"num_points must be at least 1, got {num_points}")
        check_size("test_size", test_size)
        self.centres, self.sigma = KINDS[kind]()
        self.class_names = tuple(str(i) for i in range(len(self.centres)))
        super().__init__(
            batch_size=batch_size,
            conditional=conditional,
            seed=seed,
            val_size=val_size,
            num_train=num_train,
        )
        self.num_points, self.test_size = num_points, test_size
        self.name = f"Toy {kind}"

    def read(self) -> dict[str, Images]:
        random = generator("toy", self.seed)
        labels = torch.randint(len(self.centres), [self.num_points], generator=random)
        noise = torch.randn(self.num_points, 2, generator=random)
        return {"train": Images(self.centres[labels] + self.sigma * noise, labels)}


def mode_coverage(points: Tensor, centres: Tensor, sigma: float) -> tuple[int, float]:
    """Number of modes of a mixture that samples cover, and share of samples near a mode.

    >>> centres, sigma = ring()
    >>> mode_coverage(centres[:6].repeat(100, 1), centres, sigma)  # two of eight are missed
    (6, 1.0)

    Args:
        points: Samples, (n, 2).
        centres: Means, (K, 2).
        sigma: Standard deviation of each Gaussian.

    Returns:
        The number of centres that have at least 0.2 % of the samples within 3 sigma, and the share
        of samples that lie within 3 sigma of some centre.
    """
    near = torch.cdist(points.float(), centres.to(points).float()) <= 3 * sigma  # (n, K)
    modes = near.float().mean(dim=0).ge(0.002).sum().item()
    return modes, near.any(dim=1).float().mean().item()
