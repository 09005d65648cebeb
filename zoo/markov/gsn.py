"""GSN: Deep Generative Stochastic Networks Trainable by Backprop.

Bengio, Thibodeau-Laufer, Alain and Yosinski, 2013. https://arxiv.org/abs/1306.1091

A generalized denoising autoencoder predicts an image from one corrupted version of it. The state of
this chain also has a latent H:

    H_{t+1} = f(X_t, Z_t, H_t),        X_{t+1} ~ P(X|H_{t+1})

Z is noise: here the corruption, as above, and noise of the units. H can collect information of many
steps, so that P(X|H), whose pixels are independent, has fewer modes than P(X|x~). P is learned by
backpropagation through the steps:

    min E[-log P(X_0|H_1)]

The distribution of X remains that of the data if P(X|H_1) is the posterior P(X_0|H_1) and H_0 has,
given the image, the distribution of H_1: P(H_0|X_0) = P(H_1|X_0). From H = 0 this takes some steps
with the image fixed, so each training step starts with `settle` such steps. Then follow steps from
samples of the chain, each of which predicts the training image: walkback.

The layers are those of a Boltzmann machine, with the same weights in both directions. In each step
all odd layers are computed from their neighbours, then all even layers, one of which is the image:

    h1 = tanh(W1 x~ + W2' h2),        h2 = tanh(W2 h1 + noise) + noise,        x ~ sigmoid(W1' h1)

Differs from the paper: it settles first; Adam for momentum; less noise, for fewer units. After a
short training it completes images better than it samples them, where the chain may leave the data.
"""

import torch
from torch import Tensor, nn
from torch.distributions import Bernoulli

from ...checks import at_least
from ..networks.conditional import beside
from .bits import to_bits
from .generalized_denoising import GeneralizedDenoisingAutoencoder


class Layers(nn.Module):
    """One step of all layers: bits (B, D) and even layers (B, W) to logits (B, D) and even layers.

    The odd ones follow from these, and are not carried.
    """

    def __init__(self, pixels: int, num_classes: int, width: int, depth: int, noise: float):
        super().__init__()
        self.pixels, self.num_classes, self.noise = pixels, num_classes, noise
        sizes = [pixels + num_classes] + depth * [width]
        self.up = nn.ModuleList(nn.Linear(n, width) for n in sizes[:-1])  # has the upper's bias
        self.bias = nn.Parameter(torch.zeros(pixels))
        for layer in self.up:
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(
        self, bits: Tensor, even: list[Tensor], y: Tensor | None = None
    ) -> tuple[Tensor, list[Tensor]]:
        layers = [beside(bits * 2 - 1, y, self.num_classes)] + (len(self.up)) * [None]
        layers[2::2] = even
        for k in range(1, len(layers), 2):
            layers[k] = self._unit(layers, k)
        logits = layers[1] @ self.up[0].weight[:, : self.pixels] + self.bias
        return logits, [self._unit(layers, k) for k in range(2, len(layers), 2)]

    def _unit(self, layers: list[Tensor], k: int) -> Tensor:
        """Layer k from those below and above it; only the first is without noise."""
        h = self.up[k - 1](layers[k - 1])
        if k < len(self.up):
            h = h + layers[k + 1] @ self.up[k].weight
        if k == 1:
            return h.tanh()
        h = (h + self.noise * torch.randn_like(h)).tanh()
        return h + self.noise * torch.randn_like(h)


class GSN(GeneralizedDenoisingAutoencoder):
    """A Markov chain of images and hidden layers.

    Args:
        width: Units of each hidden layer.
        depth: Number of hidden layers; every second one is part of the state.
        noise: Standard deviation of the noise in the hidden layers above the first.
        settle: Steps in training with the image fixed, in which the hidden layers adapt to it.
        walkback: Steps after these that start from samples of the chain.
        annealing: Factor of the learning rate after each epoch, in (0, 1].
    """

    def __init__(
        self,
        image_shape: tuple[int, ...],
        num_classes: int = 0,
        width: int = 500,
        depth: int = 2,
        corruption: float = 0.4,
        noise: float = 0.5,
        settle: int = 4,
        walkback: int = 4,
        steps: int = 500,
        lr: float = 1e-3,
        annealing: float = 0.995,
    ):
        super().__init__(image_shape, num_classes, width, corruption, noise, walkback, steps, lr)
        at_least(2, depth=depth)  # one layer alone is computed anew in each step
        at_least(0, settle=settle)
        if settle + walkback < 2:  # the hidden state would not be used
            raise ValueError(f"settle must be at least 1 where walkback is 1, got {settle}")
        if not 0 < annealing <= 1:
            raise ValueError(f"annealing must be in (0, 1], got {annealing}")
        self.settle, self.annealing = settle, annealing
        self.denoiser = Layers(self.pixels, num_classes, width, depth, noise)
        self.carried = [width] * (depth // 2)

    # The chain

    def rest(self, bits: Tensor) -> list[Tensor]:
        """The initial hidden layers of the state, 0, (B, W) each."""
        return [bits.new_zeros(len(bits), width) for width in self.carried]

    def step(
        self, bits: Tensor, hidden: list[Tensor], *condition: Tensor
    ) -> tuple[Bernoulli, list[Tensor]]:
        """P(X|H_{t+1}) of each bit, (B, D), and the layers of H_{t+1} that are part of the
        state."""
        logits, hidden = self.denoiser(self.corrupt(bits), hidden, *condition)
        return Bernoulli(logits=logits, validate_args=False), hidden

    @torch.no_grad()
    def walk(
        self, bits: Tensor, *condition: Tensor, steps: int, known: Tensor | None = None
    ) -> Tensor:
        hidden = self.rest(bits)
        for _ in range(steps):
            guess, hidden = self.step(bits, hidden, *condition)
            drawn = guess.sample()
            bits = drawn if known is None else torch.where(known, bits, drawn)
        return bits

    # Training

    def denoising(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """Mean of -log P(x|H) in nats, over images, steps that settle and those of walkback."""
        condition = self.condition.arguments(y)
        clean = bits = to_bits(x, self.image_shape, type(self).__name__)
        hidden, cost, steps = self.rest(bits), 0.0, self.settle + self.walkback
        for step in range(steps):
            guess, hidden = self.step(bits, hidden, *condition)
            cost = cost - guess.log_prob(clean).sum(1).mean()
            if step >= self.settle:
                bits = guess.sample()
        return cost / steps

    def configure_optimizers(self):
        optimizer = super().configure_optimizers()
        return [optimizer], [torch.optim.lr_scheduler.ExponentialLR(optimizer, self.annealing)]
