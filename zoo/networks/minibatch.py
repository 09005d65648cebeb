"""Layers that let a discriminator see its batch, and keep a generator from seeing its own.

Both from Salimans et al., 2016, https://arxiv.org/abs/1606.03498 (sec. 3.2 and 3.5).
"""

import torch
from torch import Tensor, nn

from ..._torch import BATCH_NORM


class MinibatchDiscrimination(nn.Module):
    """Appends to each image's features how close the batch's other images come to it.

    A tensor T carries the features f_i (A,) to a matrix M_i (kernels, dims); entry b of what is
    appended is o_b(i) = sum_{j != i} exp(-|M_ib - M_jb|_1), B - 1 where all images are the same
    and 0 where they are far apart.

    In evaluation each image is by itself, so that what is said of it depends on no other: o is 0.

    Args:
        num_features: A.
        kernels: How many closenesses.
        dims: Entries of a row of M, of which a closeness is made.
    """

    def __init__(self, num_features: int, kernels: int, dims: int):
        super().__init__()
        self.kernels, self.dims, self.limited = kernels, dims, False
        self.project = nn.Linear(num_features, kernels * dims, bias=False)  # a bias would cancel

    def forward(self, features: Tensor) -> Tensor:
        """(B, A) to (B, A + kernels)."""
        if not self.training:
            near = features.new_zeros(len(features), self.kernels)
            return torch.cat((features, near), dim=1) * (0.5**0.5 if self.limited else 1)
        rows = self.project(features).unflatten(1, (self.kernels, self.dims)).transpose(0, 1)
        apart = torch.cdist(rows, rows, p=1)  # (kernels, B, B)
        near = (-apart).exp().sum(2).T - 1  # an image is not its own neighbour
        if not self.limited:
            return torch.cat((features, near), dim=1)
        steepest = 2 * max(1, len(features) - 1) * self.dims**0.5  # of all near together
        return torch.cat((features, near / steepest), dim=1) * 0.5**0.5

    def limit_slope(self) -> None:
        """So that the sum of normal scores has slope at most 1, though images see each other."""
        self.limited = True


class VirtualBatchNorm(nn.Module):
    """Batch normalisation by the first n rows and, for each of the others, by itself beside them.

    A row x that is not of the n has mean x / (n + 1) + n mean_n / (n + 1), its second moment
    likewise; of the pixels of an image x is the mean. So no row depends on any but the n.

    Args:
        norm: The layer whose place it takes, scale and shift included.
        n: Rows of the reference batch.
    """

    def __init__(self, norm: BATCH_NORM, n: int):
        super().__init__()
        self.weight, self.bias, self.eps, self.n = norm.weight, norm.bias, norm.eps, n

    def forward(self, x: Tensor) -> Tensor:
        own = torch.zeros(len(x), *[1] * (x.ndim - 1)).to(x)  # its share in its statistics
        own[self.n :] = 1 / (self.n + 1)
        mean, square = (self._moment(v, own) for v in (x, x.square()))
        deviation = ((square - mean.square()).clamp(min=0) + self.eps).sqrt()
        x = (x - mean) / deviation
        if self.weight is None:  # the class scales and shifts it
            return x
        shape = -1, *[1] * (x.ndim - 2)
        return x * self.weight.view(shape) + self.bias.view(shape)

    def _moment(self, v: Tensor, own: Tensor) -> Tensor:
        v = v.flatten(2).mean(2).view(*v.shape[:2], *[1] * (v.ndim - 2)) if v.ndim > 2 else v
        return torch.lerp(v[: self.n].mean(0, keepdim=True), v, own)


class WithReference(nn.Module):
    """A generator with virtual batch normalisation, by latents that are chosen once.

    Args:
        generator: Has layers of batch normalisation, which are exchanged, and takes (z) or (z, y).
        reference: The latents (n, D).
        num_classes: K; the reference batch has each class equally often. 0: there are none.
    """

    def __init__(self, generator: nn.Module, reference: Tensor, num_classes: int):
        super().__init__()
        n = len(reference)
        kind = BATCH_NORM
        norms = [(name, m) for name, m in generator.named_modules() if isinstance(m, kind)]
        if not norms:
            raise ValueError(
                f"virtual_batch_norm must be 0 for a generator without batch normalisation, got {n}"
            )
        for name, norm in norms:
            generator.set_submodule(name, VirtualBatchNorm(norm, n))
        self.generator, self.num_classes = generator, num_classes
        self.register_buffer("reference", reference)

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        n = len(self.reference)
        seen = [torch.cat((self.reference, z))]
        if y is not None:
            seen.append(torch.cat((torch.arange(n, device=y.device) % self.num_classes, y)))
        return self.generator(*seen)[n:]
