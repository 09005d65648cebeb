"""Inception score: how sure a classifier is of each image, and how evenly of its classes.

Salimans et al., 2016, https://arxiv.org/abs/1606.03498. torch-fidelity's value, of the logits of
any classifier, with an interval.
"""

import math

import numpy as np
import torch
from torch import Tensor

from .inputs import FIDELITY_SEED, features
from .intervals import student
from .number import Number


def inception_score(logits: Tensor, splits: int = 10, seed: int = FIDELITY_SEED) -> Number:
    """exp of the mean divergence of the class probabilities from their mean, over splits.

    The images are shuffled first as torch-fidelity does it: sorted ones would score 1 in each
    split. The interval is Student's over the splits; the deviation in the note is theirs too.

    Args:
        logits: float (n, K).
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
