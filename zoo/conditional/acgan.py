"""ACGAN: Conditional Image Synthesis with Auxiliary Classifier GANs.

Odena, Olah and Shlens, 2016. https://arxiv.org/abs/1610.09585

The class is no condition of the discriminator, which has to name it: a second head on its
features. With the log-likelihoods of the right source and of the right class,

    L_S = E_x[log D(x)] + E_z[log(1 - D(G(z, y)))]                          (eq. 2)
    L_C = E_x[log C(y | x)] + E_z[log C(y | G(z, y))]                       (eq. 3)

the discriminator ascends L_C + L_S, the generator L_C - L_S: both want samples to be named
rightly. Samples are then easier to tell apart than data, and lose that when their resolution is
taken from them (sec. 4.1).

What did not hold: samples of a class are as various as data. On 8x8 digits they collapse early, to
a variance of 0.015 a pixel where data have 0.17 and the conditional GAN 0.09 to 0.11, whatever the
class weight; a faster discriminator doubles it. An image that is easily named is one like the
others of its name; the paper looks for collapsed classes in sec. 4.2.

Differs from the paper: the generator ascends log D (`saturating=True` for its L_S); networks as
`GAN` or as `network` says.
"""

from torch import Tensor

from ...conditions import Classes
from ...modes import evaluating
from ..adversarial import Batch
from ..networks import Heads, labelled_cross_entropy
from .cgan import CGAN


class ACGAN(CGAN):
    """A GAN whose discriminator names the class, of data and of samples.

    Args:
        class_weight: Of L_C; the larger, the clearer the classes and the more alike the samples.
    """

    condition_kinds = (Classes,)

    def __init__(
        self,
        image_shape: tuple[int, ...],
        num_classes: int,
        class_weight: float = 1.0,
        **kwargs,
    ):
        super().__init__(image_shape, num_classes, **kwargs)
        self.class_weight = class_weight
        judge = Heads(self.make_discriminator(num_classes=0), classes=num_classes)
        self.discriminator = self.regularisation.wrap(judge)

    def real(self, x: Tensor, *condition: Tensor) -> tuple[Tensor, ...]:
        return (x,)

    def fake(self, z: Tensor, *condition: Tensor) -> tuple[Tensor, ...]:
        return (self.generator(z, *condition),)

    def discriminator_loss(self, batch: Batch) -> Tensor:
        x, y = batch
        real, fake = self.real(x, y), self.fake(self.prior(len(x)), y)
        of_real, of_fake = self.discriminator.judge(*real), self.discriminator.judge(*fake)
        source = self.loss.discriminator(of_real["score"], of_fake["score"])
        named = sum(labelled_cross_entropy(of["classes"], y) for of in (of_real, of_fake))
        return source + self.class_weight * named + self.penalty(real, fake)

    def generator_loss(self, batch: Batch) -> Tensor:
        x, y = batch
        said = self.discriminator.judge(*self.fake(self.prior(len(x)), y))
        named = labelled_cross_entropy(said["classes"], y)
        return self.loss.generator(said["score"]) + self.class_weight * named

    def predict_proba(self, x: Tensor) -> Tensor:
        """(B, K), what the discriminator takes images for."""
        with evaluating(self):
            return self.discriminator.judge(x)["classes"].softmax(dim=1)
