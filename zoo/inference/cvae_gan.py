"""CVAE-GAN: Fine-Grained Image Generation through Asymmetric Training.

Bao, Chen, Wen, Li and Hua, 2017. https://arxiv.org/abs/1703.10155

A VAE-GAN with the class c as its condition, and a classifier C besides the discriminator D. The
last hidden layers of both, f_D and f_C, are the features in which images are compared. A
reconstruction x' is compared with its original x in pixels and in both features,

    L_G  = 1/2 (|x - x'|^2 + |f_D(x) - f_D(x')|^2 + |f_C(x) - f_C(x')|^2)

and samples x_p, which have no originals, by mean features: over all images, and over each class,

    L_GD = 1/2 |E f_D(x) - E f_D(x_p)|^2
    L_GC = 1/2 sum_c |E_c f_C(x) - E_c f_C(x_p)|^2

The generator descends L_G + lambda_3 L_GD + lambda_4 L_GC, the encoder lambda_1 KL + L_G, while D
and C descend cross-entropies, C on real images only. This is the asymmetry: a generator that
ascends log D has no gradient where D is certain; one that matches means has a gradient, and does
not collapse to images that deceive D. L_GD and L_GC are 0 if samples are distributed as data, but
not only then.

Differs from the paper: the players move in turn, each on a forward pass of its own; samples are of
the batch's classes, and class means those of the batch, without a moving average; the two kinds of
samples count half each in D's loss; small networks, as `GAN` or as `network` says, without a
pretrained classifier.
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot

from ...checks import at_least, labelled
from ...modes import evaluating
from ..adversarial import Batch, Player
from ..networks import Heads, labelled_cross_entropy, without_dropout
from .vae_gan import VAEGAN


class Unconditional(nn.Module):
    """A network that ignores the condition of an image."""

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network

    def forward(self, x: Tensor, *condition: Tensor) -> Tensor:
        return self.network(x)


class CVAEGAN(VAEGAN):
    """A VAE-GAN of classes, whose generator matches mean features.

    Args:
        num_classes: K, at least 2, the number of classes.
        kl_weight: The paper's lambda_1, the weight of the KL divergence in the encoder's loss.
        like_weight: The paper's lambda_2, the weight of L_G in the generator's loss; in the
            encoder's loss it is 1.
        mean_weight: The paper's lambda_3, the weight of L_GD, the mean features of the
            discriminator.
        class_weight: The paper's lambda_4, the weight of L_GC, the mean features of each class in
            the classifier. Number and size of features vary: compare the terms to choose weights.
    """

    def __init__(
        self,
        image_shape: tuple[int, ...],
        num_classes: int,
        kl_weight: float = 3.0,
        like_weight: float = 1.0,
        mean_weight: float = 1e-3,
        class_weight: float = 1e-3,
        **kwargs,
    ):
        super().__init__(image_shape, num_classes, like_weight=like_weight, **kwargs)
        labelled(self, num_classes)
        at_least(0, kl_weight=kl_weight, mean_weight=mean_weight, class_weight=class_weight)
        if kwargs.get("saturating"):
            raise ValueError("saturating must be False: the generator is not paid for scores")
        self.kl_weight, self.mean_weight, self.class_weight = kl_weight, mean_weight, class_weight
        discriminator, classifier = (
            without_dropout(Unconditional(self.make_discriminator(num_classes=0))) for _ in range(2)
        )
        self.discriminator = self.regularisation.wrap(Heads(discriminator))
        self.classifier = Heads(classifier, score=False, classes=num_classes)

    # The game

    def players(self) -> tuple[Player, ...]:
        names = Player(
            "classifier", (self.classifier,), self.classifier_loss, clip_norm=self.clip_norm
        )
        return names, *super().players()

    def classifier_loss(self, batch: Batch) -> Tensor:
        """Cross-entropy of the classifier with the labels of data."""
        x, y = batch
        return labelled_cross_entropy(self.classifier.outputs(x)["classes"], y)

    def divergence(self, q: torch.distributions.Distribution) -> Tensor:
        """lambda_1 KL: nats, a mean over images."""
        return self.kl_weight * super().divergence(q)

    def likeness(self, real: tuple[Tensor, ...], fake: tuple[Tensor, ...]) -> Tensor:
        """L_G, a mean over images."""
        pixels = (real[0] - fake[0]).flatten(1)
        kinds = self.kinds(real[0]) - self.kinds(fake[0])
        apart = torch.cat((pixels, kinds), dim=1).square().sum(1).mean() / 2
        return apart + super().likeness(real, fake)

    def generator_loss(self, batch: Batch) -> Tensor:
        x, *condition = self.conditioned(batch)
        real, (again, new) = self.real(x, *condition), self._fakes(x, *condition)
        of_images = (self.discriminator.features(*inputs).mean(0) for inputs in (real, new))
        kinds = (self.class_means(self.kinds(image), *condition) for image, _ in (real, new))
        l_gd, l_gc = (0.5 * (a - b).square().sum() for a, b in (of_images, kinds))
        likeness = self.likeness(real, again)
        return self.like_weight * likeness + self.mean_weight * l_gd + self.class_weight * l_gc

    def kinds(self, x: Tensor) -> Tensor:
        """f_C: features (B, F) of the classifier in evaluation mode, independent of the batch."""
        with evaluating(self.classifier, compiled=True), torch.enable_grad():
            return self.classifier.features(x)

    def class_means(self, features: Tensor, y: Tensor) -> Tensor:
        """Means (K, F) of features (B, F) over each class; 0 for a class that is not in the
        batch."""
        member = one_hot(y, self.num_classes).to(features)  # (B, K)
        return member.T @ features / member.sum(0).clamp(min=1)[:, None]

    # What it can do

    def predict_proba(self, x: Tensor) -> Tensor:
        """Class probabilities (B, K) of images (B, C, H, W), by the classifier."""
        with evaluating(self):
            return self.classifier.outputs(x)["classes"].softmax(dim=1)

    def complete(self, x: Tensor, mask: Tensor, y: Tensor | None = None, steps: int = 10) -> Tensor:
        """Images x (B, C, H, W), completed where the mask (B, 1, H, W) is 0.

        They are encoded and decoded `steps` times, and the known pixels are restored each time.
        """
        at_least(1, steps=steps)
        y, known = self.labels(len(x), y), mask == 1
        found = torch.where(known, x, torch.zeros_like(x))
        for _ in range(steps):
            found = torch.where(known, x, self.reconstruct(found, y))
        return found
