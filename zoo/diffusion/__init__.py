"""Models that take noise out of images: diffusion and flow matching."""

from .ddpm import DDPM
from .edm import EDM
from .flow_matching import FlowMatching

__all__ = ["DDPM", "EDM", "FlowMatching"]
