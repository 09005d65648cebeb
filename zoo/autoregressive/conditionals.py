"""Autoregressive models: an image's probability as a product of conditionals, each exact.

    log p(x) = sum_i log p(x_i | x_1, ..., x_{i-1})                 (1601.06759, eq. 1 and 2)

over rows from the top, a row's pixels from the left, a pixel's colours in turn. A model gives
`conditionals`; its likelihood, its samples and the completion of images follow here, once for
the family. Samples are drawn by inverting the distribution function of each value at a uniform
number drawn beforehand: so however they are computed, the same numbers give the same images.
"""

from math import log, prod

import torch
from torch import Tensor
from torch.optim import Optimizer

from ...checks import shape_of_images
from ...images import check_images, from_levels, to_levels
from ..base import GenerativeModel
from ..pixelwise import Levels as Levels
from ..pixelwise import draw


class Autoregressive(GenerativeModel):
    """Base class of the family.

    A subclass defines `conditionals(x, *condition)`: for images (B, C, H, W) on the grid of levels,
    a distribution of all their levels, (B, C, H, W), in which each depends only on earlier values
    of x; it has `log_prob`, `icdf` and indexing, to select pixels. If every layer with a kernel
    larger than a pixel is `networks.masked.Cached`, sampling is fast.

    The condition is labels (B,) of `num_classes`; an unconditional model has none.

    Args:
        image_shape: (C, H, W).
        num_classes: K, the number of classes of a class-conditional model; 0: the model is
            unconditional.
        levels: Number of values of a pixel, 2 to 256, evenly from -1 to 1; images are rounded to
            them.
        lr: Adam's learning rate.

    Attributes:
        margin: Columns on the right of an image that the layers also visit in sampling, though
            nothing is drawn there.
    """

    margin = 0

    def __init__(self, image_shape: tuple[int, ...], num_classes: int, levels: int, lr: float):
        super().__init__()
        if len(shape_of_images(image_shape)) != 3:
            raise ValueError(f"image_shape must be (C, H, W), got {tuple(image_shape)}")
        if not 2 <= levels <= 256:
            raise ValueError(f"levels must be in 2..256, got {levels}")
        self.image_shape, self.num_classes = tuple(image_shape), num_classes
        self.levels, self.lr = levels, lr

    # The likelihood

    def log_prob(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """(B,) nats: the log-probability of the levels of x, summed over pixels and colours."""
        check_images(x, self.image_shape, "the data")
        level = to_levels(x, self.levels)
        grid = from_levels(level, self.levels, self.dtype)
        return self.conditionals(grid, *self.given(x, y)).log_prob(level).flatten(1).sum(1)

    def bits_per_dim(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """Bits (B,) per pixel and colour; a uniform distribution has log2 of `levels`."""
        return self.log_prob(x, y) / (-log(2) * prod(self.image_shape))

    def given(self, x: Tensor, y: Tensor | None) -> tuple[Tensor, ...]:
        """The `*condition` of images x, which is checked."""
        condition = self.condition.arguments(y)
        if self.num_classes and not condition:
            raise ValueError(f"y must be labels in 0..{self.num_classes - 1}, got None")
        return self.to_draw(len(x), *condition)

    # Training

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        loss = self.bits_per_dim(*batch).mean()
        self.log("loss/bits_per_dim", loss, prog_bar=True)
        return loss

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        bits = self.bits_per_dim(*batch).mean()
        nats = bits * log(2) * prod(self.image_shape)
        values = {"bits_per_dim": bits, "nats": nats}
        self.log_dict(values, prog_bar=True, batch_size=len(batch[0]), sync_dist=True)

    test_step = validation_step

    def configure_optimizers(self) -> Optimizer:
        return torch.optim.Adam(self.parameters(), lr=self.lr)

    # Drawing

    def sample(
        self,
        n: int,
        y: Tensor | None = None,
        method: str = "cached",
        uniforms: Tensor | None = None,
        progress: bool = False,
    ) -> Tensor:
        """Draws images, exactly from the model.

        Args:
            n: Number of images.
            y: Labels (n,); None: drawn at random.
            method: "cached", or "naive": a whole pass for each value, for comparison.
            uniforms: Random numbers (n, H, W, C) in [0, 1); the same numbers and labels give the
                same images. None: drawn.
            progress: Whether to show a progress bar over rows.

        Returns:
            (n, C, H, W) in [-1, 1], on the grid of levels.
        """
        condition = self.to_draw(n, y)
        x = torch.zeros(n, *self.image_shape, device=self.device, dtype=self.dtype)
        return self._draw(x, None, condition, method, uniforms, progress)

    def complete(
        self,
        x: Tensor,
        mask: Tensor,
        y: Tensor | None = None,
        method: str = "cached",
        uniforms: Tensor | None = None,
        progress: bool = False,
    ) -> Tensor:
        """Draws the pixels of x where the mask (B, 1, H, W) is 0; the others stay.

        Each pixel is drawn given all earlier ones. This is exact, a draw from p(rest | known), if
        the known pixels come first in the order (e.g. the upper half); pixels that are known after
        a gap do not change what is drawn in the gap.

        Args:
            x: Images (B, C, H, W) in [-1, 1].
            mask: 1 where a pixel is known.
            y: Labels (B,); None: drawn at random.
            method: "cached", or "naive": a whole pass for each value, for comparison.
            uniforms: Random numbers (B, H, W, C) in [0, 1); None: drawn.
            progress: Whether to show a progress bar over rows.
        """
        check_images(x, self.image_shape, "the data")
        if mask.shape != (len(x), 1, *self.image_shape[1:]):
            got = tuple(mask.shape)
            raise ValueError(f"mask must be ({len(x)}, 1, H, W) as the images, got {got}")
        known = mask.to(self.device) == 1
        x = x.to(self.device, self.dtype)
        grid = from_levels(to_levels(x, self.levels), self.levels, self.dtype)
        condition = self.to_draw(len(x), y)
        drawn = self._draw(grid, known, condition, method, uniforms, progress)
        return torch.where(known, x, drawn)

    def _draw(
        self,
        x: Tensor,
        known: Tensor | None,
        condition: tuple[Tensor, ...],
        method: str,
        uniforms: Tensor | None,
        progress: bool,
    ) -> Tensor:
        """Draws x where it is not known, in place."""
        return draw(
            lambda x: self.conditionals(x, *condition),
            self,
            x,
            self.levels,
            known,
            method,
            uniforms,
            progress,
            self.margin,
        )
