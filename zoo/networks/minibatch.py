"""Layers by which a discriminator compares the images of a batch, and by which the samples of a
generator do not depend on their batch.

Both are from Salimans et al., 2016, https://arxiv.org/abs/1606.03498 (sec. 3.2 and 3.5).
"""

import torch
from torch import Tensor, nn

from ..._torch import BATCH_NORM


class MinibatchDiscrimination(nn.Module):
    """Appends closenesses to the other images of the batch to the features of each image.

    A tensor T maps the features f_i (A,) to a matrix M_i (kernels, dims); entry b of the appended
    vector is o_b(i) = sum_{j != i} exp(-|M_ib - M_jb|_1), B - 1 if all images are the same
    and 0 if they are far apart.

    In evaluation o is 0, so that the score of an image does not depend on other images.

    Args:
        num_features: A.
        kernels: Number of closenesses.
        dims: Entries of a row of M, from which a closeness is computed.
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
        """Scales the output so that the sum of spectrally normal scores has a slope of at most 1,
        though each score depends on all images."""
        self.limited = True


class VirtualBatchNorm(nn.Module):
    """Batch normalisation by the statistics of the first n rows; each other row adds itself.

    A row x that is not one of the n has mean x / (n + 1) + n mean_n / (n + 1), its second moment
    likewise; for images x is the mean over pixels. So a row depends on itself and the n only.

    Args:
        norm: The layer that it replaces; scale and shift are kept.
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
    """A generator with virtual batch normalisation, whose reference latents are chosen once.

    Args:
        generator: A network of (z) or (z, y); its layers of batch normalisation are replaced.
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
        inputs = [torch.cat((self.reference, z))]
        if y is not None:
            inputs.append(torch.cat((torch.arange(n, device=y.device) % self.num_classes, y)))
        return self.generator(*inputs)[n:]
