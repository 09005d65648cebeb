"""CGAN: Conditional Generative Adversarial Nets.

Mirza and Osindero, 2014. https://arxiv.org/abs/1411.1784

Both networks have a condition y as a further input, a class or any other kind of condition:

    min_G max_D  E_x[log D(x|y)] + E_z[log(1 - D(G(z|y)|y))]                (eq. 2)

For a fixed G the optimal discriminator is D(x|y) = p(x|y) / (p(x|y) + q(x|y)): an image of another
class than y differs from data, however real it looks, so the generator must follow y. No other term
of the loss depends on y.

What did not hold: that a trained discriminator detects nine of ten wrong labels. The better the
generator, the rarer are samples with a wrong class, and the less the discriminator learns about
them: on held-out 8x8 digits it detected 0.74 to 0.88 after 420 steps.

`num_classes` makes every GAN of the zoo conditional; in this model a condition is required.

The zoo's networks append y to their input: a class as a one-hot vector, numbers unchanged, a text
as the shares of its words. A condition that is an image, or has several parts, needs own networks
(`Generator`, `Discriminator`), which get y itself.

Differs from the paper: y is appended to the input, where the paper has separate hidden layers for
noise, image and label first; Adam for momentum with a decaying learning rate, leaky ReLU for
maxout, the generator's non-saturating loss.
"""

from typing import Any

from ...checks import labelled
from ...conditions import KINDS, Condition, condition_of
from ..gan.gan import GAN


class CGAN(GAN):
    """A GAN of which both networks have a condition.

    >>> from genzoo.conditions import Vector
    >>> model = CGAN((1, 8, 8), condition=Vector(2), latent_dim=4, width=16)
    >>> model.sample(3, torch.zeros(3, 2)).shape
    torch.Size([3, 1, 8, 8])

    Args:
        num_classes: K, at least 2, the number of classes; 0: the condition is of another kind.
        condition: A condition of another kind: a `Condition`, or its plain values.
    """

    condition_kinds = tuple(KINDS.values())

    def __init__(
        self,
        image_shape: tuple[int, ...],
        num_classes: int = 0,
        condition: Condition | dict[str, Any] | None = None,
        **kwargs,
    ):
        condition = condition_of(num_classes if condition is None else condition)
        super().__init__(image_shape, condition, **kwargs)
        if not self.condition.from_data:
            labelled(self, self.num_classes)
