"""CCGAN: Semi-Supervised Learning with Context-Conditional Generative Adversarial Networks.

Denton, Gross and Fergus, 2016. https://arxiv.org/abs/1611.06430

A hole is cut into an image x; the mask m is 1 outside the hole. A generator fills the hole from its
surroundings, and only the hole is generated:

    x_G = G(m x, m, z),    x_I = m x + (1 - m) x_G

A discriminator separates x from x_I, and from the same features classifies the images that have a
label:

    L_D = -E_x[log D(x)] - E_x,m[log(1 - D(x_I))] + lambda E_labelled[-log p(y | x)]
    L_G = -E_x,m[log D(x_I)]

There is no loss of pixels: everything that fits the surroundings is as good as the original, and
holes are not filled by a mean. To find filled holes the discriminator must model images, so its
features also learn from unlabelled images, and filled images are better negatives than whole
samples of a GAN.

In CC-GAN^2 the discriminator also gets whole images of the generator. Here these are generated
without a context, so that the model can sample, and have their own score on the same features:

    CC-GAN + w GAN,    each as above

What did not hold: that one score is enough for both. Then the mixture of filled and of whole images
is matched to the data, and the former compensate for the modes that the latter lack: on 8x8 digits,
after 1,500 steps on one seed, the distance of completions to data was 41 instead of 3.5, and 30
where a mean fills holes. Nor was a gain by unlabelled images found: with 100 labels of 16x16 MNIST
digits, convolutions and 1,500 steps the accuracy was 0.76, 0.79 and 0.83 (seeds 0, 1, 2), and 0.77,
0.80 and 0.83 for the same network without them.

Differs from the paper: the generator, an encoder and a decoder made of the networks of `GAN` or of
`network`, has mask and noise as inputs, and a second decoder for whole images; Gaussian noise in
the discriminator; the hidden part is not given at a low resolution, and the classifier is not
trained further afterwards.
"""

import torch
from torch import Tensor, nn

from ...checks import at_least
from ...images import check_images
from ...modes import evaluating
from .. import networks
from ..adversarial import Batch
from ..networks import Encoder, Heads, labelled_cross_entropy, without_label
from .semi_supervised_gan import SemiSupervisedGAN

CODE = 256  # entries of the generator's code of the surroundings


class ContextGenerator(nn.Module):
    """Latents (B, D) to images (B, C, H, W): whole ones, or completions of x."""

    Networks = networks.PAIRS["mlp"]

    def __init__(self, image_shape: tuple[int, ...], latent_dim: int, num_classes: int, width: int):
        super().__init__()
        if len(image_shape) != 3:
            raise ValueError(f"image_shape must be (C, H, W), got {tuple(image_shape)}")
        channels, *sides = image_shape
        Generator, Discriminator = self.Networks
        self.whole = Generator(image_shape, latent_dim, num_classes, width)
        self.encoder = Encoder(Discriminator((channels + 1, *sides), 0, width), CODE)
        self.decoder = Generator(image_shape, CODE + latent_dim, num_classes, width)

    def forward(self, z: Tensor, x: Tensor | None = None, mask: Tensor | None = None) -> Tensor:
        """Images of latents z; with x (B, C, H, W), completions of x where the mask (B, 1, H, W) is
        0."""
        if x is None:
            return self.whole(z)
        known = torch.where(mask == 1, x, 0)
        code = self.encoder(torch.cat((known, mask), dim=1))
        return self.decoder(torch.cat((code, z), dim=1))


class ConvContextGenerator(ContextGenerator):
    Networks = networks.PAIRS["conv"]


class ResidualContextGenerator(ContextGenerator):
    Networks = networks.PAIRS["residual"]


