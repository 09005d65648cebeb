"""Inception score: high if a classifier's predictions are certain and use all classes equally.

Salimans et al., 2016, https://arxiv.org/abs/1606.03498. The value equals torch-fidelity's; beyond
it, the logits may be any classifier's, and there is an interval.
"""

import math

import numpy as np
import torch
from torch import Tensor

from .inputs import FIDELITY_SEED, features
from .intervals import student
from .number import Number


def inception_score(logits: Tensor, splits: int = 10, seed: int = FIDELITY_SEED) -> Number:
    """exp of the mean KL divergence of the class probabilities from their mean, averaged over
    splits.

    Images are first shuffled as in torch-fidelity: sorted by class they would score 1 in each
    split. The interval is Student's over the splits, whose deviation is in the note.

    Args:
        logits: float (n, K).

    >>> logits = 50 * torch.eye(3).repeat(4, 1)  # certain predictions of 3 classes, 4 of each
    >>> f"{inception_score(logits, splits=1).value:.4f}"
    '3.0000'
    """
    logits = features(logits, "logits", splits).double()
    n = len(logits)
    order = np.random.RandomState(seed).permutation(n)
    log_p = logits[torch.from_numpy(order).to(logits.device)].log_softmax(1)
    scores = []
    for i in range(splits):
        part = log_p[i * n // splits : (i + 1) * n // splits]
        marginal = part.exp().mean(0)
        divergence = torch.special.xlogy(marginal, marginal).sum()
        scores.append(((part.exp() * part).sum(1).mean() - divergence).exp().item())
    value, deviation = float(np.mean(scores)), float(np.std(scores))
    note = f"{splits} splits of {n // splits:,}, deviation between them {deviation:.2g}"
    if splits < 2:
        return Number(value, note=note)
    half = student(splits - 1) * deviation / math.sqrt(splits - 1)
    return Number(value, max(1.0, value - half), value + half, note)
