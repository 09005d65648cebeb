"""AEGAN: Learning Inverse Mapping by AutoEncoder Based Generative Adversarial Nets.

Luo, Xu, Tang and Lv, 2017. https://arxiv.org/abs/1703.10094

A GAN is trained, and its generator is frozen. Then an encoder E is trained to invert the generator.
Its target is not z itself: a generator maps many z to nearly the same image, and the mean of these
z may be a z of another image. So G is the decoder of an autoencoder, of which only the encoder is
trained, and the target is the image,

    min_E  E_z |G(E(G(z))) - G(z)|^2

Its inputs are samples of G: no real images are needed. Each z that gives the image is a solution,
and for images that G can generate the minimum is 0. The alternative, a regression of z, E_z
|E(G(z)) - z|^2, is `loss_space="latent"`: at its minimum E(x) is the mean of all z that give x, and
G need not map this mean to x.

The codes can be used to search images: near codes belong to similar images.

Differs from the paper: encoder and GAN start together, and the encoder follows the generator as it
changes before it learns on the finished one; the encoder's output is in the range of the latents;
networks as `GAN` or as `network` says; no translation between the domains of two generators.
"""

from typing import Literal

import torch
from torch import Tensor

from ... import latent
from ...checks import at_least
from ...modes import evaluating
from ..adversarial import Batch, Phase, Player
from ..gan.gan import GAN
from ..networks import Encoder


class AEGAN(GAN):
    """A GAN that is frozen after some steps, and an encoder that inverts it.

    Steps are those of the encoder, one for each batch.

    Args:
        gan_steps: Number of steps after which the GAN is frozen.
        loss_space: The encoder's target for a sample: its "image" or its "latent".
        encoder_lr: Adam's learning rate of the encoder.
    """

    def __init__(
        self,
        image_shape: tuple[int, ...],
        num_classes: int = 0,
        gan_steps: int = 2000,
        loss_space: Literal["image", "latent"] = "image",
        encoder_lr: float = 1e-3,
        **kwargs,
    ):
        super().__init__(image_shape, num_classes, **kwargs)
        at_least(1, gan_steps=gan_steps)
        if loss_space not in ("image", "latent"):
            raise ValueError(f"loss_space must be 'image' or 'latent', got {loss_space!r}")
        self.gan_steps, self.loss_space, self.encoder_lr = gan_steps, loss_space, encoder_lr
        self.encoder = Encoder(self.make_discriminator(), self.latent_dim)

    # The game

    def players(self) -> tuple[Player, ...]:
        return *super().players(), Player(
            "encoder", (self.encoder,), self.encoder_loss, lr=self.encoder_lr
        )

    def phases(self) -> tuple[Phase, ...]:
        return Phase("all", self.gan_steps), Phase("the encoder alone", players=("encoder",))

    def optimizer(self, player: Player) -> torch.optim.Optimizer:
        if player.name != "encoder":
            return super().optimizer(player)
        return torch.optim.Adam(player.parameters(), lr=self.lr_of(player))

    def encoder_loss(self, batch: Batch) -> Tensor:
        """Squared error of the encoder, in images or latents of samples."""
        x, *condition = self.conditioned(batch)
        z = self.prior(len(x))
        decoder = self.sampling_generator
        with evaluating(decoder, compiled=True):
            image = decoder(z, *condition)
        code = self.code(image, *condition)
        if self.loss_space == "latent":
            return (code - z).square().mean()
        with (
            evaluating(decoder, compiled=True),
            torch.enable_grad(),
        ):  # in evaluation mode, as in `decode`
            again = decoder(code, *condition)
        return (again - image).square().mean()

    def code(self, x: Tensor, *condition: Tensor) -> Tensor:
        """Codes (B, D) of images, in [-1, 1] as the latents."""
        return self.encoder(x, *condition).tanh()

    # What it can do

    def encode(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """(B, C, H, W) to (B, D); a conditional model needs y."""
        with evaluating(self):
            return self.code(*self.real(x, *self.condition.arguments(y)))

    reconstruct = latent.reconstruct

    def search(
        self,
        query: Tensor,
        gallery: Tensor,
        k: int = 5,
        y: Tensor | None = None,
        gallery_y: Tensor | None = None,
    ) -> Tensor:
        """Indices (B, k) of the images in the gallery whose codes are nearest to those of the
        queries, the nearest first.

        Args:
            query: Images (B, C, H, W).
            gallery: Images (N, C, H, W).
            k: Number of images for each query.
            y: Labels (B,) of the queries, for a conditional model.
            gallery_y: Labels (N,) of the gallery, for a conditional model.

        Raises:
            ValueError: k is not in 1..N.
        """
        if not 1 <= k <= len(gallery):
            raise ValueError(f"k must be in 1..{len(gallery)} images of the gallery, got {k}")
        codes = []
        for name, x, label in (("y", query, y), ("gallery_y", gallery, gallery_y)):
            if self.num_classes and label is None:
                raise ValueError(f"{name} must be ({len(x)},) integers, got None")
            codes.append(self.encode(x, *self.to_draw(len(x), label)))
        apart = torch.cdist(*codes)
        return apart.topk(k, largest=False).indices
