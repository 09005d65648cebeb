"""CatGAN: Unsupervised and Semi-supervised Learning with Categorical Generative Adversarial
Networks.

Springenberg, 2015. https://arxiv.org/abs/1511.06390

The discriminator has no output for real or fake, only K categories. Its prediction should be
certain for data, uncertain for samples, and use all categories equally. The generator is trained so
that predictions for its samples are certain, and use all categories equally. With entropies H,

    L_D = -H[E_x p(y|x)] + E_x H[p(y|x)] - E_z H[p(y|G(z))]
    L_G = -H[E_z p(y|G(z))] + E_z H[p(y|G(z))]

so -H[p(y|x)] is the score of a game with linear losses, to which the entropy of the mean is added.
Labels, if there are any, add their cross-entropy to L_D. Categories can find classes because
predictions are certain at data: decision boundaries lie where there are no data, and the samples,
at which predictions are uncertain, keep them there.

What did not hold: on MNIST, with fully connected networks, the categories agree with the
classes no better than the clusters of k-means.

Differs from the paper: networks as in `GAN` or as `network` says, with Gaussian noise in the
discriminator; the fully connected one has batch normalisation.
"""

import math

from torch import Tensor, nn

from .. import networks
from ..adversarial import Batch
from ..networks import MLP, Heads, labelled_cross_entropy, without_label
from .semi_supervised_gan import SemiSupervisedGAN


def sureness(logits: Tensor) -> Tensor:
    """(B, K) to (B,): -H[p(y|x)] in nats, from -log K to 0, where one category has probability 1.

    >>> sureness(torch.zeros(1, 4))  # -log 4
    tensor([-1.3863])
    """
    log_p = logits.log_softmax(dim=1)
    return (log_p.exp() * log_p).sum(1)


def evenness(logits: Tensor) -> Tensor:
    """H[E p(y|x)] in nats of logits (B, K): log K where the batch uses all categories equally."""
    log_p = logits.log_softmax(dim=1).logsumexp(dim=0) - math.log(len(logits))
    return -(log_p.exp() * log_p).sum()


class Categories(Heads):
    """Logits of categories; the score is minus their entropy."""

    def forward(self, *inputs: Tensor) -> Tensor:
        return sureness(self.outputs(*inputs)["classes"])


class BatchNormMLPDiscriminator(networks.MLPDiscriminator):
    """The fully connected discriminator with batch normalisation in place of dropout."""

    def __init__(self, image_shape: tuple[int, ...], num_classes: int, width: int):
        super().__init__(image_shape, num_classes, width)
        sizes = (math.prod(image_shape) + num_classes, width, width, 1)
        self.body = MLP(sizes, norm=True, slope=0.1)


class CatGAN(SemiSupervisedGAN):
    """A GAN whose discriminator sorts images into categories, with few labels or none.

    Args:
        num_classes: Number of classes of the labels, which are 0..num_classes-1, or -1 for an
            unlabelled image; the first categories are trained on them. 0: labels are not used.
        num_categories: K, the number of categories, at least num_classes.
        hidden_noise: Standard deviation of the noise behind the discriminator's leaky ReLUs.
        lr: Adam's learning rate.
    """

    DiscriminatorHeads = Categories
    Discriminator: type[nn.Module] = BatchNormMLPDiscriminator
    pairs = {
        **networks.PAIRS,
        "mlp": (networks.MLPGenerator, BatchNormMLPDiscriminator),
    }

    def __init__(
        self,
        image_shape: tuple[int, ...],
        num_classes: int = 0,
        num_categories: int = 10,
        hidden_noise: float = 0.5,
        lr: float = 5e-4,
        **kwargs,
    ):
        if num_categories < max(2, num_classes):
            raise ValueError(
                f"num_categories must be at least {max(2, num_classes)}, got {num_categories}"
            )
        super().__init__(image_shape, num_categories, hidden_noise=hidden_noise, lr=lr, **kwargs)
        self.labelled, self.learnt_classes = num_classes > 0, num_classes

    def discriminator_loss(self, batch: Batch) -> Tensor:
        x, y = batch
        logits = self.discriminator.outputs(x)["classes"]
        sorted_out = logits[without_label(y)] if self.labelled else logits
        of_fake = self.discriminator(*self.fake(self.prior(len(x))))
        loss = of_fake.mean() - sureness(sorted_out).mean() - evenness(sorted_out)
        if self.labelled:
            loss = loss + self.label_weight * labelled_cross_entropy(logits, y)
        return loss

    def generator_loss(self, batch: Batch) -> Tensor:
        x, _ = batch
        logits = self.discriminator.outputs(*self.fake(self.prior(len(x))))["classes"]
        return -sureness(logits).mean() - evenness(logits)

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        if self.labelled:  # otherwise categories are not classes
            super().validation_step(batch, batch_idx)

    test_step = validation_step
