"""f-GAN: Training Generative Neural Samplers using Variational Divergence Minimization.

Nowozin, Cseke and Tomioka, 2016. https://arxiv.org/abs/1606.00709

For every convex f with f(1) = 0 there is a divergence D_f(P || Q) = E_Q[f(p/q)], and with the
conjugate f*(t) = sup_u (ut - f(u)) a lower bound that can be estimated from samples:

    D_f(P || Q) >= E_x[g_f(V(x))] - E_z[f*(g_f(V(G(z))))]                   (eq. 4, 6)

V is the raw score, g_f maps it into the domain of f* (table 2). The bound is tight at
g_f(V(x)) = f'(p(x)/q(x)) (eq. 5). The discriminator raises it, the generator lowers it; with
f(u) = u log u - (u + 1) log(u + 1) this is Goodfellow's game. The behaviour of a generator that
cannot match the data depends on f: KL covers all modes, reverse KL some of them.

`DIVERGENCES` has for each f the functions g_f and f*(g_f) of the raw score, in forms that overflow
only where the divergence does.

Differs from the paper: players alternate, each on its own noise, where algorithm 1 moves both at
once; for Jeffrey's divergence g_f is v + 1 - exp(-v), for which f* needs no Lambert function.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import Literal, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import softplus

from ...modes import evaluating
from .gan import GAN, Payoff


class Divergence(NamedTuple):
    """A row of tables 1 and 2.

    Args:
        f: A convex function of the ratio u = p/q with f(1) = 0.
        activation: g_f, an increasing function of the raw score.
        conjugate: f*(g_f), a function of the raw score.
        of: Arguments of `divergence_of`, by which it is pickled.
    """

    f: Callable[[Tensor], Tensor]
    activation: Callable[[Tensor], Tensor]
    conjugate: Callable[[Tensor], Tensor]
    of: tuple[str, float, float] | tuple[()] = ()

    def __reduce__(self):
        return divergence_of, self.of


def xlogy(u: Tensor) -> Tensor:
    return torch.special.xlogy(u, u)


def weighted_jensen_shannon(pi: float) -> Divergence:
    """The Jensen-Shannon divergence with weights pi and 1 - pi."""

    def f(u: Tensor) -> Tensor:
        return pi * xlogy(u) - xlogy(1 - pi + pi * u)

    def activation(v: Tensor) -> Tensor:
        return -pi * math.log(pi) - softplus(-v)

    def conjugate(v: Tensor) -> Tensor:
        log_rest = torch.log(-torch.expm1(-softplus(-v) / pi))
        return (1 - pi) * (math.log(1 - pi) - log_rest)

    return Divergence(f, activation, conjugate)


def alpha_divergence(alpha: float) -> Divergence:
    """The alpha divergence of order alpha, neither 0 nor 1."""
    power = alpha / (alpha - 1)

    def f(u: Tensor) -> Tensor:
        return (u**alpha - 1 - alpha * (u - 1)) / (alpha * (alpha - 1))

    def activation(v: Tensor) -> Tensor:
        return v if alpha > 1 else 1 / (1 - alpha) - softplus(-v)

    def conjugate(v: Tensor) -> Tensor:
        base = ((alpha - 1) * v + 1).clamp(min=0) if alpha > 1 else (1 - alpha) * softplus(-v)
        return (base**power - 1) / alpha

    return Divergence(f, activation, conjugate)


DIVERGENCES = {
    "total_variation": Divergence(
        lambda u: (u - 1).abs() / 2, lambda v: v.tanh() / 2, lambda v: v.tanh() / 2
    ),
    "kl": Divergence(xlogy, lambda v: v, lambda v: (v - 1).exp()),
    "reverse_kl": Divergence(lambda u: -u.log(), lambda v: -(-v).exp(), lambda v: v - 1),
    "pearson": Divergence(lambda u: (u - 1).square(), lambda v: v, lambda v: v.square() / 4 + v),
    "neyman": Divergence(
        lambda u: (1 - u).square() / u, lambda v: -torch.expm1(-v), lambda v: 2 - 2 * (-v / 2).exp()
    ),
    "hellinger": Divergence(
        lambda u: (u.sqrt() - 1).square(), lambda v: -torch.expm1(-v), torch.expm1
    ),
    "jeffrey": Divergence(
        lambda u: (u - 1) * u.log(), lambda v: v - torch.expm1(-v), lambda v: torch.expm1(v) + v
    ),
    "jensen_shannon": Divergence(
        lambda u: xlogy(u) - (u + 1) * ((1 + u) / 2).log(),
        lambda v: math.log(2) - softplus(-v),
        lambda v: softplus(v) - math.log(2),
    ),
    "gan": Divergence(lambda u: xlogy(u) - xlogy(u + 1), lambda v: -softplus(-v), softplus),
}


def minus_bound(real: Tensor, fake: Tensor, divergence: Divergence) -> Tensor:
    """Minus the right side of eq. 6."""
    return divergence.conjugate(fake).mean() - divergence.activation(real).mean()


def what_is_left(fake: Tensor, divergence: Divergence) -> Tensor:
    """The part of the bound that depends on the generator."""
    return -divergence.conjugate(fake).mean()


def minus_activation(fake: Tensor, divergence: Divergence) -> Tensor:
    """-E[g_f(V(G(z)))]: stronger gradients while samples are bad (sec. 3.2)."""
    return -divergence.activation(fake).mean()


class FGAN(GAN):
    """A GAN that descends an f-divergence.

    Args:
        divergence: The f-divergence: a name of `DIVERGENCES`, "weighted_jensen_shannon" or "alpha".
        pi: Weight of the data in "weighted_jensen_shannon", in (0, 1).
        alpha: Order of "alpha", neither 0 nor 1.
        trick: Whether the generator ascends E[g_f] (sec. 3.2) instead of descending the bound.

    Attributes:
        divergence: The chosen `Divergence`.
    """

    loss = Payoff(minus_bound, minus_activation)  # of a divergence that is chosen

    def __init__(
        self,
        image_shape: tuple[int, ...],
        num_classes: int = 0,
        divergence: Literal[
            "total_variation",
            "kl",
            "reverse_kl",
            "pearson",
            "neyman",
            "hellinger",
            "jeffrey",
            "jensen_shannon",
            "gan",
            "weighted_jensen_shannon",
            "alpha",
        ] = "jensen_shannon",
        pi: float = 0.5,
        alpha: float = 0.5,
        trick: bool = True,
        **kwargs,
    ):
        super().__init__(image_shape, num_classes, **kwargs)
        self.divergence = divergence_of(divergence, pi, alpha)
        self.loss = Payoff(
            partial(minus_bound, divergence=self.divergence),
            partial(minus_activation if trick else what_is_left, divergence=self.divergence),
        )

    def divergence_bound(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """Eq. 6 on images (B, C, H, W) and as many samples: at most D_f(data || samples)."""
        condition = self.condition.arguments(y)
        with evaluating(self):
            real = self.discriminator(*self.real(x, *condition))
            fake = self.discriminator(*self.fake(self.prior(len(x)), *condition))
            return -minus_bound(real, fake, self.divergence)


def divergence_of(name: str, pi: float, alpha: float) -> Divergence:
    """The divergence of a name.

    >>> divergence_of("kl", 0.5, 0.5).f(torch.tensor([1.0, 2.0]))  # u log u
    tensor([0.0000, 1.3863])
    """
    return _row(name, pi, alpha)._replace(of=(name, pi, alpha))


def _row(name: str, pi: float, alpha: float) -> Divergence:
    if name == "weighted_jensen_shannon":
        if not 0 < pi < 1:
            raise ValueError(f"pi must be in (0, 1), got {pi}")
        return weighted_jensen_shannon(pi)
    if name == "alpha":
        if alpha in (0, 1):
            raise ValueError(f"alpha must be neither 0 nor 1 (these are KL's), got {alpha}")
        return alpha_divergence(alpha)
    if name not in DIVERGENCES:
        names = ", ".join((*DIVERGENCES, "weighted_jensen_shannon", "alpha"))
        raise ValueError(f"divergence must be one of {names}, got {name!r}")
    return DIVERGENCES[name]
