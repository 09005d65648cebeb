"""Levels of a pixel as a mixture of logistics, cut into the cells around them.

Salimans et al., 2017, https://arxiv.org/abs/1701.05517. An intensity nu is continuous, and the
pixel is the level nearest to it (eq. 1 and 2):

    nu ~ sum_k pi_k logistic(mu_k, s_k)
    P(x) = sum_k pi_k [sigmoid((x + 1/2 - mu_k) / s_k) - sigmoid((x - 1/2 - mu_k) / s_k)]

so that neighbouring levels have similar probabilities before training. The cells of the first and
the last level reach to infinity. Colours of a pixel share its component, and the mean of each
colour depends on the colours before it (eq. 3); given these, a colour is a mixture again, with the
weights

    pi_k(g | r) = pi_k P_k(r) / sum_j pi_j P_j(r),

which are stored here, so that each colour has an exact distribution function.
"""

from math import log

import torch
from torch import Tensor
from torch.distributions import Distribution
from torch.nn.functional import logsigmoid

from ..images import from_levels, to_levels

LEAST_LOG_SCALE = -7.0  # of intensities on [-1, 1]


class LogisticMixture(Distribution):
    """The distribution of one of L levels for each pixel and colour, given the earlier colours.

    >>> p = LogisticMixture(torch.zeros(1), torch.zeros(1), torch.zeros(1), levels=4)
    >>> round(p.log_prob(torch.arange(4)).exp().sum().item(), 4)  # probabilities sum to 1
    1.0

    Args:
        log_weights: Log-weights of the components, (..., K); their exponentials sum to 1.
        means: Means of the components on [-1, 1], (..., K).
        log_scales: Log-scales of the components, (..., K).
        levels: L, the number of levels.
    """

    def __init__(self, log_weights: Tensor, means: Tensor, log_scales: Tensor, levels: int):
        super().__init__(means.shape[:-1], validate_args=False)
        self.log_weights, self.means, self.log_scales = log_weights, means, log_scales
        self.levels = levels

    @classmethod
    def of_pixels(cls, parameters: Tensor, x: Tensor, levels: int) -> "LogisticMixture":
        """The distribution of images (B, C, H, W), each colour given the earlier colours in x.

        Args:
            parameters: (B, K * (1 + 2C + C(C-1)/2), H, W), unconstrained: for each component a
                weight, C means, C scales, and a coefficient of each earlier colour in each mean.
        """
        colours = x.shape[1]
        pairs = colours * (colours - 1) // 2
        parameters = parameters.unflatten(1, (1 + 2 * colours + pairs, -1)).movedim(2, -1)
        sizes = (1, colours, colours, pairs)
        weights, means, log_scales, moves = parameters.split(sizes, dim=1)  # (B, size, H, W, K)
        log_scales = log_scales.clamp(min=LEAST_LOG_SCALE)
        log_weights, moves = weights[:, 0].log_softmax(-1), moves.tanh()
        level, x = to_levels(x, levels), x[..., None]
        every_weight, every_mean, pair = [], [], 0
        for c in range(colours):
            mean = means[:, c]
            for before in range(c):
                mean = mean + moves[:, pair] * x[:, before]
                pair += 1
            every_weight.append(log_weights)
            every_mean.append(mean)
            if c + 1 < colours:
                nats = log_cell(level[:, c, ..., None], mean, log_scales[:, c], levels)
                log_weights = (log_weights + nats).log_softmax(-1)
        return cls(torch.stack(every_weight, 1), torch.stack(every_mean, 1), log_scales, levels)

    def __getitem__(self, index) -> "LogisticMixture":
        """The distribution of some of the pixels."""
        parts = (self.log_weights[index], self.means[index], self.log_scales[index])
        return LogisticMixture(*parts, self.levels)

    def log_prob(self, value: Tensor) -> Tensor:
        nats = log_cell(value[..., None], self.means, self.log_scales, self.levels)
        return (self.log_weights + nats).logsumexp(-1)

    def cdf(self, value: Tensor) -> Tensor:
        """The probability of a level or a lower one."""
        edge = _edges(value[..., None], self.levels, self.means.dtype)
        below = ((edge - self.means) * (-self.log_scales).exp()).sigmoid()
        chance = (self.log_weights.exp() * below).sum(-1)
        return torch.where(value < self.levels - 1, chance, 1.0)

    def icdf(self, value: Tensor) -> Tensor:
        """The level at which the distribution function first exceeds a number in [0, 1)."""
        low = torch.zeros_like(value, dtype=torch.int64)
        high = torch.full_like(low, self.levels - 1)
        for _ in range((self.levels - 1).bit_length()):  # halve what is left
            middle = (low + high) // 2
            exceeds = self.cdf(middle) > value
            low = torch.where(exceeds, low, torch.minimum(middle + 1, high))
            high = torch.where(exceeds, middle, high)
        return low


def _edges(level: Tensor, levels: int, dtype: torch.dtype) -> Tensor:
    """Where the cells of levels end above, on [-1, 1]."""
    return from_levels(level, levels, dtype) + 1 / (levels - 1)


def log_cell(level: Tensor, mean: Tensor, log_scale: Tensor, levels: int) -> Tensor:
    """Log-probability in nats of a level's cell under a logistic, without cancellation:

        log(sigmoid(a) - sigmoid(b)) = log sigmoid(a) + log sigmoid(-b) + log(1 - exp(b - a))

    where a and b are the cell's ends in units of the scale.
    """
    middle = from_levels(level, levels, mean.dtype) - mean
    per_scale, half = (-log_scale).exp(), 1 / (levels - 1)
    below_end = logsigmoid((middle + half) * per_scale)
    above_start = logsigmoid((half - middle) * per_scale)
    # log(1 - exp(-d)): the first form where d is small, the second where exp(-d) is.
    width = 2 * half * per_scale
    wide = width > log(2)
    small, large = width.where(~wide, log(2)), width.where(wide, log(2))
    inside = torch.where(wide, (-(-large).exp()).log1p(), (-(-small).expm1()).log())
    first, last = level == 0, level == levels - 1
    nats = below_end.masked_fill(last, 0) + above_start.masked_fill(first, 0)
    return nats + inside.masked_fill(first | last, 0)
