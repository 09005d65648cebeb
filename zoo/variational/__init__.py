"""Explicit densities that are approximated: a bound is trained."""

from .vae import VAE

__all__ = ["VAE"]
