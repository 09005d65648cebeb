"""Any generator as a model, for `report_card` and for any Trainer's evaluations."""

from collections.abc import Callable
from typing import Any

import lightning as L
import torch
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor

from ...images import check_images, from_uint8
from ...modes import evaluating
from .forms import as_images, refuse_bits


class Wrapped(L.LightningModule):
    """Any generator as a model, for `report_card` and for any Trainer's evaluations.

        Wrapped(lambda n: pipeline(batch_size=n))            a callable
        Wrapped(generator, latent_dim=128)                   a module of z from N(0, I), (n, 128)
        Wrapped(generator, latent_dim=(100, 1, 1), low=0)    one whose images are in [0, 1]

    >>> Wrapped(lambda n: torch.rand(n, 1, 8, 8), low=0).sample(4).shape
    torch.Size([4, 1, 8, 8])

    Args:
        generate: A function from the number n, or with `latent_dim` from latents (n, D), to n
            images in a form of `as_images`; floats in [low, high], bytes in 0..255. A conditional
            generator has labels (n,) as a second argument.
        image_shape: (C, H, W) that the images must have, (D,) for points; None: any.
        num_classes: K, the number of classes of a conditional generator; 0: it is unconditional.
        latent_dim: D, or the shape of a latent; None: `generate` has no latents.
        low, high: The values of black and white, e.g. 0 and 1, or 0 and 255.
    """

    def __init__(
        self,
        generate: Callable[..., Any],
        image_shape: tuple[int, ...] | None = None,
        num_classes: int = 0,
        latent_dim: int | tuple[int, ...] | None = None,
        low: float = -1.0,
        high: float = 1.0,
    ) -> None:
        super().__init__()
        if not callable(generate):
            raise TypeError(f"generate must be callable, got a {type(generate).__name__}")
        if not low < high:
            raise ValueError(f"high must be greater than low, {low}, got {high}")
        self.generate, self.num_classes, self.low, self.high = generate, num_classes, low, high
        self.latent_shape = (latent_dim,) if isinstance(latent_dim, int) else latent_dim
        if image_shape is not None:
            self.image_shape = tuple(image_shape)
        self.name = getattr(generate, "__name__", type(generate).__name__)

    def sample(self, n: int, y: Tensor | None = None) -> Tensor:
        """n images in [-1, 1]; labels y (n,) are drawn at random if not given."""
        given: list[Any] = [n]
        if self.latent_shape is not None:
            given = [torch.randn(n, *self.latent_shape, device=self.device, dtype=self.dtype)]
        if self.num_classes:
            given.append(
                torch.randint(self.num_classes, (n,), device=self.device) if y is None else y
            )
        shape = getattr(self, "image_shape", None)
        with evaluating(self):
            x = as_images(self.generate(*given), shape, self.name).to(self.device)
        declared = (self.low, self.high) != (-1, 1)
        if declared:
            x = x.float().sub(self.low).div((self.high - self.low) / 2).sub(1)
        elif x.dtype == torch.uint8:
            refuse_bits(x, f"the images of {self.name}")
            x = from_uint8(x)
        x = x.float()
        if n > 1 and x.ndim == 4 and not declared and x.min() >= 0:
            rank_zero_warn(f"the images of {self.name} look as if in [0, 1]: Wrapped(..., low=0)")
        if shape is not None and len(shape) == 3:
            check_images(x, shape, self.name)
        return x
