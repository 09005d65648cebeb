"""Classifier-free guidance: Ho and Salimans, 2022, https://arxiv.org/abs/2207.12598.

A network whose condition was sometimes dropped in training is two models, and

    x^ = x^_none + g (x^_y - x^_none)                       (eq. 6, g = 1 + w)

goes on from one to the other. g = 1 is the conditional model as it is, 0 that of no condition; more
raises agreement with the condition and lowers diversity.
"""

from typing import Any

import torch
from torch import Tensor

from ...batches import join
from ...conditions import Condition
from .samplers import Denoise


def guided(denoise: Any, kind: Condition, y: Any, guidance: float) -> Denoise:
    """`denoise(x_t, t, y)` of this y, guided, as the functions in `samplers` take it.

    Args:
        kind: The condition that y is of, any.
        guidance: g.
    """

    def denoised(x: Tensor, t: Tensor) -> Tensor:
        if guidance == 1:
            return denoise(x, t, y)
        none = kind.withhold(y, torch.ones_like(t, dtype=torch.bool))
        if guidance == 0:
            return denoise(x, t, none)
        both = denoise(torch.cat((x, x)), torch.cat((t, t)), join([none, y]))  # in one batch
        without, given = both.chunk(2)
        return without + guidance * (given - without)

    return denoised
