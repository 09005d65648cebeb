"""Checks of the features that statistics are computed from."""

from torch import Tensor

ROWS = 8192  # images in a block in float64
FIDELITY_SEED = 2020  # torch-fidelity's default seed


def features(x: Tensor, name: str, least: int = 2) -> Tensor:
    """Returns features x after checks: float (n, d), finite, at least `least` images."""
    if x.ndim != 2 or not x.is_floating_point():
        raise ValueError(f"{name} must be float features (n, d), got {x.dtype} {tuple(x.shape)}")
    if len(x) < least or not x.shape[1]:
        raise ValueError(f"{name} must be at least {least} images, got {tuple(x.shape)}")
    if not all(block.isfinite().all() for block in x.split(ROWS)):
        raise ValueError(f"{name} must be finite, got NaN or infinity")
    return x


def same_width(real: Tensor, generated: Tensor) -> None:
    """Raises ValueError if the numbers of features differ."""
    if real.shape[1] != generated.shape[1]:
        raise ValueError(
            "generated must have as many features as real, "
            f"got {generated.shape[1]} and {real.shape[1]}"
        )
