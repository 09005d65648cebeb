"""ACGAN: Conditional Image Synthesis with Auxiliary Classifier GANs.

Odena, Olah and Shlens, 2016. https://arxiv.org/abs/1610.09585

The class is not a condition of the discriminator. Instead a second head on its features classifies
images. With the log-likelihoods of the right source (data or samples) and of the right class,

    L_S = E_x[log D(x)] + E_z[log(1 - D(G(z, y)))]                          (eq. 2)
    L_C = E_x[log C(y | x)] + E_z[log C(y | G(z, y))]                       (eq. 3)

the discriminator ascends L_C + L_S, the generator L_C - L_S: both raise the probability of the
right class of samples. Samples are then easier to classify than data, and less so at a lower
resolution (sec. 4.1).

What did not hold: that samples of a class are as diverse as data. On 8x8 digits they collapse
early, to a variance of 0.015 per pixel, where data have 0.17 and the conditional GAN 0.09 to 0.11,
at every class weight; a faster discriminator doubles it. Images that are easy to classify resemble
the others of their class; the paper measures collapsed classes in sec. 4.2.

Differs from the paper: the generator ascends log D (`saturating=True` for its L_S); networks as in
`GAN`, or as `network` says.
"""

from torch import Tensor

from ...conditions import Classes
from ...modes import evaluating
from ..adversarial import Batch
from ..networks import Heads, labelled_cross_entropy
from .cgan import CGAN


class ACGAN(CGAN):
    """A GAN whose discriminator classifies data and samples.

    Args:
        class_weight: Weight of L_C; with a larger weight classes are clearer and samples of a class
            more alike.
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
        heads = Heads(self.make_discriminator(num_classes=0), classes=num_classes)
        self.discriminator = self.regularisation.wrap(heads)

    def real(self, x: Tensor, *condition: Tensor) -> tuple[Tensor, ...]:
        return (x,)

    def fake(self, z: Tensor, *condition: Tensor) -> tuple[Tensor, ...]:
        return (self.generator(z, *condition),)

    def discriminator_loss(self, batch: Batch) -> Tensor:
        x, y = batch
        real, fake = self.real(x, y), self.fake(self.prior(len(x)), y)
        of_real, of_fake = self.discriminator.outputs(*real), self.discriminator.outputs(*fake)
        source = self.loss.discriminator(of_real["score"], of_fake["score"])
        named = sum(labelled_cross_entropy(of["classes"], y) for of in (of_real, of_fake))
        return source + self.class_weight * named + self.penalty(real, fake)

    def generator_loss(self, batch: Batch) -> Tensor:
        x, y = batch
        outputs = self.discriminator.outputs(*self.fake(self.prior(len(x)), y))
        named = labelled_cross_entropy(outputs["classes"], y)
        return self.loss.generator(outputs["score"]) + self.class_weight * named

    def predict_proba(self, x: Tensor) -> Tensor:
        """Class probabilities (B, K) of images, by the discriminator."""
        with evaluating(self):
            return self.discriminator.outputs(x)["classes"].softmax(dim=1)
