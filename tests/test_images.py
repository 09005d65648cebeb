"""Images that are in [0, 1] where [-1, 1] is asked for are noticed."""

import pytest
import torch

from genzoo.datamodules import Digits
from genzoo.images import from_uint8, looks_unscaled, to_uint8

REAL = Digits().split("train").images


DIMMED = (REAL * 0.6).to(torch.uint8)  # real images need not reach white


def grey_to(white: int) -> torch.Tensor:
    """What a network draws that has learned nothing and begins above grey."""
    return torch.randint(128, white + 1, (100, 1, 8, 8), dtype=torch.uint8)


def halved(images: torch.Tensor) -> torch.Tensor:
    """Images in [0, 1], taken for ones in [-1, 1]."""
    return to_uint8((from_uint8(images) + 1) / 2)


@pytest.mark.parametrize(
    ("samples", "real", "unscaled"),
    [
        (halved(REAL[:300]), REAL, True),
        (halved(REAL[:2]), REAL, True),
        (halved(DIMMED[:300]), DIMMED, True),
        (halved(REAL[:300].clamp(40)), REAL, True),  # as a sigmoid that never reaches 0
        (halved((REAL[:300] * 0.7).to(torch.uint8)), REAL, True),  # nor 1
        (REAL[:300], REAL, False),
        (grey_to(140), REAL, False),
        (grey_to(165), REAL, False),
        (torch.full((100, 1, 8, 8), 128, dtype=torch.uint8), REAL, False),
        (torch.full((100, 1, 8, 8), 255, dtype=torch.uint8), REAL, False),
        (halved(REAL[:300]), halved(REAL), False),  # where real images are as light
        (255 - REAL[:300] // 4, 255 - REAL, False),  # light samples of light images
    ],
)
def test_what_would_be_like_the_data_if_it_were_scaled_is_unscaled(samples, real, unscaled):
    assert bool(looks_unscaled(samples, real)) == unscaled
