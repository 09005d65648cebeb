"""How a network is told a class: labels as one-hot numbers beside its input."""

import torch
from torch import Tensor
from torch.nn.functional import one_hot


def checked(y: Tensor | None, n: int, num_classes: int) -> Tensor:
    """The labels (n,) that a network is told.

    Raises:
        ValueError: it got no label, or something else.
    """
    if y is None:
        raise ValueError(f"y must name a class of 0..{num_classes - 1} for each image, got None")
    if y.ndim != 1 or y.is_floating_point():
        raise ValueError(f"y must be integers ({n},), got {y.dtype} {tuple(y.shape)}")
    return y


def beside(v: Tensor, y: Tensor | None, num_classes: int) -> Tensor:
    """Appends the one-hot label: to vectors (B, D) as K entries, to images as K constant planes.

    Raises:
        ValueError: a network that is told a class got no label, or something else.
    """
    if not num_classes:
        return v
    code = one_hot(checked(y, len(v), num_classes), num_classes).to(v)  # (B, K)
    if v.ndim == 4:
        code = code[:, :, None, None].expand(-1, -1, *v.shape[2:])  # (B, K, H, W)
    return torch.cat((v, code), dim=1)