class CCGAN(SemiSupervisedGAN):
    """A GAN that fills holes, and a classifier that learns from few labels and many images.

    Args:
        num_classes: K, at least 2, the number of classes. Labels are 0..K-1, or -1 for an
            unlabelled image.
        hole: Side of the hidden square in pixels; its place is random. 0: half the image's side.
        whole_weight: Weight of the game of whole images; 0: the paper's CC-GAN, in which the
            network that `sample` uses is not trained.
        label_weight: The paper's lambda, the weight of the cross-entropy with the labels.
    """

    DiscriminatorHeads = Heads
    Generator: type[nn.Module] = ContextGenerator
    pairs = {
        "mlp": (ContextGenerator, networks.MLPDiscriminator),
        "conv": (ConvContextGenerator, networks.ConvDiscriminator),
        "residual": (ResidualContextGenerator, networks.ResidualDiscriminator),
    }

    def __init__(
        self,
        image_shape: tuple[int, ...],
        num_classes: int,
        hole: int = 0,
        whole_weight: float = 1.0,
        **kwargs,
    ):
        super().__init__(image_shape, num_classes, **kwargs)
        side = min(self.image_shape[1:])
        if not 0 <= hole <= side:
            raise ValueError(f"hole must be in 0..{side}, the image's side, got {hole}")
        at_least(0, whole_weight=whole_weight)
        self.hole, self.whole_weight = hole or side // 2, whole_weight
        for name in ("score", "whole"):
            self.discriminator.heads[name] = nn.Linear(self.discriminator.num_features, 1)
        self.regularisation.wrap(self.discriminator)

    # The game

    def masks(self, n: int) -> Tensor:
        """Masks (n, 1, H, W): 0 in a square at a random place, 1 around it."""

        def within(side: int) -> Tensor:
            first = torch.randint(side - self.hole + 1, (n, 1), device=self.device)
            place = torch.arange(side, device=self.device) - first  # (n, side)
            return (place >= 0) & (place < self.hole)

        rows, columns = (within(side) for side in self.image_shape[1:])
        return (~(rows[:, None, :, None] & columns[:, None, None, :])).to(self.dtype)

    def filled(self, x: Tensor, mask: Tensor, generator: nn.Module) -> Tensor:
        """x_I: images x where the mask is 1, and generated where it is 0."""
        return torch.where(mask == 1, x, generator(self.prior(len(x)), x, mask))

    def discriminator_loss(self, batch: Batch) -> Tensor:
        x, y = batch
        of_real, loss = self.discriminator.outputs(x), self.loss.discriminator
        plays = without_label(y)
        # Batch normalisation gets the whole batch: few images may be unlabelled.
        game = loss(of_real["score"][plays], self._of_filled(x)[plays])
        if self.whole_weight:
            of_real_whole = of_real["whole"].squeeze(1)[plays]
            game = game + self.whole_weight * loss(of_real_whole, self._of_whole(x))
        return game + self.label_weight * labelled_cross_entropy(of_real["classes"], y)

    def generator_loss(self, batch: Batch) -> Tensor:
        x, y = batch
        game = self.loss.generator(self._of_filled(x)[without_label(y)])
        if self.whole_weight:
            game = game + self.whole_weight * self.loss.generator(self._of_whole(x))
        return game

    def _of_filled(self, x: Tensor) -> Tensor:
        """(B,) scores of x_I."""
        return self.discriminator(self.filled(x, self.masks(len(x)), self.generator))

    def _of_whole(self, x: Tensor) -> Tensor:
        """(B,) scores, by their own head, of as many whole images."""
        made = self.generator(self.prior(len(x)))
        return self.discriminator.outputs(made)["whole"].squeeze(1)

    # What it can do

    def complete(self, x: Tensor, mask: Tensor, y: Tensor | None = None) -> Tensor:
        """Images x, generated where the mask (B, 1, H, W) is 0 and unchanged where it is 1."""
        check_images(x, self.image_shape, "the data")
        if mask.shape != (len(x), 1, *self.image_shape[1:]):
            got = tuple(mask.shape)
            raise ValueError(f"mask must be ({len(x)}, 1, H, W) as the images, got {got}")
        self.labels(len(x), y)
        generator = self.sampling_generator
        x = x.to(self.device, self.dtype)
        with evaluating(self):
            return self.filled(x, mask.to(x), generator)
