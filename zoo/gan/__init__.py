"""Implicit models: a generator is trained against a discriminator."""

from .adagan import AdaGAN
from .b_gan import BGAN
from .began import BEGAN
from .boundary_seeking_gan import BoundarySeekingGAN
from .dcgan import DCGAN
from .ebgan import EBGAN
from .f_gan import FGAN
from .gan import GAN
from .geometric_gan import GeometricGAN
from .gogan import GoGAN
from .improved_gan import ImprovedGAN
from .lapgan import LAPGAN
from .lsgan import LSGAN
from .progressive_gan import ProgressiveGAN
from .wgan import WGAN
from .wgan_gp import WGANGP

__all__ = [
    "AdaGAN",
    "BGAN",
    "BEGAN",
    "BoundarySeekingGAN",
    "DCGAN",
    "EBGAN",
    "FGAN",
    "GAN",
    "GeometricGAN",
    "GoGAN",
    "ImprovedGAN",
    "LAPGAN",
    "LSGAN",
    "ProgressiveGAN",
    "WGAN",
    "WGANGP",
]
