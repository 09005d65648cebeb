"""A condition appended to the input of a network: a class as one-hot numbers, others as a code."""

import torch
from torch import Tensor
from torch.nn.functional import one_hot


def checked(y: Tensor | None, n: int, num_classes: int) -> Tensor:
    """The labels (n,) that are a network's condition.

    Raises:
        ValueError: there is no label, or y is not a tensor of labels.
    """
    if y is None:
        raise ValueError(f"y must name a class of 0..{num_classes - 1} for each image, got None")
    if y.ndim != 1 or y.is_floating_point():
        raise ValueError(f"y must be integers ({n},), got {y.dtype} {tuple(y.shape)}")
    return y


def beside(v: Tensor, y: Tensor | None, entries: int) -> Tensor:
    """Appends the code of a condition: to vectors (B, D) as K entries, to images as K planes.

    The code of labels (B,) is one-hot, that of numbers (B, K) the numbers, that of words (B, L) the
    share of each word in the text.

    >>> beside(torch.zeros(1, 2), torch.tensor([1]), 3)
    tensor([[0., 0., 0., 1., 0.]])
    >>> beside(torch.zeros(1, 1, 4, 4), torch.tensor([1]), 3).shape
    torch.Size([1, 4, 4, 4])

    Raises:
        ValueError: y is missing, or of another form.
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
