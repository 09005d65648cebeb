"""The shares of classes among images, by the predictions of a classifier."""

from dataclasses import dataclass

import torch
from torch import Tensor

from .intervals import wilson


def class_shares(logits: Tensor, known: tuple[Tensor, Tensor] | None = None) -> Tensor:
    """The share of images of each class, (K,).

    A classifier makes errors, and so predicts classes that a model never draws. The error rates are
    estimated on labelled images, and the shares are corrected: expectation maximisation gives the
    most probable shares pi of true classes for the shares of predictions,

        share of prediction a = sum_c pi_c P(a | c)

    Args:
        logits: float (n, K).
        known: Logits (m, K) and labels (m,) of images that the classifier was not trained on;
            the shares are not corrected without at least 20 images of each class.
    """
    if logits.ndim != 2 or not len(logits):
        raise ValueError(f"logits must be (n, K) and not empty, got {tuple(logits.shape)}")
    if not logits.isfinite().all():
        raise ValueError("logits must be finite, got NaN or infinity")
    k = logits.shape[1]
    answers = logits.argmax(1).bincount(minlength=k).double() / len(logits)
    if known is None:
        return answers
    truth, predicted = known[1], known[0].argmax(1)
    if not 0 <= truth.min() <= truth.max() < k:
        raise ValueError(f"labels must be in 0..{k - 1}, got {truth.min()}..{truth.max()}")
    table = (truth * k + predicted).bincount(minlength=k * k).view(k, k).double()
    if table.sum(1).min() < 20:
        return answers
    table /= table.sum(1, keepdim=True)  # P(answer | class), rows are classes
    shares = table.new_full((k,), 1 / k)
    for _ in range(1000):
        shares = shares * (table @ (answers / (shares @ table).clamp(min=1e-12)))
        shares /= shares.sum()
    return shares


def effective_classes(shares: Tensor) -> float:
    """exp of the entropy of shares (K,): K for K equal shares, 1 for a single class.

    >>> effective_classes(torch.tensor([0.25, 0.25, 0.25, 0.25]))
    4.0
    >>> effective_classes(torch.tensor([1.0, 0.0, 0.0]))
    1.0
    """
    return torch.special.entr(shares).sum().exp().item()


def missing_classes(shares: Tensor, reference: Tensor, n: int) -> list[int]:
    """Classes with less than a fifth of their share, and significantly less than half of it.

    Args:
        shares: Shares of the classes among n samples, (K,).
        reference: Shares of the classes among training images, (K,).

    >>> missing_classes(torch.tensor([0.9, 0.1, 0.0]), torch.tensor([0.4, 0.3, 0.3]), n=100)
    [2]
    """
    pairs = zip(shares.tolist(), reference.tolist(), strict=True)
    return [
        c
        for c, (ours, real) in enumerate(pairs)
        if ours < real / 5 and wilson(ours, n)[1] < real / 2
    ]


@dataclass
class Classes:
    """Shares of the classes among samples and training images, (K,), and the missing classes."""

    generated: Tensor
    train: Tensor
    missing: list[int]

    @property
    def present(self) -> int:
        """Number of classes in the training data."""
        return int((self.train > 0).sum())

    @property
    def left(self) -> list[int]:
        """Classes that are not missing, the most frequent first."""
        shares = self.generated.tolist()
        left = [c for c in range(len(shares)) if self.train[c] > 0 and c not in self.missing]
        return sorted(left, key=lambda c: -shares[c])
