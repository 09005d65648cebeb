"""A condition beside the input of a network: a class as one-hot numbers, others as their code."""

import torch
from torch import Tensor
from torch.nn.functional import one_hot


def checked(y: Tensor | None, n: int, num_classes: int) -> Tensor:
    """The labels (n,) that are a network's condition.

    Raises:
        ValueError: it got no label, or something else.
    """
    if y is None:
        raise ValueError(f"y must name a class of 0..{num_classes - 1} for each image, got None")
    if y.ndim != 1 or y.is_floating_point():
        raise ValueError(f"y must be integers ({n},), got {y.dtype} {tuple(y.shape)}")
    return y


def beside(v: Tensor, y: Tensor | None, entries: int) -> Tensor:
    """Appends the code of a condition: to vectors (B, D) as K entries, to images as K planes.

    Labels (B,) are one-hot, numbers (B, K) as they are, words (B, L) the share of each in a text.

    Raises:
        ValueError: a network that has a condition got none, or something else.
    """
    if not entries:
        return v
    if isinstance(y, Tensor) and y.ndim == 2:
        code = y if y.is_floating_point() else one_hot(y, entries).to(v).mean(1)
        if code.shape != (len(v), entries):
            raise ValueError(f"y must be ({len(v)}, {entries}), got {tuple(y.shape)}")
        code = code.to(v)
    else:
        code = one_hot(checked(y, len(v), entries), entries).to(v)  # (B, K)
    if v.ndim == 4:
        code = code[:, :, None, None].expand(-1, -1, *v.shape[2:])  # (B, K, H, W)
    return torch.cat((v, code), dim=1)
