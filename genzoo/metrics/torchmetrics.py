"""The statistics as metrics of torchmetrics, which accumulate over batches and ranks."""

import numpy as np
import torch
from torch import Tensor, nn
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat
from torchmetrics.utilities.distributed import gather_all_tensors

from ..images import as_uint8
from . import inputs
from .frechet import Moments, frechet_of_moments
from .inception_score import inception_score
from .inputs import FIDELITY_SEED
from .kernel import kernel_distance
from .support import plain_shares


class _Measured(Metric):
    """A metric whose states keep their types: float64 for moments, the features' own for lists."""

    full_state_update = True

    def set_dtype(self, dst_type: str | torch.dtype) -> "Metric":
        """Changes nothing: sums below float64 would lose precision."""
        return self


class _Lists(_Measured):
    """A metric whose states are lists of (B, d), also on a rank that had no images."""

    def _sync_dist(self, dist_sync_fn=gather_all_tensors, process_group=None) -> None:
        """Gives a list that is empty on this rank the width and the type of the other ranks'.

        torchmetrics' own placeholder has one axis, which cannot be gathered with two.
        """
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            group = process_group or self.process_group
            for name in self._reductions:
                self._agree(name, group)
        super()._sync_dist(dist_sync_fn, process_group)

    def _agree(self, name: str, group) -> None:
        own = [(x.shape[1], x.dtype) for x in getattr(self, name)]
        everywhere = [None] * torch.distributed.get_world_size(group)
        torch.distributed.all_gather_object(everywhere, own, group)
        kinds = {kind for rank in everywhere for kind in rank}
        if not kinds:
            return
        if len(widths := sorted({width for width, _ in kinds})) > 1:
            raise ValueError(f"{name} must have one number of features on all ranks, got {widths}")
        dtype = max((dtype for _, dtype in kinds), key=lambda dtype: torch.finfo(dtype).bits)
        parts = [x.to(dtype) for x in getattr(self, name)]
        setattr(self, name, parts or [torch.empty(0, widths[0], dtype=dtype, device=self.device)])


class FrechetDistance(_Measured):
    """`frechet_distance` of images or features that come in batches; each side's state is (d, d).

    Args:
        num_features: Number of features d.
        extractor: Network from uint8 images (B, C, H, W) to features (B, d), or to features and
            logits; `update` then takes images, uint8 or floats in [-1, 1]. None: `update` takes
            features.
    """

    higher_is_better = False

    def __init__(self, num_features: int, extractor: nn.Module | None = None, **kwargs):
        super().__init__(**kwargs)
        self.extractor = extractor
        for side in ("real", "generated"):
            zeros = torch.zeros(num_features, num_features, dtype=torch.float64)
            self.add_state(f"{side}_n", torch.tensor(0), dist_reduce_fx=None)
            self.add_state(f"{side}_mean", zeros[0].clone(), dist_reduce_fx=None)
            self.add_state(f"{side}_scatter", zeros, dist_reduce_fx=None)

    def update(self, images_or_features: Tensor, real: bool) -> None:
        features = inputs.features(_extracted(self.extractor, images_or_features)[0], "features", 1)
        side = "real" if real else "generated"
        width = self.real_mean.shape[-1]
        if features.shape[1] != width:
            raise ValueError(f"each image must be {width} features, got {features.shape[1]}")
        moments = self._moments(side)
        moments.update(features)
        setattr(self, f"{side}_n", torch.tensor(moments.n, device=features.device))
        setattr(self, f"{side}_mean", moments.mean)
        setattr(self, f"{side}_scatter", moments.scatter)

    def compute(self) -> Tensor:
        value = frechet_of_moments(self._moments("real"), self._moments("generated"))
        return torch.tensor(value, dtype=torch.float64, device=self.real_mean.device)

    def _moments(self, side: str) -> Moments:
        """Moments of this rank; after synchronisation of all ranks, which are the first axis."""
        states = [getattr(self, f"{side}_{name}") for name in ("n", "mean", "scatter")]
        if states[0].ndim == 0:
            states = [state[None] for state in states]
        total = Moments()
        for n, mean, scatter in zip(*states, strict=True):
            total.merge(Moments(int(n), mean, scatter))
        return total


