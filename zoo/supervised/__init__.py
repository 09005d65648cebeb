"""Regression from a full description to images, without a likelihood or an adversary."""

from .chairs import ChairGenerator

__all__ = ["ChairGenerator"]
