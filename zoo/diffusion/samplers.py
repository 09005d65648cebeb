"""Ways back from noise to data, as plain functions that one can iterate over.

Each takes `denoise`, a path and times, and gives x at one time after the other:

    for x_t in heun(denoise, path, x, times): ...

    denoise(x, t)   x (n, ...) and times (n,) to E[x_0 | x_t = x], of x's shape
    path(t)         times (n,) to alpha and sigma (n,)
    x               at times[0], in the precision in which steps are added up
    times           plain numbers, falling from 1 (noise) to 0 (data); the last is never looked from

With x^ = denoise(x, t) and epsilon^ = (x - alpha x^) / sigma, whatever the path and whatever the
network predicts, the flow of probability (2011.13456, eq. 13) is

    dx = x^ d alpha + epsilon^ d sigma,

so neither needs a derivative of the path. The deterministic ones walk from data to noise as well,
along rising times; they begin above 0, where there is no noise to be removed.
"""

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

Denoise = Callable[[Tensor, Tensor], Tensor]
Path = Callable[[Tensor], tuple[Tensor, Tensor]]


def even(steps: int, least: float | None = None) -> list[float]:
    """Times of so many steps, falling evenly from 1 to `least`, and then 0.

    Args:
        least: The last time at which there is noise; None: as far from 0 as the others are apart.
    """
    if least is None:
        return [1 - k / steps for k in range(steps)] + [0.0]
    apart = (1 - least) / max(1, steps - 1)
    return [1 - k * apart for k in range(steps - 1)] + [least if steps > 1 else 1.0, 0.0]


def at(path: Path, time: float, x: Tensor) -> tuple[Tensor, Tensor]:
    """alpha and sigma at one time, (1, 1, ...) with as many dimensions as x."""
    alpha, sigma = path(x.new_full((1,), time))
    shape = (-1, *[1] * (x.ndim - 1))
    return alpha.view(shape), sigma.view(shape)


def split(denoise: Denoise, path: Path, x: Tensor, time: float) -> tuple[Tensor, Tensor]:
    """x^ and epsilon^: what x consists of at this time, x = alpha x^ + sigma epsilon^."""
    alpha, sigma = at(path, time, x)
    clean = denoise(x, x.new_full((len(x),), time))
    return clean, (x - alpha * clean) / sigma


def ddim(
    denoise: Denoise, path: Path, x: Tensor, times: Sequence[float], eta: float = 0.0
) -> Iterator[Tensor]:
    """x_s = alpha_s x^ + sqrt(sigma_s^2 - c^2) epsilon^ + c z, with z from N(0, I) (2010.02502,
    eq. 12), on any path.

    Args:
        eta: c in units of the deviation of x_s given x_t and x^, by Bayes' rule. 0: no new noise,
            and it is Euler's method for the flow of probability; 1: as `ancestral`.
    """
    for time, after in zip(times, times[1:], strict=False):
        clean, noise = split(denoise, path, x, time)
        alpha, sigma = at(path, after, x)
        if not eta or after == 0:
            x = alpha * clean + sigma * noise
        else:
            fresh = eta * posterior_deviation(path, x, time, after)
            kept = (sigma.square() - fresh.square()).clamp(min=0).sqrt()
            x = alpha * clean + kept * noise + fresh * torch.randn_like(x)
        yield x


def euler(denoise: Denoise, path: Path, x: Tensor, times: Sequence[float]) -> Iterator[Tensor]:
    """Euler's method, of first order: x_s = alpha_s x^ + sigma_s epsilon^."""
    return ddim(denoise, path, x, times)


def heun(denoise: Denoise, path: Path, x: Tensor, times: Sequence[float]) -> Iterator[Tensor]:
    """Heun's method, of second order (2206.00364, alg. 1): Euler's step, then the mean of the
    slopes at both ends; but the last step to 0, where there is no noise, is Euler's."""
    for time, after in zip(times, times[1:], strict=False):
        clean, noise = split(denoise, path, x, time)
        (alpha, sigma), (alpha_s, sigma_s) = at(path, time, x), at(path, after, x)
        ahead = alpha_s * clean + sigma_s * noise
        if after == 0:
            x = ahead
        else:
            clean_s, noise_s = split(denoise, path, ahead, after)
            x = x + (alpha_s - alpha) * (clean + clean_s) / 2
            x = x + (sigma_s - sigma) * (noise + noise_s) / 2
        yield x


