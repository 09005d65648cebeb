"""Autoencoders, and latent-variable models that are trained on a bound of their likelihood."""

from .autoencoder import Autoencoder
from .beta_vae import BetaVAE
from .conv_autoencoder import ConvAutoencoder
from .cvae import CVAE, QuadrantCVAE
from .denoising import DenoisingAutoencoder
from .linear_autoencoder import LinearAutoencoder
from .pixelvae import PixelVAE
from .vae import VAE

__all__ = [
    "Autoencoder",
    "BetaVAE",
    "CVAE",
    "ConvAutoencoder",
    "DenoisingAutoencoder",
    "LinearAutoencoder",
    "PixelVAE",
    "QuadrantCVAE",
    "VAE",
]
