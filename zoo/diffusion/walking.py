"""What a model can do that takes noise out, once for the family: it walks between noise and data.

Of the network only `denoise` is used. Steps are added up in double precision, which costs nothing
beside the network.
"""

import math
from abc import abstractmethod
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import torch
from torch import Tensor
from tqdm import tqdm

from ... import latent
from ...checks import at_least
from ...conditions import Nothing
from ...images import check_images
from ...modes import evaluating
from ..base import GenerativeModel
from . import densities, samplers
from .guidance import guided


class Walking(GenerativeModel):
    """Draws, completes, encodes, and has a density, by `path` and `denoise`.

    Attributes:
        sampler, steps, guidance: Those of `sample` unless it is given others.
        label_dropout: Share of images whose condition was dropped in training.
        levels, density_steps: Values of a pixel, of which `elbo` is the probability, and its steps.
        least: The least time at which the network is called; nearer to data, there is no noise.
        even_to_least: Whether the last step but one ends at `least`; no: steps are even down to 0.
        clipped: Whether x^ is kept within [-1, 1] while images are drawn.
    """

    sampler: str
    steps: int
    guidance: float
    label_dropout: float
    levels: int
    density_steps: int
    least: float
    even_to_least: ClassVar[bool] = True
    clipped: ClassVar[bool] = False
    bound_images = 500  # for which `Likelihood` computes the bound, at most: each is a long walk

    @property
    def bound_is_exact(self) -> bool:
        """Whether `elbo` is the log-likelihood, as far as steps are small: of points."""
        return len(self.image_shape) == 1

    @abstractmethod
    def path(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """alpha and sigma at times in [0, 1], of their shape."""

    @abstractmethod
    def denoise(self, x_t: Tensor, t: Tensor, *condition: Any) -> Tensor:
        """E[x | x_t], of x_t's shape and precision; t (B,). By the average, in evaluation."""

    @property
    def latent_dim(self) -> int:
        """Entries of the noise of an image: as many as the image has."""
        return math.prod(self.image_shape)

    @property
    def sample_protocol(self) -> dict[str, str | int | float]:
        """How samples are drawn, for the card."""
        drawn = {"sampler": self.sampler, "sampling_steps": self.steps}
        return drawn | ({"guidance": self.guidance} if self.conditional else {})

    @property
    def conditional(self) -> bool:
        """Whether it has a condition."""
        return self.condition != Nothing()

    def refuse_walks(self) -> None:
        """Refuses what a constructor cannot be given, before a network is built."""
        at_least(0, guidance=self.guidance)
        _walker(self.sampler)
        if self.conditional:
            self._weight(None)

    # Noise to data

    def sample(
        self,
        n: int,
        y: Any = None,
        steps: int | None = None,
        guidance: float | None = None,
        sampler: str | None = None,
        progress: bool = False,
    ) -> Tensor:
        """Draws images.

        Args:
            n: How many.
            y: Conditions of the images; at random if not given.
            steps: From noise to data; None: the model's number, and so of the others.
            guidance: Strength of the condition.
            sampler: How it walks.
            progress: Show a bar over steps.

        Returns:
            (n, C, H, W) in [-1, 1], or points (n, D).
        """
        return self._end(self.walk(self.prior(n), y, steps, guidance, sampler), steps, progress)

    def walk(
        self,
        z: Tensor,
        y: Any = None,
        steps: int | None = None,
        guidance: float | None = None,
        sampler: str | None = None,
    ) -> Iterator[Tensor]:
        """x_t after each step from the noise z (n, D), in double precision and not clamped; the
        last is the image. Other arguments as `sample`."""
        condition = self.to_draw(len(z), y)
        denoise = self.guided(self._weight(guidance), *condition, clipped=self.clipped)
        x, times = self._begun(z), self.times(steps)
        return self._evaluated(_walker(sampler or self.sampler)(denoise, self.path, x, times))

    prior = latent.standard_gaussian

    def decode(
        self,
        z: Tensor,
        y: Any = None,
        steps: int | None = None,
        guidance: float | None = None,
        sampler: str | None = None,
    ) -> Tensor:
        """Noise (n, D) to its image, without fresh noise: where the model's sampler has some, by
        Euler's method. Other arguments as `sample`."""
        sampler = _without_noise(sampler, self.sampler)
        return self._end(self.walk(z, y, steps, guidance, sampler), steps)

    interpolate = latent.interpolate

    def complete(
        self,
        x: Tensor,
        mask: Tensor,
        y: Any = None,
        steps: int | None = None,
        guidance: float | None = None,
        jump: int = 10,
        resample: int = 4,
        progress: bool = False,
    ) -> Tensor:
        """Draws the pixels of x where the mask (B, 1, H, W) is 0; the others stay as they are.

        Roughly from p(rest | known): at each time the known pixels are given their noise, and after
        each `jump` steps the walk goes back, `resample` times in all, so that the rest comes to
        agree with them (RePaint, https://arxiv.org/abs/2201.09865). Other arguments as `sample`.
        """
        check_images(x, self.image_shape, "the data")
        at_least(1, jump=jump, resample=resample)
        if mask.shape != (len(x), 1, *self.image_shape[1:]):
            got = tuple(mask.shape)
            raise ValueError(f"mask must be ({len(x)}, 1, H, W) as the images, got {got}")
        known, x = mask.to(self.device) == 1, x.to(self.device, self.dtype)
        denoise = self.guided(
            self._weight(guidance), *self.to_draw(len(x), y), clipped=self.clipped
        )
        start, times = self._begun(self.prior(len(x))), self.times(steps)
        walk = samplers.repaint(denoise, self.path, start, times, precise(x), known, jump, resample)
        drawn = self._end(self._evaluated(walk), (len(times) - 1) * resample, progress)
        return torch.where(known, x, drawn)

    # Data to noise

    def encode(
        self,
        x: Tensor,
        y: Any = None,
        steps: int | None = None,
        guidance: float | None = None,
        sampler: str | None = None,
    ) -> Tensor:
        """(B, D): the noise of which `decode` makes these images, as far as its steps are small.
        Other arguments as `decode`."""
        denoise = self.guided(self._weight(guidance), *self._given(len(x), y))
        walker, times = _walker(_without_noise(sampler, self.sampler)), self._rising(steps)
        for last in self._evaluated(walker(denoise, self.path, precise(x), times)):
            x = last
        _, sigma = samplers.at(self.path, 1.0, precise(x))
        return (x / sigma).flatten(1).to(self.dtype)

    def log_density(self, x: Tensor, y: Any = None, steps: int | None = None) -> Tensor:
        """(B,) nats of images or points as they are, (B, ...) floats: by the flow's change of
        variables, as exact as its steps are small; beyond 16 dimensions an unbiased estimate."""
        denoise = self.guided(1.0, *self._given(len(x), y))
        with evaluating(self):
            times = self._rising(self.density_steps if steps is None else steps)
            nats = densities.log_density(denoise, self.path, precise(x), times)
        return nats.to(self.dtype)

    def elbo(self, x: Tensor, y: Any = None, steps: int | None = None) -> Tensor:
        """(B,) nats: of images the bound on the probability of their levels (1511.01844, sec. 3.1),
        by one draw of noise as wide as a level; of points their density."""
        if len(self.image_shape) == 1:
            return self.log_density(x, y, steps)
        width = 2 / (self.levels - 1)
        return self.log_density(self.dequantised(x), y, steps) + self.latent_dim * math.log(width)

    def dequantised(self, x: Tensor) -> Tensor:
        """With noise as wide as a level."""
        return x + (torch.rand_like(x) - 0.5) * (2 / (self.levels - 1))

    def times(self, steps: int | None = None) -> list[float]:
        """Of so many steps from noise to data, falling from 1 to 0."""
        steps = self.steps if steps is None else steps
        at_least(1, steps=steps)
        return samplers.even(steps, self.least if self.even_to_least else None)

    def _rising(self, steps: int | None) -> list[float]:
        """The same from data to noise: what is at 0 is taken to be at the least time."""
        return [*dict.fromkeys(max(t, self.least) for t in reversed(self.times(steps)))]

    def guided(self, guidance: float, *condition: Any, clipped: bool = False) -> samplers.Denoise:
        """`denoise` of these conditions, as the functions in `samplers` take it."""
        denoise = self.denoise
        if condition:
            denoise = guided(self.denoise, self.condition, *condition, guidance)
        if not clipped or len(self.image_shape) == 1:
            return denoise
        return lambda x, t: denoise(x, t).clamp(-1, 1)

    def _weight(self, guidance: float | None) -> float:
        """g as it is given, or the model's own; 1 of an unconditional model."""
        weight = self.guidance if guidance is None else guidance
        at_least(0, guidance=weight)
        if not self.conditional:
            if guidance not in (None, 1):
                kind = type(self).__name__
                raise ValueError(
                    f"guidance must be 1 or left out, got {guidance}: this {kind} is unconditional"
                )
            return 1.0
        if weight != 1 and not self.label_dropout:
            raise ValueError(f"guidance must be 1 where label_dropout is 0, got {weight}")
        return weight

    def _given(self, n: int, y: Any) -> tuple[Any, ...]:
        """The `*condition` of n images, which cannot be made up."""
        if self.conditional and y is None:
            raise ValueError(f"y must be {self.condition.form(n)}, got None")
        return self.to_draw(n, y)

    def _begun(self, z: Tensor) -> Tensor:
        """Noise (n, D) as x at t = 1."""
        x = precise(z.unflatten(1, self.image_shape))
        return samplers.at(self.path, 1.0, x)[1] * x

    def _evaluated(self, walk: Iterator[Tensor]) -> Iterator[Tensor]:
        """In evaluation and without gradients during a step, not between two, where the caller
        looks at them."""
        while True:
            with evaluating(self):
                x = next(walk, None)
            if x is None:
                return
            yield x

    def _end(self, walk: Iterator[Tensor], steps: int | None, progress: bool = False) -> Tensor:
        total = self.steps if steps is None else steps
        for x in tqdm(walk, "steps", total, disable=not progress):
            last = x
        last = last.to(self.dtype)
        return last.clamp(-1, 1) if last.ndim == 4 else last


def precise(x: Tensor) -> Tensor:
    """In double precision, where the device has it."""
    return x.float() if x.device.type == "mps" else x.double()


def _walker(sampler: str) -> Callable[..., Iterator[Tensor]]:
    known = samplers.DETERMINISTIC | samplers.STOCHASTIC
    if sampler not in known:
        raise ValueError(f"sampler must be one of {', '.join(known)}, got {sampler!r}")
    return known[sampler]


def _without_noise(sampler: str | None, own: str) -> str:
    """The given one; else the model's own, or Euler's method where that has fresh noise."""
    if sampler is None:
        return own if own in samplers.DETERMINISTIC else "euler"
    if sampler not in samplers.DETERMINISTIC:
        known = ", ".join(samplers.DETERMINISTIC)
        raise ValueError(f"sampler must be one of {known} between codes, got {sampler!r}")
    return sampler
