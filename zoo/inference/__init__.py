"""The latent is found again: an encoder learns beside the generator."""

from .ali import ALI
from .bigan import BiGAN
from .vae_gan import VAEGAN

__all__ = ["ALI", "BiGAN", "VAEGAN"]
