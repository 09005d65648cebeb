"""Images laid over each other: moved and mirrored copies come back onto their source."""

import pytest
import torch

from genzoo.metrics.alignment import aligned_distance
from genzoo.metrics.alterations import transformed
from tests.helpers.evidence import smooth_images


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    "change",
    [{"turn": 10.0}, {"right": 0.09, "down": -0.06}, {"zoom": 1.15}, {"mirror": 1.0}, {}],
    ids=str,
)
def test_altered_copies_come_back_onto_their_source(change, channels):
    x = smooth_images(40, channels=channels)
    y = 0.8 * transformed(x, **change) + 0.1
    to_source = aligned_distance(y, x)
    to_others = aligned_distance(y, x.roll(1, 0))
    assert (to_source < to_others).float().mean() > 0.95
    assert to_source.median() < 0.25 * to_others.median()


def test_alignment_refuses_what_is_no_pair():
    with pytest.raises(ValueError, match="x and y must be images alike"):
        aligned_distance(torch.zeros(2, 1, 8, 8), torch.zeros(2, 1, 8, 9))
    assert aligned_distance(torch.zeros(0, 1, 8, 8), torch.zeros(0, 1, 8, 8)).shape == (0,)
