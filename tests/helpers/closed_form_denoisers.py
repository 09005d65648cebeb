"""What the best denoiser says where it can be written down."""

import torch
from torch import Tensor

from genzoo.zoo.diffusion.paths import Exploding, Straight, VariancePreserving, linear_betas

PATHS = {
    "straight": Straight(),
    "exploding": Exploding(20.0, 3.0),
    "preserving": VariancePreserving(linear_betas(100_000)),  # as good as continuous
}


def of_gaussian(path, mean: Tensor, covariance: Tensor):
    """`denoise` for points (n, D) of N(mean, covariance): the mean of x given x_t."""
    mean = mean.double()
    values, vectors = torch.linalg.eigh(covariance.double())

    def denoise(x: Tensor, t: Tensor) -> Tensor:
        alpha, sigma = (v[:, None] for v in path(t))  # (n, 1)
        along = (x - alpha * mean) @ vectors
        return mean + along * (alpha * values / (alpha**2 * values + sigma**2)) @ vectors.T

    return denoise


def of_set(path, points: Tensor):
    """`denoise` for data that are these points (k, D), each as likely: their mean, weighted by how
    well each explains x_t."""
    points = points.double()

    def denoise(x: Tensor, t: Tensor) -> Tensor:
        alpha, sigma = (v[:, None] for v in path(t))
        squares = (x[:, None] - alpha[..., None] * points).square().sum(2)  # (n, k)
        return (-squares / (2 * sigma**2)).softmax(1) @ points

    return denoise


def root(covariance: Tensor) -> Tensor:
    """The symmetric one."""
    values, vectors = torch.linalg.eigh(covariance.double())
    return vectors * values.sqrt() @ vectors.T
