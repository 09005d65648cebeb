"""BEGAN: Boundary Equilibrium Generative Adversarial Networks.

Berthelot, Schumm and Metz, 2017. https://arxiv.org/abs/1703.10717

EBGAN's autoencoder without the margin. What is matched are not images but the errors L of their
reconstruction, and a control holds the two players in balance: samples should cost gamma times
what data cost, and k says how much of samples' cost the discriminator heeds for that.

    L_D = L(x) - k_t L(G(z_D))
    L_G = L(G(z_G))
    k_{t+1} = k_t + lambda_k (gamma L(x) - L(G(z_G))),   kept in [0, 1]     (sec. 3.4)

gamma is a dial of diversity: the lower, the more the discriminator is an autoencoder of data, and
the fewer things the generator draws. How far training has come can be read off

    M = L(x) + |gamma L(x) - L(G(z_G))|

Made for data of one kind, faces; on ten classes of digits or clothes at once samples collapse to
one or a few.

Differs from the paper: a constant learning rate, with which the paper's falls as M stalls; no skip
connections; samples are clamped to [-1, 1].
"""

import math

import torch
from torch import Tensor, nn

from .. import networks
from ..adversarial import Batch
from ..module import evaluating
from ..networks.conditional import beside
from ..networks.conv import halvings
from .gan import GAN, Payoff
from .wgan import minus_score
