"""Explicit models whose likelihood is exact: each pixel given those before it."""

from .pixelcnn import PixelCNN

__all__ = ["PixelCNN"]
