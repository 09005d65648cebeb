"""BEGAN: Boundary Equilibrium Generative Adversarial Networks.

Berthelot, Schumm and Metz, 2017. https://arxiv.org/abs/1703.10717

The discriminator is an autoencoder, as in EBGAN, without the margin. The game matches the
distributions of the reconstruction errors L of data and samples rather than of the images. A
controller keeps the two players in balance: the error of samples should be gamma times that of
data, and k_t is the weight of the samples' error in the discriminator's loss.

    L_D = L(x) - k_t L(G(z_D))
    L_G = L(G(z_G))
    k_{t+1} = k_t + lambda_k (gamma L(x) - L(G(z_G))),   kept in [0, 1]     (sec. 3.4)

gamma controls diversity: with a lower gamma the discriminator is rather an autoencoder of data, and
the samples are less diverse. The progress of training is measured by

    M = L(x) + |gamma L(x) - L(G(z_G))|

The paper trains it on faces, a single kind of image. On ten digits it did not hold: samples
collapsed to one or a few digits at every gamma; and 124 images of one digit are memorised so soon
that at gamma = 0.4 k stays 0. Nor did it hold on Fashion-MNIST without the class, in 1,500 batches
of 64: with codes of 4, 8 and 16 entries, learning rates from 2e-4 to 1e-3, gamma 0.7 and 0.9,
lambda_k 0.001 and 0.02, and either kind of networks, samples showed one to four classes.

Differs from the paper: the learning rate is constant, where the paper lowers it when M stalls;
DCGAN's convolutions; samples are clamped to [-1, 1].
"""

import torch
from torch import Tensor, nn

from ...modes import evaluating
from .. import networks
from ..adversarial import Batch
from ..networks.regularisation import without_norms
from .gan import GAN, Payoff
from .wgan import minus_score


class Plain:
    """Mixin for a network: ELUs, no normalisation, no dropout, and no tanh at the output."""

    def __init__(self, *numbers):
        super().__init__(*numbers)
        without_norms(self)
        for name, module in list(self.named_modules()):
            if isinstance(module, nn.LeakyReLU | nn.ReLU):
                self.set_submodule(name, nn.ELU())
            elif isinstance(module, nn.Dropout | nn.Tanh):
                self.set_submodule(name, nn.Identity())
            elif isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
                module.reset_parameters()  # DCGAN's are too small without normalisation


class PlainMLPGenerator(Plain, networks.MLPGenerator):
    pass


class PlainMLPDiscriminator(Plain, networks.MLPDiscriminator):
    pass


class PlainConvGenerator(Plain, networks.ConvGenerator):
    pass


class PlainConvDiscriminator(Plain, networks.ConvDiscriminator):
    pass


def cost_apart(real: Tensor, fake: Tensor, k: Tensor | float = 0.0) -> Tensor:
    """L(x) - k L(G(z)), of scores that are minus the errors L."""
    return k * fake.mean() - real.mean()


class BEGAN(GAN):
    """A GAN whose discriminator is an autoencoder, held in balance with the generator.

    Args:
        diversity: The paper's gamma, in (0, 1]: the error of samples over the error of data.
        control_rate: The paper's lambda_k, the learning rate of k: k changes over about
            1 / control_rate steps.
        latent_dim: D, entries of z.
        code_dim: Entries of the autoencoder's code.
        lr: Adam's learning rate.

    Attributes:
        k: Weight of the samples' error in the discriminator's loss, in [0, 1]; 0 at the start.
    """

    loss = Payoff(cost_apart, minus_score)
    Generator, Discriminator = PlainMLPGenerator, PlainMLPDiscriminator
    pairs = {
        "mlp": (PlainMLPGenerator, PlainMLPDiscriminator),
        "conv": (PlainConvGenerator, PlainConvDiscriminator),
    }

    def __init__(
        self,
        image_shape: tuple[int, ...],
        num_classes: int = 0,
        diversity: float = 0.5,
        control_rate: float = 1e-3,
        latent_dim: int = 64,
        code_dim: int = 64,
        lr: float = 1e-4,
        **kwargs,
    ):
        super().__init__(image_shape, num_classes, latent_dim, lr=lr, **kwargs)
        if not 0 < diversity <= 1:
            raise ValueError(f"diversity must be in (0, 1], got {diversity}")
        if not control_rate > 0:
            raise ValueError(f"control_rate must be positive, got {control_rate}")
        self.diversity, self.control_rate = diversity, control_rate
        decoder = self.make_generator(code_dim)
        discriminator = networks.Autoencoding(self.discriminator, decoder, code_dim, power=1)
        self.discriminator = self.regularisation.wrap(discriminator)
        self.register_buffer("k", torch.zeros(()))
        self._real_cost = torch.zeros(())  # of this batch; the discriminator plays first

    def discriminator_loss(self, batch: Batch) -> Tensor:
        x, *condition = self.conditioned(batch)
        real = self.discriminator(*self.real(x, *condition))
        fake = self.discriminator(*self.fake(self.prior(len(x)), *condition))
        self._real_cost = -real.detach().mean()
        return self.loss.discriminator(real, fake, self.k)

    def generator_loss(self, batch: Batch) -> Tensor:
        cost = super().generator_loss(batch)
        measure = self.balance(self._real_cost, cost.detach())
        self.log("convergence", measure, on_step=False, on_epoch=True)
        self.log("k", self.k)
        return cost

    def balance(self, real: Tensor, fake: Tensor) -> Tensor:
        """Updates k by the errors of data and samples in a turn; returns the paper's M."""
        gap = self.diversity * real - fake
        self.k.copy_((self.k + self.control_rate * gap).clamp(0, 1))
        return real + gap.abs()

    def decode(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        x = super().decode(z, y)
        return x.clamp(-1, 1) if len(self.image_shape) == 3 else x

    def reconstruct(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """Images (B, C, H, W) reconstructed by the discriminator's autoencoder."""
        with evaluating(self):
            return self.discriminator.reconstruct(*self.real(x, *self.condition.arguments(y)))
