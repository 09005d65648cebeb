"""CGAN: Conditional Generative Adversarial Nets.

Mirza and Osindero, 2014. https://arxiv.org/abs/1411.1784

Both players are told y, here a class, beside their input:

    min_G max_D  E_x[log D(x|y)] + E_z[log(1 - D(G(z|y)|y))]                (eq. 2)

For a fixed G the best answer is D(x|y) = p(x|y) / (p(x|y) + q(x|y)): an image that shows another
class than it is said to show is told from data, however real it looks, so the generator must
heed y. Nothing else makes it: there is no term for the class.

What did not hold: that a trained discriminator finds out nine wrong names in ten. The better the
generator, the less of p and q lies where an image has the wrong name, and the less is learned of
it: on held-out 8x8 digits it was 0.74 to 0.88 after 420 steps.

`num_classes` does this to every GAN of the zoo; here it is the model, and must be given.

Differs from the paper: the label joins its input at once, where the paper first gives noise,
image and label hidden layers of their own; Adam for momentum with a decaying rate, leaky ReLU for
maxout, the generator's non-saturating loss.
"""

from ...checks import labelled
from ..gan.gan import GAN


class CGAN(GAN):
    """A GAN whose players are told the class.

    Args:
        num_classes: K, at least 2. Other arguments as `GAN`.
    """

    def __init__(self, image_shape: tuple[int, ...], num_classes: int, **kwargs):
        super().__init__(image_shape, num_classes, **kwargs)
        labelled(self, num_classes)
