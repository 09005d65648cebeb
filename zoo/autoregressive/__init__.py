"""Models with an exact likelihood: a distribution of each pixel given the earlier ones."""

from .diagonal_bilstm import DiagonalBiLSTM
from .gated_pixelcnn import GatedPixelCNN
from .pixelcnn import PixelCNN
from .pixelcnn_pp import PixelCNNpp
from .row_lstm import RowLSTM

__all__ = ["DiagonalBiLSTM", "GatedPixelCNN", "PixelCNN", "PixelCNNpp", "RowLSTM"]
