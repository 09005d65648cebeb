"""Geometric GAN.

Lim and Ye, 2017. https://arxiv.org/abs/1705.02894

The last layer of a discriminator is a hyperplane in the space of its features phi. Here it is the
hyperplane of a support vector machine, which separates data and samples with the widest margin:

    L_D = 1/B sum [1 - D(x)]_+ + 1/B sum [1 + D(G(z))]_+ + |w|^2 / (2 C B)
    L_G = -E_z[D(G(z))],   D(x) = <w, phi(x)> + b

Only images within the margin, the support vectors, have a gradient in the discriminator's loss; the
generator moves the features of all samples along the hyperplane's normal w.
"""

from torch import Tensor, nn
from torch.nn.functional import relu

from ...modes import evaluating
from .gan import GAN, Payoff
from .wgan import minus_score


def hinge_loss(real: Tensor, fake: Tensor) -> Tensor:
    """E[1 - s]_+ of data plus E[1 + s]_+ of samples: 0 if all are beyond the margin.

    >>> hinge_loss(torch.tensor([1.0, 2.0]), torch.tensor([-1.0, 0.0]))
    tensor(0.5000)
    """
    return relu(1 - real).mean() + relu(1 + fake).mean()


hinge = Payoff(hinge_loss, minus_score)


class GeometricGAN(GAN):
    """A GAN whose discriminator is a support vector machine on learned features.

    Args:
        svm_c: C of the support vector machine, the weight of margin violations against the width of
            the margin.
    """

    loss = hinge

    def __init__(
        self, image_shape: tuple[int, ...], num_classes: int = 0, svm_c: float = 1.0, **kwargs
    ):
        super().__init__(image_shape, num_classes, **kwargs)
        if not svm_c > 0:
            raise ValueError(f"svm_c must be positive, got {svm_c}")
        self.svm_c = svm_c

    def penalty(self, real: tuple[Tensor, ...], fake: tuple[Tensor, ...]) -> Tensor:
        w, _ = self.hyperplane()
        return w.square().sum() / (2 * self.svm_c * len(real[0]))

    def hyperplane(self) -> tuple[Tensor, Tensor]:
        """Weight w and bias b of the discriminator's last layer."""
        linear = nn.Linear | nn.Conv2d
        *_, last = (m for m in self.discriminator.modules() if isinstance(m, linear))
        return last.weight, last.bias

    def support_fraction(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """The share of images (B, C, H, W) and as many samples within the margin."""
        condition = self.condition.arguments(y)
        with evaluating(self):
            real = self.discriminator(*self.real(x, *condition))
            fake = self.discriminator(*self.fake(self.prior(len(x)), *condition))
        return ((real < 1).float().mean() + (fake > -1).float().mean()) / 2
