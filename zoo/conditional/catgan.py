"""CatGAN: Unsupervised and Semi-supervised Learning with Categorical Generative Adversarial
Networks.

Springenberg, 2015. https://arxiv.org/abs/1511.06390

The discriminator has no unit for real or fake, only K categories. It should be sure which one an
image of the data belongs to, unsure of samples, and use all categories equally; the generator
wants it to be sure of samples, and these to be of all categories equally. With entropies H,

    L_D = -H[E_x p(y|x)] + E_x H[p(y|x)] - E_z H[p(y|G(z))]
    L_G = -H[E_z p(y|G(z))] + E_z H[p(y|G(z))]

so -H[p(y|x)] is the score of a game in which both pay the score as it is, and the entropy of a
mean is what is added. Labels, where there are any, add their cross-entropy to L_D. Categories find
classes because they must be sure of all data: a boundary has to pass where there are none, and the
samples, of which it must be unsure, hold it there.

What did not hold: on MNIST, with fully connected networks, the categories are no nearer to the
classes than the clusters of k-means.

Differs from the paper: networks as `GAN` or as `network` says, with Gaussian noise in the
discriminator; the fully connected one has batch normalisation.
"""

import math

from torch import Tensor, nn
from torch.special import entr

from .. import networks
from ..adversarial import Batch
from ..gan.gan import GAN
from ..gan.wgan import wasserstein
from ..module import evaluating
from ..networks import MLP, Heads, labelled_cross_entropy
from ..networks.noise import noisy


def sureness(logits: Tensor) -> Tensor:
    """(B, K) to (B,): -H[p(y|x)] in nats, from -log K to 0 where one category has it all."""
    return -entr(logits.softmax(dim=1)).sum(1)


def evenness(logits: Tensor) -> Tensor:
    """H[E p(y|x)] in nats, log K where the batch (B, K) uses all categories equally."""
    return entr(logits.softmax(dim=1).mean(0)).sum()


class Categories(Heads):
    """Logits of categories whose score is how sure they are."""

    def forward(self, *seen: Tensor) -> Tensor:
        return sureness(self.judge(*seen)["classes"])


class BatchNormMLPDiscriminator(networks.MLPDiscriminator):
    """The fully connected discriminator with batch normalisation in place of dropout."""

    def __init__(self, image_shape: tuple[int, ...], num_classes: int, width: int):
        super().__init__(image_shape, num_classes, width)
        sizes = (math.prod(image_shape) + num_classes, width, width, 1)
        self.body = MLP(sizes, norm=True, slope=0.1)


class CatGAN(GAN):
    """A GAN whose discriminator sorts images into categories, of which it is told nothing or little.

    It draws without labels: `num_classes` of the model is 0 whatever is given here.

    Args:
        num_classes: Of the labels 0..num_classes-1, or -1 where there is none, that the first
            categories learn from; 0: labels are not looked at.
        num_categories: K, at least num_classes; may well be more.
        label_weight: Of the cross-entropy with the labels.
        input_noise: Standard deviation of the noise on images that the discriminator sees.
        hidden_noise: Likewise behind its leaky ReLUs.
        lr: Adam's learning rate. Other arguments as `GAN`.
    """

    loss = wasserstein
    Discriminator = BatchNormMLPDiscriminator
    pairs = {
        **networks.PAIRS,
        "mlp": (networks.MLPGenerator, BatchNormMLPDiscriminator),
    }

    def __init__(
        self,
        image_shape: tuple[int, ...],
        num_classes: int = 0,
        num_categories: int = 10,
        label_weight: float = 1.0,
        input_noise: float = 0.3,
        hidden_noise: float = 0.5,
        lr: float = 5e-4,
        **kwargs,
    ):
        if num_categories < max(2, num_classes):
            raise ValueError(
                f"num_categories must be at least {max(2, num_classes)}, got {num_categories}"
            )
        super().__init__(image_shape, 0, lr=lr, **kwargs)
        self.labelled, self.label_weight = num_classes > 0, label_weight
        judge = noisy(self.discriminator, input_noise, hidden_noise)
        self.discriminator = Categories(judge, score=False, classes=num_categories)

    def discriminator_loss(self, batch: Batch) -> Tensor:
        x, y = batch
        logits = self.discriminator.judge(x)["classes"]
        of_fake = self.discriminator(*self.fake(self.prior(len(x)), None))
        loss = self.loss.discriminator(sureness(logits), of_fake) - evenness(logits)
        if self.labelled:
            loss = loss + self.label_weight * labelled_cross_entropy(logits, y)
        return loss

    def generator_loss(self, batch: Batch) -> Tensor:
        x, _ = batch
        logits = self.discriminator.judge(*self.fake(self.prior(len(x)), None))["classes"]
        return self.loss.generator(sureness(logits)) - evenness(logits)

    def predict_proba(self, x: Tensor) -> Tensor:
        """(B, num_categories), which are classes only where there were labels."""
        with evaluating(self):
            return self.discriminator.judge(x)["classes"].softmax(dim=1)