class _Collected(_Lists):
    """Keeps the features of both sides; subclasses define `compute`."""

    def __init__(self, extractor: nn.Module | None = None, **kwargs):
        super().__init__(**kwargs)
        self.extractor = extractor
        self.add_state("real", [], dist_reduce_fx="cat")
        self.add_state("generated", [], dist_reduce_fx="cat")

    def update(self, images_or_features: Tensor, real: bool) -> None:
        features, _ = _extracted(self.extractor, images_or_features)
        (self.real if real else self.generated).append(inputs.features(features, "features", 1))

    def _sides(self) -> tuple[Tensor, Tensor]:
        for name in ("real", "generated"):
            if not len(getattr(self, name)):
                raise ValueError(f"{type(self).__name__} must be given {name} images, got none")
        return dim_zero_cat(self.real), dim_zero_cat(self.generated)


class KernelDistance(_Collected):
    """`kernel_distance` of images or features that come in batches.

    Args:
        extractor: As in `FrechetDistance`.
    """

    higher_is_better = False

    def compute(self) -> Tensor:
        real, generated = self._sides()
        value = kernel_distance(real, generated).value
        return torch.tensor(value, dtype=torch.float64, device=real.device)


class PrecisionRecall(_Collected):
    """`precision_recall` of images or features that come in batches, as a dictionary of the two.

    Args:
        extractor: As in `FrechetDistance`.
        k: Rank of the neighbour that gives a ball's radius.
    """

    higher_is_better = True

    def __init__(self, extractor: nn.Module | None = None, k: int = 3, **kwargs):
        super().__init__(extractor, **kwargs)
        self.k = k

    def compute(self) -> dict[str, Tensor]:
        real, generated = self._sides()
        shares = plain_shares(real, generated, self.k, self.k)
        return _scalars(real, precision=shares["precision"], recall=shares["recall"])


class DensityCoverage(_Collected):
    """`density_coverage` of images or features that come in batches, as a dictionary of the two.

    Args:
        extractor: As in `FrechetDistance`.
        k: Rank of the neighbour that gives a ball's radius.
    """

    higher_is_better = True

    def __init__(self, extractor: nn.Module | None = None, k: int = 5, **kwargs):
        super().__init__(extractor, **kwargs)
        self.k = k

    def compute(self) -> dict[str, Tensor]:
        real, generated = self._sides()
        shares = plain_shares(real, generated, self.k, self.k)
        return _scalars(real, density=shares["density"], coverage=shares["coverage"])


class InceptionScore(_Lists):
    """`inception_score` of images or logits that come in batches.

    The images are sorted by their logits before they are split, so that the score depends neither
    on the batches nor on the number of ranks. The splits therefore differ from those of
    `inception_score` on the same logits.

    Args:
        extractor: Network from uint8 images to (features, logits). None: `update` takes logits.
        splits: Number of splits.
        seed: Seed of the shuffle.
    """

    higher_is_better = True

    def __init__(
        self,
        extractor: nn.Module | None = None,
        splits: int = 10,
        seed: int = FIDELITY_SEED,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.extractor, self.splits, self.seed = extractor, splits, seed
        self.add_state("logits", [], dist_reduce_fx="cat")

    def update(self, images_or_logits: Tensor, real: bool = False) -> None:
        """Adds a batch of images or logits; real images are ignored, as the score needs none."""
        if real:
            return
        _, logits = _extracted(self.extractor, images_or_logits)
        if logits is None:
            raise ValueError("extractor must give (features, logits) for InceptionScore, got one")
        self.logits.append(inputs.features(logits, "logits", 1))

    def compute(self) -> Tensor:
        if not len(self.logits):
            raise ValueError("InceptionScore must be given images, got none")
        logits = dim_zero_cat(self.logits)
        order = np.lexsort(logits.cpu().numpy().T)
        score = inception_score(logits[torch.from_numpy(order)], self.splits, self.seed)
        return torch.tensor(score.value, dtype=torch.float64, device=logits.device)


def _extracted(extractor: nn.Module | None, given: Tensor) -> tuple[Tensor, Tensor | None]:
    """Features and logits; without an extractor the given tensor is both."""
    if extractor is None:
        return given, given
    with torch.no_grad():
        features = extractor(given if given.ndim == 2 else as_uint8(given))
    return features if isinstance(features, tuple) else (features, None)


def _scalars(like: Tensor, **values: float) -> dict[str, Tensor]:
    return {
        name: torch.tensor(value, dtype=torch.float64, device=like.device)
        for name, value in values.items()
    }
