"""LSGAN: Least Squares Generative Adversarial Networks.

Mao, Li, Xie, Lau, Wang and Smolley, 2016. https://arxiv.org/abs/1611.04076

Cross-entropy forgets samples that lie on the right side of the boundary, however far from the
data. Squares of the score pull those in, too:

    L_D = 1/2 E_x[(D(x) - b)^2] + 1/2 E_z[(D(G(z)) - a)^2]
    L_G = 1/2 E_z[(D(G(z)) - c)^2]                                          (eq. 2)

For a fixed G the best answer is D(x) = (b p(x) + a q(x)) / (p(x) + q(x)). With b - c = 1 and
b - a = 2 the generator's cost against it, taken over data and samples, is half the Pearson
chi^2 divergence between p + q and 2q. The other choice that the paper uses is a = 0, b = c = 1:
the default here.
"""

from functools import partial

from torch import Tensor

from .gan import GAN, Payoff


def squares_apart(real: Tensor, fake: Tensor, a: float, b: float) -> Tensor:
    return ((real - b).square().mean() + (fake - a).square().mean()) / 2


def squares_from(fake: Tensor, c: float) -> Tensor:
    return (fake - c).square().mean() / 2


def least_squares(a: float = 0.0, b: float = 1.0, c: float = 1.0) -> Payoff:
    """a and b are what samples and data should score, c what the generator wants to."""
    return Payoff(partial(squares_apart, a=a, b=b), partial(squares_from, c=c))


class LSGAN(GAN):
    """A GAN whose players pay squares.

    Args:
        a: The score that the discriminator wants samples to have.
        b: The score that it wants data to have.
        c: The score that the generator wants samples to have.
    """

    loss = least_squares()

    def __init__(
        self,
        image_shape: tuple[int, ...],
        num_classes: int = 0,
        a: float = 0.0,
        b: float = 1.0,
        c: float = 1.0,
        **kwargs,
    ):
        super().__init__(image_shape, num_classes, **kwargs)
        if not a < b:
            raise ValueError(f"a must be less than b, got {a} and {b}")
        self.loss = least_squares(a, b, c)
