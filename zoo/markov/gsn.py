"""GSN: Deep Generative Stochastic Networks Trainable by Backprop.

Bengio, Thibodeau-Laufer, Alain and Yosinski, 2013. https://arxiv.org/abs/1306.1091

A generalized denoising autoencoder guesses an image from one corrupted glance at it, and forgets
both. This chain has a latent H beside the image, which it carries from step to step:

    H_{t+1} = f(X_t, Z_t, H_t),        X_{t+1} ~ P(X|H_{t+1})

Z is noise: here that of the corruption, as above, and of units. So H can gather what many glances
tell, and P(X|H), whose pixels are independent, has less to choose from than P(X|x~). P is learned
by backprop through the steps:

    min E[-log P(X_0|H_1)]

The law of X stays the data's if P(X|H_1) is the posterior P(X_0|H_1) and H_0 has, given the image,
the law that H_1 has: P(H_0|X_0) = P(H_1|X_0). From H = 0 that takes some steps in which the image
stays, so each training starts with `settle` of these. Then come steps from what the chain draws, of
which each is to tell the image that was left: walkback.

The layers are a Boltzmann machine's, and weights go both ways. In each step all odd layers are
found from their neighbours, then all even ones, of which the image is one:

    h1 = tanh(W1 x~ + W2' h2),        h2 = tanh(W2 h1 + noise) + noise,        x ~ sigmoid(W1' h1)

Differs from the paper: it settles first; Adam for momentum; less noise, for fewer units. Trained as
briefly as here, it completes images better than it draws them from nothing, where it may stray.
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
    """A chain that remembers: of images, and of hidden layers that it carries along.

    Args:
        width: Units of each hidden layer.
        depth: Hidden layers; every second one is carried.
        noise: Standard deviation of the noise in the hidden layers above the first.
        settle: Steps in training in which each image stays, so that the hidden layers get to know
            it; 0: what they know is what the first glance tells.
        walkback: Steps that then lead away from it.
        annealing: What the learning rate is multiplied by after each epoch, in (0, 1].
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
        at_least(2, depth=depth)  # one alone is found anew in each step
        at_least(0, settle=settle)
        if settle + walkback < 2:  # nobody would read what is carried
            raise ValueError(f"settle must be at least 1 where walkback is 1, got {settle}")
        if not 0 < annealing <= 1:
            raise ValueError(f"annealing must be in (0, 1], got {annealing}")
        self.settle, self.annealing = settle, annealing
        self.denoiser = Layers(self.pixels, num_classes, width, depth, noise)
        self.carried = [width] * (depth // 2)

    # The chain

    def rest(self, bits: Tensor) -> list[Tensor]:
        """The hidden layers that are carried, (B, W) each, before anything was shown."""
        return [bits.new_zeros(len(bits), width) for width in self.carried]

    def step(
        self, bits: Tensor, hidden: list[Tensor], *condition: Tensor
    ) -> tuple[Bernoulli, list[Tensor]]:
        """P(X|H_{t+1}) of each bit, (B, D), and what of H_{t+1} is carried."""
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
