"""Networks and layers that two or more papers use. Constructors take numbers; scores are raw."""

from .autoencoding import Autoencoding
from .conv import ConvDiscriminator, ConvGenerator, LayerNormConvDiscriminator, reached
from .denoising_mlp import TimeMLP
from .denoising_unet import DenoisingUNet
from .encoders import Encoder, GaussianEncoder, without_dropout
from .heads import Heads, LogOdds, labelled_cross_entropy, without_label
from .mlp import MLP, MLPDiscriminator, MLPGenerator
from .regularisation import Regularisation
from .residual import ResidualDiscriminator, ResidualGenerator

# Generator and discriminator of each kind of networks, by the value of the argument `network`.
PAIRS = {
    "mlp": (MLPGenerator, MLPDiscriminator),
    "conv": (ConvGenerator, ConvDiscriminator),
    "residual": (ResidualGenerator, ResidualDiscriminator),
}


def pair(
    name: str,
    own: tuple[type, type],
    pairs: dict[str, tuple[type, type]],
    image_shape: tuple[int, ...],
) -> tuple[type, type]:
    """The classes of a generator and a discriminator by the name of their kind.

    Args:
        name: One of `pairs`; "own"; or "auto": "conv" for images of 16 pixels a side and more that
            strided convolutions reach, "mlp" for others; a class of `own` that is not the default
            "mlp" stays.
        own: The classes that the model's class names.
        pairs: The kinds of networks that the model has.
    """
    if name not in ("auto", "own", *pairs):
        names = ", ".join(("auto", "own", *pairs))
        raise ValueError(f"network must be one of {names}, got {name!r}")
    if name in pairs:
        return pairs[name]
    if name == "own" or not {"mlp", "conv"} <= set(pairs):
        return own
    small = not reached(image_shape) or image_shape[-1] < 16
    found = zip(own, pairs["mlp"], pairs["mlp" if small else "conv"], strict=True)
    generator, discriminator = (new if mine is mlp else mine for mine, mlp, new in found)
    return generator, discriminator


__all__ = [
    "MLP",
    "PAIRS",
    "Autoencoding",
    "ConvDiscriminator",
    "ConvGenerator",
    "DenoisingUNet",
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
    "TimeMLP",
    "labelled_cross_entropy",
    "pair",
    "reached",
    "without_dropout",
    "without_label",
]
