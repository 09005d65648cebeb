"""The space in which copies are looked for."""

import pytest
import torch

from genzoo.features.extractors import Instance, make_extractor
from tests.helpers.toy_model_and_data import pictures


def test_the_space_of_copies_is_learned_once_and_kept():
    images = pictures(40)[0]
    space = make_extractor("instance", images, None, steps=2)
    assert space.name == "instance" and not space.reference
    features, logits = space(images[:7])
    assert logits is None and torch.allclose(features.norm(dim=1), torch.ones(7))
    again = Instance(images, steps=2)
    assert again.protocol == space.protocol and len(space.protocol["weights"]) == 16
    assert torch.equal(again(images[:7])[0], features)
    others = Instance(images, seed=1, steps=2), Instance(images.flip(0), steps=2)
    assert all(other.protocol["weights"] != space.protocol["weights"] for other in others)
    with pytest.raises(ValueError, match="extractor must be one that takes points"):
        Instance(torch.randn(30, 2))
