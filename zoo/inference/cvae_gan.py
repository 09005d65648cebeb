"""CVAE-GAN: Fine-Grained Image Generation through Asymmetric Training.

Bao, Chen, Wen, Li and Hua, 2017. https://arxiv.org/abs/1703.10155

A VAE-GAN with the class c as its condition, and a classifier C beside the discriminator D: one says
whether an image is real, the other what it shows, and the last hidden layers of both, f_D and f_C,
say what matters in it. A reconstruction x' is to be like its original x in all respects, pair by
pair,

    L_G  = 1/2 (|x - x'|^2 + |f_D(x) - f_D(x')|^2 + |f_C(x) - f_C(x')|^2)

and samples x_p, which have no originals, only on average: over all images, and over each class,

    L_GD = 1/2 |E f_D(x) - E f_D(x_p)|^2
    L_GC = 1/2 sum_c |E_c f_C(x) - E_c f_C(x_p)|^2

The generator descends L_G + lambda_3 L_GD + lambda_4 L_GC, the encoder lambda_1 KL + L_G, while D
and C descend cross-entropies, C on real images only. That is the asymmetry: a generator that
ascends log D has no gradient where D is sure of it; one that matches means has, and is not asked to
make every image alike to fool D. L_GD and L_GC are 0 where samples are distributed as data, though
not only there.

Differs from the paper: the players move in turn, each on a forward pass of its own; samples are of
the batch's classes, and class means those of the batch, without a moving average; the two kinds of
samples count half each in D's loss; small networks, as `GAN` or as `network` says, without a
classifier of many images trained beforehand.
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
    """A network that looks at an image and not at the label beside it."""

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network

    def forward(self, x: Tensor, *condition: Tensor) -> Tensor:
        return self.network(x)


class CVAEGAN(VAEGAN):
    """A VAE-GAN of classes, whose generator matches mean features.

    Args:
        num_classes: K, at least 2.
        kl_weight: The paper's lambda_1.
        like_weight: Its lambda_2, of the generator; the encoder's is 1.
        mean_weight: Its lambda_3, for mean features of the discriminator.
        class_weight: Its lambda_4, for those of each class of the classifier. Features are many or
            few, large or small: look at the terms before choosing.
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
        looks = (self.discriminator.features(*inputs).mean(0) for inputs in (real, new))
        kinds = (self.class_means(self.kinds(image), *condition) for image, _ in (real, new))
        l_gd, l_gc = (0.5 * (a - b).square().sum() for a, b in (looks, kinds))
        likeness = self.likeness(real, again)
        return self.like_weight * likeness + self.mean_weight * l_gd + self.class_weight * l_gc

    def kinds(self, x: Tensor) -> Tensor:
        """f_C: (B, F), the same each time and whatever else is in the batch."""
        with evaluating(self.classifier, compiled=True), torch.enable_grad():
            return self.classifier.features(x)

    def class_means(self, features: Tensor, y: Tensor) -> Tensor:
        """Of (B, F) to (K, F); 0 for a class that the batch lacks."""
        member = one_hot(y, self.num_classes).to(features)  # (B, K)
        return member.T @ features / member.sum(0).clamp(min=1)[:, None]

    # What it can do

    def predict_proba(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to (B, K), what the classifier takes images for."""
        with evaluating(self):
            return self.classifier.outputs(x)["classes"].softmax(dim=1)

    def complete(self, x: Tensor, mask: Tensor, y: Tensor | None = None, steps: int = 10) -> Tensor:
        """Images (B, C, H, W) with the pixels where mask (B, 1, H, W) is 1 left as they are.

        Encoded and decoded so many times, and what is known put back each time.
        """
        at_least(1, steps=steps)
        y, known = self.labels(len(x), y), mask == 1
        found = torch.where(known, x, torch.zeros_like(x))
        for _ in range(steps):
            found = torch.where(known, x, self.reconstruct(found, y))
        return found
