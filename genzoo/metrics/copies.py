"""A permutation test for copies of training images among samples, exact in every feature space.

Training and held-out images are one set of real images whose labels, "training" and "held out",
are a random split. If no training image was memorised, the labels are independent of the samples.
Neighbours are therefore found without the labels: each sample's nearest real image, and how much
nearer it is than the second nearest,

    gap(x) = d(x, nearest) / d(x, second nearest)        0: an exact copy; near 1: no copy

For each limit r on the gap, the statistic is the number of samples with a gap below r whose
nearest real image is a training image. Its null distribution comes from permuted labels, with each
real image weighted by the number of samples nearest to it. The largest standardised surplus over
all limits and spaces is compared with the largest under permuted labels, so one p-value accounts
for all of these comparisons (after https://arxiv.org/abs/2610.00251; Westfall and Young, 1993).

The opposite surplus, of samples nearest to held-out images, shows a leak or exchanged splits.

Legend: n samples, N real images of which a share pi are training images.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from .alignment import aligned_distance
from .intervals import NORMAL
from .number import Number

LIMITS = (math.inf, 0.95, 0.9, 0.85, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1)
CLOSE = 0.9  # a surplus at this limit or below consists of pairs that are closer than by chance
UNLIKELY = 0.05  # level of the test: above this p the share of copies may be 0
POWER = 1.645  # deviations above the critical value for a power of 95 %


@dataclass
class Nearest:
    """The nearest real image of each sample in one space.

    Args:
        index: Index of the nearest real image, int64 (n,).
        gap: Its distance over that of the second nearest, (n,), in 0..1.
        chosen: Indices of the samples that were used; None: all of them.
    """

    index: Tensor
    gap: Tensor
    chosen: Tensor | None = None

    @classmethod
    def of(cls, distances: Tensor, index: Tensor) -> "Nearest":
        """From the distances and indices of `neighbours.nearest`, (n, k) both, k at least 2.

        The order of the real images must be independent of the labels: it decides ties.
        """
        first, second = distances[:, 0], distances[:, 1]
        gap = torch.where(second > 0, first / second.clamp(min=1e-300), 1.0)
        return cls(index[:, 0], gap)


def nearest_aligned(samples: Tensor, real: Tensor, candidates: Tensor) -> Nearest:
    """Nearest real images by `aligned_distance`, the distance after alignment.

    Args:
        samples: float (n, C, H, W); real: float (N, C, H, W), both as in `aligned_distance`.
        candidates: Indices of the real images that are tried for each sample, int64 (n, k), k at
            least 2.
    """
    columns = [aligned_distance(samples, real[column]) for column in candidates.T]
    distances, order = torch.stack(columns, 1).double().sort(dim=1, stable=True)
    return Nearest.of(distances, candidates.gather(1, order))


@dataclass
class Pool:
    """Training and held-out images as one set, in an order that is independent of the labels.

    Args:
        place: Index of each image in the training images followed by the held-out ones, int64 (N,).
        trained: Whether it is a training image, bool (N,).
        duplicates: Number of held-out images that are equal to a training image.
    """

    place: Tensor
    trained: Tensor
    duplicates: int


def pool(train: Tensor, held_out: Tensor, seed: int = 0) -> Pool:
    """One image of each group of equal images, with the label of a random member of the group.

    An image in both splits would be the nearest twice, and so would hide its copies. The order is
    that of the images' values, shuffled by the seed, so it depends on the set alone.

    Args:
        train, held_out: uint8 (n, C, H, W) or points (n, D).
    """
    both = torch.cat([train, held_out]).flatten(1).cpu().contiguous()
    rows = both.numpy().view(np.dtype((np.void, both.shape[1] * both.element_size())))[:, 0]
    _, first, group, count = np.unique(
        rows, return_index=True, return_inverse=True, return_counts=True
    )
    group = group.reshape(-1)
    trained = np.bincount(group[: len(train)], minlength=len(first))  # of each group
    draw = np.random.default_rng(seed)
    label = draw.random(len(first)) * count < trained
    # `first` is a training image if the group has one: equal images are interchangeable.
    order = draw.permutation(len(first))
    return Pool(
        torch.from_numpy(first[order].astype(np.int64)),
        torch.from_numpy(label[order]),
        int((trained[group[len(train) :]] > 0).sum()),
    )


class CopyTest:
    """The permutation test of one set of samples.

    Args:
        spaces: Nearest real images of the samples, by name of the space; the number of samples may
            differ between spaces.
        trained: Whether each real image is a training image, bool (N,).
        permutations: Number of permutations of the labels: p is at least 1 / (1 + permutations).
        seed: Seed of the permutations.
    """

    def __init__(
        self,
        spaces: dict[str, Nearest],
        trained: Tensor,
        permutations: int = 999,
        seed: int = 0,
    ):
        trained = trained.cpu()
        total, share = len(trained), trained.double().mean().item()
        if not 0 < share < 1:
            raise ValueError("real images must be of both kinds, trained on and held out")
        self.spaces, self.share, self.total = spaces, share, total
        self.keys = [(name, limit) for name in spaces for limit in LIMITS]
        self.sizes = torch.tensor([len(spaces[name].index) for name, _ in self.keys]).double()
        weights = torch.stack(  # of each real image: the number of samples nearest to it
            [
                near.index[near.gap < limit].bincount(minlength=total)
                for near in spaces.values()
                for limit in LIMITS
            ],
            1,
        ).double()
        attracting = weights.any(1).nonzero()[:, 0]
        weights = weights[attracting]
        self.attracted = weights.sum(0)  # (keys,)
        self.variance = self._variance(weights.square().sum(0), self.attracted)
        self.found = trained[attracting].double() @ weights
        self.crowding = weights.square().sum(0) / self.attracted.clamp(min=1)
        self.z = self._standardised(self.found)
        draw = np.random.default_rng(seed)
        labels, wanted = trained.numpy(), attracting.numpy()
        drawn = np.stack([draw.permutation(labels)[wanted] for _ in range(permutations)])
        z = self._standardised(torch.from_numpy(drawn).double() @ weights)
        self.highest, self.lowest = z.amax(1), z.amin(1)  # (permutations,)

    def _variance(self, squares: Tensor, sums: Tensor) -> Tensor:
        """Variance of a sum of weights over images drawn without replacement."""
        spread = squares - sums.square() / self.total
        return self.share * (1 - self.share) * self.total / (self.total - 1) * spread

    def _standardised(self, found: Tensor) -> Tensor:
        """The surplus in deviations; the 1 added to the variance damps that of a few samples."""
        return (found - self.share * self.attracted) / (self.variance.clamp(min=0) + 1).sqrt()

    @property
    def p_copies(self) -> float:
        """p-value of a surplus of training images this large, if no image was memorised."""
        more = (self.highest >= self.z.max()).sum().item()
        return (1 + more) / (1 + len(self.highest))

    @property
    def p_leak(self) -> float:
        """p-value of a surplus of held-out images this large."""
        more = (self.lowest <= self.z.min()).sum().item()
        return (1 + more) / (1 + len(self.lowest))

    def critical(self, level: float) -> float:
        """Critical value: permuted labels exceed this surplus with a probability of `level`."""
        return torch.quantile(self.highest, 1 - level, interpolation="higher").item()

    def close(self, level: float) -> bool:
        """Whether the surplus among close pairs, with a gap below 0.9, is significant."""
        limits = torch.tensor([limit for _, limit in self.keys])
        return bool((self.z[limits <= CLOSE] > self.critical(level)).any())

    def copied(self, name: str | None = None, held_out: bool = False) -> Number:
        """The share of samples that are copies of training images, from the surplus.

        With n samples, of which A have a gap below the limit, and S of these nearest to training
        images,

            c = (S - pi A) / ((1 - pi) n)

        estimates the share of detected copies; copies that are altered too much are missed. So the
        lower end holds for the share of all copies, and is above 0 only if the test finds a surplus
        at a level of 5 %; the upper end is 1. The limit, and the space if none is named, is the one
        with the highest lower end; the interval is wide enough for this choice.

        Args:
            name: Name of the space; None: all spaces.
            held_out: Whether copies of held-out images are counted instead.
        """
        share = 1 - self.share if held_out else self.share
        found = self.attracted - self.found if held_out else self.found
        extreme = -self.lowest if held_out else self.highest
        deviations = max(NORMAL, torch.quantile(extreme, 0.975).item())
        copies = ((found - share * self.attracted) / (1 - share)).clamp(min=0)
        copies = torch.minimum(copies, self.attracted)
        others = (self.attracted - copies).clamp(min=0) * self.crowding + 1
        error = (share * (1 - share) * others).sqrt() / (1 - share)
        c = copies / self.sizes
        chance = (c * (1 - c) / self.sizes).clamp(min=0)  # variance of the choice of samples
        low = c - deviations * ((error / self.sizes).square() + chance).sqrt()
        mine = torch.tensor([name in (None, key) for key, _ in self.keys])
        best = torch.where(mine, low, -torch.inf).argmax().item()
        space, limit = self.keys[best]
        p = self.p_leak if held_out else self.p_copies
        within = "" if limit == math.inf else f", gap below {limit:g}"
        return Number(
            c[best].item(),
            # Where there may be no copies the exact test replaces the normal approximation.
            min(1.0, max(0.0, low[best].item())) if p <= UNLIKELY else 0.0,
            1.0,
            f"of {self.attracted[best]:,.0f} samples ({space}{within}) {found[best]:,.0f} are "
            f"nearest to {'held-out' if held_out else 'training'} images; if none were copied, "
            f"about {share * self.attracted[best]:,.0f} would be",
        )

    def noticed(self, planted: dict[str, Nearest], trained: Tensor, level: float) -> float:
        """The smallest share of copies that the test would find with a power of 95 %; infinite if
        there is none.

        Args:
            planted: Nearest real images of planted copies of one kind, by name of the space.
            trained: As in the constructor.
            level: Level of the test.
        """
        critical = self.critical(level)
        hits, right = [], []
        for name, limit in self.keys:
            near = planted[name]
            inside = near.gap < limit
            hits.append(inside.double().mean())
            right.append((inside & trained[near.index].cpu()).double().mean())
        hits, right = torch.stack(hits), torch.stack(right)
        shares = torch.logspace(-3, 0, 121).double()[:, None]  # from 0.1 % to all
        copies = shares * self.sizes
        surplus = copies * (right - self.share * hits)
        chance = self.share * (1 - self.share) * copies * hits
        z = surplus / ((1 - shares) * self.variance.clamp(min=0) + chance + 1).sqrt()
        enough = (z >= critical + POWER).any(1).nonzero()
        return shares[enough[0, 0], 0].item() if len(enough) else math.inf
