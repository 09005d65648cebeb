"""CatGAN: Unsupervised and Semi-supervised Learning with Categorical Generative Adversarial
Networks.

Springenberg, 2015. https://arxiv.org/abs/1511.06390

The discriminator has no unit for real or fake, only K categories. It should be sure which one an
image of the data belongs to, unsure of samples, and use all categories equally; the generator
wants it to be sure of samples, and to draw all categories equally. With entropies H,

    L_D = -H[E_x p(y|x)] + E_x H[p(y|x)] - E_z H[p(y|G(z))]  (+ lambda CE on labelled images)
    L_G = -H[E_z p(y|G(z))] + E_z H[p(y|G(z))]                              (eq. 7, 9)

So -H[p(y|x)] is the score of a game whose players pay it as it is, and the entropy of the mean is
what is added. Categories find classes because a sharp boundary costs least where there is no data
and few samples: without any label the categories of digits are, mostly, digits.

What did not hold: with fully connected networks categories of MNIST are no better than k-means'.

Differs from the paper: networks as `GAN` or as `network` says, with noise in the discriminator.
"""

import math

from torch import Tensor

from .. import networks
from ..adversarial import Batch
from ..gan.gan import GAN
from ..gan.wgan import wasserstein
from ..module import evaluating
from ..networks import Heads, labelled_cross_entropy
from ..networks.noise import noisy
