"""Parts that two or more papers use: networks are built from numbers, scores are raw."""

from .conv import ConvDiscriminator, ConvGenerator
from .mlp import MLP, MLPDiscriminator, MLPGenerator

__all__ = ["MLP", "ConvDiscriminator", "ConvGenerator", "MLPDiscriminator", "MLPGenerator"]
