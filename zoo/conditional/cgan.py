"""CGAN: Conditional Generative Adversarial Nets.

Mirza and Osindero, 2014. https://arxiv.org/abs/1411.1784

Both players are given y beside their input, a class or any other kind of condition:

    min_G max_D  E_x[log D(x|y)] + E_z[log(1 - D(G(z|y)|y))]                (eq. 2)

For a fixed G the best answer is D(x|y) = p(x|y) / (p(x|y) + q(x|y)): an image that shows another
class than its y says differs from data, however real it looks, so the generator must heed y.
Nothing else makes it: there is no term for y.

What did not hold: that a trained discriminator finds out nine wrong names in ten. The better the
generator, the less of p and q lies where an image has the wrong name, and the less is learned of
it: on held-out 8x8 digits it was 0.74 to 0.88 after 420 steps.

`num_classes` does this to every GAN of the zoo; here it is the model, and must be given.

The zoo's networks join y to their input: a class as a one-hot vector, numbers as they are, a text
as the shares of its words. What is an image, or has several parts, needs networks of one's own
(`Generator`, `Discriminator`), which are given y itself.

Differs from the paper: y joins its input at once, where the paper first gives noise,
image and label hidden layers of their own; Adam for momentum with a decaying rate, leaky ReLU for
maxout, the generator's non-saturating loss.
"""

from typing import Any

from ...checks import labelled
from ...conditions import KINDS, Condition, condition_of
from ..gan.gan import GAN


class CGAN(GAN):
    """A GAN whose players are both given a condition.

    Args:
        num_classes: K, at least 2, of classes; 0: the condition is of another kind.
        condition: Of another kind: a `Condition`, or its plain values.
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