def midpoint(denoise: Denoise, path: Path, x: Tensor, times: Sequence[float]) -> Iterator[Tensor]:
    """The midpoint method, of second order: the slope halfway, for the whole step."""
    for time, after in zip(times, times[1:], strict=False):
        half = (time + after) / 2
        (alpha, sigma), (alpha_m, sigma_m), (alpha_s, sigma_s) = (
            at(path, t, x) for t in (time, half, after)
        )
        clean, noise = split(denoise, path, x, time)
        clean, noise = split(denoise, path, alpha_m * clean + sigma_m * noise, half)
        x = x + (alpha_s - alpha) * clean + (sigma_s - sigma) * noise
        yield x


def ancestral(
    denoise: Denoise, path: Path, x: Tensor, times: Sequence[float], large: bool = False
) -> Iterator[Tensor]:
    """Draws x_s given x_t and x^ by Bayes' rule (2006.11239, eq. 7); the last step has no noise.

    Args:
        large: The variance is that of the step from s to t, the paper's beta_t, instead of that of
            Bayes' rule.
    """
    for time, after in zip(times, times[1:], strict=False):
        clean, noise = split(denoise, path, x, time)
        alpha, sigma = at(path, after, x)
        if after == 0:
            x = alpha * clean
        else:
            fresh = posterior_deviation(path, x, time, after)
            x = alpha * clean + (sigma.square() - fresh.square()).clamp(min=0).sqrt() * noise
            fresh = step_deviation(path, x, after, time) if large else fresh
            x = x + fresh * torch.randn_like(x)
        yield x


def repaint(
    denoise: Denoise,
    path: Path,
    x: Tensor,
    times: Sequence[float],
    known: Tensor,
    mask: Tensor,
    jump: int = 10,
    resample: int = 1,
) -> Iterator[Tensor]:
    """As `ancestral`, but known pixels are taken, at each time, from the image with noise (Lugmayr
    et al., 2022, https://arxiv.org/abs/2201.09865, alg. 1).

    Args:
        known: The image, (n, C, H, W).
        mask: (n, 1, H, W), true where it is known.
        jump: After so many steps x is given the noise back that they took ...
        resample: ... and they are walked again, so many times in all: so both parts come to agree.
    """
    for start in range(0, len(times) - 1, jump):
        part = times[start : start + jump + 1]
        for again in range(resample):
            for pair in zip(part, part[1:], strict=False):
                (x,) = ancestral(denoise, path, x, pair)
                alpha, sigma = at(path, pair[1], x)
                x = torch.where(mask, alpha * known + sigma * torch.randn_like(x), x)
                yield x
            if again + 1 < resample:
                (alpha, _), (alpha_t, _) = at(path, part[-1], x), at(path, part[0], x)
                fresh = step_deviation(path, x, part[-1], part[0])
                x = alpha_t / alpha * x + fresh * torch.randn_like(x)


def step_deviation(path: Path, x: Tensor, time: float, later: float) -> Tensor:
    """Of x at a later time given x at this one, (1, 1, ...)."""
    (alpha, sigma), (alpha_t, sigma_t) = at(path, time, x), at(path, later, x)
    return (sigma_t.square() - (alpha_t / alpha * sigma).square()).clamp(min=0).sqrt()


def posterior_deviation(path: Path, x: Tensor, time: float, earlier: float) -> Tensor:
    """Of x at an earlier time given x at this one and the data, (1, 1, ...)."""
    (_, sigma_t), (_, sigma) = at(path, time, x), at(path, earlier, x)
    return sigma / sigma_t * step_deviation(path, x, earlier, time)


# By the names that a model takes; True: without fresh noise
DETERMINISTIC = {"euler": euler, "ddim": ddim, "midpoint": midpoint, "heun": heun}
STOCHASTIC = {"ancestral": ancestral}
