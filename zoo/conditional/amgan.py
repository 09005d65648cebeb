"""AMGAN: Activation Maximization Generative Adversarial Nets.

Zhou, Cai, Rong, Song, Ren, Zhang, Yu and Wang, 2017. https://arxiv.org/abs/1703.02000

The discriminator is a classifier of K + 1 classes, the last one being "a sample". A generator
that only avoids the last class (LabelGAN: Salimans et al., 2016,
https://arxiv.org/abs/1606.03498, sec. 5) descends -log sum_k<=K p_k, whose gradient pulls each
sample towards all real classes at once, by their probabilities. Here each sample has one target t:

    L_D = CE(l(x), y) + CE(l(G(z)), K + 1)
    L_G = CE(l(G(z)), t),   t = argmax_k<=K l_k(G(z))       (dynamic labelling)

so its logits are pulled by 1 - p_t at the target and pushed by -p_k at all other classes. Targets
may also be given labels (`target="label"`), which makes the generator conditional.

What did not hold: in 400 steps on 8x8 digits its Inception score was below that of a GAN without
labels, on each of three seeds. With given targets samples show their class early in training, and
differ little within a class (a variance of 0.009 per pixel, where data have 0.17).

Differs from the paper: no noise on images and no decay of the learning rate; networks as in `GAN`.
"""

from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from ...checks import labelled
from ...modes import evaluating
from ..adversarial import Batch
from ..gan.gan import GAN, Payoff
from ..networks import Heads, LogOdds, labelled_cross_entropy


def class_aware(logits: Tensor, target: Tensor) -> Tensor:
    """Cross-entropy of logits (B, K + 1) with a real class of each sample, (B,)."""
    return cross_entropy(logits, target)


def any_real_class(logits: Tensor) -> Tensor:
    """LabelGAN's -log sum_k<=K p_k, a mean over logits (B, K + 1).

    >>> any_real_class(torch.zeros(4, 4))  # -log(3/4)
    tensor(0.2877)
    """
    return (logits.logsumexp(dim=1) - logits[:, :-1].logsumexp(dim=1)).mean()


class AMGAN(GAN):
    """A GAN whose discriminator classifies, and whose generator aims at one class per sample.

    Args:
        num_classes: K, at least 2, the number of classes of the labels. They are a condition of
            the generator, and the model is conditional, only if `target` is "label".
        target: Class at which the generator aims for a sample: "dynamic", the real class with the
            largest logit; "label", the class that was asked for; "marginal", any (LabelGAN).
    """

    loss = Payoff(labelled_cross_entropy, class_aware)  # of logits

    def __init__(
        self,
        image_shape: tuple[int, ...],
        num_classes: int,
        target: Literal["dynamic", "label", "marginal"] = "dynamic",
        **kwargs,
    ):
        if target not in ("dynamic", "label", "marginal"):
            raise ValueError(f"target must be dynamic, label or marginal, got {target!r}")
        labelled(self, num_classes)
        super().__init__(image_shape, num_classes if target == "label" else 0, **kwargs)
        self.target, self.learnt_classes = target, num_classes
        heads = Heads(self.make_discriminator(num_classes=0), score=False, classes=num_classes + 1)
        heads.heads["classes"] = LogOdds.of(heads.heads["classes"])
        self.discriminator = self.regularisation.wrap(heads)

    def discriminator_loss(self, batch: Batch) -> Tensor:
        x, y = batch
        of_real, of_fake = self.logits(x), self.logits(self.drawn(y))
        last = torch.full_like(y, of_fake.shape[1] - 1)
        return labelled_cross_entropy(of_real, y) + cross_entropy(of_fake, last)

    def generator_loss(self, batch: Batch) -> Tensor:
        _, y = batch
        logits = self.logits(self.drawn(y))
        if self.target == "marginal":
            return any_real_class(logits)
        return class_aware(logits, y if self.num_classes else logits[:, :-1].argmax(dim=1))

    def drawn(self, y: Tensor) -> Tensor:
        """As many samples as labels y (B,), of these classes if the model is conditional."""
        z = self.prior(len(y))
        return self.generator(z, *self.condition.arguments(y))

    def logits(self, x: Tensor) -> Tensor:
        """Logits (B, K + 1) of images; the last one is that of the class "a sample"."""
        return self.discriminator.outputs(x)["classes"]

    def raw_scores(self, x: Tensor, *condition: Tensor) -> Tensor:
        """Log-odds (B,) of images being data."""
        logits = self.logits(x)
        return logits[:, :-1].logsumexp(dim=1) - logits[:, -1]

    def predict_proba(self, x: Tensor) -> Tensor:
        """Class probabilities (B, K) of images by the discriminator, given that they are data."""
        with evaluating(self):
            return self.logits(x)[:, :-1].softmax(dim=1)
