"""Implicit models: a generator learns from an opponent's judgement."""

from .dcgan import DCGAN
from .gan import GAN

__all__ = ["DCGAN", "GAN"]
