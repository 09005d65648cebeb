"""Row LSTM: Pixel Recurrent Neural Networks.

van den Oord, Kalchbrenner and Kavukcuoglu, 2016. https://arxiv.org/abs/1601.06759

The same paper as `PixelCNN`, the same product of conditionals and the same network around it, but
an LSTM that runs from the top row to the bottom replaces the masked 3x3 convolutions (sec. 3.1):

    [o_i, f_i, i_i, g_i] = [sigmoid, sigmoid, sigmoid, tanh](K_ss * h_{i-1} + K_is * x_i)
    c_i = f_i c_{i-1} + i_i g_i,   h_i = o_i tanh(c_i)                      (eq. 3)

x_i are the features of row i, * convolves along it: K_is, 3 wide with mask B, is computed for the
whole image beforehand; K_ss, 3 wide, needs no mask, as all of row i-1 comes before row i. So the
receptive field is a triangle of all rows above, which widens by a pixel a row; pixels outside it,
and most of the pixel's own row, have no influence.

Differs from the paper: as in `PixelCNN`; gradients are clipped at a norm of `clip_norm`.
"""

from torch import Tensor, nn
from torch.optim import Optimizer

from ..networks.masked import ClassBias, MaskedConv2d
from ..networks.recurrent import RowCells
from .pixelcnn import MaskedResNet, PixelCNN


class RowBlock(nn.Module):
    """2h features to the gates of h cells, from row to row, and back to 2h (fig. 5, right)."""

    def __init__(self, width: int, colours: int, num_classes: int):
        super().__init__()
        self.input_to_state = MaskedConv2d(2 * width, 4 * width, (1, 3), "B", colours, gates=4)
        self.label = ClassBias(num_classes, 4 * width) if num_classes else None
        self.cells = RowCells(width)
        self.widen = MaskedConv2d(width, 2 * width, 1, "B", colours)

    def forward(self, x: Tensor, y: Tensor | None) -> Tensor:
        gates = self.input_to_state(x)
        if self.label is not None:
            gates = gates + self.label(y)
        return x + self.widen(self.cells(gates))


class RecurrentNet(MaskedResNet):
    """The network of table 1 with recurrent blocks."""

    Block: type[nn.Module] = RowBlock

    def __init__(
        self, image_shape: tuple[int, ...], num_classes: int, levels: int, width: int, layers: int
    ):
        super().__init__(image_shape, num_classes, levels, width, layers=0)
        blocks = (self.Block(width, image_shape[0], num_classes) for _ in range(layers))
        self.blocks = nn.ModuleList(blocks)


class RowLSTM(PixelCNN):
    """A model with an exact likelihood, by an LSTM over rows.

    Args:
        width: The paper's h: cells at each pixel; between blocks there are 2h features.
        layers: Number of LSTM layers.
        clip_norm: Maximum norm of the gradient, unless the Trainer clips; 0: no clipping.
    """

    Network: type[nn.Module] = RecurrentNet

    def __init__(
        self,
        image_shape: tuple[int, ...],
        num_classes: int = 0,
        levels: int = 256,
        width: int = 16,
        layers: int = 7,
        lr: float = 1e-3,
        clip_norm: float = 1.0,
    ):
        super().__init__(image_shape, num_classes, levels, width, layers, lr)
        self.clip_norm = clip_norm

    def configure_gradient_clipping(
        self,
        optimizer: Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        norm = self.clip_norm if gradient_clip_val is None else gradient_clip_val
        self.clip_gradients(optimizer, norm, gradient_clip_algorithm or "norm")
