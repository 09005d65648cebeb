"""Autoencoder: Reducing the Dimensionality of Data with Neural Networks.

Hinton and Salakhutdinov, 2006. https://doi.org/10.1126/science.1127647

An encoder f maps an image to a code of few numbers, a decoder g maps the code to an image, and both
are trained to reconstruct the image:

    min_{f, g}  E |x - g(f(x))|^2

With linear f and g this is principal component analysis (`LinearAutoencoder`). Deep networks, of
1000, 500 and 250 units with a linear code between them, are nonlinear, and have a smaller error at
the same size of code, also on held-out images.

The loss does not fix the distribution of codes, so the model alone is not generative: z from N(0,
I) decodes to no image of the data. Therefore a Gaussian is fitted to the codes of the training
images (`CodeGaussian`), from which `prior` and `sample` draw.

Differs from the paper: no pretraining by restricted Boltzmann machines, which are not needed with
ReLU and Adam at this depth; squared error also where the paper uses cross-entropy; tanh at the end,
for images in [-1, 1]. A squared error is four times what it is for pixels in [0, 1].
"""

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot

from ... import latent
from ...checks import at_least, refuse_unless
from ...modes import evaluating
from .. import networks
from ..base import GenerativeModel

MEMORY = 10_000  # codes that count in a Gaussian


def funnel(width: int) -> tuple[int, int, int]:
    """Units of the encoder's hidden layers."""
    return width, width // 2, width // 4


class Encoder(nn.Module):
    """Images to codes, (B, D)."""

    def __init__(self, image_shape: tuple[int, ...], latent_dim: int, num_classes: int, width: int):
        super().__init__()
        self.body = networks.MLP((math.prod(image_shape), *funnel(width), latent_dim))

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x.flatten(1))


class Decoder(nn.Module):
    """Codes to images in [-1, 1], or to points on the whole plane; the mirror of `Encoder`."""

    def __init__(self, image_shape: tuple[int, ...], latent_dim: int, num_classes: int, width: int):
        super().__init__()
        self.image_shape = tuple(image_shape)
        self.body = networks.MLP((latent_dim, *reversed(funnel(width)), math.prod(image_shape)))
        self.out = nn.Identity() if len(image_shape) == 1 else nn.Tanh()

    def forward(self, z: Tensor) -> Tensor:
        return self.out(self.body(z)).unflatten(1, self.image_shape)


class CodeGaussian(nn.Module):
    """A Gaussian of full covariance, fitted to the latest codes; one for each of K classes.

    Its moments are updated during training. New codes of a class are merged into its mean and
    covariance (Chan, Golub and LeVeque, 1979, eq. 2.1), and reduce the weight of the earlier ones,
    so that a class is described by about its latest `MEMORY` codes, however rare it is. It is
    N(0, I) before the first code.

    Args:
        latent_dim: D, numbers in a code.
        num_classes: K, the number of Gaussians; 0: one Gaussian of all codes.
    """

    def __init__(self, latent_dim: int, num_classes: int = 0):
        super().__init__()
        groups = max(num_classes, 1)
        self.register_buffer("weight", torch.zeros(groups))  # codes that count
        self.register_buffer("mean", torch.zeros(groups, latent_dim))
        self.register_buffer("covariance", torch.eye(latent_dim).repeat(groups, 1, 1))

    @torch.no_grad()
    def remember(self, z: Tensor, y: Tensor | None = None) -> None:
        """Updates the moments by codes (B, D) with labels (B,); codes with label -1 are left out.

        Raises:
            ValueError: there are classes and no labels, or a label is K or more.
        """
        groups = len(self.weight)
        if groups > 1:
            largest = torch.tensor(groups) if y is None else y.max()
            refuse_unless(
                largest < groups,
                lambda: ValueError(
                    f"y must be labels below {groups} (-1: unlabelled), got "
                    f"{None if y is None else largest.item()}"
                ),
            )
        group = z.new_zeros(len(z), dtype=torch.long) if groups == 1 else y
        with torch.autocast(z.device.type, enabled=False):
            z = z.to(self.mean)
            member = one_hot(group + 1, groups + 1)[:, 1:].to(z)  # (B, K)
            n = member.sum(0)
            mean = member.T @ z / n.clamp(min=1)[:, None]  # (K, D)
            apart = (z[:, None] - mean) * member[:, :, None]  # (B, K, D)
            covariance = torch.einsum("bki,bkj->kij", apart, apart) / n.clamp(min=1)[:, None, None]
            weight = self.weight * (1 - 1 / MEMORY) ** n + n
            share = (n / weight.clamp(min=1))[:, None]  # of new codes; 0 where there are none
            step = mean - self.mean
            between = (1 - share)[:, :, None] * step[:, :, None] * step[:, None]
            self.covariance.lerp_(covariance + between, share[:, :, None])
            self.mean.addcmul_(share, step)
            self.weight.copy_(weight)

    def draw(self, group: Tensor) -> Tensor:
        """Random codes (n, D) of classes (n,)."""
        values, vectors = torch.linalg.eigh(self.covariance)
        roots = vectors * values.clamp(min=0).sqrt()[:, None]  # (K, D, D)
        noise = torch.randn_like(self.mean[:1].expand(len(group), -1))
        every = noise @ roots.mT  # (K, n, D)
        return self.mean[group] + every[group, torch.arange(len(group), device=group.device)]


