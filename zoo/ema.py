"""Moving averages of weights, for all models that use one.

With a constant decay the random initial weights stay in the average for long: after 1,312 steps at
0.999 they are 27 % of it. So the decay has a warm-up: in step k = 0, 1, ... it is

    min(decay, (1 + k) / (10 + k)),

so that the initial weights are 1e-5 of the average after ten steps, and the full decay is reached
after 9 / (1 - decay) steps.
"""

from collections.abc import Callable
from copy import deepcopy

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from .._torch import Stored, lerp_all


class Average(Stored):
    """A copy of a network, `module`, whose weights and buffers are moving averages.

    >>> linear = nn.Linear(1, 1, bias=False)
    >>> average = Average(linear, decay=0.9, warmup=False)
    >>> for value in (0.0, 1.0):
    ...     _ = linear.weight.data.fill_(value)
    ...     average.update(linear)
    >>> round(average.module.weight.item(), 3)  # 0.9 * 0 + 0.1 * 1
    0.1

    Args:
        network: The network to average; it is copied.
        decay: Share of the average that is kept in a step, in [0, 1).
        warmup: Whether the decay is smaller at first; False: the first step copies the weights.

    Attributes:
        updates: Number of averaged steps, a Python number.
    """

    def __init__(self, network: nn.Module, decay: float, warmup: bool = True):
        super().__init__()
        if not 0 <= decay < 1:
            raise ValueError(f"ema_decay must be in [0, 1), got {decay}")
        self.module = deepcopy(network).requires_grad_(False)
        self.decay, self.warmup, self.updates = decay, warmup, 0

    def forward(self, *inputs: Tensor) -> Tensor:
        return self.module(*inputs)

    @torch.no_grad()
    def update(self, network: nn.Module) -> None:
        """Adds a step to the average; integer buffers are copied."""
        kept = self.decay_now()
        means, values = [], []
        for mean, now in zip(_tensors(self.module), _tensors(network), strict=True):
            if kept and mean.is_floating_point():
                means.append(mean)
                values.append(now)
            else:
                mean.copy_(now)
        if means:
            lerp_all(means, values, 1 - kept)
        self.updates += 1

    def decay_now(self) -> float:
        """The decay of the next step."""
        if self.warmup:
            return min(self.decay, (1 + self.updates) / (10 + self.updates))
        return self.decay if self.updates else 0.0

    def follow(self, optimizer: Optimizer, network: Callable[[], nn.Module]) -> None:
        """Adds the network that `network()` returns after each step of the optimizer."""
        optimizer.register_step_post_hook(lambda *_: self.update(network()))

    # In checkpoints the count has the name of torch's own averages, so that these can be read.

    def stored(self) -> dict[str, Tensor]:
        return {"n_averaged": torch.tensor(self.updates)}

    def restore(self, name: str, value: Tensor) -> None:
        self.updates = int(value)


class Averaging:
    """Mixin for a model with an average of one network; it comes before other base classes.

    Attributes:
        averaged: The name of the network.
        ema_decay: Share of the average that is kept in a step, in [0, 1); 0: no average.
        ema_warmup: Whether the decay is smaller at first.
    """

    averaged: str
    ema_decay: float = 0.0
    ema_warmup: bool = True

    def average(self) -> None:
        """Starts, or restarts, the average with the current network."""
        if self.ema_decay:
            self.ema = Average(getattr(self, self.averaged), self.ema_decay, self.ema_warmup)

    @property
    def average_network(self) -> nn.Module:
        """The average if there is one, otherwise the network."""
        return self.ema.module if self.ema_decay else getattr(self, self.averaged)

    def average_after(self, optimizer: Optimizer) -> None:
        """Adds the network to the average after each step of the optimizer, if there is an
        average."""
        if self.ema_decay:
            self.ema.follow(optimizer, lambda: getattr(self, self.averaged))


def _tensors(network: nn.Module) -> list[Tensor]:
    return [*network.parameters(), *network.buffers()]
