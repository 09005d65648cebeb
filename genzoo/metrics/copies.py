"""Are samples copies of training images? A test that is exact, whatever the space.

Training and held-out images are one set of real images whose labels, "trained on" and "held
out", are a random split. If nothing was memorised then, given the samples, the labels are chance.
So everything that is measured is blind to them: each sample's nearest real image, and how much
nearer it is than the next,

    gap(x) = d(x, nearest) / d(x, second nearest)        0: an exact copy; near 1: no copy

For each limit r on the gap, the statistic is how many samples within it have a training image as
their nearest, and its null distribution comes of drawing the labels anew, each real image
weighted by the samples that it attracts. The largest standardised surplus over all limits and all
spaces is compared with the largest under the same labels drawn anew, so that one p-value pays for
all that was looked at (after https://arxiv.org/abs/2610.00251; Westfall and Young, 1993).

The mirror of it, held-out images that attract too many, is a leak, or splits that were exchanged.

Legend: n samples, N real images of which a share pi is trained on.
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
CLOSE = 0.9  # below this limit a surplus is of pairs that are closer than chance makes them
UNLIKELY = 0.05  # p above which there may be no copies at all
POWER = 1.645  # deviations: copies that would be noticed would be so in 95 of 100 cases


@dataclass
class Nearest:
    """What each sample lies near to in one space.

    Args:
        index: Of the nearest real image, int64 (n,).
        gap: Its distance over that of the second nearest, (n,), in 0..1.
        chosen: Which of the samples these are; None: all of them.
    """

    index: Tensor
    gap: Tensor
    chosen: Tensor | None = None

    @classmethod
    def of(cls, distances: Tensor, index: Tensor) -> "Nearest":
        """Of what `neighbours.nearest` finds among real images whose order tells nothing of the
        labels, (n, k) both, k at least 2; where the first two are equal neither side is nearer."""
        first, second = distances[:, 0], distances[:, 1]
        gap = torch.where(second > 0, first / second.clamp(min=1e-300), 1.0)
        return cls(index[:, 0], gap)


def nearest_aligned(samples: Tensor, real: Tensor, candidates: Tensor) -> Nearest:
    """By the distance that is left when the sample is moved onto the real image.

    Args:
        samples: float (n, C, H, W); real: float (N, C, H, W), as `aligned_distance` wants them.
        candidates: For each sample the real images to be tried, int64 (n, k), k at least 2.
    """
    columns = [aligned_distance(samples, real[column]) for column in candidates.T]
    distances, order = torch.stack(columns, 1).double().sort(dim=1, stable=True)
    return Nearest.of(distances, candidates.gather(1, order))


@dataclass
class Pool:
    """Training and held-out images as one set, in an order that tells nothing of the labels.

    Args:
        place: Of each image among the training images followed by the held-out ones, int64 (N,).
        trained: Whether it was trained on, bool (N,).
        duplicates: Held-out images that are equal to a training image.
    """

    place: Tensor
    trained: Tensor
    duplicates: int


def pool(train: Tensor, held_out: Tensor, seed: int = 0) -> Pool:
    """One of each group of equal images, with the label of one of them, drawn by lot.

    An image that is both trained on and held out attracts its copies to both, and would hide
    them. The order is that of the images' values, shuffled by the seed: of the set alone.

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
    # `first` is a training image wherever there is one: of two equal images either will do.
    order = draw.permutation(len(first))
    return Pool(
        torch.from_numpy(first[order].astype(np.int64)),
        torch.from_numpy(label[order]),
        int((trained[group[len(train) :]] > 0).sum()),
    )


class CopyTest:
    """The test of one set of samples.

    Args:
        spaces: What samples lie near to, by name of the space; not all need as many samples.
        trained: Of which real images the model was trained on, bool (N,).
        permutations: Labels are drawn anew so often: p is at least 1 / (1 + permutations).
        seed: Of the labels.
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
        weights = torch.stack(  # of each real image: the samples that it attracts
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
        """Of a sum of weights over images drawn without return."""
        spread = squares - sums.square() / self.total
        return self.share * (1 - self.share) * self.total / (self.total - 1) * spread

    def _standardised(self, found: Tensor) -> Tensor:
        """A surplus in deviations; the 1 keeps a handful of samples from looking like many."""
        return (found - self.share * self.attracted) / (self.variance.clamp(min=0) + 1).sqrt()

    @property
    def p_copies(self) -> float:
        """Of at least such a surplus of training images, if nothing was memorised."""
        more = (self.highest >= self.z.max()).sum().item()
        return (1 + more) / (1 + len(self.highest))

    @property
    def p_leak(self) -> float:
        """Of at least such a surplus of held-out images, by chance."""
        more = (self.lowest <= self.z.min()).sum().item()
        return (1 + more) / (1 + len(self.lowest))

    def critical(self, level: float) -> float:
        """The surplus that chance exceeds at most at this level."""
        return torch.quantile(self.highest, 1 - level, interpolation="higher").item()

    def close(self, level: float) -> bool:
        """Whether a surplus among close pairs alone, gap below 0.9, is significant."""
        limits = torch.tensor([limit for _, limit in self.keys])
        return bool((self.z[limits <= CLOSE] > self.critical(level)).any())

    def copied(self, name: str | None = None, held_out: bool = False) -> Number:
        """The share of samples that are copies of training images, from the surplus.

        With S of A samples within a limit nearest to training images, of n in all,

            c = (S - pi A) / ((1 - pi) n)

        estimates those that are found: each copy that is altered beyond recognition is missed. So
        the lower end holds for the share of copies, above 0 only where the test finds a surplus at
        a level of 5 %, and the upper end is 1. Of all limits, and of all spaces if none is named,
        the one with the highest lower end counts; its interval is wide enough for all of them.

        Args:
            held_out: Of copies of held-out images instead.
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
        chance = (c * (1 - c) / self.sizes).clamp(min=0)  # of which samples were drawn
        low = c - deviations * ((error / self.sizes).square() + chance).sqrt()
        mine = torch.tensor([name in (None, key) for key, _ in self.keys])
        best = torch.where(mine, low, -torch.inf).argmax().item()
        space, limit = self.keys[best]
        p = self.p_leak if held_out else self.p_copies
        within = "" if limit == math.inf else f", gap below {limit:g}"
        return Number(
            c[best].item(),
            # Where there may be none the exact test knows better than a normal approximation.
            min(1.0, max(0.0, low[best].item())) if p <= UNLIKELY else 0.0,
            1.0,
            f"of {self.attracted[best]:,.0f} samples ({space}{within}) {found[best]:,.0f} are "
            f"nearest to {'held-out' if held_out else 'training'} images; if none were copied, "
            f"about {share * self.attracted[best]:,.0f} would be",
        )

    def noticed(self, planted: dict[str, Nearest], trained: Tensor, level: float) -> float:
        """From which share of copies on the test would find them, in 95 of 100 cases; above 1
        where it would not.

        Args:
            planted: What copies of one kind lie near to, by space.
            trained: As in the constructor.
            level: Of the test.
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
