"""Heads on any discriminator: the same scores, the same features under all."""

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from genzoo.zoo.networks import PAIRS, Heads, labelled_cross_entropy


@pytest.mark.parametrize("network", sorted(PAIRS))
@pytest.mark.parametrize("num_classes", [0, 3])
@pytest.mark.parametrize("side", [8, 16])
def test_the_score_is_the_discriminators_own_and_heads_see_its_features(network, num_classes, side):
    plain = PAIRS[network][1]((2, side, side), num_classes, 8).eval()
    seen = (torch.randn(5, 2, side, side), torch.arange(5) % 3)[: 2 if num_classes else 1]
    expected = plain(*seen)
    headed = Heads(plain, logits=4, q=7).eval()
    torch.testing.assert_close(headed(*seen), expected)
    said = headed.outputs(*seen)
    assert said.keys() == {"score", "logits", "q", "features"}
    assert said["logits"].shape == (5, 4) and said["q"].shape == (5, 7)
    assert said["features"].shape == (5, headed.num_features)
    torch.testing.assert_close(said["score"], expected)
    torch.testing.assert_close(said["logits"], headed.heads["logits"](said["features"]))
    # Each image's features are its own.
    one = headed.features(*(t[3:4] for t in seen))
    torch.testing.assert_close(one[0], said["features"][3])


def test_heads_without_a_score_have_no_weights_for_one():
    headed = Heads(PAIRS["mlp"][1]((1, 4, 4), 0, 8), score=False, logits=3)
    assert headed.outputs(torch.zeros(2, 1, 4, 4)).keys() == {"logits", "features"}
    assert all(len(p) != 1 for p in headed.parameters())


@pytest.mark.parametrize("network", [nn.Sequential(nn.Flatten(), nn.Linear(16, 2)), nn.Flatten()])
def test_a_discriminator_that_does_not_end_in_a_score_is_refused(network):
    with pytest.raises(ValueError, match="must end in a linear or convolutional layer with one"):
        Heads(network, logits=3)


class ScoreFirst(nn.Module):
    """Its score is registered before what it sees; another layer has one output, too."""

    def __init__(self, name="score"):
        super().__init__()
        setattr(self, name, nn.Linear(5, 1))
        self.name, self.attention, self.body = name, nn.Linear(16, 1), nn.Linear(16, 5)

    def forward(self, x):
        x = x.flatten(1)
        h = (self.body(x) * self.attention(x).sigmoid()).relu()
        return getattr(self, self.name)(h).squeeze(1)


def test_the_layer_called_score_comes_off_wherever_it_stands():
    plain, x = ScoreFirst(), torch.randn(3, 1, 4, 4)
    expected = plain(x)
    headed = Heads(plain, logits=3)
    assert headed.num_features == 5
    torch.testing.assert_close(headed(x), expected)
    with pytest.raises(ValueError, match="call it score if others have one, too, got 2 such"):
        Heads(ScoreFirst("last"), logits=3)


def test_the_only_layer_with_one_output_comes_off_wherever_it_stands():
    class Reversed(nn.Module):
        def __init__(self):
            super().__init__()
            self.last, self.first = nn.Linear(5, 1), nn.Linear(16, 5)

        def forward(self, x):
            return self.last(self.first(x.flatten(1)).relu()).squeeze(1)

    plain, x = Reversed(), torch.randn(3, 1, 4, 4)
    expected = plain(x)
    headed = Heads(plain)
    assert headed.num_features == 5
    torch.testing.assert_close(headed(x), expected)


def test_images_without_a_label_cost_nothing():
    logits, y = torch.randn(4, 3), torch.tensor([0, -1, 2, -1])
    expected = cross_entropy(logits[[0, 2]], y[[0, 2]])
    torch.testing.assert_close(labelled_cross_entropy(logits, y), expected)
    assert labelled_cross_entropy(logits, torch.full((4,), -1)) == 0
