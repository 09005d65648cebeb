"""Parts that two or more papers use: networks are built from numbers, scores are raw."""

from .autoencoding import Autoencoding
from .conv import ConvDiscriminator, ConvGenerator, LayerNormConvDiscriminator, reached
from .encoders import Encoder, GaussianEncoder, without_dropout
from .heads import Heads, LogOdds, labelled_cross_entropy, without_label
from .mlp import MLP, MLPDiscriminator, MLPGenerator
from .regularisation import Regularisation
from .residual import ResidualDiscriminator, ResidualGenerator

# Generator and discriminator of one kind, by the name that a command gives them.
PAIRS = {
    "mlp": (MLPGenerator, MLPDiscriminator),
    "conv": (ConvGenerator, ConvDiscriminator),
    "residual": (ResidualGenerator, ResidualDiscriminator),
}

__all__ = [
    "MLP",
    "PAIRS",
    "Autoencoding",
    "ConvDiscriminator",
    "ConvGenerator",
    "Encoder",
    "GaussianEncoder",
    "Heads",
    "LayerNormConvDiscriminator",
    "LogOdds",
    "MLPDiscriminator",
    "MLPGenerator",
    "Regularisation",
    "ResidualDiscriminator",
    "ResidualGenerator",
    "labelled_cross_entropy",
    "reached",
    "without_dropout",
    "without_label",
]
