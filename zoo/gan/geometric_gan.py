"""Geometric GAN.

Lim and Ye, 2017. https://arxiv.org/abs/1705.02894

A discriminator's last layer is a hyperplane in the space of its features phi. Let it be that of a
support vector machine, the one that separates data and samples with the widest margin:

    L_D = 1/B sum [1 - D(x)]_+ + 1/B sum [1 + D(G(z))]_+ + |w|^2 / (2 C B)
    L_G = -E_z[D(G(z))],   D(x) = <w, phi(x)> + b

Only the samples within the margin, its support vectors, move the discriminator; the generator
moves all features along the hyperplane's normal w, wherever they are.
"""

from torch import Tensor, nn
from torch.nn.functional import relu

from ...modes import evaluating
from .gan import GAN, Payoff
from .wgan import minus_score


def hinge_loss(real: Tensor, fake: Tensor) -> Tensor:
    """[1 - s]_+ of data plus [1 + s]_+ of samples: 0 once all are beyond the margin."""
    return relu(1 - real).mean() + relu(1 + fake).mean()


hinge = Payoff(hinge_loss, minus_score)


class GeometricGAN(GAN):
    """A GAN whose discriminator is a support vector machine on learned features.

    Args:
        svm_c: The machine's C: how much a violation of the margin costs against its width.
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
        """w and b of the discriminator's last layer."""
        linear = nn.Linear | nn.Conv2d
        *_, last = (m for m in self.discriminator.modules() if isinstance(m, linear))
        return last.weight, last.bias

    def support_fraction(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """The share of images (B, C, H, W), and of as many samples, that lie in the margin."""
        condition = self.condition.arguments(y)
        with evaluating(self):
            real = self.discriminator(*self.real(x, *condition))
            fake = self.discriminator(*self.fake(self.prior(len(x)), *condition))
        return ((real < 1).float().mean() + (fake > -1).float().mean()) / 2