class Autoencoder(GenerativeModel):
    """A deep encoder and decoder trained to reconstruct images; base class of the autoencoders.

    The Gaussian of codes depends on the training codes of all ranks, in their order. Its moments
    are
    buffers: they are equal on all ranks, are saved in checkpoints, and a resumed training continues
    with them.

    >>> model = Autoencoder((1, 8, 8), latent_dim=4, width=32)
    >>> model.reconstruct(torch.zeros(2, 1, 8, 8)).shape
    torch.Size([2, 1, 8, 8])

    Args:
        image_shape: (C, H, W), or (D,) for points.
        num_classes: K, the number of classes. Samples of a class are drawn from the Gaussian of its
            codes; the networks do not depend on the class. 0: one Gaussian of all codes.
        latent_dim: D, numbers in a code.
        width: Units of the first hidden layer; the next two have a half and a quarter of it.
        lr: Adam's learning rate.
    """

    Encoder: type[nn.Module] = Encoder
    Decoder: type[nn.Module] = Decoder

    def __init__(
        self,
        image_shape: tuple[int, ...],
        num_classes: int = 0,
        latent_dim: int = 30,
        width: int = 1000,
        lr: float = 1e-3,
    ):
        super().__init__()
        self.save_hyperparameters()
        at_least(1, latent_dim=latent_dim)
        self.image_shape, self.num_classes = tuple(image_shape), num_classes
        self.latent_dim, self.lr = latent_dim, lr
        self.encoder = self.Encoder(self.image_shape, latent_dim, 0, width)
        self.decoder = self.Decoder(self.image_shape, latent_dim, 0, width)
        self.codes = CodeGaussian(latent_dim, num_classes)

    # Training

    def corrupt(self, x: Tensor) -> Tensor:
        """The encoder's input in training: here the image itself."""
        return x

    def error(self, x: Tensor, x_hat: Tensor) -> Tensor:
        """(B,) squared error, summed over pixels."""
        return (x - x_hat).square().flatten(1).sum(1)

    def training_step(self, batch, batch_idx) -> Tensor:
        x, y = batch
        z = self.encoder(self.corrupt(x))
        loss = self.error(x, self.decoder(z)).mean()
        self.log("loss/reconstruction", loss.detach(), prog_bar=True)
        self._remember(z.detach(), y)
        return loss

    def _remember(self, z: Tensor, y: Tensor | None) -> None:
        known = dict(zip("zy", (z, *self.condition.arguments(y)), strict=False))
        every = self.all_gather(known)  # of several ranks: (ranks, B, ...)
        if self.trainer.world_size > 1:
            every = {name: part.flatten(0, 1) for name, part in every.items()}
        self.codes.remember(**every)

    def validation_step(self, batch, batch_idx) -> None:
        self._log_error(batch, "")

    def test_step(self, batch, batch_idx) -> None:
        self._log_error(batch, "test/")

    def _log_error(self, batch, prefix: str) -> None:
        x, _ = batch
        error = self.error(x, self.reconstruct(x)).mean()
        settings = {"on_epoch": True, "batch_size": len(x), "sync_dist": True, "prog_bar": True}
        self.log(f"{prefix}squared_error", error, **settings)

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=self.lr)

    # What it can do

    def prior(self, n: int, y: Tensor | None = None) -> Tensor:
        """Codes (n, D) from the Gaussian of codes; of classes y (n,), or of random classes."""
        one = torch.zeros(n, dtype=torch.long, device=self.device)
        return self.codes.draw(*(self.to_draw(n, y) or (one,)))

    def decode(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        """Images (n, C, H, W) of codes (n, D). The decoder does not use y."""
        with evaluating(self):
            x = self.decoder(z)
            return x if len(self.image_shape) == 1 else x.clamp(-1, 1)

    def sample(self, n: int, y: Tensor | None = None) -> Tensor:
        """n images decoded from codes of the Gaussian; labels y (n,) are drawn if not given."""
        return self.decode(self.prior(n, y))

    def encode(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """Codes (B, D) of images (B, C, H, W). The encoder does not use y."""
        with evaluating(self):
            return self.encoder(x)

    def reconstruct(self, x: Tensor) -> Tensor:
        """Images decoded from the codes of images."""
        return self.decode(self.encode(x))

    interpolate = latent.interpolate
