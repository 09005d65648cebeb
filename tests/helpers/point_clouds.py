"""Points in the plane: how far samples are from them."""

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from genzoo.datamodules import Toy


def earth_movers_distance(a: Tensor, b: Tensor) -> float:
    """W1 of two clouds of as many points, (n, 2): by the best of all pairings."""
    costs = torch.cdist(a, b)
    return costs[linear_sum_assignment(costs.numpy())].mean().item()


def held_out(kind: str, n: int = 1000) -> Tensor:
    """Points of a toy that training does not see, (n, 2)."""
    return Toy(kind).split("test").images[:n]
