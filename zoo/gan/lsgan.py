"""LSGAN: Least Squares Generative Adversarial Networks.

Mao, Li, Xie, Lau, Wang and Smolley, 2016. https://arxiv.org/abs/1611.04076

Under cross-entropy, samples on the right side of the decision boundary have almost no gradient,
however far they are from the data. Squares of the score move these samples, too:

    L_D = 1/2 E_x[(D(x) - b)^2] + 1/2 E_z[(D(G(z)) - a)^2]
    L_G = 1/2 E_z[(D(G(z)) - c)^2]                                          (eq. 2)

For a fixed G the optimal discriminator is D(x) = (b p(x) + a q(x)) / (p(x) + q(x)). With b - c = 1
and b - a = 2 the generator's cost against it, taken over data and samples, is half the Pearson
chi^2 divergence between p + q and 2q. The other choice that the paper uses is a = 0, b = c = 1: the
default here.
"""

from functools import partial

from torch import Tensor

from .gan import GAN, Payoff


def squares_apart(real: Tensor, fake: Tensor, a: float, b: float) -> Tensor:
    """1/2 E[(D(x) - b)^2] + 1/2 E[(D(G(z)) - a)^2]"""
    return ((real - b).square().mean() + (fake - a).square().mean()) / 2


def squares_from(fake: Tensor, c: float) -> Tensor:
    """1/2 E[(D(G(z)) - c)^2]"""
    return (fake - c).square().mean() / 2


def least_squares(a: float = 0.0, b: float = 1.0, c: float = 1.0) -> Payoff:
    """Losses with targets a of samples and b of data, and the generator's target c of samples.

    >>> loss = least_squares()
    >>> loss.discriminator(torch.tensor([1.0]), torch.tensor([0.0]))  # both at their targets
    tensor(0.)
    >>> loss.generator(torch.tensor([0.0]))
    tensor(0.5000)
    """
    return Payoff(partial(squares_apart, a=a, b=b), partial(squares_from, c=c))


class LSGAN(GAN):
    """A GAN with squared losses.

    Args:
        a: The discriminator's target for the score of samples.
        b: The discriminator's target for the score of data.
        c: The generator's target for the score of samples.
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
