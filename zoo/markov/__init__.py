"""Models that are drawn from by a Markov chain."""

from .dbm import DBM
from .gsn import GSN
from .rbm import RBM

__all__ = ["DBM", "GSN", "RBM"]
