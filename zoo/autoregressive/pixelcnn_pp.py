"""PixelCNN++: Improving the PixelCNN with Discretized Logistic Mixture Likelihood.

Salimans, Karpathy, Chen and Kingma, 2017. https://arxiv.org/abs/1701.05517

An exact likelihood by masked convolutions, as in PixelCNN, with four changes. A level of a pixel is
not a class but an interval of a continuous intensity, a mixture of logistics (sec. 2.1):

    P(x) = sum_k pi_k [sigmoid((x + 1/2 - mu_k) / s_k) - sigmoid((x - 1/2 - mu_k) / s_k)]   (eq. 2)

so a level that is absent from the training data is about as likely as its neighbours. The network
processes whole pixels, and their colours depend on each other only in the means (sec. 2.2):

    mu_g = mu_g + a r,   mu_b = mu_b + b r + c g                                            (eq. 3)

It works at three sizes, halved and doubled by strided convolutions (sec. 2.3), with short-cuts
between layers of the same size on the way down and up (sec. 2.4), and dropout (sec. 2.5). Two
streams keep the order: one of the rows above, one also of the pixels on the left.

Differs from the paper: its eq. 3 prints b where c stands here, the released code has c; that code
normalises weights by data, which is left out, and decays the learning rate by 5e-6 a step. Any side
is allowed, halves rounded up. Samples are levels, and each colour is drawn given the levels of
those before it. Training averages weights (`ema_decay`) and evaluates the average, as in the paper.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import elu
from torch.optim import Optimizer

from ...checks import at_least
from ..ema import Averaging
from ..logistic import LogisticMixture
from ..networks.gated import VerticalConv2d
from ..networks.kept import renamed
from ..networks.masked import Cached, ClassBias, MaskedConv2d, OncePerRow, Place, ThisPixel
from ..networks.strided import CornerConv2d, CornerTransposed2d, RowTransposed2d
from .conditionals import Autoregressive


def concat_elu(x: Tensor) -> Tensor:
    """ELU of x and of -x: (B, C, ...) to (B, 2C, ...)."""
    return elu(torch.cat((x, -x), dim=1))


class GatedResidual(nn.Module):
    """x + a . sigmoid(b), where a and b are computed by two convolutions of x and further features.

    Args:
        look: Makes a convolution from numbers of input and output channels.
        width: Channels of x.
        shortcut: Whether features from the way down are added.
    """

    def __init__(
        self,
        look: Callable[[int, int], nn.Module],
        width: int,
        shortcut: bool,
        num_classes: int,
        dropout: float,
    ):
        super().__init__()
        self.first, self.second = look(2 * width, width), look(2 * width, 2 * width)
        self.shortcut = MaskedConv2d(2 * width, width, 1, "B") if shortcut else None
        self.label = ClassBias(num_classes, 2 * width) if num_classes else None
        self.dropout = nn.Dropout(dropout)

    def forward(
        self, x: Tensor, y: Tensor | None, shortcut: Tensor | None, across: Tensor | None = None
    ) -> Tensor:
        h = self.first(concat_elu(x))
        if across is not None:
            h = h + across
        if self.shortcut is not None:
            h = h + self.shortcut(concat_elu(shortcut))
        h = self.second(self.dropout(concat_elu(h)))
        if self.label is not None:
            h = h + self.label(y)
        a, b = h.chunk(2, dim=1)
        return x + a * b.sigmoid()


class Above(Cached):
    """A layer of the stream of the rows above, with its output for the other stream."""

    def __init__(self, stride: int, width: int, *settings):
        super().__init__()
        self.stride_in = stride

        def look(channels_in: int, channels_out: int) -> nn.Module:
            return VerticalConv2d(channels_in, channels_out, (2, 3), "B", stride_in=stride)

        self.residual = GatedResidual(look, width, *settings)
        self.across = nn.Conv2d(2 * width, width, 1, bias=False)
        renamed(self, told="across")

    def whole(
        self, above: Tensor, y: Tensor | None, shortcut: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        above = self.residual(above, y, shortcut)
        return above, self.across(concat_elu(above))

    def stepper(self, place: Place) -> Callable:
        return OncePerRow(self.whole, place)


class Layer(nn.Module):
    """A gated layer of both streams: of the rows above, and of those and the pixels on the left."""

    def __init__(self, stride: int, *settings):
        super().__init__()

        def look(channels_in: int, channels_out: int) -> nn.Module:
            return CornerConv2d(channels_in, channels_out, stride_in=stride)

        self.above = Above(stride, *settings)
        self.residual = GatedResidual(look, *settings)

    def forward(
        self, streams: tuple[Tensor, Tensor], y: Tensor | None, shortcuts=(None, None)
    ) -> tuple[Tensor, Tensor]:
        above, across = self.above(streams[0], y, shortcuts[0])
        return above, self.residual(streams[1], y, shortcuts[1], across)


class Size(nn.Module):
    """All layers that work at one size of the image, and within them those at smaller sizes.

    Args:
        stages: Sizes that are smaller still.
        layers: Gated layers on the way down; on the way up there is one for each feature map that
            was made here.
        stride: Pixels of the image, each way, for which one stands here.
        settings: Width, classes and dropout of the layers.
    """

    def __init__(self, stages: int, layers: int, stride: int, *settings):
        super().__init__()
        width, *others = settings
        up = layers + 1 if stages else layers
        self.down = nn.ModuleList(Layer(stride, width, False, *others) for _ in range(layers))
        self.up = nn.ModuleList(Layer(stride, width, True, *others) for _ in range(up))
        self.smaller = Size(stages - 1, layers, 2 * stride, *settings) if stages else None
        if stages:
            self.shrink_above = VerticalConv2d(width, width, (2, 3), "B", 2, stride)
            self.shrink = CornerConv2d(width, width, stride, 2)
            self.grow_above = RowTransposed2d(width, width, stride)
            self.grow = CornerTransposed2d(width, width, stride)

    def forward(self, streams: tuple[Tensor, Tensor], y: Tensor | None) -> tuple[Tensor, Tensor]:
        made = [streams]
        for layer in self.down:
            made.append(layer(made[-1], y))
        if self.smaller is None:
            streams = made.pop()
        else:
            above, left = made[-1]
            small = self.shrink_above(above), self.shrink(left)
            if small[1] is not None:  # drawing, only every fourth pixel asks for the smaller image
                small = self.smaller(small, y)
            streams = self.grow_above(small[0], above), self.grow(small[1], left)
        for layer in self.up:
            streams = layer(streams, y, made.pop())
        return streams


class ShiftedUNet(Cached):
    """Images (B, C, H, W) to `outputs` numbers at each pixel, which depend on earlier pixels only.

    They do not depend on the colours of the pixel itself: so sampling needs one pass for a pixel.
    """

    def __init__(
        self,
        image_shape: tuple[int, ...],
        num_classes: int,
        outputs: int,
        width: int,
        layers: int,
        stages: int,
        dropout: float,
    ):
        super().__init__()
        channels = image_shape[0] + 1
        self.above = VerticalConv2d(channels, width, (2, 3), "A")
        self.left = MaskedConv2d(channels, width, 3, "A")
        self.body = Size(stages, layers, 1, width, num_classes, dropout)
        self.outputs = MaskedConv2d(width, outputs, 1, "B")

    def whole(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        x = torch.cat((x, torch.ones_like(x[:, :1])), dim=1)  # inside, unlike the zeros around
        _, left = self.body((self.above(x), self.left(x)), y)
        return self.outputs(elu(left))

    def stepper(self, place: Place) -> Callable[[Tensor, Tensor | None], Tensor]:
        answers: dict[tuple[int, int], Tensor] = {}

        def step(x: Tensor, y: Tensor | None = None) -> Tensor:
            here = place.row, place.column
            if here not in answers:
                answers.clear()
                answers[here] = self.whole(x, y)
            return answers[here]

        return step


class PixelCNNpp(Averaging, Autoregressive):
    """A model with an exact likelihood of ordered levels, by a network of three sizes.

    Args:
        width: Channels of each stream, as in the released code.
        layers: Number of gated layers at each size, down and up (sec. 3: 5).
        stages: Number of halvings of the sides.
        mixtures: Number of logistics in the mixture of a pixel.
        dropout: Share of features that are dropped in training; 0: none.
        ema_decay: Decay per step of a moving average of the weights, used in evaluation; 0: none.
        ema_warmup: Whether the decay of the moving average is smaller at first (see `zoo/ema.py`).
    """

    Network: type[nn.Module] = ShiftedUNet
    averaged = "network"

    def __init__(
        self,
        image_shape: tuple[int, ...],
        num_classes: int = 0,
        levels: int = 256,
        width: int = 160,
        layers: int = 5,
        stages: int = 2,
        mixtures: int = 10,
        dropout: float = 0.5,
        ema_decay: float = 0.9995,
        lr: float = 1e-3,
        ema_warmup: bool = True,
    ):
        super().__init__(image_shape, num_classes, levels, lr)
        at_least(1, layers=layers, mixtures=mixtures, width=width)
        at_least(0, stages=stages)
        if not 0 <= dropout < 1:
            raise ValueError(f"dropout must be in [0, 1), got {dropout}")
        self.save_hyperparameters()
        self.ema_decay, self.ema_warmup = ema_decay, ema_warmup
        colours = self.image_shape[0]
        outputs = mixtures * (1 + 2 * colours + colours * (colours - 1) // 2)
        sizes = (num_classes, outputs, width, layers, stages, dropout)
        self.network = self.Network(self.image_shape, *sizes)
        self.pixel = ThisPixel()
        self.average()

    def conditionals(self, x: Tensor, *condition: Tensor) -> LogisticMixture:
        """The distribution of each level of images x, given the earlier values."""
        network = self.network if self.training else self.average_network
        parameters = network(x, *condition).to(x.dtype)  # mixed precision ends here
        return LogisticMixture.of_pixels(parameters, self.pixel(x), self.levels)

    def configure_optimizers(self) -> Optimizer:
        optimizer = super().configure_optimizers()
        self.average_after(optimizer)
        return optimizer
