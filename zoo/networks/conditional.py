"""How a network is told a class: labels as one-hot numbers beside its input."""

import torch
from torch import Tensor
from torch.nn.functional import one_hot


def beside(v: Tensor, y: Tensor | None, num_classes: int) -> Tensor:
    """Appends the one-hot label: to vectors (B, D) as K entries, to images as K constant planes.

    Raises:
        ValueError: a network that is told a class got no label, or something else.
    """
    if not num_classes:
        return v
    if y is None:
        raise ValueError(f"y must name a class of 0..{num_classes - 1} for each image, got None")
    if y.ndim != 1 or y.is_floating_point():
        raise ValueError(f"y must be integers ({len(v)},), got {y.dtype} {tuple(y.shape)}")
    code = one_hot(y, num_classes).to(v)  # (B, K)
    if v.ndim == 4:
        code = code[:, :, None, None].expand(-1, -1, *v.shape[2:])  # (B, K, H, W)
    return torch.cat((v, code), dim=1)
