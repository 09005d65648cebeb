"""Generalized denoising autoencoders: Generalized Denoising Auto-Encoders as Generative Models.

Bengio, Yao, Alain and Vincent, 2013. https://arxiv.org/abs/1305.6663

Instead of a density the model learns one step of a Markov chain whose stationary distribution is
that of the data. A step corrupts the image, and draws an image given the corrupted one:

    x~ ~ C(x~|x),        x' ~ P(x'|x~)

If P is the true posterior p(x|x~), and the chain can reach every state, its stationary distribution
is that of the data (thm 1). After a small corruption the posterior has few modes, so it is easier
to learn than the distribution of the data. It is learned as a prediction, by denoising:

    min E[-log P(x|x~)],    x of the data, x~ ~ C(x~|x)

Here C replaces a random share of the pixels by random bits. The pixels of P are independent given
x~ and the noise in the network. Training also on samples of several steps teaches the chain to
return to the data: walkback (alg. 1).

The state of the chain is the image alone. `GSN` is a chain with a further, hidden state.

Differs from the paper: two hidden layers, with noise; Adam for momentum; the number of
walkback steps is fixed, not random.
"""

import math

import torch
from torch import Tensor, nn
from torch.distributions import Bernoulli

from ...checks import at_least
from ...modes import evaluating
from ..base import GenerativeModel
from ..networks.conditional import beside
from .bits import from_bits, known_bits, to_bits


class NoisyLayer(nn.Module):
    """Linear and tanh with Gaussian noise before and after, also when drawing."""

    def __init__(self, inputs: int, outputs: int, noise: float):
        super().__init__()
        self.linear, self.noise = nn.Linear(inputs, outputs), noise

    def forward(self, x: Tensor) -> Tensor:
        h = self.linear(x)
        h = (h + self.noise * torch.randn_like(h)).tanh()
        return h + self.noise * torch.randn_like(h)


class Denoiser(nn.Module):
    """Corrupted bits (B, D) to the logits of the clean bits, (B, D)."""

    def __init__(self, pixels: int, num_classes: int, width: int, noise: float):
        super().__init__()
        self.num_classes = num_classes
        self.body = nn.Sequential(
            NoisyLayer(pixels + num_classes, width, noise),
            NoisyLayer(width, width, noise),
            nn.Linear(width, pixels),
        )

    def forward(self, bits: Tensor, y: Tensor | None = None) -> Tensor:
        return self.body(beside(bits * 2 - 1, y, self.num_classes))


class GeneralizedDenoisingAutoencoder(GenerativeModel):
    """A Markov chain, each step of which corrupts an image and draws a denoised one.

    Args:
        image_shape: (C, H, W).
        num_classes: K, the number of classes, which are a condition of the network; 0: the model is
            unconditional.
        width: Units of each hidden layer.
        corruption: Share of the pixels that are replaced by random bits, in (0, 1].
        noise: Standard deviation of the noise in the hidden layers.
        walkback: Steps of the chain that start at each training image; 1: denoising only.
        steps: Steps of the chain from noise to a sample.
        lr: Adam's learning rate.
    """

    Denoiser: type[nn.Module] = Denoiser

    def __init__(
        self,
        image_shape: tuple[int, ...],
        num_classes: int = 0,
        width: int = 500,
        corruption: float = 0.4,
        noise: float = 0.1,
        walkback: int = 1,
        steps: int = 500,
        lr: float = 1e-3,
    ):
        super().__init__()
        self.save_hyperparameters()
        if len(image_shape) != 3 or min(image_shape) < 1:
            raise ValueError(f"image_shape must be (C, H, W), got {tuple(image_shape)}")
        if not 0 < corruption <= 1:
            raise ValueError(f"corruption must be in (0, 1], got {corruption}")
        at_least(0, noise=noise)
        at_least(1, width=width, walkback=walkback, steps=steps)
        self.image_shape, self.num_classes = tuple(image_shape), num_classes
        self.corruption, self.walkback, self.steps, self.lr = corruption, walkback, steps, lr
        self.pixels = math.prod(image_shape)
        self.denoiser = self.Denoiser(self.pixels, num_classes, width, noise)

    # The chain

    def corrupt(self, bits: Tensor) -> Tensor:
        """A draw from C(x~|x), (B, D): salt and pepper."""
        chosen = torch.rand_like(bits) < self.corruption
        return torch.where(chosen, torch.randint_like(bits, 2), bits)

    def reconstruct(self, corrupted: Tensor, y: Tensor | None = None) -> Bernoulli:
        """P(x|x~) of each bit, (B, D), given the noise that the network draws."""
        return Bernoulli(logits=self.denoiser(corrupted, y), validate_args=False)

    @torch.no_grad()
    def walk(
        self, bits: Tensor, *condition: Tensor, steps: int, known: Tensor | None = None
    ) -> Tensor:
        """Bits (B, D) after `steps` steps of the chain; bits that are `known` (B, D) stay."""
        for _ in range(steps):
            drawn = self.reconstruct(self.corrupt(bits), *condition).sample()
            bits = drawn if known is None else torch.where(known, bits, drawn)
        return bits

    # Training

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        loss = self.denoising(*batch)
        self.log("loss/denoising", loss.detach(), prog_bar=True)
        return loss

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        cost = self.denoising(*batch)
        self.log("denoising", cost, prog_bar=True, batch_size=len(batch[0]), sync_dist=True)

    test_step = validation_step

    def denoising(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """Mean of -log P(x|x~) in nats, over images and the steps of walkback."""
        condition = self.condition.arguments(y)
        clean = bits = to_bits(x, self.image_shape, type(self).__name__)
        cost = 0.0
        for step in range(self.walkback):
            guess = self.reconstruct(self.corrupt(bits), *condition)
            cost = cost - guess.log_prob(clean).sum(1).mean()
            if step + 1 < self.walkback:
                bits = guess.sample()
        return cost / self.walkback

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), self.lr)

    # What it can do

    def sample(self, n: int, y: Tensor | None = None, steps: int | None = None) -> Tensor:
        """Binary images, by `steps` steps of the chain from random bits; None: `self.steps`."""
        condition = self.to_draw(n, y)
        with evaluating(self):
            bits = torch.randint(2, (n, self.pixels), device=self.device).to(self.dtype)
            bits = self.walk(bits, *condition, steps=self.steps if steps is None else steps)
        return from_bits(bits, self.image_shape)

    def complete(self, x: Tensor, mask: Tensor, y: Tensor | None = None) -> Tensor:
        """Draws the pixels where the mask (B, 1, H, W) is 0, by a chain in which the others stay.

        After each step the known pixels are restored. The result is close to a draw from
        p(rest | known), and equal to it only in the limit of small corruption.
        """
        x, mask = x.to(self.device, self.dtype), mask.to(self.device)
        bits, known = known_bits(x, mask, self.image_shape, type(self).__name__)
        condition = self.to_draw(len(x), y)
        with evaluating(self):
            bits = torch.where(known, bits, torch.randint_like(bits, 2))
            bits = self.walk(bits, *condition, steps=self.steps, known=known)
            return from_bits(bits, self.image_shape)
