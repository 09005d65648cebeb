"""Models whose samples are drawn by a Markov chain."""

from .dbm import DBM
from .generalized_denoising import GeneralizedDenoisingAutoencoder
from .gsn import GSN
from .rbm import RBM

__all__ = ["DBM", "GSN", "GeneralizedDenoisingAutoencoder", "RBM"]
