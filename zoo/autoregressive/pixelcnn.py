"""PixelCNN: Pixel Recurrent Neural Networks.

van den Oord, Kalchbrenner and Kavukcuoglu, 2016. https://arxiv.org/abs/1601.06759

The joint distribution of all pixels is written as a product of conditionals

    p(x) = prod_i p(x_i | x_1, ..., x_{i-1})                                (eq. 1)
    p(x_i | x_<i) = p(R | x_<i) p(G | x_<i, R) p(B | x_<i, R, G)            (eq. 2)

and each is a softmax over the levels of a pixel, computed by one network for all pixels at once.
Masks restrict each output to earlier values: the first convolution (7x7, mask A) excludes the
pixel's own value; the later ones (mask B) include their own features of the pixel. So the
likelihood is exact, its mean over data is the objective, and samples are drawn pixel by pixel. At
the optimum the conditionals are those of the data, within the receptive field: masked 3x3 kernels
never cover a wedge to the upper right of the pixel, the blind spot (1606.05328, fig. 1).

Differs from the paper: Adam for RMSProp; two levels are a softmax over two for a sigmoid, the
same family; the layer before the last has as many features as the blocks; classes, which the
paper does not have, are a bias in every layer as in 1606.05328, eq. 4.
"""

from torch import Tensor, nn
from torch.nn.functional import relu

from ..networks.masked import ClassBias, MaskedConv2d
from .conditionals import Autoregressive, Levels


class ResidualBlock(nn.Module):
    """2h features to h, a masked 3x3 convolution, and back to 2h (fig. 5, left)."""

    def __init__(self, width: int, colours: int, num_classes: int):
        super().__init__()
        self.narrow = MaskedConv2d(2 * width, width, 1, "B", colours)
        self.look = MaskedConv2d(width, width, 3, "B", colours)
        self.widen = MaskedConv2d(width, 2 * width, 1, "B", colours)
        self.label = ClassBias(num_classes, width) if num_classes else None

    def forward(self, x: Tensor, y: Tensor | None) -> Tensor:
        h = self.narrow(relu(x))
        h = self.look(relu(h, inplace=True))
        if self.label is not None:
            h = h + self.label(y)
        return x + self.widen(relu(h, inplace=True))


class MaskedResNet(nn.Module):
    """The network of table 1: images (B, C, H, W) to logits (B, C * L, H, W), colour by colour."""

    def __init__(
        self, image_shape: tuple[int, ...], num_classes: int, levels: int, width: int, layers: int
    ):
        super().__init__()
        colours = image_shape[0]
        self.first = MaskedConv2d(colours, 2 * width, 7, "A", colours)
        self.label = ClassBias(num_classes, 2 * width) if num_classes else None
        blocks = (ResidualBlock(width, colours, num_classes) for _ in range(layers))
        self.blocks = nn.ModuleList(blocks)
        self.mix = MaskedConv2d(2 * width, 2 * width, 1, "B", colours)
        self.logits = MaskedConv2d(2 * width, colours * levels, 1, "B", colours)

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        h = self.first(x)
        if self.label is not None:
            h = h + self.label(y)
        for block in self.blocks:
            h = block(h, y)
        h = self.mix(relu(h, inplace=True))
        return self.logits(relu(h, inplace=True))


class PixelCNN(Autoregressive):
    """A model with an exact likelihood, by masked convolutions.

    >>> model = PixelCNN((1, 4, 4), levels=2, width=4, layers=1)
    >>> model.sample(2).unique()  # the two levels
    tensor([-1.,  1.])
    >>> model.log_prob(torch.ones(3, 1, 4, 4)).shape  # nats
    torch.Size([3])

    Args:
        width: The paper's h: channels of the 3x3 convolutions; between blocks there are 2h.
        layers: Number of residual blocks, each with one masked 3x3 convolution; 0: the 7x7
            convolution only.
    """

    Network: type[nn.Module] = MaskedResNet

    def __init__(
        self,
        image_shape: tuple[int, ...],
        num_classes: int = 0,
        levels: int = 256,
        width: int = 64,
        layers: int = 12,
        lr: float = 1e-3,
    ):
        super().__init__(image_shape, num_classes, levels, lr)
        self.save_hyperparameters()
        self.network = self.Network(self.image_shape, num_classes, levels, width, layers)

    def conditionals(self, x: Tensor, *condition: Tensor) -> Levels:
        """The distribution of each level of images x, given the earlier values."""
        logits = self.network(x, *condition).to(x.dtype)  # mixed precision ends here
        return Levels(logits.unflatten(1, (self.image_shape[0], self.levels)).movedim(2, -1))
