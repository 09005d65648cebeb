"""Explicit models whose likelihood is exact: each pixel given those before it."""

from .diagonal_bilstm import DiagonalBiLSTM
from .gated_pixelcnn import GatedPixelCNN
from .pixelcnn import PixelCNN
from .pixelcnn_pp import PixelCNNpp
from .row_lstm import RowLSTM

__all__ = ["DiagonalBiLSTM", "GatedPixelCNN", "PixelCNN", "PixelCNNpp", "RowLSTM"]
