"""Gated PixelCNN: Conditional Image Generation with PixelCNN Decoders.

van den Oord et al., 2016. https://arxiv.org/abs/1606.05328

The likelihood is exact and a product over pixels, as in PixelCNN (1601.06759). Its network differs
in two points. Gates replace the ReLUs,

    y = tanh(W_f * x + V_f^T h) . sigmoid(W_g * x + V_g^T h)                (eq. 2 and 4)

and two stacks of convolutions, one of the rows above and one of the pixels on the left, depend on
every earlier pixel within their receptive field, where PixelCNN's masks leave a blind spot (fig.
1). A class, h in eq. 4, is a condition of every gate, the same at all pixels:

    p(x | h) = prod_i p(x_i | x_1, ..., x_{i-1}, h)                         (eq. 3)

At the optimum these are the conditionals of the data: samples show their class, and pixels in
PixelCNN's blind spot can be copied.

Differs from the paper: Adam for RMSProp; the layer before the last has as many features as the
stack. `label_dropout` is new: a network for which some labels are withheld in training models p(x),
too.
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import relu

from ..networks.gated import GatedStack
from ..networks.masked import MaskedConv2d
from .conditionals import Autoregressive, Levels


class GatedNetwork(nn.Module):
    """Images (B, C, H, W) to logits (B, C * L, H, W), colour by colour."""

    def __init__(
        self,
        image_shape: tuple[int, ...],
        num_classes: int,
        levels: int,
        width: int,
        layers: int,
        kernel_size: int,
    ):
        super().__init__()
        colours = image_shape[0]
        self.stack = GatedStack(colours, width, layers, kernel_size, condition=num_classes)
        self.mix = MaskedConv2d(width, width, 1, "B", colours)
        self.logits = MaskedConv2d(width, colours * levels, 1, "B", colours)

    def forward(self, x: Tensor, h: Tensor | None = None) -> Tensor:
        """h: (B, K, 1, 1), one-hot classes, or zeros where the class is withheld."""
        return self.logits(relu(self.mix(relu(self.stack(x, h)))))


class GatedPixelCNN(Autoregressive):
    """A model with an exact likelihood, by gated convolutions without a blind spot.

    Args:
        width: Channels of each of the two stacks.
        layers: Number of gated layers; the first has 7x7 kernels.
        kernel_size: Side of the kernels of the later layers, odd.
        label_dropout: Probability that a label is withheld in training. If it is above 0,
            `log_prob` without labels, or with label -1, is log p(x).
    """

    Network: type[nn.Module] = GatedNetwork

    def __init__(
        self,
        image_shape: tuple[int, ...],
        num_classes: int = 0,
        levels: int = 256,
        width: int = 64,
        layers: int = 12,
        kernel_size: int = 3,
        label_dropout: float = 0.0,
        lr: float = 1e-3,
    ):
        super().__init__(image_shape, num_classes, levels, lr)
        if not 0 <= label_dropout < 1:
            raise ValueError(f"label_dropout must be in [0, 1), got {label_dropout}")
        self.save_hyperparameters()
        self.label_dropout = label_dropout
        sizes = (num_classes, levels, width, layers, kernel_size)
        self.network = self.Network(self.image_shape, *sizes)

    def conditionals(self, x: Tensor, *condition: Tensor) -> Levels:
        """The distribution of each level of images x, given the earlier values."""
        h = (self._one_hot(y, x) for y in condition)
        logits = self.network(x, *h).to(x.dtype)  # mixed precision ends here
        return Levels(logits.unflatten(1, (self.image_shape[0], self.levels)).movedim(2, -1))

    def _one_hot(self, y: Tensor, x: Tensor) -> Tensor:
        """(B, K, 1, 1); a label withheld, -1, is no class."""
        classes = torch.arange(self.num_classes, device=y.device)
        return (y[:, None] == classes).to(x)[:, :, None, None]

    def check_labels(self, batch) -> None:
        if not self.label_dropout:  # else an image without a label is one whose label is withheld
            super().check_labels(batch)

    def given(self, x: Tensor, y: Tensor | None) -> tuple[Tensor, ...]:
        if not (self.num_classes and self.label_dropout):
            return super().given(x, y)
        y = x.new_full((len(x),), -1, dtype=torch.int64) if y is None else y.to(x.device)
        self.condition.check(torch.where(y == -1, 0, y), len(x))
        return (self.condition.drop(y, self.label_dropout) if self.training else y,)
