"""Implicit models: a generator learns from an opponent's judgement."""

from .b_gan import BGAN
from .began import BEGAN
from .boundary_seeking_gan import BoundarySeekingGAN
from .dcgan import DCGAN
from .ebgan import EBGAN
from .f_gan import FGAN
from .gan import GAN
from .geometric_gan import GeometricGAN
from .improved_gan import ImprovedGAN
from .lsgan import LSGAN
from .wgan import WGAN
from .wgan_gp import WGANGP

__all__ = [
    "BGAN",
    "BEGAN",
    "BoundarySeekingGAN",
    "DCGAN",
    "EBGAN",
    "FGAN",
    "GAN",
    "GeometricGAN",
    "ImprovedGAN",
    "LSGAN",
    "WGAN",
    "WGANGP",
]
