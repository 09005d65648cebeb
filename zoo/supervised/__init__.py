"""Told all that there is to draw: regression to images, without a likelihood or an adversary."""

from .chairs import ChairGenerator

__all__ = ["ChairGenerator"]
