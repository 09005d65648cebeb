"""EBGAN: Energy-based Generative Adversarial Network.

Zhao, Mathieu and LeCun, 2016. https://arxiv.org/abs/1609.03126

The discriminator is an energy, which is low at data, and need not be a classifier: here it is an
autoencoder, and the energy is its reconstruction error. The discriminator lowers the energy of data
and raises that of samples up to a margin m; the generator lowers the energy of its samples:

    L_D = E_x[D(x)] + E_z[[m - D(G(z))]_+]                                  (eq. 1)
    L_G = E_z[D(G(z))]                                                      (eq. 2)

At the equilibrium the samples have the distribution of the data (thm 1). An autoencoder also learns
from data alone, where a binary target has little information. To keep samples different from each
other, a pulling-away term asks for orthogonal codes S within a batch,

    f_PT = 1 / (N (N - 1)) sum_i sum_{j != i} (S_i . S_j / (|S_i| |S_j|))^2   (sec. 2.4)

which only the generator descends. After training the discriminator is not a good autoencoder.

Differs from the paper: the energy is the mean of squares over pixels, so that a
margin means the same at every size of images; the networks are those of the other models.
"""

from functools import partial

from torch import Tensor
from torch.nn.functional import normalize, relu

from ...modes import evaluating
from .. import networks
from ..adversarial import Batch
from .gan import GAN, Payoff
from .wgan import minus_score


def margin_loss(real: Tensor, fake: Tensor, margin: float) -> Tensor:
    """E[D(x)] + E[[m - D(G(z))]_+], of scores that are minus the energies D."""
    return -real.mean() + relu(margin + fake).mean()


def energy_margin(margin: float = 0.2) -> Payoff:
    """Losses in which the discriminator gains nothing by raising an energy above the margin."""
    return Payoff(partial(margin_loss, margin=margin), minus_score)


def pulling_away(code: Tensor) -> Tensor:
    """Mean squared cosine of two codes of (N, D): 0 if all are orthogonal, 1 if all are parallel.

    >>> pulling_away(torch.eye(4)), pulling_away(torch.ones(4, 1))
    (tensor(0.), tensor(1.))
    """
    cosines = normalize(code) @ normalize(code).T  # (N, N)
    return (cosines.square().sum() - cosines.diagonal().square().sum()) / (
        len(code) * (len(code) - 1)
    )


class EBGAN(GAN):
    """A GAN whose discriminator is an autoencoder.

    Args:
        margin: The paper's m, an error per pixel, up to which the energy of samples is raised. It
            should be near the error of a bad sample: on Fashion-MNIST samples remained noise at 1,
            with either kind of networks, and did not at 0.2 and 0.1.
        pulling_away_weight: Weight of the pulling-away term in the generator's loss; 0: none.
        code_dim: Entries of the autoencoder's code. If a code can represent every image, all
            energies vanish.
    """

    loss = energy_margin()

    def __init__(
        self,
        image_shape: tuple[int, ...],
        num_classes: int = 0,
        margin: float = 0.2,
        pulling_away_weight: float = 0.1,
        code_dim: int = 16,
        **kwargs,
    ):
        super().__init__(image_shape, num_classes, **kwargs)
        if not margin > 0:
            raise ValueError(f"margin must be positive, got {margin}")
        self.loss, self.pulling_away_weight = energy_margin(margin), pulling_away_weight
        decoder = self.make_generator(code_dim)
        discriminator = networks.Autoencoding(self.discriminator, decoder, code_dim, power=2)
        self.discriminator = self.regularisation.wrap(discriminator)

    def generator_loss(self, batch: Batch) -> Tensor:
        x, *condition = self.conditioned(batch)
        score, code = self.discriminator.score_and_code(*self.fake(self.prior(len(x)), *condition))
        loss = self.loss.generator(score)
        if self.pulling_away_weight and len(code) > 1:
            term = pulling_away(code)
            self.log("pulling_away", term.detach())
            loss = loss + self.pulling_away_weight * term
        return loss

    def energy(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """Energies (B,) of images (B, C, H, W): mean squared reconstruction errors of a pixel."""
        return -self.score(x, y)

    def reconstruct(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """Images (B, C, H, W) reconstructed by the discriminator's autoencoder."""
        with evaluating(self):
            return self.discriminator.reconstruct(*self.real(x, *self.condition.arguments(y)))
