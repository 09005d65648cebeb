"""DBM: Deep Boltzmann Machines.

Salakhutdinov and Hinton, 2009. https://proceedings.mlr.press/v5/salakhutdinov09a.html

A second layer of hidden units g is connected to the first, h, and h to the pixels v; there are no
connections within a layer:

    E(v, h, g) = -b.v - c.h - d.g - v.W h - h.U g                           (eq. 9)

Given h, pixels and g are independent. So the machine is an RBM whose visible layer is (v, g), of
which g is never observed, and is implemented as such. On the data, the
posterior is approximated by independent units, whose means m solve

    m_h = sigmoid(c + v W + m_g U'),        m_g = sigmoid(d + m_h U)        (eq. 7, 8)

and bound the likelihood:

    log p(v) >= -E(v, m_h, m_g) + H(m_h) + H(m_g) - log Z                   (eq. 5)

At the best m_h the first two terms are minus the RBM's free energy F(v, m_g). The bound's gradient,
m held fixed, is therefore that of F(v, m_g) on the data less that of F on the model; persistent
chains draw from the model.

Where the first hidden layer is small, Z and p(v) are sums over its states. Where it is large, Z is
estimated by annealed importance sampling, as an RBM's, and what was a bound is an estimate too.

Differs from the paper: no pretraining of one layer after the other, so that the whole is trained
at once, from random weights.
"""

import torch
from torch import Tensor
from torch.distributions import Bernoulli

from ...checks import at_least
from ...modes import evaluating
from .rbm import RBM, log_sum


class DBM(RBM):
    """A Boltzmann machine with two layers of hidden units.

    Args:
        hidden: Units of the first hidden layer.
        top: Units of the second hidden layer.
        chains: Number of persistent chains over all ranks, at least one for each class on each
            rank.
        mean_field: Iterations of the fixed-point equations for the posterior means.
    """

    def __init__(
        self,
        image_shape: tuple[int, ...],
        num_classes: int = 0,
        hidden: int = 500,
        top: int = 500,
        gibbs_steps: int = 1,
        chains: int = 100,
        mean_field: int = 10,
        lr: float = 0.05,
        momentum: float = 0.5,
        sweeps: int = 1000,
    ):
        super().__init__(
            image_shape, num_classes, hidden, gibbs_steps, chains, lr, momentum, sweeps
        )
        at_least(1, top=top, chains=chains, mean_field=mean_field)
        self.mean_field = mean_field
        self._connect(self.pixels + top, hidden, chains)

    def observed(self, x: Tensor, y: Tensor) -> Tensor:
        """The pixels and the posterior means of the top, (B, V)."""
        return self.filled(super().observed(x, y), y)

    @torch.no_grad()
    def filled(self, bits: Tensor, y: Tensor) -> Tensor:
        """Pixels (B, D) and the posterior means of the second layer, (B, V), by eq. 7 and 8."""
        v = self.visible_bias[y].sigmoid()
        v[:, : self.pixels] = bits
        for _ in range(self.mean_field):
            v[:, self.pixels :] = self.visible(self.hidden(v, y), y)[:, self.pixels :]
        return v

    def bound(self, x: Tensor, y: Tensor) -> Tensor:
        """(B,) nats: eq. 5 without log Z."""
        v = self.observed(x, y)
        top = Bernoulli(v[:, self.pixels :], validate_args=False)
        return top.entropy().sum(1) - self.free_energy(v, y)

    def elbo(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """A lower bound of log p(x), (B,) nats, if Z can be summed.

        Raises:
            ValueError: the layers are too large to sum Z.
        """
        y = self._rows(len(x), y)
        return self.bound(x, y) - self.log_partition()[y]

    def log_prob_ais(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """(B,) nats: the bound with the estimate of Z. It is not a bound, since Z may be too
        small."""
        y = self._rows(len(x), y)
        return self.bound(x, y) - self._estimated()[y]

    def log_weight(self, x: Tensor, y: Tensor) -> Tensor:
        """(B,) nats: log p(x) + log Z; what the pixels add to its biases leaves h and g an RBM."""
        bits = super().observed(x, y)
        below, above = self.weight.split((self.pixels, len(self.weight) - self.pixels))
        b, d = self.visible_bias[y].split((self.pixels, len(above)), dim=1)
        into_hidden = self.hidden_bias[y] + bits @ below
        return (bits * b).sum(1) + log_sum(above, d, into_hidden).to(self.dtype)

    def encode(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """The posterior means of both layers, (B, H + top)."""
        y = self._rows(len(x), y)
        with evaluating(self):
            v = self.observed(x, y)
            return torch.cat((self.hidden(v, y), v[:, self.pixels :]), dim=1)
