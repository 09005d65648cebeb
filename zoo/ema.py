"""Moving averages of weights: the one home of all models that have one.

With a constant decay the first weights, drawn at random, stay in the average for long: after 1,312
steps at 0.999 they are 27 % of it. So it warms up: the decay of step k = 0, 1, ... is

    min(decay, (1 + k) / (10 + k)),

by which the first weights are down to 1e-5 of the average after ten steps, and the decay is reached
after 9 / (1 - decay) of them.
"""

from collections.abc import Callable
from copy import deepcopy

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from .._torch import Stored, lerp_all


class Average(Stored):
    """A network of averaged weights and buffers, in `module`; nothing trains it.

    Args:
        network: What is averaged; it is copied.
        decay: Share of the average that a step keeps, in [0, 1).
        warmup: Whether it keeps less of it at first; else the first step's weights are taken over
            as they are.

    Attributes:
        updates: Steps that were averaged, a number that no GPU is asked for.
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
        """One step; what are no fractions, counts, are copied."""
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
        """Of the next step."""
        if self.warmup:
            return min(self.decay, (1 + self.updates) / (10 + self.updates))
        return self.decay if self.updates else 0.0

    def follow(self, optimizer: Optimizer, network: Callable[[], nn.Module]) -> None:
        """Averages what `network()` gives after each step of the optimizer."""
        optimizer.register_step_post_hook(lambda *_: self.update(network()))

    # The count lies in a checkpoint as torch's own averages have it, so that these can be read.

    def stored(self) -> dict[str, Tensor]:
        return {"n_averaged": torch.tensor(self.updates)}

    def restore(self, name: str, value: Tensor) -> None:
        self.updates = int(value)


class Averaging:
    """A model of which one network may be averaged; before its other base classes.

    Attributes:
        averaged: The name of that network.
        ema_decay: Share of the average that a step keeps, in [0, 1); 0: there is none.
        ema_warmup: Whether the average forgets faster at first.
    """

    averaged: str
    ema_decay: float = 0.0
    ema_warmup: bool = True

    def average(self) -> None:
        """Begins the average, or begins it anew, of the network as it is now."""
        if self.ema_decay:
            self.ema = Average(getattr(self, self.averaged), self.ema_decay, self.ema_warmup)

    @property
    def average_network(self) -> nn.Module:
        """The average where there is one, else the network itself."""
        return self.ema.module if self.ema_decay else getattr(self, self.averaged)

    def average_after(self, optimizer: Optimizer) -> None:
        """Averages the network after each step of the optimizer, where it is averaged."""
        if self.ema_decay:
            self.ema.follow(optimizer, lambda: getattr(self, self.averaged))


def _tensors(network: nn.Module) -> list[Tensor]:
    return [*network.parameters(), *network.buffers()]
